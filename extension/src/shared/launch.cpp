// The due queue for the launcher, and for commands that want a database for themselves; see
// launch.hpp and due_queue.hpp.
#include "shared/launch.hpp"

#include <algorithm>

#include "shared/due_queue.hpp"
#include "shared/slots.hpp"

namespace insula {

namespace {

// Between two starts of schedulers that fail.
constexpr std::int64_t shortest_backoff = 100000;
constexpr std::int64_t longest_backoff = 60 * USECS_PER_SEC;

template <typename Entry, typename Visit>
void remove_entries_of(HTAB *table, Oid database, Visit visit) {
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, table);
  while (auto *entry = static_cast<Entry *>(hash_seq_search(&scan))) {
    if (entry->key.database != database) continue;
    visit(*entry);
    hash_search(table, &entry->key, HASH_REMOVE, nullptr);
  }
}

}  // namespace

// ---- databases that go or are copied ----

void hold_schedulers_off(Oid database) {
  if (!shared) return;
  lock(LW_EXCLUSIVE);
  // What has no place here has no scheduler, and nobody but a session in it can ask for one.
  DatabaseSlot *slot = find_slot(database);
  const int pid = slot ? slot->pid : 0;
  if (slot) slot->holder = MyProcPid;
  unlock();
  if (pid) kill(pid, SIGTERM);
}

bool is_scheduler_there(Oid database) {
  if (!shared) return false;
  lock(LW_SHARED);
  const DatabaseSlot *slot = find_slot(database);
  const bool there = slot && (slot->pid != 0 || slot->starting);
  unlock();
  return there;
}

void let_schedulers_back() {
  if (!shared) return;
  lock(LW_EXCLUSIVE);
  for (int i = 0; i < shared->max_databases; ++i) {
    DatabaseSlot &slot = shared->databases[i];
    if (slot.holder != MyProcPid) continue;
    slot.holder = 0;
    slot.asked = true;
    slot.not_before = DT_NOBEGIN;
    wake_launcher();
  }
  unlock();
}

// ---- the launcher ----

bool attach_launcher() {
  lock(LW_EXCLUSIVE);
  const bool mine = shared->launcher.pid == 0;
  if (mine) {
    shared->launcher = {MyProcPid, MyLatch, DT_NOEND, 0, true};
    // Of one that its predecessor has started nobody would learn that it never came up.
    for (int i = 0; i < shared->max_databases; ++i) shared->databases[i].starting = false;
  }
  unlock();
  return mine;
}

void detach_launcher() {
  lock(LW_EXCLUSIVE);
  if (shared->launcher.pid == MyProcPid) shared->launcher = {0, nullptr, DT_NOEND, 0, false};
  unlock();
}

void note_doors_changed() {
  if (!shared) return;
  lock(LW_EXCLUSIVE);
  shared->launcher.doors_changed = true;
  for (int i = 0; i < shared->max_databases; ++i) {
    DatabaseSlot &slot = shared->databases[i];
    if (slot.closed) slot.not_before = DT_NOBEGIN;
    slot.closed = false;
  }
  wake_launcher();
  unlock();
}

bool take_doors_changed() {
  lock(LW_EXCLUSIVE);
  const bool changed = shared->launcher.doors_changed;
  shared->launcher.doors_changed = false;
  unlock();
  return changed;
}

void note_closed(Oid database, TimestampTz look_again) {
  lock(LW_EXCLUSIVE);
  if (DatabaseSlot *slot = find_slot(database)) {
    slot->closed = true;
    slot->not_before = look_again;
  }
  unlock();
}

long tenants_with_watermarks() { return shared ? hash_get_num_entries(shared_watermarks) : 0; }

bool enter_database(Oid database) {
  lock(LW_EXCLUSIVE);
  DatabaseSlot *slot = make_slot(database);
  if (slot) slot->asked = true;
  unlock();
  return slot != nullptr;
}

void forget_rest_of(Oid database) {
  if (!shared) return;
  remove_entries_of<WatermarksEntry>(shared_watermarks, database, [](const WatermarksEntry &) {});
  remove_entries_of<WatchEntry>(shared_watches, database, [](const WatchEntry &) {});
  remove_entries_of<WorkerEntry>(shared_workers, database, [](const WorkerEntry &worker) {
    if (worker.dead) --shared->dead_workers;
  });
}

void forget_database(Oid database) {
  if (!shared) return;
  lock(LW_EXCLUSIVE);
  if (DatabaseSlot *slot = find_slot(database); slot && slot->pid == 0) {
    remove_entries(*slot);
    slot->database = InvalidOid;
    slot->holder = 0;
  }
  forget_rest_of(database);
  unlock();
  drop_activity_of(database);
}

int survey_databases(TimestampTz now, DatabaseNeed *needs) {
  int count = 0;
  lock(LW_EXCLUSIVE);
  // From now on a commit that makes anything due sets the launcher's latch.
  shared->launcher.wakes_at = DT_NOEND;
  for (int i = 0; i < shared->max_databases; ++i) {
    DatabaseSlot &slot = shared->databases[i];
    if (slot.database == InvalidOid) continue;
    DatabaseNeed need = {slot.database, DT_NOEND, slot.pid != 0 || slot.starting, slot.starting, false,
                         slot.failures, slot.turn};
    if (slot.pid == 0 && slot.failed) {
      slot.failed = false;
      need.failed = true;
      slot.asked = true;
    }
    if (!need.served && slot.holder == 0 && slot.until_told) {
      need.start_at = slot.look_again == DT_NOEND ? DT_NOEND : std::max(slot.look_again, slot.not_before);
    } else if (!need.served && slot.holder == 0) {
      const TimestampTz due = first_due(slot);
      const bool at_once = slot.asked || due == DT_NOBEGIN;
      need.start_at = at_once ? now : due == DT_NOEND ? DT_NOEND : due - slot.ahead - launch_lead;
      // A pause that would be longer than any is one from before the clock was set back.
      const bool paused = slot.not_before <= now + longest_backoff;
      if (need.start_at != DT_NOEND && paused) need.start_at = std::max(need.start_at, slot.not_before);
    }
    needs[count++] = need;
  }
  unlock();
  return count;
}

int room_for_databases() { return shared->max_databases; }

void note_launched(Oid database, bool starting) {
  lock(LW_EXCLUSIVE);
  if (DatabaseSlot *slot = find_slot(database)) slot->starting = starting && slot->pid == 0;
  unlock();
}

int note_launch_failed(Oid database) {
  int failures = 0;
  lock(LW_EXCLUSIVE);
  if (DatabaseSlot *slot = find_slot(database)) {
    failures = ++slot->failures;
    slot->starting = false;
    slot->turn = ++shared->turns;
    slot->not_before =
        GetCurrentTimestamp() + std::min(longest_backoff, shortest_backoff << std::min(failures - 1, 20));
  }
  unlock();
  return failures;
}

bool is_starting(Oid database) {
  lock(LW_SHARED);
  const DatabaseSlot *slot = find_slot(database);
  const bool starting = slot && slot->starting;
  unlock();
  return starting;
}

void plan_launcher_sleep(TimestampTz until, int waiting) {
  lock(LW_EXCLUSIVE);
  shared->launcher.wakes_at = until;
  shared->launcher.waiting = waiting;
  unlock();
}

}  // namespace insula
