// Sessions that wait, for the other files of this folder; shared.hpp has the calls of sessions.  Under the
// lock of shared memory.
#pragma once

#include "shared/memory.hpp"
#include "shared/workers.hpp"

namespace insula {

struct WakeUp {
  std::int32_t tenant;
  std::int32_t key;     // of the task that became ready; 0: any
  std::int32_t origin;  // the slot that was woken first; passing on ends there
  bool permit;          // it is for permits that came back
};

// The tenant is among the ready ones from now on.
void wake_one_waiter(Oid database, WakeUp wake_up);
// The tenant's permits lock is free.  Visits that found it held have left the tenant among the ready ones.
void wake_for_permits_lock(Oid database, std::int32_t tenant);
// For a tenant with ready tasks of more keys than were told.
void wake_all_that_fit(Oid database, std::int32_t tenant);
// Makes sure that a session which waits for the tenant looks by then.
void wake_for_due(Oid database, std::int32_t tenant, TimestampTz due);
// Makes sure that each session which waits for all tenants looks by then.
void let_fleets_look_by(Oid database, TimestampTz due);
void wake_all_of_tenant(Oid database, std::int32_t tenant);
void wake_all_waiters(Oid database);
// The sessions of this database that wait for one of these executions; in ascending order.
void wake_awaiting(const std::int64_t *executions, int count);

// The slot of a session of the worker that waits, other than `except`; -1: there is none.
int find_waiting_session(const WorkerKey &worker, int except);
int pid_of_waiter(int slot);
// Sets latches only: what ends the wait is elsewhere.
void wake_session(int slot);
bool any_session_waits();

void register_end_of_session();

}  // namespace insula
