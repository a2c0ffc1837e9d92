// The background workers: a launcher for the cluster, where the library is preloaded, and a
// scheduler for each database in which something is due.  They share shared/due_queue.hpp with the
// sessions.
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
// False: no background worker slot is free.  The new scheduler waits for the end of transaction
// `after`, so that it can see what the transaction made.
bool launch_scheduler(Oid database, FullTransactionId after, BackgroundWorkerHandle **handle);
// The process of this database's scheduler; it is found without shared memory, too. 0: none.
int find_scheduler();
// Makes a scheduler without shared memory look around, after this session's commit.
void nudge_scheduler(int pid);
// The same at this transaction's commit, so that the scheduler can see its changes.
void nudge_scheduler_at_commit(int pid);
extern const TransactionStep scheduler_nudge_step;
// Whether start_scheduler, not stop_scheduler, was called last in this database.
bool scheduler_is_wanted();
// The database has become the home of its tenants: a scheduler may serve it from now on.
void ask_for_scheduler();

int max_schedulers();

// ---- process.cpp: what both kinds of process need ----

void start_process(const char *activity);
bool must_end();
// Sleeps until the latch is set, or until `at` by the server's own clock.
void sleep_until(TimestampTz at, const char *activity);

// Runs work in a transaction of its own.  False: it failed; *error is a copy in the caller's
// memory.
using TransactionWork = void (*)(void *argument);
bool run_transaction(TransactionWork work, void *argument, ErrorData **error);

template <typename Work>
bool in_transaction(Work work, ErrorData **error) {
  return run_transaction([](void *argument) { (*static_cast<Work *>(argument))(); }, &work, error);
}

// ---- visit.cpp ----

struct Visit {
  std::int32_t tenant;
  bool reload;           // the schedules may have changed; stays set if the tenant could not be visited
  bool ended;            // an execution that a fire waits for may have ended
  TimestampTz next;      // when the tenant is due again
  bool awaits;           // it is also due when an execution ends
  bool trouble;          // a part of the visit failed, and is noted
  std::int64_t longest;  // what a visit takes at most, in microseconds, but for its last step
};
// Runs in the caller's transaction, which is the visit's own.
void visit_tenant(Visit *visit);

// ---- turn.cpp: whose turn it is, which outlives a crash of the server ----

// The tenant in whose turn the scheduler before has died; 0: none.
std::int32_t open_turns();
void begin_turn(std::int32_t tenant);
void end_turn();
void close_turns();

// ---- trouble.cpp: tenants that are set aside ----

void read_troubled_tenants();
// When a tenant that has failed may be visited again; DT_NOBEGIN: now.
TimestampTz set_aside_until(std::int32_t tenant);
bool is_set_aside(std::int32_t tenant);
// Stores and logs the error; returns when to visit the tenant again.
TimestampTz set_aside(std::int32_t tenant, const ErrorData *error);
// Stores and logs the error of one schedule, in the present transaction.
void note_trouble(std::int32_t tenant, const char *message);
void no_longer_aside(std::int32_t tenant);
// DT_NOEND: none are remembered of a tenant that is served.
TimestampTz deaths_are_forgotten_at(std::int32_t tenant);
// A scheduler has died in the tenant's turn.  After a few such deaths nothing that time causes is done for a while, nor
// is it tried again because something may have been mended.
void note_death(std::int32_t tenant);
bool is_aside_for_deaths(std::int32_t tenant);
// An administrator may have brought it back.
void read_trouble_again(std::int32_t tenant);

// ---- guard.cpp ----

// Ends a database's scheduler before a command that needs the database without sessions.
void guard_databases();
extern const TransactionStep database_guard_step;

}  // namespace insula
