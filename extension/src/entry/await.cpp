// insula.await: waits for the end of an execution.
#include "core/ids.hpp"
#include "entry/answer.hpp"
#include "entry/arguments.hpp"
#include "entry/prologue.hpp"
#include "entry/result.hpp"
#include "operation/operations.hpp"
#include "operation/wait.hpp"
#include "shared/clock.hpp"
#include "shared/shared.hpp"

using namespace insula;

INSULA_FUNCTION(insula_await);

namespace {

struct Awaited {
  std::int64_t id;
  MemoryContext memory;  // outlives the looks' transactions
  Jsonb *report;         // nullptr: the execution has not ended
};

bool look_at_execution(void *self) {
  auto *awaited = static_cast<Awaited *>(self);
  const Tenant *tenant = open_tenant_of_execution(awaited->id, Access::read);
  begin_wait({tenant->number, nullptr, 0, nullptr, InvalidOid, awaited->id});
  return in_session([&] {
    // A report of one that goes on would be made in vain.
    ExecutionRow row;
    if (!read_execution(*tenant, core::local_of(awaited->id), &row)) no_such_execution(awaited->id);
    if (!has_ended(row.state)) return false;
    ExecutionReport report;
    if (!report_execution(*tenant, core::local_of(awaited->id), &report)) no_such_execution(awaited->id);
    if (!report.ended) return false;
    MemoryContext inner = MemoryContextSwitchTo(awaited->memory);
    awaited->report = report_as_json(report);
    MemoryContextSwitchTo(inner);
    return true;
  });
}

}  // namespace

Datum insula_await(PG_FUNCTION_ARGS) {
  require_top_level(fcinfo, "insula.await");
  Awaited awaited = {required_int64(fcinfo, 0, "execution_id"), CurrentMemoryContext, nullptr};
  const std::int64_t end = passing_time() + required_duration(fcinfo, 1, "timeout");
  TupleDesc columns = answer_columns(fcinfo);
  wait_for_end({look_at_execution, &awaited}, end);
  PG_RETURN_DATUM(row_datum(columns, {json_field(awaited.report)}));
}
