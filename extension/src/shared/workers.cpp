// Workers as the server knows them: the session that is a worker's life line, its
// kicks, and what it watches.  Entries are the caller's own: a worker is known by its
// role and its name, so that no tenant reaches another's.  An entry lives until the worker
// leaves, its tasks have been given back after its life line ended, or, if it never had
// one, the session that made it ends.
#include "shared/workers.hpp"

#include "shared/clock.hpp"
#include "shared/databases.hpp"
#include "shared/waiters.hpp"

extern "C" {
#include "common/hashfn.h"
}

namespace insula {

namespace {

constexpr int watchers_per_execution = 4;

struct WorkerEntry {
  WorkerKey key;
  char name[worker_name_max + 1];
  std::int32_t tenant;     // the tenant that it works for; 0: all
  std::int32_t life_line;  // slot of the session that is its life line; -1: none
  std::int32_t maker;      // slot of the session that made the entry
  bool dead;               // its life line ended: its tasks are to be given back
  TimestampTz died_at;
  bool kicked;  // ends its wait, the present or the next
  bool blind;   // a watch found no room: it must look by itself
};

struct WatchKey {
  Oid database;
  std::int32_t unused;
  std::int64_t execution;
};

struct WatchEntry {
  WatchKey key;
  int count;
  bool crowded;  // more watchers than fit: kick every worker of the database
  WorkerKey watchers[watchers_per_execution];
};

int *dead_workers = nullptr;  // of all databases
HTAB *workers = nullptr;
HTAB *watches = nullptr;

// No lease lasts longer, so a dead worker of that age holds nothing any more.
constexpr std::int64_t longest_lease = USECS_PER_DAY;

WorkerKey key_of(const char *worker) { return worker_key(GetUserId(), worker); }

WorkerEntry *find_worker(const WorkerKey &key) {
  return static_cast<WorkerEntry *>(hash_search(workers, &key, HASH_FIND, nullptr));
}

// No role may fill the table for the others: once it is half full, a role that has a
// quarter of it gets no more.
bool role_has_room(Oid role) {
  const long used = hash_get_num_entries(workers);
  if (used < shared_room.workers / 2) return true;
  if (used >= shared_room.workers) return false;
  long of_role = 0;
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, workers);
  while (auto *entry = static_cast<WorkerEntry *>(hash_seq_search(&scan)))
    if (entry->key.role == role) ++of_role;
  return of_role < shared_room.workers / 4;
}

// nullptr where there is no room.
WorkerEntry *enter_worker(const char *worker) {
  const WorkerKey key = key_of(worker);
  if (WorkerEntry *known = find_worker(key)) return known;
  if (!role_has_room(key.role)) return nullptr;
  auto *entry = static_cast<WorkerEntry *>(hash_search(workers, &key, HASH_ENTER_NULL, nullptr));
  if (!entry) return nullptr;
  memset(entry, 0, sizeof(WorkerEntry));
  entry->key = key;
  strlcpy(entry->name, worker, sizeof entry->name);
  entry->life_line = -1;
  entry->maker = backend_slot();
  return entry;
}

void set_dead(WorkerEntry *entry, bool dead) {
  if (entry->dead != dead) *dead_workers += dead ? 1 : -1;
  entry->dead = dead;
  entry->died_at = dead ? clock_now() : 0;
}

void drop_watcher(WatchEntry *watch, const WorkerKey &worker) {
  for (int i = 0; i < watch->count; ++i)
    if (watch->watchers[i] == worker) watch->watchers[i--] = watch->watchers[--watch->count];
  if (watch->count > 0 || watch->crowded) return;
  WatchKey key = watch->key;
  hash_search(watches, &key, HASH_REMOVE, nullptr);
}

void drop_watches_of(const WorkerKey &worker) {
  if (hash_get_num_entries(watches) == 0) return;
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, watches);
  while (auto *watch = static_cast<WatchEntry *>(hash_seq_search(&scan))) drop_watcher(watch, worker);
}

