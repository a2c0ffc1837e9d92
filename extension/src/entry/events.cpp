// SQL entry points for events.
#include "core/ids.hpp"
#include "core/names.hpp"
#include "entry/arguments.hpp"
#include "entry/result.hpp"
#include "entry/tenant_groups.hpp"
#include "operation/operations.hpp"
#include "shared/clock.hpp"
#include "tenant/caller.hpp"
#include "tenant/home.hpp"

using namespace insula;

INSULA_FUNCTION(insula_wait_event);
INSULA_FUNCTION(insula_send_event);

static const char *event_argument(FunctionCallInfo fcinfo, int argument) {
  const char *event = required_text(fcinfo, argument, "event");
  if (!core::is_valid_name(event))
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid event name \"%s\"", event),
             errdetail("A name has 1 to 63 characters of A-Z, a-z, 0-9, _ and -, and starts with a letter or _.")));
  return event;
}

Datum insula_wait_event(PG_FUNCTION_ARGS) {
  require_writable("insula.wait_event()");
  const std::int64_t id = required_int64(fcinfo, 0, "task_id");
  const std::int64_t lease = required_int64(fcinfo, 1, "lease");
  const char *event = event_argument(fcinfo, 2);
  const TimestampTz until = PG_ARGISNULL(3) ? DT_NOEND : clock_now() + required_duration(fcinfo, 3, "timeout");
  Jsonb *context = context_argument(fcinfo, 4);
  Tenant *tenant = tenant_to_work_for(id);
  if (!tenant) PG_RETURN_BOOL(false);
  const Session session = open_outcome_session(*tenant);
  const bool waits = wait_event(*tenant, core::local_of(id), lease, event, until, context);
  close_session(session);
  PG_RETURN_BOOL(waits);
}

Datum insula_send_event(PG_FUNCTION_ARGS) {
  require_writable("insula.send_event()");
  const std::int64_t id = required_int64(fcinfo, 0, "execution_id");
  const char *event = event_argument(fcinfo, 1);
  Jsonb *payload = PG_ARGISNULL(2) ? nullptr : PG_GETARG_JSONB_P(2);
  if (payload) check_json(payload, "payload");
  Tenant *tenant = tenant_of_id(id, Right::tenant);
  if (tenant) require_home();
  if (tenant) tenant = open_tenant(tenant->number);
  if (!tenant) no_such_execution(id);
  const Session session = open_session();
  const Change outcome = send_event(*tenant, core::local_of(id), clock_now(), event, payload);
  close_session(session);
  if (outcome == Change::unknown) no_such_execution(id);
  PG_RETURN_BOOL(outcome == Change::done);
}
