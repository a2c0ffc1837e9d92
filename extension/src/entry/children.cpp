// The SQL entry point of child executions.
#include "core/ids.hpp"
#include "entry/arguments.hpp"
#include "entry/tenant_groups.hpp"
#include "operation/operations.hpp"
#include "tenant/lock.hpp"

using namespace insula;

INSULA_FUNCTION(insula_submit_child);

Datum insula_submit_child(PG_FUNCTION_ARGS) {
  require_writable("insula.submit_child()");
  const std::int64_t id = required_int64(fcinfo, 0, "task_id");
  const std::int64_t lease = required_int64(fcinfo, 1, "lease");
  const char *workflow = required_text(fcinfo, 2, "workflow");
  require_not_null(fcinfo, 3, "context");
  Jsonb *context = context_argument(fcinfo, 3);
  const Tenant *named = tenant_to_work_for(id);
  if (!named) PG_RETURN_NULL();
  const Tenant *tenant = enter_tenant(named->number);
  const Session session = open_outcome_session(*tenant);
  const std::int64_t child = submit_child(*tenant, core::local_of(id), lease, workflow, context);
  close_session(session);
  if (child == 0) PG_RETURN_NULL();
  PG_RETURN_INT64(child);
}
