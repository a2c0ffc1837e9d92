// insula.await: waits for the end of an execution.
#include "core/ids.hpp"
#include "entry/answer.hpp"
#include "entry/arguments.hpp"
#include "entry/prologue.hpp"
#include "entry/result.hpp"
#include "operation/wait.hpp"
#include "shared/clock.hpp"
#include "shared/due_queue.hpp"
#include "shared/shared.hpp"
#include "spi/budget.hpp"
#include "tenant/home.hpp"
#include "tenant/lock.hpp"

using namespace insula;

INSULA_FUNCTION(insula_await);

namespace {

struct Awaited {
  std::int64_t id;
  MemoryContext memory;  // outlives the looks' transactions
  Jsonb *report;         // nullptr: the execution has not ended
};

// Where no scheduler does it, the wait takes up the tenant's decisions: the execution's end may be one.  It does so
// once a second, since no commit wakes it for them.
TimestampTz help(const Tenant &tenant) {
  if (XactReadOnly || RecoveryInProgress() || why_not_home()) return DT_NOEND;
  const TimestampTz now = clock_now();
  const bool due = may_need_advance(tenant, now, nullptr);
  if (!decisions_are_everybodys(tenant, now)) return due ? now + scheduler_patience : DT_NOEND;
  if (due && try_share_life(tenant.number) && take_up_decisions(tenant, now) && budget_is_spent()) return now;
  return now + USECS_PER_SEC;
}

bool look_at_execution(void *self, TimestampTz *next) {
  auto *awaited = static_cast<Awaited *>(self);
  const Tenant *tenant = open_tenant_of_execution(awaited->id, Access::read);
  begin_wait({tenant->number, nullptr, 0, nullptr, InvalidOid, awaited->id});
  return in_session([&] {
    ExecutionReport report;
    if (!report_execution(*tenant, core::local_of(awaited->id), &report)) no_such_execution(awaited->id);
    if (!report.ended) {
      *next = help(*tenant);
      if (!report_execution(*tenant, core::local_of(awaited->id), &report)) no_such_execution(awaited->id);
    }
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