void remove_worker(WorkerEntry *entry) {
  set_dead(entry, false);
  drop_watches_of(entry->key);
  WorkerKey key = entry->key;
  hash_search(workers, &key, HASH_REMOVE, nullptr);
}

bool may_hold_tasks_of(const WorkerEntry &entry, std::int32_t tenant) {
  return entry.dead && entry.key.database == MyDatabaseId &&
         (entry.tenant == 0 || tenant == 0 || entry.tenant == tenant);
}

}  // namespace

const SharedPart workers_part = {
    [] {
      return add_size(sizeof(int), add_size(hash_estimate_size(shared_room.workers, sizeof(WorkerEntry)),
                                            hash_estimate_size(shared_room.watches, sizeof(WatchEntry))));
    },
    [](bool first) {
      bool found;
      dead_workers = static_cast<int *>(ShmemInitStruct("insula dead workers", sizeof(int), &found));
      if (first) *dead_workers = 0;
      workers = make_shared_table("insula workers", shared_room.workers, sizeof(WorkerKey), sizeof(WorkerEntry));
      watches = make_shared_table("insula watches", shared_room.watches, sizeof(WatchKey), sizeof(WatchEntry));
    }};

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

static void kick_worker(const WorkerKey &key) {
  WorkerEntry *entry = find_worker(key);
  // A kick that has not been taken yet ends the worker's next wait.
  if (!entry || entry->kicked) return;
  entry->kicked = true;
  if (!any_session_waits()) return;
  const int at = find_waiting_session(key, -1);
  if (at >= 0) wake_session(at);
}

void kick_all_workers(Oid database) {
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, workers);
  while (auto *entry = static_cast<WorkerEntry *>(hash_seq_search(&scan)))
    if (entry->key.database == database) entry->kicked = true;
  wake_sessions_of(database);
}

void kick_watchers(const std::int64_t *executions, int count) {
  if (hash_get_num_entries(watches) == 0) return;
  for (int i = 0; i < count; ++i) {
    WatchKey key = {MyDatabaseId, 0, executions[i]};
    auto *watch = static_cast<WatchEntry *>(hash_search(watches, &key, HASH_FIND, nullptr));
    if (!watch) continue;
    if (watch->crowded) kick_all_workers(MyDatabaseId);
    for (int j = 0; j < watch->count; ++j) kick_worker(watch->watchers[j]);
    hash_search(watches, &key, HASH_REMOVE, nullptr);
  }
}

void forget_dead_worker(const WorkerKey &key) {
  WorkerEntry *entry = find_worker(key);
  if (!entry || !entry->dead) return;
  --*dead_workers;
  hash_search(workers, &key, HASH_REMOVE, nullptr);
}

void forget_session(int slot) {
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, workers);
  while (auto *entry = static_cast<WorkerEntry *>(hash_seq_search(&scan))) {
    if (entry->life_line < 0 && entry->maker == slot && !entry->dead) {
      remove_worker(entry);
      continue;
    }
    if (entry->life_line != slot) continue;
    entry->life_line = find_waiting_session(entry->key, slot);
    if (entry->life_line >= 0) continue;
    drop_watches_of(entry->key);
    set_dead(entry, true);
    signal_one_waiter(entry->key.database, {entry->tenant, 0, 0, false});
    note_due(entry->key.database, entry->tenant, DT_NOBEGIN, false);
  }
}

void forget_workers_of_tenant(Oid database, std::int32_t tenant) {
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, workers);
  while (auto *entry = static_cast<WorkerEntry *>(hash_seq_search(&scan)))
    if (entry->key.database == database && entry->tenant == tenant) remove_worker(entry);
}

void forget_workers_of(Oid database) {
  remove_entries<WatchEntry>(watches, [database](const WatchEntry &watch) { return watch.key.database == database; });
  remove_entries<WorkerEntry>(workers, [database](const WorkerEntry &worker) {
    if (worker.key.database != database) return false;
    if (worker.dead) --*dead_workers;
    return true;
  });
}

