// Sessions that wait, and their wake-ups.  A waiter registers before it looks for work,
// so a commit after the look finds it: no wake-up is lost.  One waiter is woken for one task key that
// became ready; if it finds nothing (another session was faster, or its filter was too long
// to keep here), it passes the wake-up on to the next that fits, once round all slots.
// Waiters are found by their tenant or their worker, so that a commit does not look at those of other tenants.
// A session that is woken owes a claim: until its transaction has claimed and committed, its end
// or its going away wakes another.
#include "shared/waiters.hpp"

#include <algorithm>

#include "core/ids.hpp"
#include "core/list.hpp"
#include "shared/clock.hpp"
#include "shared/ready_tenants.hpp"

extern "C" {
#include "common/hashfn.h"
}

namespace insula {

using core::Link;
using core::List;

namespace {

constexpr int max_filter_keys = 64;

struct WaiterSlot {
  Link<WaiterSlot> of_tenant;
  Link<WaiterSlot> of_worker;
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
  bool woken;
  WakeUp wake_up;  // its reason
};

struct Waiters {
  int waiting;                              // slots in use
  int awaiting;                             // of these, slots with an execution
  int next_slot;                            // where the search for a waiter starts
  WaiterSlot slots[FLEXIBLE_ARRAY_MEMBER];  // one a backend
};

Waiters *waiters = nullptr;
// Lists of waiters, by the hash of their tenant and of their worker: MaxBackends of each.
List<WaiterSlot> *lists_of_tenants = nullptr;
List<WaiterSlot> *lists_of_workers = nullptr;

bool owes_claim = false;  // this session was woken and has not claimed since
WakeUp owed = {0, 0, 0, false};

bool fits(const WaiterSlot &slot, Oid database, const WakeUp &wake_up) {
  if (!slot.latch || slot.woken || slot.execution != 0 || slot.database != database) return false;
  if (slot.tenant != 0 && wake_up.tenant != 0 && slot.tenant != wake_up.tenant) return false;
  if (slot.key_count < 0) return true;
  if (wake_up.key == 0) return slot.key_count > 0;
  for (int i = 0; i < slot.key_count; ++i)
    if (slot.keys[i] == wake_up.key) return true;
  return false;
}

Size waiters_size() { return offsetof(Waiters, slots) + sizeof(WaiterSlot) * static_cast<Size>(MaxBackends); }

Size lists_size() { return sizeof(List<WaiterSlot>) * static_cast<Size>(MaxBackends); }

List<WaiterSlot> *make_lists(const char *name, bool first) {
  bool found;
  auto *lists = static_cast<List<WaiterSlot> *>(ShmemInitStruct(name, lists_size(), &found));
  for (int i = 0; i < MaxBackends && first; ++i) lists[i].clear();
  return lists;
}

template <typename Key>
List<WaiterSlot> &list_of(List<WaiterSlot> *lists, const Key &key) {
  const std::uint32_t hash = hash_bytes(reinterpret_cast<const unsigned char *>(&key), sizeof key);
  return lists[hash % static_cast<std::uint32_t>(MaxBackends)];
}

int place_of(const WaiterSlot &slot) { return static_cast<int>(&slot - waiters->slots); }

// The waiters for one tenant; 0: for all tenants.
template <typename Visit>
void for_each_of(Oid database, std::int32_t tenant, Visit visit) {
  (void)list_of(lists_of_tenants, TenantKey{database, tenant}).find([&](WaiterSlot &slot) {
    if (slot.database == database && slot.tenant == tenant) visit(slot);
    return false;
  });
}

// The waiters that a wake-up may be for; tenant 0, after wake-ups for several: any.
template <typename Visit>
void for_each_candidate(Oid database, std::int32_t tenant, Visit visit) {
  if (tenant != 0) {
    for_each_of(database, tenant, visit);
    for_each_of(database, 0, visit);
    return;
  }
  for (int at = 0; at < MaxBackends; ++at) visit(waiters->slots[at]);
}

// The first that fits, from slot `from` on; `most` slots further at the most.
WaiterSlot *next_that_fits(Oid database, const WakeUp &wake_up, int from, int most) {
  WaiterSlot *next = nullptr;
  for_each_candidate(database, wake_up.tenant, [&](WaiterSlot &slot) {
    const int distance = (place_of(slot) - from + MaxBackends) % MaxBackends;
    if (distance >= most || !fits(slot, database, wake_up)) return;
    next = &slot;
    most = distance;
  });
  return next;
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

void wake_slot(WaiterSlot &slot) {
  slot.woken = true;
  SetLatch(slot.latch);
}

bool i_wait() {
  return shared_memory_available() && my_waiter_slot().latch != nullptr && my_waiter_slot().pid == MyProcPid;
}

void clear_slot(WaiterSlot &slot) {
  --waiters->waiting;
  if (slot.execution != 0) --waiters->awaiting;
  slot.latch = nullptr;
  slot.of_tenant.remove();
  if (slot.has_worker) slot.of_worker.remove();
}

// The session waits no more: the look that it had planned is handed to another waiter that fits.
void leave_slot(WaiterSlot &slot) {
  clear_slot(slot);
  if (slot.execution == 0) wake_for_due(slot.database, slot.tenant, std::min(slot.wakes_at, slot.told_due));
}

void end_of_session(int, Datum) {
  if (!shared_memory_available()) return;
  lock_shared_memory(LW_EXCLUSIVE);
  WaiterSlot &slot = my_waiter_slot();
  if (i_wait()) {
    const bool woken = slot.woken;
    leave_slot(slot);
    if (woken) wake_one_waiter(MyDatabaseId, slot.wake_up);
  }
  if (owes_claim) wake_one_waiter(MyDatabaseId, owed);
  unlock_shared_memory();
  forget_session(backend_slot());
}

void lock_and_wake_one(std::int32_t tenant, bool permit) {
  if (!shared_memory_available()) return;
  lock_shared_memory(LW_EXCLUSIVE);
  wake_one_waiter(MyDatabaseId, {tenant, 0, 0, permit});
  unlock_shared_memory();
}

}  // namespace

const SharedPart waiters_part = {
    [] { return MAXALIGN(waiters_size()) + 2 * MAXALIGN(lists_size()); },
    [](bool first) {
      bool found;
      waiters = static_cast<Waiters *>(ShmemInitStruct("insula waiters", waiters_size(), &found));
      lists_of_tenants = make_lists("insula waiters' tenants", first);
      lists_of_workers = make_lists("insula waiters' workers", first);
      if (first) memset(waiters, 0, waiters_size());
    }};

void register_end_of_session() {
  static int registered_by = 0;
  if (registered_by == MyProcPid) return;
  registered_by = MyProcPid;
  before_shmem_exit(end_of_session, Datum{0});
}

static void wake_next(Oid database, WakeUp wake_up) {
  if (waiters->waiting == 0) return;
  WaiterSlot *slot = next_that_fits(database, wake_up, waiters->next_slot, MaxBackends);
  if (!slot) return;
  const int at = place_of(*slot);
  slot->wake_up = {wake_up.tenant, wake_up.key, at, wake_up.permit};
  wake_slot(*slot);
  waiters->next_slot = (at + 1) % MaxBackends;
}

void wake_one_waiter(Oid database, WakeUp wake_up) {
  if (wake_up.tenant != 0) enter_ready_tenant(wake_up.tenant);
  wake_next(database, wake_up);
}

void wake_for_permits_lock(Oid database, std::int32_t tenant) { wake_next(database, {tenant, 0, 0, true}); }

void wake_all_that_fit(Oid database, std::int32_t tenant) {
  enter_ready_tenant(tenant);
  if (waiters->waiting == 0) return;
  for_each_candidate(database, tenant, [&](WaiterSlot &slot) {
    const WakeUp wake_up = {tenant, 0, place_of(slot), false};
    if (!fits(slot, database, wake_up)) return;
    slot.wake_up = wake_up;
    wake_slot(slot);
  });
}

void wake_all_waiters(Oid database) {
  for (int at = 0; at < MaxBackends; ++at) {
    WaiterSlot &slot = waiters->slots[at];
    if (slot.latch && slot.database == database) wake_slot(slot);
  }
}

// One of the waiters for the tenant, or else, only if it has none, one of those for all tenants: these
// do not tell each tenant's own waiters when they stop waiting.
void wake_for_due(Oid database, std::int32_t tenant, TimestampTz due) {
  if (waiters->waiting == 0) return;
  // What a session that ends in the middle of its look would have seen is not known.
  due = std::max(due, clock_now());
  WaiterSlot *candidate = nullptr;
  bool one_will_look = false;
  const auto ask = [&](WaiterSlot &slot) {
    if (one_will_look || slot.execution != 0) return;
    one_will_look = slot.woken || slot.wakes_at <= due;
    // One that is looking may have looked already: it shall take this into its plan.
    if (one_will_look && !slot.woken) slot.told_due = std::min(slot.told_due, due);
    candidate = &slot;
  };
  for_each_of(database, tenant, ask);
  if (!candidate && tenant != 0) for_each_of(database, 0, ask);
  if (!candidate || one_will_look) return;
  candidate->wake_up = {tenant, 0, place_of(*candidate), false};
  wake_slot(*candidate);
}

// A session whose latch is set looks and plans anew; without a wake-up it owes no claim.
void let_fleets_look_by(Oid database, TimestampTz due) {
  if (waiters->waiting == 0) return;
  for_each_of(database, 0, [&](WaiterSlot &slot) {
    if (slot.execution != 0) return;
    slot.told_due = std::min(slot.told_due, due);
    if (slot.wakes_at > due) SetLatch(slot.latch);
  });
}

void wake_all_of_tenant(Oid database, std::int32_t tenant) {
  for_each_of(database, tenant, [](WaiterSlot &slot) { wake_slot(slot); });
}

void wake_awaiting(const std::int64_t *executions, int count) {
  if (waiters->awaiting == 0) return;
  for (int first = 0, last = 0; first < count; first = last) {
    const std::int32_t tenant = core::tenant_of(executions[first]);
    while (last < count && core::tenant_of(executions[last]) == tenant) ++last;
    for_each_of(MyDatabaseId, tenant, [&](WaiterSlot &slot) {
      if (slot.execution != 0 && std::binary_search(executions + first, executions + last, slot.execution))
        wake_slot(slot);
    });
  }
}

int find_waiting_session(const WorkerKey &worker, int except) {
  const WaiterSlot *slot = list_of(lists_of_workers, worker).find([&](const WaiterSlot &other) {
    return place_of(other) != except && other.worker == worker;
  });
  return slot ? place_of(*slot) : -1;
}

int pid_of_waiter(int slot) { return waiters->slots[slot].pid; }

void wake_session(int slot) { SetLatch(waiters->slots[slot].latch); }

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
    // A wake-up that came since the last look is answered by the coming one.
    if (slot.woken) owe(slot);
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
  list_of(lists_of_tenants, TenantKey{slot.database, slot.tenant}).append(&slot, &slot.of_tenant);
  if (slot.has_worker) list_of(lists_of_workers, slot.worker).append(&slot, &slot.of_worker);
  unlock_shared_memory();
}

void end_wait() {
  if (!i_wait()) return;
  lock_shared_memory(LW_EXCLUSIVE);
  WaiterSlot &slot = my_waiter_slot();
  if (slot.woken) owe(slot);
  leave_slot(slot);
  unlock_shared_memory();
}

bool take_wake_up() {
  if (!i_wait()) return false;
  lock_shared_memory(LW_EXCLUSIVE);
  WaiterSlot &slot = my_waiter_slot();
  const bool woken = slot.woken;
  slot.woken = false;
  if (woken) owe(slot);
  unlock_shared_memory();
  return woken;
}

// A latch may be reset by any sleep of the backend; the wake-up itself is not lost.
bool has_wake_up() { return i_wait() && my_waiter_slot().woken; }

void pass_wake_up_on() {
  if (!shared_memory_available() || !owes_claim) return;
  owes_claim = false;
  lock_shared_memory(LW_EXCLUSIVE);
  const int next = (backend_slot() + 1) % MaxBackends;
  const int before_origin = (owed.origin - next + MaxBackends) % MaxBackends;
  if (WaiterSlot *slot = next_that_fits(MyDatabaseId, owed, next, before_origin)) {
    slot->wake_up = owed;
    wake_slot(*slot);
  }
  unlock_shared_memory();
}

// The tenant is among the ready ones still.
void wake_another(std::int32_t tenant) {
  if (waiting_sessions() > 0) lock_and_wake_one(tenant, woken_for_permit());
}

void wake_for_permit(std::int32_t tenant) { lock_and_wake_one(tenant, true); }

void pass_permits_on() {
  if (woken_for_permit()) wake_for_permit(owed.tenant);
}

void pass_owed_on() {
  if (!shared_memory_available() || !owes_claim) return;
  lock_shared_memory(LW_EXCLUSIVE);
  wake_one_waiter(MyDatabaseId, owed);
  unlock_shared_memory();
}

bool woken_for_permit() { return owes_claim && owed.permit; }

void answer_wake_up() { owes_claim = false; }

int waiting_sessions() { return shared_memory_available() ? waiters->waiting : 0; }

}  // namespace insula
