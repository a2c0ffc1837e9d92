// SQL entry points for workflows and executions.
#include "context/merge_patch.hpp"
#include "core/ids.hpp"
#include "entry/answer.hpp"
#include "entry/arguments.hpp"
#include "entry/prologue.hpp"
#include "operation/operations.hpp"
#include "shared/clock.hpp"
#include "shared/shared.hpp"
#include "storage/record.hpp"

using namespace insula;

INSULA_FUNCTION(insula_register_workflow);
INSULA_FUNCTION(insula_submit);
INSULA_FUNCTION(insula_submit_once);
INSULA_FUNCTION(insula_submit_many);
INSULA_FUNCTION(insula_cancel);
INSULA_FUNCTION(insula_pause_workflow);
INSULA_FUNCTION(insula_resume_workflow);
INSULA_FUNCTION(insula_pause);
INSULA_FUNCTION(insula_resume);
INSULA_FUNCTION(insula_retry);
INSULA_FUNCTION(insula_merge_patch);
INSULA_FUNCTION(insula_append_patch);

Datum insula_register_workflow(PG_FUNCTION_ARGS) {
  require_writable("insula.register_workflow()");
  require_not_null(fcinfo, 0, "definition");
  Jsonb *definition = PG_GETARG_JSONB_P(0);
  const bool activate = required_bool(fcinfo, 1, "activate");
  const Tenant *tenant = enter_named_tenant(fcinfo, 2);
  PG_RETURN_INT32(in_session([&] { return register_definition(*tenant, definition, activate); }));
}

static void check_priority(std::int32_t priority) {
  if (priority < -max_priority || priority > max_priority)
    ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
                    errmsg("priority must be between %d and %d", -max_priority, max_priority)));
}

static std::int64_t *submit_for(const char *tenant_name, const SubmitRequest &request) {
  check_priority(request.priority);
  for (int i = 0; request.keys && i < request.count; ++i) check_idempotency_key(request.keys[i]);
  const Tenant *tenant = enter_tenant_to_submit(tenant_name);
  MemoryContext callers = CurrentMemoryContext;
  const auto work = [&] { return submit(*tenant, request, callers); };
  return joined_tenant() == tenant->number ? in_outcome_session(*tenant, work) : in_session(work);
}

// `is_new`: whether its idempotency key was not known; nullptr: not asked.
static std::int64_t submit_one(FunctionCallInfo fcinfo, const char *call, bool *is_new) {
  require_writable(call);
  require_not_null(fcinfo, 1, "context");
  Jsonb *context = context_argument(fcinfo, 1);
  const char *key = text_argument(fcinfo, 4);
  SubmitRequest request = {
      required_text(fcinfo, 0, "workflow"), &context, &key, 1, required_int32(fcinfo, 2, "priority"),
      required_time(fcinfo, 3, "run_at")};
  request.fresh = is_new;
  return submit_for(text_argument(fcinfo, 5), request)[0];
}

Datum insula_submit(PG_FUNCTION_ARGS) { PG_RETURN_INT64(submit_one(fcinfo, "insula.submit()", nullptr)); }

Datum insula_submit_once(PG_FUNCTION_ARGS) {
  bool is_new = true;
  const std::int64_t id = submit_one(fcinfo, "insula.submit_once()", &is_new);
  PG_RETURN_DATUM(row_datum(answer_columns(fcinfo), {int64_field(id), bool_field(is_new)}));
}

Datum insula_submit_many(PG_FUNCTION_ARGS) {
  require_writable("insula.submit_many()");
  require_not_null(fcinfo, 1, "contexts");
  int count;
  Jsonb **contexts = jsonb_array_argument(fcinfo, 1, "contexts", &count);
  for (int i = 0; i < count; ++i) {
    if (!contexts[i])
      ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("contexts must not contain nulls")));
    if (context_problem(contexts[i])) check_context(contexts[i], psprintf("contexts[%d]", i + 1));
  }
  int keys_count;
  const char **keys = text_array_argument(fcinfo, 4, "idempotency_keys", true, &keys_count);
  if (keys) require_same_length(keys_count, count, "contexts and idempotency_keys");
  const SubmitRequest request = {
      required_text(fcinfo, 0, "workflow"), contexts, keys, count, required_int32(fcinfo, 2, "priority"),
      required_time(fcinfo, 3, "run_at")};
  const std::int64_t *ids = submit_for(text_argument(fcinfo, 5), request);
  PG_RETURN_DATUM(int64_array(ids, count));
}

