// The report on an execution that insula.result and insula.await answer with.
#pragma once

#include "storage/work.hpp"

namespace insula {

// The columns of insula.execution_result.
struct ExecutionReport {
  std::int64_t execution_id;
  const char *workflow;
  std::int32_t version;
  bool ended;
  const char *status;
  Jsonb *final_context;  // nullptr while it runs
  const char *error;
  TimestampTz created_at;
  TimestampTz started_at;   // 0: not yet
  TimestampTz finished_at;  // 0: not yet
  Jsonb *tasks;
};

// False where there is no such execution.  Needs a session; the report is in the current memory
// context.
bool report_execution(const Tenant &tenant, std::int64_t local, ExecutionReport *report);
Jsonb *report_as_json(const ExecutionReport &report);

}  // namespace insula
