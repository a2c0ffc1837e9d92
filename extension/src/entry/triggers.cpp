// SQL entry points for triggers.
#include "operation/triggers.hpp"

#include "context/merge_patch.hpp"
#include "core/names.hpp"
#include "entry/answer.hpp"
#include "entry/arguments.hpp"
#include "entry/prologue.hpp"
#include "errors.hpp"
#include "shared/clock.hpp"

using namespace insula;

INSULA_FUNCTION(insula_create_trigger);
INSULA_FUNCTION(insula_drop_trigger);
INSULA_FUNCTION(insula_fire_trigger);
INSULA_FUNCTION(insula_triggers);

namespace {

constexpr std::size_t longest_key = 255;

const char *required_trigger(FunctionCallInfo fcinfo) {
  const char *name = required_text(fcinfo, 0, "name");
  if (!core::is_valid_name(name)) refuse_name("invalid trigger name");
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
  const Tenant *tenant = enter_named_tenant(fcinfo, 4);
  PG_RETURN_BOOL(
      in_session([&] { return subscribe(*tenant, trigger, workflow, context, allow_concurrent, clock_now()); }));
}

Datum insula_drop_trigger(PG_FUNCTION_ARGS) {
  require_writable("insula.drop_trigger()");
  const char *trigger = required_trigger(fcinfo);
  const char *workflow = text_argument(fcinfo, 1);
  const Tenant *tenant = enter_named_tenant(fcinfo, 2);
  PG_RETURN_BOOL(in_session([&] { return delete_subscriptions(*tenant, trigger, workflow); }) > 0);
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
  const Tenant *tenant = enter_named_tenant(fcinfo, 3);
  ReturnSetInfo *result = begin_rows(fcinfo);
  in_session([&] {
    int count;
    const Started *started = fire_trigger(*tenant, trigger, payload, key, clock_now(), &count);
    if (!started) ereport(ERROR, (errcode(INSULA_NO_EXECUTION), errmsg("trigger \"%s\" does not exist", trigger)));
    for (int i = 0; i < count; ++i)
      put_row(result,
              {text_field(started[i].workflow), int64_field(started[i].execution), bool_field(started[i].fresh)});
  });
  return Datum{0};
}

Datum insula_triggers(PG_FUNCTION_ARGS) {
  const Tenant *tenant = open_named_tenant(fcinfo, 0, Access::read);
  ReturnSetInfo *result = begin_rows(fcinfo);
  in_session([&] {
    int count;
    const Subscription *subscriptions = subscriptions_of(*tenant, nullptr, &count);
    for (int i = 0; i < count; ++i) {
      const TriggerTerms terms = terms_of(subscriptions[i]);
      put_row(result, {text_field(subscriptions[i].trigger), text_field(subscriptions[i].workflow),
                       json_field(terms.context), bool_field(terms.allow_concurrent)});
    }
  });
  return Datum{0};
}
