// Which databases want a scheduler; see schedulers.hpp, and due_queue.hpp for what commands do to them.
#include "shared/schedulers.hpp"

#include <algorithm>

#include "shared/databases.hpp"
#include "shared/drop_counters.hpp"
#include "shared/due_queue.hpp"
#include "shared/ready_tenants.hpp"
#include "shared/watermark_table.hpp"
#include "shared/workers.hpp"

namespace insula {

namespace {

// Between two starts of schedulers that fail.
constexpr std::int64_t shortest_backoff = 100000;
constexpr std::int64_t longest_backoff = 60 * USECS_PER_SEC;

}  // namespace

// ---- databases that go or are copied ----

void hold_schedulers_off(Oid database) {
  if (!shared_memory_available()) return;
  lock_shared_memory(LW_EXCLUSIVE);
  // A database without a slot has no scheduler, and only a session in it can ask for one.
  DatabaseSlot *slot = find_database(database);
  const int pid = slot ? slot->pid : 0;
  if (slot) slot->holder = MyProcPid;
  unlock_shared_memory();
  if (pid) kill(pid, SIGTERM);
}

bool is_scheduler_there(Oid database) {
  if (!shared_memory_available()) return false;
  return read_shared_memory([database] {
    const DatabaseSlot *slot = find_database(database);
    return slot && (slot->pid != 0 || slot->starting);
  });
}

void let_schedulers_back() {
  if (!shared_memory_available()) return;
  lock_shared_memory(LW_EXCLUSIVE);
  for (int i = 0; i < shared_room.databases; ++i) {
    DatabaseSlot &slot = databases->slots[i];
    if (slot.holder != MyProcPid) continue;
    slot.holder = 0;
    slot.asked = true;
    slot.not_before = DT_NOBEGIN;
    wake_launcher();
  }
  unlock_shared_memory();
}

// ---- the launcher ----

bool attach_launcher() {
  lock_shared_memory(LW_EXCLUSIVE);
  const bool mine = databases->launcher.pid == 0;
  if (mine) {
    databases->launcher = {MyProcPid, MyLatch, DT_NOEND, 0, true};
    // That one which its predecessor has started never came up would not be noticed.
    for (int i = 0; i < shared_room.databases; ++i) databases->slots[i].starting = false;
  }
  unlock_shared_memory();
  return mine;
}

void detach_launcher() {
  lock_shared_memory(LW_EXCLUSIVE);
  if (databases->launcher.pid == MyProcPid) databases->launcher = {0, nullptr, DT_NOEND, 0, false};
  unlock_shared_memory();
}

void note_doors_changed() {
  if (!shared_memory_available()) return;
  lock_shared_memory(LW_EXCLUSIVE);
  databases->launcher.doors_changed = true;
  for (int i = 0; i < shared_room.databases; ++i) {
    DatabaseSlot &slot = databases->slots[i];
    if (slot.closed) slot.not_before = DT_NOBEGIN;
    slot.closed = false;
  }
  wake_launcher();
  unlock_shared_memory();
}

bool take_doors_changed() {
  lock_shared_memory(LW_EXCLUSIVE);
  const bool changed = databases->launcher.doors_changed;
  databases->launcher.doors_changed = false;
  unlock_shared_memory();
  return changed;
}

void note_closed(Oid database, TimestampTz look_again) {
  lock_shared_memory(LW_EXCLUSIVE);
  if (DatabaseSlot *slot = find_database(database)) {
    slot->closed = true;
    slot->not_before = look_again;
  }
  unlock_shared_memory();
}

bool enter_database(Oid database) {
  lock_shared_memory(LW_EXCLUSIVE);
  DatabaseSlot *slot = make_database(database);
  if (slot) slot->asked = true;
  unlock_shared_memory();
  return slot != nullptr;
}

void forget_rest_of(Oid database) {
  if (!shared_memory_available()) return;
  forget_watermarks_in(database);
  forget_ready_tenants(database);
  forget_workers_of(database);
}

void forget_database(Oid database) {
  if (!shared_memory_available()) return;
  lock_shared_memory(LW_EXCLUSIVE);
  if (DatabaseSlot *slot = find_database(database); slot && slot->pid == 0) {
    forget_dues(*slot);
    slot->database = InvalidOid;
    slot->holder = 0;
  }
  forget_rest_of(database);
  unlock_shared_memory();
  drop_counters_of(database);
}

int survey_databases(TimestampTz now, DatabaseNeed *needs) {
  int count = 0;
  lock_shared_memory(LW_EXCLUSIVE);
  // From now on a commit that makes anything due sets the launcher's latch.
  databases->launcher.wakes_at = DT_NOEND;
  for (int i = 0; i < shared_room.databases; ++i) {
    DatabaseSlot &slot = databases->slots[i];
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
  unlock_shared_memory();
  return count;
}

int room_for_databases() { return shared_room.databases; }

void note_launched(Oid database, bool starting) {
  lock_shared_memory(LW_EXCLUSIVE);
  if (DatabaseSlot *slot = find_database(database)) slot->starting = starting && slot->pid == 0;
  unlock_shared_memory();
}

int note_launch_failed(Oid database) {
  int failures = 0;
  lock_shared_memory(LW_EXCLUSIVE);
  if (DatabaseSlot *slot = find_database(database)) {
    failures = ++slot->failures;
    slot->starting = false;
    slot->turn = ++databases->turns;
    slot->not_before =
        GetCurrentTimestamp() + std::min(longest_backoff, shortest_backoff << std::min(failures - 1, 20));
  }
  unlock_shared_memory();
  return failures;
}

bool is_starting(Oid database) {
  return read_shared_memory([database] {
    const DatabaseSlot *slot = find_database(database);
    return slot && slot->starting;
  });
}

void plan_launcher_sleep(TimestampTz until, int waiting) {
  lock_shared_memory(LW_EXCLUSIVE);
  databases->launcher.wakes_at = until;
  databases->launcher.waiting = waiting;
  unlock_shared_memory();
}

}  // namespace insula
