// Traces of tasks' runs beside their outcomes.  How far they have come, as they say themselves, and the value that
// they have saved: records of kind `progress`, for each task that has said something.  How many of them used no
// attempt: records of kind `tally`.  A writer holds the task's row, so that what it says is of the run that has the
// lease.
#pragma once

#include "tenant/tenant.hpp"

namespace insula {

struct Progress {
  Jsonb *checkpoint;      // nullptr: as before
  const double *reached;  // from 0 to 1; nullptr: as before
  const char *note;       // nullptr: as before
};
void write_progress(const Tenant &tenant, std::int64_t execution, std::int64_t task, TimestampTz now,
                    const Progress &progress);

// The value that the runs of the task have saved; nullptr: nothing, or the lease is lost.
Jsonb *read_checkpoint(const Tenant &tenant, std::int64_t task, std::int64_t lease);

// Whether the task has failed for good under this lease, with this error: its row keeps the lease, so that a failure
// that is reported a second time is told as the first was.
bool has_failed_so(const Tenant &tenant, std::int64_t task, std::int64_t lease, const char *error);

// {"progress", "note"} of the tasks of an execution that have said so, by id.
struct ShownProgress {
  std::int64_t task;
  Jsonb *shown;
};
ShownProgress *read_progress(const Tenant &tenant, std::int64_t execution, int *count);

// A task that has completed begins anew when it is run again.
void forget_progress(const Tenant &tenant, std::int64_t execution, std::int64_t task);

struct TaskOfExecution {
  std::int64_t task;
  std::int64_t execution;
};
// How many runs of each of the tasks have lapsed in a row, since the task was put off or its execution retried; in
// their order.
std::int64_t *count_lapses(const Tenant &tenant, const TaskOfExecution *tasks, int count);
void forget_lapses(const Tenant &tenant, const TaskOfExecution &task);
void add_lapses(const Tenant &tenant, const TaskOfExecution *tasks, int count);
// How many failed ones used no attempt, since the execution was submitted or retried.
std::int64_t count_free_retries(const Tenant &tenant, const TaskOfExecution &task);
void add_free_retry(const Tenant &tenant, const TaskOfExecution &task);
void forget_tallies(const Tenant &tenant, std::int64_t execution);

}  // namespace insula
