// SQL entry points that make, change and drop tenants.
#include "provision/tenants.hpp"

#include "core/names.hpp"
#include "entry/answer.hpp"
#include "entry/arguments.hpp"
#include "entry/prologue.hpp"
#include "tenant/caller.hpp"
#include "tenant/lock.hpp"

using namespace insula;

INSULA_FUNCTION(insula_create_tenant);
INSULA_FUNCTION(insula_drop_tenant);
INSULA_FUNCTION(insula_suspend_tenant);
INSULA_FUNCTION(insula_resume_tenant);
INSULA_FUNCTION(insula_rotate_password);
INSULA_FUNCTION(insula_set_tenant_limits);
INSULA_FUNCTION(insula_set_retention);
INSULA_FUNCTION(insula_current_tenant);
INSULA_FUNCTION(insula_is_valid_tenant_id);

static Datum credentials_as_row(FunctionCallInfo fcinfo, const Credentials &credentials) {
  return row_datum(answer_columns(fcinfo),
                   {text_field(credentials.tenant), text_field(credentials.schema), text_field(credentials.username),
                    text_field(credentials.password), text_field(credentials.connection_string)});
}

Datum insula_create_tenant(PG_FUNCTION_ARGS) {
  require_admin();
  require_writable("insula.create_tenant()");
  NewTenant request = {};
  request.tenant = required_text(fcinfo, 0, "tenant");
  request.schema = text_argument(fcinfo, 1);
  request.username = text_argument(fcinfo, 2);
  request.password = text_argument(fcinfo, 3);
  request.login = required_bool(fcinfo, 4, "login");
  const bool if_not_exists = required_bool(fcinfo, 5, "if_not_exists");
  if (!request.schema) request.schema = psprintf("tenant_%s", request.tenant);
  if (!request.username && request.login) request.username = psprintf("%s_user", request.tenant);

  if (if_not_exists) {
    const Tenant *tenant = find_tenant(request.tenant);
    if (!tenant) {  // another session may be making it
      lock_name(request.tenant, NameOf::tenant);
      AcceptInvalidationMessages();
      tenant = find_tenant(request.tenant);
    }
    if (tenant && strcmp(tenant->schema, request.schema) != 0)
      ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT), errmsg("tenant \"%s\" already exists", request.tenant),
                      errdetail("Its schema is \"%s\", not \"%s\".", tenant->schema, request.schema),
                      errhint("Give that one as schema_name, or none if it is the default.")));
    if (tenant) {
      ereport(NOTICE,
              (errcode(ERRCODE_DUPLICATE_OBJECT), errmsg("tenant \"%s\" already exists, skipping", tenant->name)));
      PG_RETURN_DATUM(credentials_as_row(fcinfo, existing_tenant(*tenant)));
    }
  }
  PG_RETURN_DATUM(credentials_as_row(fcinfo, create_tenant(request)));
}

Datum insula_drop_tenant(PG_FUNCTION_ARGS) {
  require_admin();
  const char *name = required_text(fcinfo, 0, "tenant");
  const std::int64_t drain = required_duration(fcinfo, 1, "drain");
  const bool force = required_bool(fcinfo, 2, "force");
  drop_tenant(find_tenant_to_administer(name, "insula.drop_tenant()")->number, drain, force);
  PG_RETURN_VOID();
}

Datum insula_suspend_tenant(PG_FUNCTION_ARGS) {
  require_admin();
  set_suspended(*find_tenant_to_administer(required_text(fcinfo, 0, "tenant"), "insula.suspend_tenant()"), true);
  PG_RETURN_VOID();
}

Datum insula_resume_tenant(PG_FUNCTION_ARGS) {
  require_admin();
  set_suspended(*find_tenant_to_administer(required_text(fcinfo, 0, "tenant"), "insula.resume_tenant()"), false);
  PG_RETURN_VOID();
}

Datum insula_rotate_password(PG_FUNCTION_ARGS) {
  require_admin();
  const char *name = required_text(fcinfo, 0, "tenant");
  const char *password = text_argument(fcinfo, 1);
  PG_RETURN_DATUM(credentials_as_row(
      fcinfo, rotate_password(*find_tenant_to_administer(name, "insula.rotate_password()"), password)));
}

static void refuse_limit(const char *name, const char *range) {
  ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s is out of range", name),
                  errdetail("It must be %s, or -1 for no limit.", range)));
}

