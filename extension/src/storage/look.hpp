// Reads for people: executions by a filter, what has failed, what happened to one, leases, and workflows.  A read never
// returns more rows than its caller bounds, or than one stretch of the table has; see work_look.cpp.
#pragma once

#include "storage/work.hpp"

namespace insula {

struct LookFilter {
  const char *workflow;  // nullptr: any, as below
  const char *status;
  TimestampTz created_after;   // DT_NOBEGIN: any
  TimestampTz created_before;  // DT_NOEND: any
  const char *error;           // part of it
  Jsonb *context;              // part of the input
};

struct ListedExecution {
  std::int64_t id;
  const char *workflow;
  std::int32_t version;
  const char *status;
  const char *error;
  std::int32_t priority;
  TimestampTz created_at;
  TimestampTz started_at;  // 0: not yet, as below
  TimestampTz finished_at;
};
// Those from `after`, not included, to `last`, the newest first, at most `most`.
ListedExecution *listed_executions(const Tenant &tenant, const LookFilter &filter, std::int64_t after,
                                   std::int64_t last, int most, int *count);

// The last `rows` rows from `after`, not included, to `last`: the first of them, and when the newest was created.
struct Stretch {
  std::int64_t first;  // 0: there is none
  TimestampTz newest;  // DT_NOBEGIN: none of them is an execution
};
Stretch last_stretch(const Tenant &tenant, std::int64_t after, std::int64_t last, int rows);

struct FailureGroup {
  const char *workflow;
  const char *task;  // nullptr: of the execution itself
  const char *error;
  std::int64_t failed;
  std::int64_t retrying;
  TimestampTz first_at;
  TimestampTz last_at;
  std::int64_t example;  // an execution
};
FailureGroup *failure_groups(const Tenant &tenant, std::int64_t first, std::int64_t last, TimestampTz since,
                             int *count);

struct TimelineEvent {
  TimestampTz at;
  const char *task;  // nullptr: of the execution
  const char *event;
  std::int32_t attempt;  // 0: of none
  const char *worker;
  Jsonb *detail;
  Jsonb *changed;
};
TimelineEvent *timeline_of(const Tenant &tenant, std::int64_t execution, std::int32_t span, int *count);

// The versions of paused workflows among these.
struct PausedWorkflow {
  std::int64_t definition;
  const char *name;
};
PausedWorkflow *paused_workflows(const Tenant &tenant, const std::int64_t *definitions, int many, int *count);

struct LeasedTask {
  std::int64_t id;
  std::int64_t execution;
  const char *workflow;
  const char *task;
  const char *worker;
  std::int32_t attempt;
  TimestampTz started_at;
  TimestampTz expires;
  TimestampTz deadline;  // 0: none
};
LeasedTask *leased_tasks(const Tenant &tenant, int *count);
// The one whose lease ends first: its id, execution, worker and the end alone; false: no task runs.
bool first_leased_task(const Tenant &tenant, LeasedTask *task);

struct ListedWorkflow {
  const char *name;
  std::int32_t version;
  bool paused;
  TimestampTz registered_at;
  Jsonb *definition;
};
ListedWorkflow *listed_workflows(const Tenant &tenant, int *count);

}  // namespace insula
