// Counters in shared memory: for each version of a workflow how many of its
// tasks stand where in the queue, and how often what has happened.  A transaction's counts are
// published from its commit callback.  Numbers of tasks are exact once they are known: after
// a start of the server they are unknown until a reader has counted a tenant's queue once
// (see begin_counting).  Without shared memory nothing is counted here.
#pragma once

#include "postgres.hpp"
#include "shared/transaction_end.hpp"

namespace insula {

// A task's place in the queue.
enum class Place { ready, delayed, running, waiting, paused };
inline constexpr int places = 5;

enum class Happened {
  submitted,  // executions
  completed,
  failed,
  cancelled,
  started,  // runs of tasks
  retried,
  lapsed,
};
inline constexpr int happenings = 7;

// Claimed tasks by how long they had been ready.  The first class counts those below a
// millisecond, each next one those below twice as much, the last all others.
inline constexpr int wait_classes = 20;

// ---- what the current transaction changes ----

// A version of a workflow; definition 0: all those of the tenant that have no counters of their
// own, since it has more than fit.
struct Counted {
  std::int32_t tenant;
  std::int32_t definition;
};

void count_arrived(const Counted &what, Place place, std::int64_t tasks);
void count_left(const Counted &what, Place place, std::int64_t tasks);
void count_moved(const Counted &what, Place from, Place to, std::int64_t tasks);
void count_happened(const Counted &what, Happened what_happened, std::int64_t times);
void count_wait(const Counted &what, std::int64_t microseconds, std::int64_t times);
void count_run(const Counted &what, std::int64_t microseconds);  // a run of a task has ended
void count_no_more(std::int32_t tenant);                         // it is dropped
extern const TransactionStep counters_step;

// ---- reading ----

struct Activity {
  Counted what;
  std::int64_t tasks[places];
  std::int64_t happened[happenings];
  std::int64_t waits[wait_classes];
  std::int64_t runs;      // that have ended
  std::int64_t run_time;  // of these, in microseconds
  TimestampTz since;
};

struct TenantCounters {
  const Activity *items;
  int count;

  std::int64_t tasks(Place place) const {
    std::int64_t all = 0;
    for (int i = 0; i < count; ++i) all += items[i].tasks[static_cast<int>(place)];
    return all;
  }
};

// The counters of this database at one moment.
struct ActivityReport {
  const Activity *items;  // by tenant and definition
  int count;
  const std::int32_t *known;  // tenants whose numbers of tasks are known, ascending
  int known_count;

  bool knows(std::int32_t tenant) const;
  TenantCounters of(std::int32_t tenant) const;
};
ActivityReport read_activity();
// One tenant's, unordered, at the cost of these alone.
TenantCounters read_activity_of(std::int32_t tenant);

// A reader that counts a tenant's queue with the snapshot returned and tells what it found
// makes the numbers known.  A transaction that commits later is added unless that snapshot
// shows it.  nullptr: it cannot be done now, or on this server.
Snapshot begin_counting(std::int32_t tenant, std::uint64_t *ticket);
void end_counting(std::int32_t tenant, std::uint64_t ticket, const Activity *found, int count);

// Tasks claimed in the last five to ten minutes, by how long they had been ready.
struct RecentClaims {
  std::int32_t tenant;
  std::int64_t waits[wait_classes];

  std::int64_t count() const;
};
// Of the tenants that have any, unordered.
RecentClaims *recent_claims(int *count);
RecentClaims recent_claims_of(std::int32_t tenant);
// The least bound, in microseconds, that is known for this part of the waits; -1: there are none.
std::int64_t wait_bound(const std::int64_t (&waits)[wait_classes], double part);

void forget_activity();    // of this database
long counted_workflows();  // of all databases

// Some of the tenants whose tasks the transaction has moved, each once; returns how many there are.
int touched_tenants(std::int32_t *tenants, int room);

}  // namespace insula