using ChangeExecution = Change(const Tenant &tenant, std::int64_t execution, TimestampTz now, const char *reason);

static Datum change_execution(FunctionCallInfo fcinfo, const char *call, ChangeExecution *change) {
  require_writable(call);
  const std::int64_t id = required_int64(fcinfo, 0, "execution_id");
  const char *reason = message_argument(fcinfo, 1);
  const Tenant *tenant = open_tenant_of_execution(id, Access::write);
  const Change outcome = in_session([&] { return change(*tenant, core::local_of(id), clock_now(), reason); });
  if (outcome == Change::unknown) no_such_execution(id);
  PG_RETURN_BOOL(outcome == Change::done);
}

Datum insula_cancel(PG_FUNCTION_ARGS) { return change_execution(fcinfo, "insula.cancel()", cancel); }
Datum insula_pause(PG_FUNCTION_ARGS) { return change_execution(fcinfo, "insula.pause()", pause); }
Datum insula_resume(PG_FUNCTION_ARGS) { return change_execution(fcinfo, "insula.resume()", resume); }
Datum insula_retry(PG_FUNCTION_ARGS) { return change_execution(fcinfo, "insula.retry()", retry); }

static bool change_workflow(FunctionCallInfo fcinfo, bool paused) {
  const char *workflow = required_text(fcinfo, 0, "workflow");
  const Tenant *tenant = enter_named_tenant(fcinfo, 1);
  return in_session([&] {
    (void)require_workflow(*tenant, workflow);
    const bool changed = pause_or_resume_workflow(*tenant, workflow, paused);
    if (changed && !paused) announce_resumed(tenant->number);
    return changed;
  });
}

Datum insula_pause_workflow(PG_FUNCTION_ARGS) {
  require_writable("insula.pause_workflow()");
  PG_RETURN_BOOL(change_workflow(fcinfo, true));
}
Datum insula_resume_workflow(PG_FUNCTION_ARGS) {
  require_writable("insula.resume_workflow()");
  PG_RETURN_BOOL(change_workflow(fcinfo, false));
}

// A patch, or an array of patches, in the form that rows of `work` keep.
static Jsonb *patches_argument(FunctionCallInfo fcinfo, int argument, const char *name) {
  if (PG_ARGISNULL(argument)) return nullptr;
  Jsonb *patches = PG_GETARG_JSONB_P(argument);
  if (!JB_ROOT_IS_ARRAY(patches) || JB_ROOT_IS_SCALAR(patches)) return object_argument(fcinfo, argument, name);
  for (std::uint32_t i = 0; i < JB_ROOT_COUNT(patches); ++i) {
    const JsonbValue *patch = getIthJsonbValueFromContainer(&patches->root, i);
    if (patch->type != jbvBinary || !JsonContainerIsObject(patch->val.binary.data))
      ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s must contain JSON objects only", name)));
  }
  return patches;
}

Datum insula_merge_patch(PG_FUNCTION_ARGS) {
  Jsonb *target = object_argument(fcinfo, 0, "target");
  Jsonb *merged = merge_patch(target, patches_argument(fcinfo, 1, "patch"));
  PG_RETURN_POINTER(merged);
}

Datum insula_append_patch(PG_FUNCTION_ARGS) {
  Jsonb *patches = patches_argument(fcinfo, 0, "patches");
  Jsonb *patch = object_argument(fcinfo, 1, "patch");
  PG_RETURN_POINTER(append_patch(patches, patch ? patch : empty_object()));
}
