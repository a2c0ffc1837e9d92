// The calls that wait: for work, for work to claim, and for the end of an execution.
//
// A wait looks in a transaction of its own, commits that, and only then sleeps: a session that sleeps
// holds no snapshot, no transaction and no lock.  It registers with shared memory before it looks, so
// that a commit after the look wakes it.  Without shared memory it looks once a second.
//
// Each call here commits the transaction that it is called in.
#pragma once

#include "operation/claim_call.hpp"

namespace insula {

// A worker's wait for work.
struct WorkWait {
  std::int32_t tenant;  // 0: all
  const char *name;     // the tenant's
  const char *worker;   // nullptr: none
  Oid role;             // the worker's
  const char **tasks;   // nullptr: any
  int task_count;
  std::int64_t end;     // of the timeout, in passing time
  TenantChoice choice;  // among all tenants
};

// A claim at the end of the wait, and how it went.
struct WaitingClaim {
  ClaimCall call;
  ClaimOutput output;
  std::int64_t called_at;  // in passing time
  std::int64_t waited;     // from the call to the last claim
  TimestampTz claimed_at;
  bool news;  // the worker was nudged, or one of its executions has ended, or shared memory cannot tell it so
};

// Sleeps until there is work to claim: true; or until the timeout or a nudge.
bool wait_for_work(const WorkWait &wait);

// Waits as wait_for_work does, and claims the work; true: it has claimed.
bool wait_and_claim(const WorkWait &wait, WaitingClaim *claim);

// Asks about an execution in each look; `ended` registers the wait for it by begin_wait, and may set when the next
// look is due even if no commit wakes the session.
struct EndedTest {
  bool (*ended)(void *self, TimestampTz *next);
  void *self;
};

// Sleeps until the execution has ended or the timeout is over.
void wait_for_end(const EndedTest &test, std::int64_t end);

}  // namespace insula
