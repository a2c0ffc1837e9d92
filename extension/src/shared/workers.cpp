// Workers as the server knows them: the session that is a worker's life line, its
// kicks, and what it watches.  Entries are the caller's own: a worker is known by its
// role and its name, so that no tenant reaches another's.  An entry lives until the worker
// leaves, its tasks have been given back after its life line ended, or, if it never had
// one, the session that made it ends.
#include "shared/clock.hpp"
#include "shared/shared.hpp"
#include "shared/state.hpp"

extern "C" {
#include "common/hashfn.h"
}

namespace insula {

namespace {

// No lease lasts longer, so a dead worker of that age holds nothing any more.
constexpr std::int64_t longest_lease = USECS_PER_DAY;

WorkerKey key_of(const char *worker) { return worker_key(GetUserId(), worker); }

WorkerEntry *find_worker(const WorkerKey &key) {
  return static_cast<WorkerEntry *>(hash_search(shared_workers, &key, HASH_FIND, nullptr));
}

// Nobody may fill the table for the others: once it is half full, a role that has a
// quarter of it gets no more.
bool role_has_room(Oid role) {
  const long used = hash_get_num_entries(shared_workers);
  if (used < shared->max_workers / 2) return true;
  if (used >= shared->max_workers) return false;
  long of_role = 0;
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, shared_workers);
  while (auto *entry = static_cast<WorkerEntry *>(hash_seq_search(&scan)))
    if (entry->key.role == role) ++of_role;
  return of_role < shared->max_workers / 4;
}

// nullptr where there is no room.
WorkerEntry *enter_worker(const char *worker) {
  const WorkerKey key = key_of(worker);
  if (WorkerEntry *known = find_worker(key)) return known;
  if (!role_has_room(key.role)) return nullptr;
  auto *entry = static_cast<WorkerEntry *>(hash_search(shared_workers, &key, HASH_ENTER_NULL, nullptr));
  if (!entry) return nullptr;
  memset(entry, 0, sizeof(WorkerEntry));
  entry->key = key;
  strlcpy(entry->name, worker, sizeof entry->name);
  entry->life_line = -1;
  entry->maker = backend_slot();
  return entry;
}

void set_dead(WorkerEntry *entry, bool dead) {
  if (entry->dead != dead) shared->dead_workers += dead ? 1 : -1;
  entry->dead = dead;
  entry->died_at = dead ? clock_now() : 0;
}

bool same(const WorkerKey &a, const WorkerKey &b) {
  return a.database == b.database && a.role == b.role && a.name_hash == b.name_hash;
}

// Another session of the worker that is parked, other than `except`; -1 if there is none.
int parked_session(const WorkerKey &worker, int except) {
  for (int at = 0; at < shared->slots; ++at) {
    const WaiterSlot &slot = shared->waiters[at];
    if (at != except && slot.latch && slot.has_worker && same(slot.worker, worker)) return at;
  }
  return -1;
}

void drop_watcher(WatchEntry *watch, const WorkerKey &worker) {
  for (int i = 0; i < watch->count; ++i)
    if (same(watch->watchers[i], worker)) watch->watchers[i--] = watch->watchers[--watch->count];
  if (watch->count > 0 || watch->crowded) return;
  WatchKey key = watch->key;
  hash_search(shared_watches, &key, HASH_REMOVE, nullptr);
}

void drop_watches_of(const WorkerKey &worker) {
  if (hash_get_num_entries(shared_watches) == 0) return;
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, shared_watches);
  while (auto *watch = static_cast<WatchEntry *>(hash_seq_search(&scan))) drop_watcher(watch, worker);
}

void remove_worker(WorkerEntry *entry) {
  set_dead(entry, false);
  drop_watches_of(entry->key);
  WorkerKey key = entry->key;
  hash_search(shared_workers, &key, HASH_REMOVE, nullptr);
}

bool may_hold_tasks_of(const WorkerEntry &entry, std::int32_t tenant) {
  return entry.dead && entry.key.database == MyDatabaseId &&
         (entry.tenant == 0 || tenant == 0 || entry.tenant == tenant);
}

}  // namespace

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

void kick_worker(const WorkerKey &key) {
  WorkerEntry *entry = find_worker(key);
  // A kick that nobody has taken yet will be seen by whoever parks next.
  if (!entry || entry->kicked) return;
  entry->kicked = true;
  if (shared->waiting == 0) return;
  const int at = parked_session(key, -1);
  if (at >= 0) SetLatch(shared->waiters[at].latch);
}

void kick_all_workers(Oid database) {
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, shared_workers);
  while (auto *entry = static_cast<WorkerEntry *>(hash_seq_search(&scan)))
    if (entry->key.database == database) entry->kicked = true;
  for (int at = 0; at < shared->slots; ++at)
    if (shared->waiters[at].latch && shared->waiters[at].database == database) SetLatch(shared->waiters[at].latch);
}

