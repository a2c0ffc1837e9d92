// SQL entry points for events.
#include "core/ids.hpp"
#include "core/names.hpp"
#include "entry/arguments.hpp"
#include "entry/prologue.hpp"
#include "operation/operations.hpp"
#include "shared/clock.hpp"

using namespace insula;

INSULA_FUNCTION(insula_wait_event);
INSULA_FUNCTION(insula_send_event);

static const char *event_argument(FunctionCallInfo fcinfo, int argument) {
  const char *event = required_text(fcinfo, argument, "event");
  if (!core::is_valid_name(event)) refuse_name(psprintf("invalid event name \"%s\"", event));
  return event;
}

Datum insula_wait_event(PG_FUNCTION_ARGS) {
  require_writable("insula.wait_event()");
  const std::int64_t id = required_int64(fcinfo, 0, "task_id");
  const std::int64_t lease = required_int64(fcinfo, 1, "lease");
  const char *event = event_argument(fcinfo, 2);
  const TimestampTz until = PG_ARGISNULL(3) ? DT_NOEND : clock_now() + required_duration(fcinfo, 3, "timeout");
  Jsonb *context = context_argument(fcinfo, 4);
  const Tenant *tenant = open_tenant_of_task(id);
  if (!tenant) PG_RETURN_BOOL(false);
  PG_RETURN_BOOL(in_outcome_session(
      *tenant, [&] { return wait_event(*tenant, core::local_of(id), lease, event, until, context); }));
}

Datum insula_send_event(PG_FUNCTION_ARGS) {
  require_writable("insula.send_event()");
  const std::int64_t id = required_int64(fcinfo, 0, "execution_id");
  const char *event = event_argument(fcinfo, 1);
  Jsonb *payload = PG_ARGISNULL(2) ? nullptr : PG_GETARG_JSONB_P(2);
  if (payload) check_json(payload, "payload");
  const char *key = idempotency_key_argument(fcinfo, 3);
  const Tenant *tenant = open_tenant_of_execution(id, Access::write);
  const Change outcome = in_session([&] {
    return send_event(*tenant, core::local_of(id), clock_now(), {event, payload, key});
  });
  if (outcome == Change::unknown) no_such_execution(id);
  PG_RETURN_BOOL(outcome == Change::done);
}
