// The SQL entry point of child executions.
#include "core/ids.hpp"
#include "entry/arguments.hpp"
#include "entry/prologue.hpp"
#include "operation/operations.hpp"

using namespace insula;

INSULA_FUNCTION(insula_submit_child);

Datum insula_submit_child(PG_FUNCTION_ARGS) {
  require_writable("insula.submit_child()");
  const std::int64_t id = required_int64(fcinfo, 0, "task_id");
  const std::int64_t lease = required_int64(fcinfo, 1, "lease");
  const char *workflow = required_text(fcinfo, 2, "workflow");
  require_not_null(fcinfo, 3, "context");
  Jsonb *context = context_argument(fcinfo, 3);
  const Tenant *tenant = enter_tenant_of_task(id);
  if (!tenant) PG_RETURN_NULL();
  const std::int64_t child =
      in_outcome_session(*tenant, [&] { return submit_child(*tenant, core::local_of(id), lease, workflow, context); });
  if (child == 0) PG_RETURN_NULL();
  PG_RETURN_INT64(child);
}