// The session of this slot has ended: workers whose life line it was are dead, and
// entries that it made for workers that never had one go.
void forget_session(int slot) {
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, shared_workers);
  while (auto *entry = static_cast<WorkerEntry *>(hash_seq_search(&scan))) {
    if (entry->life_line < 0 && entry->maker == slot && !entry->dead) {
      remove_worker(entry);
      continue;
    }
    if (entry->life_line != slot) continue;
    entry->life_line = parked_session(entry->key, slot);
    if (entry->life_line >= 0) continue;
    drop_watches_of(entry->key);
    set_dead(entry, true);
    signal_one_waiter(entry->key.database, {entry->tenant, 0, 0, false});
    note_due(entry->key.database, entry->tenant, DT_NOBEGIN, false);
  }
}

void forget_workers_of_tenant(Oid database, std::int32_t tenant) {
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, shared_workers);
  while (auto *entry = static_cast<WorkerEntry *>(hash_seq_search(&scan)))
    if (entry->key.database == database && entry->tenant == tenant) remove_worker(entry);
}

void take_life_line(const char *worker, std::int32_t tenant) {
  if (!shared) return;
  register_end_of_session();
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  if (WorkerEntry *entry = enter_worker(worker)) {
    set_dead(entry, false);
    entry->tenant = tenant;
    entry->life_line = backend_slot();
  }
  LWLockRelease(shared->lock);
}

bool take_kick(const char *worker, bool *blind) {
  *blind = shared == nullptr;
  if (!shared) return false;
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  WorkerEntry *entry = find_worker(key_of(worker));
  const bool kicked = entry && entry->kicked;
  *blind = !entry || entry->blind;
  if (entry) entry->kicked = entry->blind = false;
  LWLockRelease(shared->lock);
  return kicked;
}

long known_workers() { return shared ? hash_get_num_entries(shared_workers) : 0; }

long watched_executions() { return shared ? hash_get_num_entries(shared_watches) : 0; }

void nudge_worker(const char *worker) {
  if (!shared) return;
  register_end_of_session();
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  if (enter_worker(worker)) kick_worker(key_of(worker));
  LWLockRelease(shared->lock);
}

std::int32_t leave_worker(const char *worker) {
  if (!shared) return -1;
  std::int32_t tenant = -1;
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  if (WorkerEntry *entry = find_worker(key_of(worker))) {
    tenant = entry->life_line >= 0 || entry->tenant != 0 ? entry->tenant : -1;
    remove_worker(entry);
  }
  LWLockRelease(shared->lock);
  return tenant;
}

void watch_execution(const char *worker, std::int64_t execution) {
  if (!shared) return;
  register_end_of_session();
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  WorkerEntry *entry = enter_worker(worker);
  WatchKey key = {MyDatabaseId, 0, execution};
  bool found = false;
  WatchEntry *watch = nullptr;
  if (entry && hash_get_num_entries(shared_watches) < shared->max_watches)
    watch = static_cast<WatchEntry *>(hash_search(shared_watches, &key, HASH_ENTER_NULL, &found));
  if (watch) {
    if (!found) {
      watch->count = 0;
      watch->crowded = false;
    }
    bool known = false;
    for (int i = 0; i < watch->count; ++i) known = known || same(watch->watchers[i], entry->key);
    if (!known && watch->count < watchers_per_execution)
      watch->watchers[watch->count++] = entry->key;
    else if (!known)
      watch->crowded = true;
  } else if (entry) {
    entry->blind = true;
  }
  LWLockRelease(shared->lock);
}

void unwatch_execution(const char *worker, std::int64_t execution) {
  if (!shared) return;
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  WatchKey key = {MyDatabaseId, 0, execution};
  auto *watch = static_cast<WatchEntry *>(hash_search(shared_watches, &key, HASH_FIND, nullptr));
  if (watch) drop_watcher(watch, key_of(worker));
  LWLockRelease(shared->lock);
}

bool has_dead_worker(std::int32_t tenant) {
  if (!shared || shared->dead_workers == 0) return false;
  bool found = false;
  LWLockAcquire(shared->lock, LW_SHARED);
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, shared_workers);
  while (auto *entry = static_cast<WorkerEntry *>(hash_seq_search(&scan)))
    found = found || may_hold_tasks_of(*entry, tenant);
  LWLockRelease(shared->lock);
  return found;
}

DeadWorker *dead_workers_of(std::int32_t tenant, int *count) {
  *count = 0;
  if (!shared || shared->dead_workers == 0) return nullptr;
  constexpr int at_once = 64;
  auto *dead = palloc_array_of<DeadWorker>(at_once);
  const TimestampTz long_ago = clock_now() - longest_lease;
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, shared_workers);
  while (auto *entry = static_cast<WorkerEntry *>(hash_seq_search(&scan))) {
    if (entry->dead && entry->died_at < long_ago) {
      remove_worker(entry);
    } else if (*count < at_once && may_hold_tasks_of(*entry, tenant)) {
      dead[*count] = {entry->key.role, entry->tenant, {}};
      strlcpy(dead[(*count)++].name, entry->name, sizeof dead->name);
    }
  }
  LWLockRelease(shared->lock);
  return dead;
}

}  // namespace insula