static void check_limit(const char *name, std::int64_t limit) {
  if (limit < -1) refuse_limit(name, "0 or more");
}

// Whether the interval is -1 second, as '-1' is read, which says that there is no limit.
static bool lifts_limit(FunctionCallInfo fcinfo, int argument) {
  Interval none = {};
  none.time = -USECS_PER_SEC;
  return DatumGetBool(DirectFunctionCall2(interval_eq, PG_GETARG_DATUM(argument), IntervalPGetDatum(&none)));
}

static void check_retain(FunctionCallInfo fcinfo, int argument) {
  Interval nothing = {};
  if (lifts_limit(fcinfo, argument)) return;
  if (DatumGetBool(DirectFunctionCall2(interval_lt, PG_GETARG_DATUM(argument), IntervalPGetDatum(&nothing))))
    refuse_limit("retain", "between 0 and 100 years");
  (void)required_duration(fcinfo, argument, "retain");
}

Datum insula_set_tenant_limits(PG_FUNCTION_ARGS) {
  require_admin();
  const char *name = required_text(fcinfo, 0, "tenant");
  NewLimits limits;
  for (int i = 0; i < 7; ++i) {
    limits.values[i] = PG_GETARG_DATUM(i + 1);
    limits.nulls[i] = PG_ARGISNULL(i + 1);
  }
  if (!PG_ARGISNULL(1)) check_limit("max_running", PG_GETARG_INT32(1));
  if (!PG_ARGISNULL(2)) check_limit("max_queued", PG_GETARG_INT64(2));
  const std::int32_t connections = PG_ARGISNULL(3) ? 0 : PG_GETARG_INT32(3);
  if (connections < -1 || connections > 100000) refuse_limit("max_connections", "between 0 and 100000");
  const std::int32_t weight = PG_ARGISNULL(4) ? 1 : PG_GETARG_INT32(4);
  if (weight != -1 && (weight < 1 || weight > 1000)) refuse_limit("weight", "between 1 and 1000");
  const double rate = PG_ARGISNULL(5) ? 1 : PG_GETARG_FLOAT8(5);
  if (rate != -1 && !(rate > 0.00001 && rate <= 1e6)) refuse_limit("rate_per_second", "between 0.00001 and 1000000");
  if (!PG_ARGISNULL(6)) check_retain(fcinfo, 6);
  if (!PG_ARGISNULL(7)) check_limit("retain_count", PG_GETARG_INT64(7));
  set_tenant_limits(*find_tenant_to_administer(name, "insula.set_tenant_limits()"), limits);
  PG_RETURN_VOID();
}

Datum insula_set_retention(PG_FUNCTION_ARGS) {
  require_admin();
  const char *name = required_text(fcinfo, 0, "tenant");
  NewRetention rule = {text_argument(fcinfo, 2), text_argument(fcinfo, 3), PG_ARGISNULL(1), false, Datum{0}};
  if (!rule.workflow && !rule.status)
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("workflow or status must be given"),
                    errhint("insula.set_tenant_limits() says how long all are kept.")));
  if (rule.workflow && !core::is_valid_name(rule.workflow))
    ereport(ERROR, (errcode(ERRCODE_INVALID_NAME), errmsg("\"%s\" cannot be a workflow's name", rule.workflow),
                    errdetail("A name has up to 63 letters, digits, _ and -, and begins with a letter or _.")));
  const auto is = [&](const char *status) { return strcmp(rule.status, status) == 0; };
  if (rule.status && !is("completed") && !is("failed") && !is("cancelled"))
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("status \"%s\" does not fit", rule.status),
                    errdetail("It must be completed, failed or cancelled.")));
  if (!rule.forget) {
    check_retain(fcinfo, 1);
    rule.retain = PG_GETARG_DATUM(1);
    rule.forever = lifts_limit(fcinfo, 1);
  }
  set_retention(*find_tenant_to_administer(name, "insula.set_retention()"), rule);
  PG_RETURN_VOID();
}

Datum insula_current_tenant(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  const Tenant *tenant = resolve_tenant(nullptr, Right::tenant);
  if (!tenant) PG_RETURN_NULL();
  PG_RETURN_TEXT_P(cstring_to_text(tenant->name));
}

Datum insula_is_valid_tenant_id(PG_FUNCTION_ARGS) {
  const char *id = required_text(fcinfo, 0, "id");
  PG_RETURN_BOOL(core::is_valid_tenant_id(id));
}