void take_life_line(const char *worker, std::int32_t tenant) {
  if (!shared_memory_available()) return;
  register_end_of_session();
  lock_shared_memory(LW_EXCLUSIVE);
  if (WorkerEntry *entry = enter_worker(worker)) {
    set_dead(entry, false);
    entry->tenant = tenant;
    entry->life_line = backend_slot();
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

long known_workers() { return shared_memory_available() ? hash_get_num_entries(workers) : 0; }

long watched_executions() { return shared_memory_available() ? hash_get_num_entries(watches) : 0; }

void nudge_worker(const char *worker) {
  if (!shared_memory_available()) return;
  register_end_of_session();
  lock_shared_memory(LW_EXCLUSIVE);
  if (enter_worker(worker)) kick_worker(key_of(worker));
  unlock_shared_memory();
}

std::int32_t leave_worker(const char *worker) {
  if (!shared_memory_available()) return -1;
  std::int32_t tenant = -1;
  lock_shared_memory(LW_EXCLUSIVE);
  if (WorkerEntry *entry = find_worker(key_of(worker))) {
    tenant = entry->life_line >= 0 || entry->tenant != 0 ? entry->tenant : -1;
    remove_worker(entry);
  }
  unlock_shared_memory();
  return tenant;
}

void watch_execution(const char *worker, std::int64_t execution) {
  if (!shared_memory_available()) return;
  register_end_of_session();
  lock_shared_memory(LW_EXCLUSIVE);
  WorkerEntry *entry = enter_worker(worker);
  WatchKey key = {MyDatabaseId, 0, execution};
  bool found = false;
  WatchEntry *watch = nullptr;
  if (entry && hash_get_num_entries(watches) < shared_room.watches)
    watch = static_cast<WatchEntry *>(hash_search(watches, &key, HASH_ENTER_NULL, &found));
  if (watch) {
    if (!found) {
      watch->count = 0;
      watch->crowded = false;
    }
    bool known = false;
    for (int i = 0; i < watch->count; ++i) known = known || watch->watchers[i] == entry->key;
    if (!known && watch->count < watchers_per_execution)
      watch->watchers[watch->count++] = entry->key;
    else if (!known)
      watch->crowded = true;
  } else if (entry) {
    entry->blind = true;
  }
  unlock_shared_memory();
}

void unwatch_execution(const char *worker, std::int64_t execution) {
  if (!shared_memory_available()) return;
  lock_shared_memory(LW_EXCLUSIVE);
  WatchKey key = {MyDatabaseId, 0, execution};
  auto *watch = static_cast<WatchEntry *>(hash_search(watches, &key, HASH_FIND, nullptr));
  if (watch) drop_watcher(watch, key_of(worker));
  unlock_shared_memory();
}

bool has_dead_worker(std::int32_t tenant) {
  if (!shared_memory_available() || *dead_workers == 0) return false;
  bool found = false;
  lock_shared_memory(LW_SHARED);
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, workers);
  while (auto *entry = static_cast<WorkerEntry *>(hash_seq_search(&scan)))
    found = found || may_hold_tasks_of(*entry, tenant);
  unlock_shared_memory();
  return found;
}

DeadWorker *dead_workers_of(std::int32_t tenant, int *count) {
  *count = 0;
  if (!shared_memory_available() || *dead_workers == 0) return nullptr;
  constexpr int at_once = 64;
  auto *dead = palloc_array_of<DeadWorker>(at_once);
  const TimestampTz long_ago = clock_now() - longest_lease;
  lock_shared_memory(LW_EXCLUSIVE);
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, workers);
  while (auto *entry = static_cast<WorkerEntry *>(hash_seq_search(&scan))) {
    if (entry->dead && entry->died_at < long_ago) {
      remove_worker(entry);
    } else if (*count < at_once && may_hold_tasks_of(*entry, tenant)) {
      dead[*count] = {entry->key.role, entry->tenant, {}};
      strlcpy(dead[(*count)++].name, entry->name, sizeof dead->name);
    }
  }
  unlock_shared_memory();
  return dead;
}

}  // namespace insula
