// The executions that workers watch: an execution's end kicks its watchers.  A watch is found by its
// execution and its worker, and lies in a list of each, so that none is looked for among those of others.
#include "shared/watches.hpp"

#include "shared/waiters.hpp"
#include "shared/worker_table.hpp"

namespace insula {

struct WatchedKey {
  std::int64_t execution;
  Oid database;
  std::int32_t unused;
};

struct WatchedEntry {
  WatchedKey key;
  List<WatchEntry> watches;
};

struct WatchKey {
  std::int64_t execution;
  std::uint64_t name_hash;
  Oid database;
  Oid role;
};

struct WatchEntry {
  WatchKey key;
  WatchedEntry *watched;
  WorkerEntry *worker;
  Link<WatchEntry> of_execution;
  Link<WatchEntry> of_worker;
};

namespace {

SharedTable<WatchedEntry> watched_table;
SharedTable<WatchEntry> watches;

WatchKey watch_key(const WorkerKey &worker, std::int64_t execution) {
  return {execution, worker.name_hash, worker.database, worker.role};
}

void drop_watch(WatchEntry *watch) {
  watch->of_execution.remove();
  watch->of_worker.remove();
  --watch->worker->of_role->watches;
  if (watch->watched->watches.empty()) watched_table.remove(*watch->watched);
  watches.remove(*watch);
}

// False: there is no room.
bool add_watch(WorkerEntry *worker, std::int64_t execution) {
  const WatchKey key = watch_key(worker->key, execution);
  if (watches.find(key)) return true;
  if (!has_share(worker->of_role->watches, shared_room.watches - watches.count())) return false;
  WatchedEntry *watched =
      watched_table.find_or_make({execution, MyDatabaseId, 0}, [](WatchedEntry &made) { made.watches.clear(); });
  WatchEntry *watch = watched ? watches.find_or_make(key) : nullptr;
  if (!watch) return false;
  watch->watched = watched;
  watch->worker = worker;
  ++worker->of_role->watches;
  watched->watches.append(watch, &watch->of_execution);
  worker->watches.append(watch, &watch->of_worker);
  return true;
}

}  // namespace

const SharedPart watches_part = {
    [] { return add_size(watched_table.size(shared_room.watches), watches.size(shared_room.watches)); },
    [](bool) {
      watched_table.attach("insula watched executions", shared_room.watches);
      watches.attach("insula watches", shared_room.watches);
    }};

void kick_watchers(const std::int64_t *executions, int count) {
  if (watches.count() == 0) return;
  for (int i = 0; i < count; ++i) {
    WatchedEntry *watched = watched_table.find({executions[i], MyDatabaseId, 0});
    if (!watched) continue;
    // Without its last watch the entry is gone.
    for (bool last = false; !last;) {
      WatchEntry *watch = watched->watches.first();
      last = watch->of_execution.next == watch->of_execution.previous;
      kick(watch->worker);
      drop_watch(watch);
    }
  }
}

bool drop_watches_of(WorkerEntry *worker, int most) {
  for (; most > 0 && !worker->watches.empty(); --most) drop_watch(worker->watches.first());
  return !worker->watches.empty();
}

void watch_execution(const char *worker, std::int64_t execution) {
  if (!shared_memory_available()) return;
  register_end_of_session();
  lock_shared_memory(LW_EXCLUSIVE);
  WorkerEntry *entry = enter_worker(worker);
  if (entry && !add_watch(entry, execution)) entry->blind = true;
  unlock_shared_memory();
}

void unwatch_execution(const char *worker, std::int64_t execution) {
  if (!shared_memory_available()) return;
  lock_shared_memory(LW_EXCLUSIVE);
  if (WatchEntry *watch = watches.find(watch_key(worker_key(GetUserId(), worker), execution))) drop_watch(watch);
  unlock_shared_memory();
}

long watched_executions() { return watched_table.count(); }

}  // namespace insula
