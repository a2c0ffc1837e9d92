// Workers as the server knows them: the session that is a worker's life line, its
// kicks, and what it watches (watches.cpp).  Entries are the caller's own: a worker is known by its
// role and its name, so that no tenant reaches another's.  An entry lives until the worker
// leaves, its tasks have been given back after its life line ended, or, if it never had
// one, the session that made it ends.  Lists by session and by tenant find the entries without a scan.
#include "shared/workers.hpp"

#include "shared/clock.hpp"
#include "shared/databases.hpp"
#include "shared/waiters.hpp"
#include "shared/watches.hpp"
#include "shared/worker_table.hpp"

extern "C" {
#include "common/hashfn.h"
}

namespace insula {

namespace {

// The workers of a tenant; of tenant 0, those of all tenants and those whose tenant is not known.
struct TenantWorkers {
  TenantKey key;
  List<WorkerEntry> live;
  List<WorkerEntry> dead;
};

struct DeadWorkers {
  int count;               // in all databases
  List<WorkerEntry> list;  // by the time of their death
};

DeadWorkers *dead_workers = nullptr;
SharedTable<WorkerEntry> workers;
SharedTable<RoleEntry> roles;
SharedTable<TenantWorkers> tenants;
List<WorkerEntry> *sessions = nullptr;  // by slot: the workers alive whose life line, or else whose maker, it is

// No lease lasts longer, so a dead worker of that age holds nothing any more.
constexpr std::int64_t longest_lease = USECS_PER_DAY;
constexpr int long_dead_at_once = 8;
constexpr int watches_at_once = 256;  // dropped under the lock before others may have it
constexpr int dead_at_once = 64;

Size sessions_size() { return sizeof(List<WorkerEntry>) * static_cast<Size>(MaxBackends); }

WorkerKey key_of(const char *worker) { return worker_key(GetUserId(), worker); }

// ---- the lists; there are no more roles and tenants than workers, so that these find room ----

void leave_role(RoleEntry *role) {
  if (--role->workers == 0) roles.remove(*role);
}

TenantWorkers *find_tenant_workers(Oid database, std::int32_t tenant) { return tenants.find({database, tenant}); }

bool enter_tenant(WorkerEntry *worker, std::int32_t tenant) {
  TenantWorkers *entry = tenants.find_or_make({worker->key.database, tenant}, [](TenantWorkers &made) {
    made.live.clear();
    made.dead.clear();
  });
  if (!entry) return false;
  worker->tenant = tenant;
  (worker->dead ? entry->dead : entry->live).append(worker, &worker->of_tenant);
  return true;
}

void leave_tenant(WorkerEntry *worker) {
  worker->of_tenant.remove();
  TenantWorkers *entry = find_tenant_workers(worker->key.database, worker->tenant);
  if (entry->live.empty() && entry->dead.empty()) tenants.remove(*entry);
}

void enter_session(WorkerEntry *worker) {
  sessions[worker->life_line >= 0 ? worker->life_line : worker->maker].append(worker, &worker->of_session);
}

void leave_session(WorkerEntry *worker) { worker->of_session.remove(); }

// ---- entries ----

void set_dead(WorkerEntry *worker, bool dead) {
  if (worker->dead == dead) return;
  dead_workers->count += dead ? 1 : -1;
  worker->dead = dead;
  worker->died_at = dead ? clock_now() : 0;
  TenantWorkers *tenant = find_tenant_workers(worker->key.database, worker->tenant);
  worker->of_tenant.remove();
  (dead ? tenant->dead : tenant->live).append(worker, &worker->of_tenant);
  if (dead) {
    leave_session(worker);
    dead_workers->list.append(worker, &worker->of_dead);
  } else {
    worker->of_dead.remove();
    enter_session(worker);
  }
}

void remove_worker(WorkerEntry *worker) {
  (void)drop_watches_of(worker, PG_INT32_MAX);
  set_dead(worker, false);
  leave_session(worker);
  leave_tenant(worker);
  leave_role(worker->of_role);
  workers.remove(*worker);
}

void forget_long_dead() {
  const TimestampTz long_ago = clock_now() - longest_lease;
  for (int i = 0; i < long_dead_at_once; ++i) {
    WorkerEntry *oldest = dead_workers->list.first();
    if (!oldest || oldest->died_at >= long_ago) return;
    remove_worker(oldest);
  }
}

// The session of this slot has ended, and with it the life line of the worker.
void lose_life_line(WorkerEntry *worker, int slot) {
  leave_session(worker);
  worker->life_line = find_waiting_session(worker->key, slot);
  enter_session(worker);
  if (worker->life_line >= 0) {
    worker->pid = pid_of_waiter(worker->life_line);
    return;
  }
  set_dead(worker, true);
  wake_one_waiter(worker->key.database, {worker->tenant, 0, 0, false});
  note_due(worker->key.database, worker->tenant, DT_NOBEGIN, false);
}

// Up to dead_at_once of them.
void list_dead(std::int32_t tenant, DeadWorker *dead, int *count) {
  TenantWorkers *entry = find_tenant_workers(MyDatabaseId, tenant);
  if (!entry) return;
  const int most = *count + dead_at_once;
  (void)entry->dead.find([&](const WorkerEntry &worker) {
    if (*count == most) return true;
    dead[*count] = {worker.key.role, worker.tenant, {}};
    strlcpy(dead[(*count)++].name, worker.name, sizeof dead->name);
    return false;
  });
}

bool any_is_dead(std::int32_t tenant) {
  TenantWorkers *entry = find_tenant_workers(MyDatabaseId, tenant);
  return entry && !entry->dead.empty();
}

}  // namespace

const SharedPart workers_part = {
    [] {
      Size size = add_size(MAXALIGN(sizeof(DeadWorkers)), MAXALIGN(sessions_size()));
      size = add_size(size, workers.size(shared_room.workers));
      size = add_size(size, roles.size(shared_room.workers));
      return add_size(size, tenants.size(shared_room.workers));
    },
    [](bool first) {
      bool found;
      dead_workers = static_cast<DeadWorkers *>(ShmemInitStruct("insula dead workers", sizeof(DeadWorkers), &found));
      sessions = static_cast<List<WorkerEntry> *>(ShmemInitStruct("insula workers' sessions", sessions_size(), &found));
      workers.attach("insula workers", shared_room.workers);
      roles.attach("insula workers' roles", shared_room.workers);
      tenants.attach("insula workers' tenants", shared_room.workers);
      if (!first) return;
      dead_workers->count = 0;
      dead_workers->list.clear();
      for (int i = 0; i < MaxBackends; ++i) sessions[i].clear();
    }};

WorkerEntry *find_worker(const WorkerKey &key) { return workers.find(key); }

WorkerEntry *enter_worker(const char *worker) {
  const WorkerKey key = key_of(worker);
  if (WorkerEntry *known = find_worker(key)) return known;
  forget_long_dead();
  RoleEntry *role = roles.find(key.role);
  if (!has_share(role ? role->workers : 0, shared_room.workers - workers.count())) return nullptr;
  role = roles.find_or_make(key.role);
  WorkerEntry *entry = role ? workers.find_or_make(key) : nullptr;
  if (!entry) return nullptr;
  strlcpy(entry->name, worker, sizeof entry->name);
  entry->life_line = -1;
  entry->maker = backend_slot();
  entry->of_role = role;
  ++role->workers;
  entry->watches.clear();
  enter_session(entry);
  (void)enter_tenant(entry, 0);
  return entry;
}

WorkerKey worker_key(Oid role, const char *name) {
  WorkerKey key;
  memset(&key, 0, sizeof key);
  key.database = MyDatabaseId;
  key.role = role;
  key.name_hash = hash_bytes_extended(reinterpret_cast<const unsigned char *>(name), static_cast<int>(strlen(name)), 0);
  return key;
}

void check_worker_name(const char *name) {
  const auto length = strlen(name);
  if (length == 0 || length > worker_name_max)
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("worker name must have 1 to %d bytes", worker_name_max)));
}

