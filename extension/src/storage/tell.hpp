// Changes of rows, told to other processes: rows of `work`, and schedules.  The function of this folder that writes a
// row tells of the change here, once, and no room above does: counters, permits, watermarks, wake-ups and the due queue
// follow from it at the commit. What is locked or searched and not changed is told where that happens
// (shared/watermarks.hpp).
#pragma once

#include "storage/work.hpp"

namespace insula {

// A row stands in no lane.
inline constexpr std::int32_t no_lane = PG_INT32_MAX;
// A ready row, whose priority does not matter.
inline constexpr std::int32_t ready_lane = 0;
// A row that became ready in this transaction has a place after the transaction's start.
inline constexpr std::int64_t due_now = PG_INT64_MAX;

// Rows that change alike.
struct RowChange {
  std::int32_t definition;
  std::int32_t from;           // lanes
  std::int32_t to;             //
  std::int64_t due = due_now;  // their place in the new lane, or the first of their places
  std::int32_t key = 0;        // of tasks that become ready; 0: any waiter may take them
  std::int64_t rows = 1;       // less than 0: they have changed back
  bool limited = false;        // of one that ran, or runs from here on: it is under a limit of its workflow
  std::int64_t limit = 0;      // which
  TimestampTz started_at = 0;  // of a run that ends; 0: it counts for no run
  std::int64_t waited = 0;     // of one that is claimed: how long it was ready, in microseconds
  bool retried = false;        // the end of a run that the task has tried, and tries again
  bool lapsed = false;         // the end of a run whose lease has ended before
};
void tell(const Tenant &tenant, const RowChange &change);

// The rows of the last result, which begins with the columns of {told}, from one lane to those where they are now.
// Rows that are no longer paused wake one waiter together, which wakes the next.
void tell_rows(const Tenant &tenant, std::uint64_t rows, std::int32_t from);
// The same of those rows alone that are now in lanes of this place.
void tell_rows_now_in(const Tenant &tenant, std::uint64_t rows, std::int32_t from, Place place);

// New executions.
void tell_submitted(const Tenant &tenant, std::int32_t definition, int executions);
// An execution that ends, by the state of its row.
void tell_end(const Tenant &tenant, std::int64_t execution, std::int32_t definition, State state);

// A schedule of the tenant changes or goes.
void tell_schedule(const Tenant &tenant);

// A run that a claim begins.
RowChange start_of_run(const ClaimRequest &request, const Claimed &task);
// A run that ends, or is put off, with this change of its row.
RowChange end_of_run(const TaskRow &task, std::int32_t to);
// A single task ends its execution.
void tell_end_if_single(const Tenant &tenant, const TaskRow &task, State state);

}  // namespace insula
