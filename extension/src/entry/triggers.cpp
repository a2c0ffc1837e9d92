// SQL entry points for triggers.
#include "operation/triggers.hpp"

#include "context/merge_patch.hpp"
#include "core/names.hpp"
#include "entry/arguments.hpp"
#include "errors.hpp"
#include "shared/clock.hpp"
#include "tenant/caller.hpp"
#include "tenant/lock.hpp"

using namespace insula;

INSULA_FUNCTION(insula_create_trigger);
INSULA_FUNCTION(insula_drop_trigger);
INSULA_FUNCTION(insula_fire_trigger);
INSULA_FUNCTION(insula_triggers);

namespace {

constexpr std::size_t longest_key = 255;

const Tenant *entered(FunctionCallInfo fcinfo, int argument) {
  return enter_tenant(require_tenant(text_argument(fcinfo, argument), Right::tenant)->number);
}

ReturnSetInfo *start_rows(FunctionCallInfo fcinfo) {
  InitMaterializedSRF(fcinfo, 0);
  return reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
}

const char *required_trigger(FunctionCallInfo fcinfo) {
  const char *name = required_text(fcinfo, 0, "name");
  if (!core::is_valid_name(name))
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid trigger name"),
             errdetail("A name has 1 to 63 characters of A-Z, a-z, 0-9, _ and -, and starts with a letter or _.")));
  return name;
}

}  // namespace

Datum insula_create_trigger(PG_FUNCTION_ARGS) {
  require_writable("insula.create_trigger()");
  const char *trigger = required_trigger(fcinfo);
  const char *workflow = required_text(fcinfo, 1, "workflow");
  require_not_null(fcinfo, 2, "context");
  Jsonb *context = context_argument(fcinfo, 2);
  const bool allow_concurrent = required_bool(fcinfo, 3, "allow_concurrent");
  const Tenant *tenant = entered(fcinfo, 4);
  const Session session = open_session();
  const bool made = subscribe(*tenant, trigger, workflow, context, allow_concurrent, clock_now());
  close_session(session);
  PG_RETURN_BOOL(made);
}

Datum insula_drop_trigger(PG_FUNCTION_ARGS) {
  require_writable("insula.drop_trigger()");
  const char *trigger = required_trigger(fcinfo);
  const char *workflow = text_argument(fcinfo, 1);
  const Tenant *tenant = entered(fcinfo, 2);
  const Session session = open_session();
  const int dropped = delete_subscriptions(*tenant, trigger, workflow);
  close_session(session);
  PG_RETURN_BOOL(dropped > 0);
}

Datum insula_fire_trigger(PG_FUNCTION_ARGS) {
  require_writable("insula.fire_trigger()");
  const char *trigger = required_trigger(fcinfo);
  require_not_null(fcinfo, 1, "payload");
  Jsonb *payload = PG_GETARG_JSONB_P(1);
  check_context(payload, "payload");
  const char *key = text_argument(fcinfo, 2);
  if (key && strlen(key) > longest_key)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("dedupe_key must have at most 255 bytes")));
  const Tenant *tenant = entered(fcinfo, 3);
  ReturnSetInfo *result = start_rows(fcinfo);
  const Session session = open_session();
  int count;
  const Started *started = fire_trigger(*tenant, trigger, payload, key, clock_now(), &count);
  if (!started) ereport(ERROR, (errcode(INSULA_NO_EXECUTION), errmsg("trigger \"%s\" does not exist", trigger)));
  for (int i = 0; i < count; ++i) {
    Datum values[] = {CStringGetTextDatum(started[i].workflow), Int64GetDatum(started[i].execution),
                      BoolGetDatum(started[i].fresh)};
    bool nulls[3] = {};
    tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
  }
  close_session(session);
  return Datum{0};
}

Datum insula_triggers(PG_FUNCTION_ARGS) {
  const Tenant *named = require_tenant(text_argument(fcinfo, 0), Right::tenant);
  const Tenant *tenant = open_tenant(named->number);
  if (!tenant) ereport(ERROR, (errcode(INSULA_NO_TENANT), errmsg("the tenant has been dropped")));
  ReturnSetInfo *result = start_rows(fcinfo);
  const Session session = open_session();
  int count;
  const Subscription *subscriptions = subscriptions_of(*tenant, nullptr, &count);
  for (int i = 0; i < count; ++i) {
    const TriggerTerms terms = terms_of(subscriptions[i]);
    Datum values[] = {CStringGetTextDatum(subscriptions[i].trigger), CStringGetTextDatum(subscriptions[i].workflow),
                      JsonbPGetDatum(terms.context), BoolGetDatum(terms.allow_concurrent)};
    bool nulls[4] = {};
    tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
  }
  close_session(session);
  return Datum{0};
}