void kick(WorkerEntry *worker) {
  // A kick that has not been taken yet ends the worker's next wait.
  if (worker->kicked) return;
  worker->kicked = true;
  if (!any_session_waits()) return;
  const int at = find_waiting_session(worker->key, -1);
  if (at >= 0) wake_session(at);
}

void forget_dead_worker(const WorkerKey &key) {
  WorkerEntry *entry = find_worker(key);
  if (entry && entry->dead) remove_worker(entry);
}

// Others may take the lock between the steps.
void forget_session(int slot) {
  for (bool any = true; any;) {
    lock_shared_memory(LW_EXCLUSIVE);
    WorkerEntry *worker = sessions[slot].first();
    any = worker != nullptr;
    if (any) {
      const bool has_another = worker->life_line >= 0 && find_waiting_session(worker->key, slot) >= 0;
      const bool keeps_watches = !has_another && drop_watches_of(worker, watches_at_once);
      if (worker->life_line >= 0 && !keeps_watches)
        lose_life_line(worker, slot);
      else if (!keeps_watches)
        remove_worker(worker);
    }
    unlock_shared_memory();
  }
}

void forget_workers_of_tenant(Oid database, std::int32_t tenant) {
  while (TenantWorkers *entry = find_tenant_workers(database, tenant)) {
    const List<WorkerEntry> &list = entry->live.empty() ? entry->dead : entry->live;
    remove_worker(list.first());
  }
}

