// SQL entry points for workers that want tasks: claim, claim_when_ready and wait_for_work, each for
// one tenant or for all.
#include <algorithm>

#include "entry/answer.hpp"
#include "entry/arguments.hpp"
#include "entry/claimed.hpp"
#include "entry/prologue.hpp"
#include "operation/wait.hpp"
#include "shared/clock.hpp"
#include "shared/shared.hpp"
#include "tenant/home.hpp"
#include "tenant/lock.hpp"

using namespace insula;

INSULA_FUNCTION(insula_claim);
INSULA_FUNCTION(insula_claim_when_ready);
INSULA_FUNCTION(insula_wait_for_work);

namespace {

int max_tasks_argument(FunctionCallInfo fcinfo, int argument) {
  const int max_tasks = required_int32(fcinfo, argument, "max_tasks");
  if (max_tasks < 1 || max_tasks > 10000)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("max_tasks must be between 1 and 10000")));
  return max_tasks;
}

int max_per_tenant_argument(FunctionCallInfo fcinfo, int argument, int max_tasks) {
  const int max_per_tenant = PG_ARGISNULL(argument) ? max_tasks : PG_GETARG_INT32(argument);
  if (max_per_tenant < 1)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("max_per_tenant must be 1 or more")));
  return max_per_tenant;
}

// The numbers of an array of tenant ids, sorted; 0 for an id of no tenant.
const std::int32_t *tenants_argument(FunctionCallInfo fcinfo, int argument, const char *name, int *count) {
  const char **ids = text_array_argument(fcinfo, argument, name, false, count);
  if (!ids) {
    *count = 0;
    return nullptr;
  }
  auto *numbers = palloc_array_of<std::int32_t>(static_cast<std::size_t>(*count));
  for (int i = 0; i < *count; ++i) {
    const Tenant *tenant = find_tenant(ids[i]);
    numbers[i] = tenant ? tenant->number : 0;
  }
  std::sort(numbers, numbers + *count);
  return numbers;
}

TenantChoice choice_arguments(FunctionCallInfo fcinfo, int only, int except) {
  TenantChoice choice = {};
  choice.only = tenants_argument(fcinfo, only, "only_tenants", &choice.only_count);
  choice.except = tenants_argument(fcinfo, except, "except_tenants", &choice.except_count);
  return choice;
}

[[noreturn]] void refuse_choice_for_one() {
  ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                  errmsg("a choice of tenants has no meaning in a call for one tenant"),
                  errhint("It is for members of insula_runner, who name no tenant.")));
  pg_unreachable();
}

// The arguments that both waiting calls have, in different places.
WorkWait wait_arguments(FunctionCallInfo fcinfo, int tenant_argument, int choice_argument) {
  WorkWait wait = {};
  wait.role = GetUserId();
  wait.end = passing_time() + required_duration(fcinfo, 0, "timeout");
  const Tenant *tenant = find_tenant_of_worker(text_argument(fcinfo, tenant_argument));
  wait.tenant = tenant ? tenant->number : 0;
  wait.name = tenant ? pstrdup(tenant->name) : nullptr;
  wait.choice = choice_arguments(fcinfo, choice_argument, choice_argument + 1);
  if (tenant && !wait.choice.is_any()) refuse_choice_for_one();
  require_home();
  return wait;
}

// The tenant to claim from, entered; nullptr: all tenants.
const Tenant *enter_tenant_to_claim(const Tenant *tenant) {
  if (tenant) return enter_tenant(tenant->number);
  require_home();
  return nullptr;
}

}  // namespace

Datum insula_claim(PG_FUNCTION_ARGS) {
  require_writable("insula.claim()");
  ClaimCall call = {};
  call.worker = required_worker(fcinfo, 0);
  call.tasks = text_array_argument(fcinfo, 1, "tasks", false, &call.task_count);
  call.max_tasks = max_tasks_argument(fcinfo, 2);
  call.lease = required_lease(fcinfo, 3);
  call.choice = choice_arguments(fcinfo, 6, 7);
  const Tenant *tenant = find_tenant_of_worker(text_argument(fcinfo, 4));
  call.max_per_tenant = max_per_tenant_argument(fcinfo, 5, call.max_tasks);
  if (tenant && (!PG_ARGISNULL(5) || !call.choice.is_any())) refuse_choice_for_one();
  tenant = enter_tenant_to_claim(tenant);
  const ReturnSetInfo *result = begin_rows(fcinfo);
  ClaimedRows rows = claimed_set(result->setDesc, result->setResult);
  (void)claim_for(call, tenant, clock_now(), output_to(&rows));
  return Datum{0};
}

Datum insula_claim_when_ready(PG_FUNCTION_ARGS) {
  require_top_level(fcinfo, "insula.claim_when_ready");
  require_writable("insula.claim_when_ready()");
  WaitingClaim claim = {};
  claim.called_at = passing_time();
  ClaimCall &call = claim.call;
  call.worker = required_worker(fcinfo, 1);
  call.tasks = text_array_argument(fcinfo, 2, "tasks", false, &call.task_count);
  call.max_tasks = max_tasks_argument(fcinfo, 3);
  call.lease = required_lease(fcinfo, 4);
  call.max_per_tenant = max_per_tenant_argument(fcinfo, 6, call.max_tasks);
  WorkWait wait = wait_arguments(fcinfo, 5, 7);
  if (wait.tenant && !PG_ARGISNULL(6)) refuse_choice_for_one();
  wait.worker = call.worker;
  wait.tasks = call.tasks;
  wait.task_count = call.task_count;
  call.choice = wait.choice;
  TupleDesc columns = answer_columns(fcinfo);
  ClaimedRows rows = claimed_packed();
  claim.output = output_to(&rows);

  const bool claimed = wait_and_claim(wait, &claim);
  Interval waited = {claim.waited, 0, 0};
  PG_RETURN_DATUM(row_datum(columns, {datum_field(claimed_bytes(&rows)), bool_field(claim.news),
                                      claimed ? time_field(claim.claimed_at) : null_field(),
                                      claimed ? datum_field(IntervalPGetDatum(&waited)) : null_field()}));
}

Datum insula_wait_for_work(PG_FUNCTION_ARGS) {
  require_top_level(fcinfo, "insula.wait_for_work");
  require_writable("insula.wait_for_work()");
  int task_count;
  const char **tasks = text_array_argument(fcinfo, 2, "tasks", false, &task_count);
  const char *worker = text_argument(fcinfo, 3);
  if (worker) check_worker_name(worker);
  TupleDesc columns = answer_columns(fcinfo);
  WorkWait wait = wait_arguments(fcinfo, 4, 5);
  wait.worker = worker;
  wait.tasks = tasks;
  wait.task_count = task_count;
  PG_RETURN_DATUM(row_datum(columns, {bool_field(wait_for_work(wait))}));
}
