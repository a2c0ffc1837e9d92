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

HTAB *watched_table = nullptr;
HTAB *watches = nullptr;

WatchedEntry *find_watched(std::int64_t execution, HASHACTION action) {
  WatchedKey key = {execution, MyDatabaseId, 0};
  bool found;
  auto *entry = static_cast<WatchedEntry *>(hash_search(watched_table, &key, action, &found));
  if (entry && !found) entry->watches.clear();
  return entry;
}

WatchEntry *find_watch(const WorkerKey &worker, std::int64_t execution, HASHACTION action, bool *found) {
  WatchKey key = {execution, worker.name_hash, worker.database, worker.role};
  return static_cast<WatchEntry *>(hash_search(watches, &key, action, found));
}

void drop_watch(WatchEntry *watch) {
  watch->of_execution.remove();
  watch->of_worker.remove();
  --watch->worker->of_role->watches;
  if (watch->watched->watches.empty()) {
    WatchedKey key = watch->watched->key;
    hash_search(watched_table, &key, HASH_REMOVE, nullptr);
  }
  WatchKey key = watch->key;
  hash_search(watches, &key, HASH_REMOVE, nullptr);
}

// False: there is no room.
bool add_watch(WorkerEntry *worker, std::int64_t execution) {
  bool found;
  if (find_watch(worker->key, execution, HASH_FIND, &found)) return true;
  if (!has_share(worker->of_role->watches, shared_room.watches - hash_get_num_entries(watches))) return false;
  WatchedEntry *watched = find_watched(execution, HASH_ENTER_NULL);
  WatchEntry *watch = watched ? find_watch(worker->key, execution, HASH_ENTER_NULL, &found) : nullptr;
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
    [] {
      return add_size(hash_estimate_size(shared_room.watches, sizeof(WatchedEntry)),
                      hash_estimate_size(shared_room.watches, sizeof(WatchEntry)));
    },
    [](bool) {
      watched_table =
          make_shared_table("insula watched executions", shared_room.watches, sizeof(WatchedKey), sizeof(WatchedEntry));
      watches = make_shared_table("insula watches", shared_room.watches, sizeof(WatchKey), sizeof(WatchEntry));
    }};

void kick_watchers(const std::int64_t *executions, int count) {
  if (hash_get_num_entries(watches) == 0) return;
  for (int i = 0; i < count; ++i) {
    WatchedEntry *watched = find_watched(executions[i], HASH_FIND);
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
  bool found;
  WatchEntry *watch = find_watch(worker_key(GetUserId(), worker), execution, HASH_FIND, &found);
  if (watch) drop_watch(watch);
  unlock_shared_memory();
}

long watched_executions() { return shared_memory_available() ? hash_get_num_entries(watched_table) : 0; }

}  // namespace insula
