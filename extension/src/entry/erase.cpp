// SQL entry points that empty executions: one, or all whose contexts hold a value.
#include <algorithm>

#include "context/merge_patch.hpp"
#include "core/ids.hpp"
#include "entry/answer.hpp"
#include "entry/arguments.hpp"
#include "entry/prologue.hpp"
#include "operation/operations.hpp"
#include "provision/tenants.hpp"

using namespace insula;

INSULA_FUNCTION(insula_scrub);
INSULA_FUNCTION(insula_erase);

namespace {

// The number in the administrators' log; NULL where nothing was emptied.  So each line of a tenant's own costs it an
// execution and a transaction.  Neither a path nor a value is in it.
Field receipt(const Tenant &tenant, const char *act, const Erasure &erasure) {
  if (erasure.executions == 0) return null_field();
  return int64_field(log_emptied(act, tenant.name, erasure.executions, erasure.rows, erasure.open));
}

// A value that names a person; whole objects match too easily.
Jsonb *required_scalar(FunctionCallInfo fcinfo, int argument, const char *name) {
  require_not_null(fcinfo, argument, name);
  Jsonb *value = PG_GETARG_JSONB_P(argument);
  JsonbValue scalar;
  if (!JB_ROOT_IS_SCALAR(value) || !JsonbExtractScalar(&value->root, &scalar) || scalar.type == jbvNull)
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s must be a text, a number or a boolean", name)));
  return value;
}

ErasureFilter required_filter(FunctionCallInfo fcinfo) {
  require_not_null(fcinfo, 1, "path");
  JsonObject variables = begin_object();
  add_member(variables, "value", required_scalar(fcinfo, 2, "value"));
  const char *path = DatumGetCString(DirectFunctionCall1(jsonpath_out, PG_GETARG_DATUM(1)));
  const char *filtered = psprintf("%s ? (@ == $value)", path);
  return {DirectFunctionCall1(jsonpath_in, CStringGetDatum(filtered)), PointerGetDatum(end_object(variables))};
}

}  // namespace

Datum insula_scrub(PG_FUNCTION_ARGS) {
  require_writable("insula.scrub()");
  const std::int64_t id = required_int64(fcinfo, 0, "execution_id");
  const Tenant *tenant = open_tenant_of_execution(id, Access::write);
  MemoryContext callers = CurrentMemoryContext;
  PG_RETURN_DATUM(in_session([&] {
    ExecutionRow row;
    if (!read_execution(*tenant, core::local_of(id), &row)) no_such_execution(id);
    Erasure erasure = {};
    if (!scrub(*tenant, core::local_of(id), &erasure))
      ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                      errmsg("execution %lld has not ended", static_cast<long long>(id)), errhint("Cancel it first.")));
    const Field number = receipt(*tenant, "scrub", erasure);
    MemoryContextSwitchTo(callers);
    return row_datum(answer_columns(fcinfo), {number, int64_field(erasure.executions), int64_field(erasure.rows),
                                              int64_field(erasure.open), int64_field(erasure.parents)});
  }));
}

Datum insula_erase(PG_FUNCTION_ARGS) {
  constexpr int most_at_once = 10000;
  ErasureRequest request = {};
  request.filter = required_filter(fcinfo);
  request.most = required_int32(fcinfo, 4, "max_executions");
  if (request.most < 1 || request.most > most_at_once)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("max_executions must be between 1 and %d", most_at_once)));
  request.dry_run = required_bool(fcinfo, 5, "dry_run");
  if (!request.dry_run) require_writable("insula.erase()");
  const Tenant *tenant = open_named_tenant(fcinfo, 0, request.dry_run ? Access::read : Access::write);
  if (!PG_ARGISNULL(3)) {
    if (core::tenant_of(PG_GETARG_INT64(3)) != tenant->number)
      ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                      errmsg("\"after\" must be what the column next of a call for this tenant holds")));
    request.after = core::local_of(PG_GETARG_INT64(3));
    // A call before this one was in the middle of the first row.
    if (request.after == 0) request.after = -1;
  }
  MemoryContext callers = CurrentMemoryContext;
  PG_RETURN_DATUM(in_session([&] {
    const Erasure erasure = erase(*tenant, request);
    const Field number = request.dry_run ? null_field() : receipt(*tenant, "erase", erasure);
    const auto id_field = [&](std::int64_t local) {
      return local ? int64_field(core::make_id(tenant->number, std::max<std::int64_t>(local, 0))) : null_field();
    };
    MemoryContextSwitchTo(callers);
    return row_datum(answer_columns(fcinfo),
                     {number, int64_field(erasure.executions), int64_field(erasure.rows), int64_field(erasure.open),
                      id_field(erasure.open_example), int64_field(erasure.parents), int64_field(erasure.schedules),
                      id_field(erasure.next)});
  }));
}
