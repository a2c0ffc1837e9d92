// The background workers: a launcher for the cluster, where the library is preloaded, and a
// scheduler for each database in which something is due.  shared/due_queue.hpp is what they and
// the sessions share.
#pragma once

#include "postgres.hpp"
#include "shared/transaction_end.hpp"

extern "C" {
#include "postmaster/bgworker.h"
}

namespace insula {

void define_scheduler_settings();

// ---- register.cpp ----

void register_launcher();  // from _PG_init, while preloading
// False: there is no free slot for a background worker.  The new scheduler does nothing
// before the transaction `after` has ended.
bool launch_scheduler(Oid database, TransactionId after, BackgroundWorkerHandle **handle);
// The process of this database's scheduler, also of one without shared memory; 0: none.
int find_scheduler();
// Lets one without shared memory look around.  May be called when its database has committed.
void nudge_scheduler(int pid);
// The same once this transaction has committed, so that it finds something new to be seen.
void nudge_scheduler_at_commit(int pid);
extern const TransactionStep scheduler_nudge_step;
// What start_scheduler and stop_scheduler said last in this database.
bool scheduler_is_wanted();
// The database has been recorded as the home of its tenants: a scheduler may serve it from now on.
void ask_for_scheduler();

int max_schedulers();

// ---- process.cpp: what both kinds of process need ----

void start_process(const char *activity);
bool must_end();
// Sleeps until the latch is set, or until then by the server's own clock.
void sleep_until(TimestampTz at, const char *activity);

// Runs work in a transaction of its own.  False: it failed, and *error (in the caller's
// memory) says why.
using TransactionWork = void (*)(void *argument);
bool run_transaction(TransactionWork work, void *argument, ErrorData **error);

template <typename Work>
bool in_transaction(Work work, ErrorData **error) {
  return run_transaction([](void *argument) { (*static_cast<Work *>(argument))(); }, &work, error);
}

// ---- visit.cpp: one tenant's turn ----

struct Visit {
  std::int32_t tenant;
  bool reload;       // its schedules may have changed; stays so where he could not be visited
  bool ended;        // an execution that it awaited may have ended
  TimestampTz next;  // when it is due again
  bool awaits;       // or when an execution ends
  bool trouble;      // something of it had to be left undone, and has been noted
};
// In a transaction of its own.
void visit_tenant(Visit *visit);

// ---- trouble.cpp: tenants that are set aside ----

void read_troubled_tenants();
// When a tenant that has failed may be visited again; DT_NOBEGIN: now.
TimestampTz set_aside_until(std::int32_t tenant);
bool is_set_aside(std::int32_t tenant);
// Notes and logs it; returns when to try again.
TimestampTz set_aside(std::int32_t tenant, const ErrorData *error);
// Notes what is wrong with a part of it, in the present transaction.
void note_trouble(std::int32_t tenant, const char *message);
void no_longer_aside(std::int32_t tenant);

// ---- guard.cpp ----

// Commands that need a database to themselves end its scheduler first.
void guard_databases();
extern const TransactionStep database_guard_step;

}  // namespace insula