void forget_workers_of(Oid database) {
  workers.for_each_in(database, [](WorkerEntry &entry) { remove_worker(&entry); });
}

void take_life_line(const char *worker, std::int32_t tenant) {
  if (!shared_memory_available()) return;
  register_end_of_session();
  lock_shared_memory(LW_EXCLUSIVE);
  if (WorkerEntry *entry = enter_worker(worker)) {
    set_dead(entry, false);
    leave_session(entry);
    entry->life_line = backend_slot();
    entry->pid = MyProcPid;
    enter_session(entry);
    leave_tenant(entry);
    (void)enter_tenant(entry, tenant);
  }
  unlock_shared_memory();
}

bool take_kick(const char *worker, bool *blind) {
  *blind = !shared_memory_available();
  if (!shared_memory_available()) return false;
  lock_shared_memory(LW_EXCLUSIVE);
  WorkerEntry *entry = find_worker(key_of(worker));
  const bool kicked = entry && entry->kicked;
  *blind = !entry || entry->blind;
  if (entry) entry->kicked = entry->blind = false;
  unlock_shared_memory();
  return kicked;
}

KnownWorker *list_workers(int *count) {
  *count = 0;
  if (!shared_memory_available()) return nullptr;
  // Room is made without the lock; the table has room for no more.
  auto *known = palloc_array_of<KnownWorker>(static_cast<std::size_t>(shared_room.workers));
  lock_shared_memory(LW_SHARED);
  workers.for_each_in(MyDatabaseId, [&](const WorkerEntry &entry) {
    const bool has_session = !entry.dead && entry.life_line >= 0;
    KnownWorker &worker = known[(*count)++];
    worker = {entry.key.role,
              entry.tenant,
              has_session ? entry.pid : 0,
              find_waiting_session(entry.key, -1) >= 0,
              entry.dead ? entry.died_at : 0,
              {}};
    strlcpy(worker.name, entry.name, sizeof worker.name);
  });
  unlock_shared_memory();
  return known;
}

long known_workers() { return workers.count(); }

void nudge_worker(const char *worker) {
  if (!shared_memory_available()) return;
  register_end_of_session();
  lock_shared_memory(LW_EXCLUSIVE);
  if (WorkerEntry *entry = enter_worker(worker)) kick(entry);
  unlock_shared_memory();
}

// The watches go first, some at a time: others may take the lock between the steps.
std::int32_t leave_worker(const char *worker) {
  if (!shared_memory_available()) return -1;
  std::int32_t tenant = -1;
  for (bool keeps_watches = true; keeps_watches;) {
    lock_shared_memory(LW_EXCLUSIVE);
    WorkerEntry *entry = find_worker(key_of(worker));
    keeps_watches = entry && drop_watches_of(entry, watches_at_once);
    if (entry && !keeps_watches) {
      tenant = entry->life_line >= 0 || entry->tenant != 0 ? entry->tenant : -1;
      remove_worker(entry);
    }
    unlock_shared_memory();
  }
  return tenant;
}

bool has_dead_worker(std::int32_t tenant) {
  if (!shared_memory_available() || dead_workers->count == 0) return false;
  return read_shared_memory([tenant] { return any_is_dead(tenant) || any_is_dead(0); });
}

DeadWorker *dead_workers_of(std::int32_t tenant, int *count) {
  *count = 0;
  if (!shared_memory_available() || dead_workers->count == 0) return nullptr;
  auto *dead = palloc_array_of<DeadWorker>(2 * dead_at_once);
  lock_shared_memory(LW_EXCLUSIVE);
  forget_long_dead();
  // A tenant's own dead workers leave no dead worker of all tenants out.
  list_dead(tenant, dead, count);
  if (tenant != 0) list_dead(0, dead, count);
  unlock_shared_memory();
  return dead;
}

}  // namespace insula
