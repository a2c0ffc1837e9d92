// How far running tasks have come, as they say themselves: records of kind `progress`, one for each task that has said
// something.  A writer holds the task's row, so that what it says is of the run that has the lease.
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

// What the runs of the task have saved; nullptr: nothing, or the lease is lost.
Jsonb *read_checkpoint(const Tenant &tenant, std::int64_t task, std::int64_t lease);

// {"progress", "note"} of the tasks of an execution that have said so, by id.
struct ShownProgress {
  std::int64_t task;
  Jsonb *shown;
};
ShownProgress *read_progress(const Tenant &tenant, std::int64_t execution, int *count);

}  // namespace insula
