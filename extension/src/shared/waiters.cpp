// Sessions that wait, and who wakes them.  A waiter registers before it looks for work,
// so a commit after the look finds it: no wake-up is lost.  One waiter is woken for one
// wake_up; if that one finds nothing (somebody else was faster, or its filter was too long
// to keep here), it passes the signal on to the next that fits, once round all slots.
// Whoever is woken owes a claim: until its transaction has claimed and committed, its end
// or its going away wakes another.
#include <algorithm>

#include "shared/clock.hpp"
#include "shared/shared.hpp"
#include "shared/state.hpp"

namespace insula {

namespace {

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

WaiterSlot &my_slot() { return shared->waiters[backend_slot()]; }

// Who has been woken for permits owes for them until it has claimed.
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

bool i_wait() { return shared && my_slot().latch != nullptr && my_slot().pid == MyProcPid; }

void clear_slot(WaiterSlot &slot) {
  --shared->waiting;
  if (slot.execution != 0) --shared->awaiting;
  slot.latch = nullptr;
}

// The session waits no more: what it would have looked at in time, another must.
void leave_slot(WaiterSlot &slot) {
  clear_slot(slot);
  if (slot.execution == 0) signal_for_due(slot.database, slot.tenant, std::min(slot.wakes_at, slot.told_due));
}

void end_of_session(int, Datum) {
  if (!shared) return;
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  WaiterSlot &slot = my_slot();
  if (i_wait()) {
    const bool signalled = slot.signalled;
    leave_slot(slot);
    if (signalled) signal_one_waiter(MyDatabaseId, slot.wake_up);
  }
  if (owes_claim) signal_one_waiter(MyDatabaseId, owed);
  forget_session(backend_slot());
  LWLockRelease(shared->lock);
}

void wake_one(std::int32_t tenant, bool permit) {
  if (!shared || shared->waiting == 0) return;
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  signal_one_waiter(MyDatabaseId, {tenant, 0, 0, permit});
  LWLockRelease(shared->lock);
}

}  // namespace

void register_end_of_session() {
  static int registered_by = 0;
  if (registered_by == MyProcPid) return;
  registered_by = MyProcPid;
  before_shmem_exit(end_of_session, Datum{0});
}

void signal_slot(WaiterSlot &slot) {
  slot.signalled = true;
  SetLatch(slot.latch);
}

void signal_one_waiter(Oid database, WakeUp wake_up) {
  if (shared->waiting == 0) return;
  for (int i = 0; i < shared->slots; ++i) {
    const int at = (shared->next_slot + i) % shared->slots;
    WaiterSlot &slot = shared->waiters[at];
    if (!fits(slot, database, wake_up)) continue;
    slot.wake_up = {wake_up.tenant, wake_up.key, at, wake_up.permit};
    signal_slot(slot);
    shared->next_slot = (at + 1) % shared->slots;
    return;
  }
}

void signal_everyone(Oid database) {
  for (int at = 0; at < shared->slots; ++at) {
    WaiterSlot &slot = shared->waiters[at];
    if (slot.latch && slot.database == database) signal_slot(slot);
  }
}

// Makes sure that one of those who wait for the tenant looks by then.
void signal_for_due(Oid database, std::int32_t tenant, TimestampTz due) {
  if (shared->waiting == 0) return;
  // Of a session that ends in the middle of its look nobody knows what it would have seen.
  due = std::max(due, clock_now());
  WaiterSlot *candidate = nullptr;
  for (int at = 0; at < shared->slots; ++at) {
    WaiterSlot &slot = shared->waiters[at];
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
  candidate->wake_up = {tenant, 0, static_cast<std::int32_t>(candidate - shared->waiters), false};
  signal_slot(*candidate);
}

void signal_all_of_tenant(Oid database, std::int32_t tenant) {
  for (int at = 0; at < shared->slots; ++at) {
    WaiterSlot &slot = shared->waiters[at];
    if (slot.latch && slot.database == database && slot.tenant == tenant) signal_slot(slot);
  }
}

TimestampTz plan_look(TimestampTz at) {
  if (!i_wait()) return at;
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  WaiterSlot &slot = my_slot();
  at = std::min(at, slot.told_due);
  slot.wakes_at = at;
  LWLockRelease(shared->lock);
  return at;
}

void begin_wait(const WaitFilter &filter) {
  if (!shared) return;
  register_end_of_session();
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  WaiterSlot &slot = my_slot();
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
  ++shared->waiting;
  if (slot.execution != 0) ++shared->awaiting;
  LWLockRelease(shared->lock);
}

void end_wait() {
  if (!i_wait()) return;
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  WaiterSlot &slot = my_slot();
  if (slot.signalled) owe(slot);
  leave_slot(slot);
  LWLockRelease(shared->lock);
}

bool take_signal() {
  if (!i_wait()) return false;
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  WaiterSlot &slot = my_slot();
  const bool signalled = slot.signalled;
  slot.signalled = false;
  if (signalled) owe(slot);
  LWLockRelease(shared->lock);
  return signalled;
}

// A latch may be reset by any sleep of the backend; the signal itself is not lost.
bool has_signal() { return i_wait() && my_slot().signalled; }

void pass_signal_on() {
  if (!shared || !owes_claim) return;
  owes_claim = false;
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  for (int at = (backend_slot() + 1) % shared->slots; at != owed.origin; at = (at + 1) % shared->slots) {
    WaiterSlot &slot = shared->waiters[at];
    if (!fits(slot, MyDatabaseId, owed)) continue;
    slot.wake_up = owed;
    signal_slot(slot);
    break;
  }
  LWLockRelease(shared->lock);
}

void wake_another(std::int32_t tenant) { wake_one(tenant, woken_for_permit()); }

void wake_for_permit(std::int32_t tenant) { wake_one(tenant, true); }

void pass_permits_on() {
  if (woken_for_permit()) wake_for_permit(owed.tenant);
}

void pass_owed_on() {
  if (!shared || !owes_claim) return;
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  signal_one_waiter(MyDatabaseId, owed);
  LWLockRelease(shared->lock);
}

bool woken_for_permit() { return owes_claim && owed.permit; }

void settle_wake_up() { owes_claim = false; }

int waiting_sessions() { return shared ? shared->waiting : 0; }

}  // namespace insula
