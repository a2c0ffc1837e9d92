// Lists of executions for people: newest first, and failures by what they say.  Nothing here locks a row.
#pragma once

#include "tenant/tenant.hpp"

namespace insula {

struct ListFilter {
  const char *workflow;        // nullptr: any
  const char *status;          // nullptr: any
  TimestampTz created_after;   // or then
  TimestampTz created_before;  // not then
};
struct ListedExecution {
  std::int64_t id;
  const char *workflow;
  std::int32_t version;
  const char *status;
  std::int32_t priority;
  TimestampTz created_at;
  TimestampTz started_at;   // 0: not yet
  TimestampTz finished_at;  // 0: not yet
  const char *error;
};
// Up to `most` of the executions with numbers between the two, neither included, the greatest first.
ListedExecution *list_executions(const Tenant &tenant, const ListFilter &filter, std::int64_t after,
                                 std::int64_t before, int most, int *count);
// The first of the last `rows` rows by number before that one; 0: there is none.
std::int64_t beginning_of_stretch(const Tenant &tenant, std::int64_t after, std::int64_t before, int rows);
// Whether rows of executions are between the two, both included, and none is of that time or later.
bool all_created_before(const Tenant &tenant, std::int64_t first, std::int64_t last, TimestampTz time);

struct FailureGroup {
  const char *workflow;
  const char *error;  // of the newest
  std::int64_t executions;
  TimestampTz last_at;
  std::int64_t last;  // execution
};
// Failed executions by workflow and error, whose numbers do not count; the largest groups first.
FailureGroup *group_failures(const Tenant &tenant, const char *workflow, TimestampTz since, std::int64_t rows, int most,
                             int *count);

}  // namespace insula
