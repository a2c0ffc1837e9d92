// Sessions that wait, and their wake-ups.  A waiter registers before it looks for work,
// so a commit after the look finds it: no wake-up is lost.  One waiter is woken for one task key that
// became ready; if it finds nothing (another session was faster, or its filter was too long
// to keep here), it passes the signal on to the next that fits, once round all slots.
// A session that is woken owes a claim: until its transaction has claimed and committed, its end
// or its going away wakes another.
#include "shared/waiters.hpp"

#include <algorithm>

#include "shared/clock.hpp"

namespace insula {

namespace {

constexpr int max_filter_keys = 64;

struct WaiterSlot {
  Latch *latch;  // nullptr: the slot is free
  int pid;
  Oid database;
  std::int32_t tenant;     // 0: all
  std::int32_t key_count;  // -1: any task, also where the filter had no room
  std::int32_t keys[max_filter_keys];
  bool has_worker;
  WorkerKey worker;
  std::int64_t execution;  // awaited; 0: none
  TimestampTz wakes_at;    // when it will look by itself; DT_NOBEGIN: it is looking
  TimestampTz told_due;    // the earliest moment that became due while it was looking
  bool signalled;
  WakeUp wake_up;  // the reason of the signal
};

struct Waiters {
  int waiting;                              // slots in use
  int awaiting;                             // of these, slots with an execution
  int next_slot;                            // where the search for a waiter starts
  WaiterSlot slots[FLEXIBLE_ARRAY_MEMBER];  // one a backend
};

Waiters *waiters = nullptr;

bool owes_claim = false;  // this session was woken and has not claimed since
WakeUp owed = {0, 0, 0, false};

bool fits(const WaiterSlot &slot, Oid database, const WakeUp &wake_up) {
  if (!slot.latch || slot.signalled || slot.execution != 0 || slot.database != database) return false;
  if (slot.tenant != 0 && wake_up.tenant != 0 && slot.tenant != wake_up.tenant) return false;
  if (slot.key_count < 0) return true;
  if (wake_up.key == 0) return slot.key_count > 0;
  for (int i = 0; i < slot.key_count; ++i)
    if (slot.keys[i] == wake_up.key) return true;
  return false;
}

WaiterSlot &my_waiter_slot() { return waiters->slots[backend_slot()]; }

// A session that was woken for permits owes for them until it has claimed.
void owe(const WaiterSlot &slot) {
  WakeUp wake_up = slot.wake_up;
  if (owes_claim) {
    wake_up.permit = wake_up.permit || owed.permit;
    if (wake_up.tenant != owed.tenant) wake_up.tenant = 0;
    if (wake_up.key != owed.key) wake_up.key = 0;
    wake_up.origin = backend_slot();  // it goes round from here
  }
  owes_claim = slot.execution == 0;
  owed = wake_up;
}

void signal_slot(WaiterSlot &slot) {
  slot.signalled = true;
  SetLatch(slot.latch);
}

bool i_wait() {
  return shared_memory_available() && my_waiter_slot().latch != nullptr && my_waiter_slot().pid == MyProcPid;
}

void clear_slot(WaiterSlot &slot) {
  --waiters->waiting;
  if (slot.execution != 0) --waiters->awaiting;
  slot.latch = nullptr;
}

// The session waits no more: what it would have looked at in time, another must.
void leave_slot(WaiterSlot &slot) {
  clear_slot(slot);
  if (slot.execution == 0) signal_for_due(slot.database, slot.tenant, std::min(slot.wakes_at, slot.told_due));
}

void end_of_session(int, Datum) {
  if (!shared_memory_available()) return;
  lock_shared_memory(LW_EXCLUSIVE);
  WaiterSlot &slot = my_waiter_slot();
  if (i_wait()) {
    const bool signalled = slot.signalled;
    leave_slot(slot);
    if (signalled) signal_one_waiter(MyDatabaseId, slot.wake_up);
  }
  if (owes_claim) signal_one_waiter(MyDatabaseId, owed);
  forget_session(backend_slot());
  unlock_shared_memory();
}

void wake_one(std::int32_t tenant, bool permit) {
  if (!shared_memory_available() || waiters->waiting == 0) return;
  lock_shared_memory(LW_EXCLUSIVE);
  signal_one_waiter(MyDatabaseId, {tenant, 0, 0, permit});
  unlock_shared_memory();
}

}  // namespace

const SharedPart waiters_part = {
    [] { return MAXALIGN(offsetof(Waiters, slots) + sizeof(WaiterSlot) * static_cast<Size>(MaxBackends)); },
    [](bool first) {
      bool found;
      const Size size = waiters_part.size();
      waiters = static_cast<Waiters *>(ShmemInitStruct("insula waiters", size, &found));
      if (first) memset(waiters, 0, size);
    }};

void register_end_of_session() {
  static int registered_by = 0;
  if (registered_by == MyProcPid) return;
  registered_by = MyProcPid;
  before_shmem_exit(end_of_session, Datum{0});
}

void signal_one_waiter(Oid database, WakeUp wake_up) {
  if (waiters->waiting == 0) return;
  for (int i = 0; i < MaxBackends; ++i) {
    const int at = (waiters->next_slot + i) % MaxBackends;
    WaiterSlot &slot = waiters->slots[at];
    if (!fits(slot, database, wake_up)) continue;
    slot.wake_up = {wake_up.tenant, wake_up.key, at, wake_up.permit};
    signal_slot(slot);
    waiters->next_slot = (at + 1) % MaxBackends;
    return;
  }
}

void signal_all_that_fit(Oid database, std::int32_t tenant) {
  for (int at = 0; at < MaxBackends; ++at) {
    WaiterSlot &slot = waiters->slots[at];
    const WakeUp wake_up = {tenant, 0, at, false};
    if (!fits(slot, database, wake_up)) continue;
    slot.wake_up = wake_up;
    signal_slot(slot);
  }
}

void signal_everyone(Oid database) {
  for (int at = 0; at < MaxBackends; ++at) {
    WaiterSlot &slot = waiters->slots[at];
    if (slot.latch && slot.database == database) signal_slot(slot);
  }
}

void signal_for_due(Oid database, std::int32_t tenant, TimestampTz due) {
  if (waiters->waiting == 0) return;
  // What a session that ends in the middle of its look would have seen is not known.
  due = std::max(due, clock_now());
  WaiterSlot *candidate = nullptr;
  for (int at = 0; at < MaxBackends; ++at) {
    WaiterSlot &slot = waiters->slots[at];
    if (!slot.latch || slot.execution != 0 || slot.database != database) continue;
    if (slot.tenant != 0 && tenant != 0 && slot.tenant != tenant) continue;
    if (slot.signalled) return;
    if (slot.wakes_at <= due) {
      // One that is looking may have looked already: it shall take this into its plan.
      slot.told_due = std::min(slot.told_due, due);
      return;
    }
    candidate = &slot;
  }
  if (!candidate) return;
  candidate->wake_up = {tenant, 0, static_cast<std::int32_t>(candidate - waiters->slots), false};
  signal_slot(*candidate);
}

void signal_all_of_tenant(Oid database, std::int32_t tenant) {
  for (int at = 0; at < MaxBackends; ++at) {
    WaiterSlot &slot = waiters->slots[at];
    if (slot.latch && slot.database == database && slot.tenant == tenant) signal_slot(slot);
  }
}

void signal_awaiting(const std::int64_t *executions, int count) {
  if (waiters->awaiting == 0) return;
  for (int at = 0; at < MaxBackends; ++at) {
    WaiterSlot &slot = waiters->slots[at];
    if (!slot.latch || slot.execution == 0 || slot.database != MyDatabaseId) continue;
    if (std::binary_search(executions, executions + count, slot.execution)) signal_slot(slot);
  }
}

int find_waiting_session(const WorkerKey &worker, int except) {
  for (int at = 0; at < MaxBackends; ++at) {
    const WaiterSlot &slot = waiters->slots[at];
    if (at != except && slot.latch && slot.has_worker && slot.worker == worker) return at;
  }
  return -1;
}

void wake_session(int slot) { SetLatch(waiters->slots[slot].latch); }

void wake_sessions_of(Oid database) {
  for (int at = 0; at < MaxBackends; ++at)
    if (waiters->slots[at].latch && waiters->slots[at].database == database) SetLatch(waiters->slots[at].latch);
}

bool any_session_waits() { return waiters->waiting > 0; }

TimestampTz plan_look(TimestampTz at) {
  if (!i_wait()) return at;
  lock_shared_memory(LW_EXCLUSIVE);
  WaiterSlot &slot = my_waiter_slot();
  at = std::min(at, slot.told_due);
  slot.wakes_at = at;
  unlock_shared_memory();
  return at;
}

void begin_wait(const WaitFilter &filter) {
  if (!shared_memory_available()) return;
  register_end_of_session();
  lock_shared_memory(LW_EXCLUSIVE);
  WaiterSlot &slot = my_waiter_slot();
  if (slot.latch) {
    // A signal that came since the last look is answered by the coming one.
    if (slot.signalled) owe(slot);
    clear_slot(slot);
  }
  slot = {};
  slot.latch = MyLatch;
  slot.pid = MyProcPid;
  slot.database = MyDatabaseId;
  slot.tenant = filter.tenant;
  slot.key_count = -1;
  slot.wakes_at = DT_NOBEGIN;
  slot.told_due = DT_NOEND;
  if (filter.keys && filter.key_count <= max_filter_keys) {
    slot.key_count = filter.key_count;
    for (int i = 0; i < filter.key_count; ++i) slot.keys[i] = filter.keys[i];
  }
  slot.execution = filter.execution;
  slot.has_worker = filter.worker != nullptr;
  if (filter.worker) slot.worker = worker_key(filter.role, filter.worker);
  ++waiters->waiting;
  if (slot.execution != 0) ++waiters->awaiting;
  unlock_shared_memory();
}

void end_wait() {
  if (!i_wait()) return;
  lock_shared_memory(LW_EXCLUSIVE);
  WaiterSlot &slot = my_waiter_slot();
  if (slot.signalled) owe(slot);
  leave_slot(slot);
  unlock_shared_memory();
}

bool take_signal() {
  if (!i_wait()) return false;
  lock_shared_memory(LW_EXCLUSIVE);
  WaiterSlot &slot = my_waiter_slot();
  const bool signalled = slot.signalled;
  slot.signalled = false;
  if (signalled) owe(slot);
  unlock_shared_memory();
  return signalled;
}

// A latch may be reset by any sleep of the backend; the signal itself is not lost.
bool has_signal() { return i_wait() && my_waiter_slot().signalled; }

void pass_signal_on() {
  if (!shared_memory_available() || !owes_claim) return;
  owes_claim = false;
  lock_shared_memory(LW_EXCLUSIVE);
  for (int at = (backend_slot() + 1) % MaxBackends; at != owed.origin; at = (at + 1) % MaxBackends) {
    WaiterSlot &slot = waiters->slots[at];
    if (!fits(slot, MyDatabaseId, owed)) continue;
    slot.wake_up = owed;
    signal_slot(slot);
    break;
  }
  unlock_shared_memory();
}

void wake_another(std::int32_t tenant) { wake_one(tenant, woken_for_permit()); }

void wake_for_permit(std::int32_t tenant) { wake_one(tenant, true); }

void pass_permits_on() {
  if (woken_for_permit()) wake_for_permit(owed.tenant);
}

void pass_owed_on() {
  if (!shared_memory_available() || !owes_claim) return;
  lock_shared_memory(LW_EXCLUSIVE);
  signal_one_waiter(MyDatabaseId, owed);
  unlock_shared_memory();
}

bool woken_for_permit() { return owes_claim && owed.permit; }

void settle_wake_up() { owes_claim = false; }

int waiting_sessions() { return shared_memory_available() ? waiters->waiting : 0; }

}  // namespace insula
