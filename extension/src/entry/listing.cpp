// SQL entry points that list executions and failures.
#include "storage/listing.hpp"

#include <algorithm>

#include "core/ids.hpp"
#include "entry/answer.hpp"
#include "entry/arguments.hpp"
#include "entry/prologue.hpp"
#include "shared/clock.hpp"
#include "storage/work.hpp"

using namespace insula;

INSULA_FUNCTION(insula_list_executions);
INSULA_FUNCTION(insula_failures);

namespace {

constexpr int most_listed = 10000;
constexpr int stretch = 10000;
constexpr std::int64_t looked_at = 1000000;

struct Range {
  std::int64_t after;
  std::int64_t before;
};

int required_most(FunctionCallInfo fcinfo, int argument, const char *name) {
  const std::int32_t most = required_int32(fcinfo, argument, name);
  if (most < 1 || most > most_listed)
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s must be between 1 and %d", name, most_listed)));
  return most;
}

void check_status(const char *status) {
  if (!status) return;
  for (const char *known : {"pending", "running", "paused", "completed", "failed", "cancelled"})
    if (strcmp(known, status) == 0) return;
  ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("no execution has the status \"%s\"", status)));
}

void put_execution(ReturnSetInfo *result, const Tenant &tenant, const ListedExecution &listed) {
  put_row(result, {int64_field(core::make_id(tenant.number, listed.id)), text_field(listed.workflow),
                   int32_field(listed.version), text_field(listed.status), int32_field(listed.priority),
                   time_field(listed.created_at), time_field(listed.started_at, 0), time_field(listed.finished_at, 0),
                   text_field(listed.error)});
}

// Returns how many it has put.
int list_range(ReturnSetInfo *result, const Tenant &tenant, const ListFilter &filter, Range range, int most) {
  MemoryContext before = CurrentMemoryContext;
  MemoryContext scratch = AllocSetContextCreate(before, "insula list", ALLOCSET_DEFAULT_SIZES);
  MemoryContextSwitchTo(scratch);
  int put = 0;
  while (put < most) {
    CHECK_FOR_INTERRUPTS();
    const std::int64_t first = beginning_of_stretch(tenant, range.after, range.before, stretch);
    if (first == 0) break;
    int count;
    const ListedExecution *listed = list_executions(tenant, filter, first - 1, range.before, most - put, &count);
    for (int i = 0; i < count; ++i) put_execution(result, tenant, listed[i]);
    put += count;
    // What is older was submitted earlier.
    if (count == 0 && all_created_before(tenant, first, range.before - 1, filter.created_after)) break;
    range.before = first;
    MemoryContextReset(scratch);
  }
  MemoryContextSwitchTo(before);
  MemoryContextDelete(scratch);
  return put;
}

}  // namespace

Datum insula_list_executions(PG_FUNCTION_ARGS) {
  const ListFilter filter = {text_argument(fcinfo, 0), text_argument(fcinfo, 1),
                             PG_ARGISNULL(2) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(2),
                             PG_ARGISNULL(3) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(3)};
  check_status(filter.status);
  const std::int64_t end = core::max_local_number + 1;
  const std::int64_t before = PG_ARGISNULL(4) ? 0 : core::local_of(PG_GETARG_INT64(4));
  const int most = required_most(fcinfo, 5, "max_executions");
  const Tenant *tenant = open_named_tenant(fcinfo, 6, Access::read);
  ReturnSetInfo *result = begin_rows(fcinfo);
  in_session([&] {
    // The numbers begin again some day: those up to the newest are newer than those beyond it.
    const std::int64_t newest = newest_number(*tenant);
    const bool among_older = before > newest;
    int put = 0;
    if (!among_older)
      put = list_range(result, *tenant, filter, {0, before ? before : std::min(newest, end - 1) + 1}, most);
    if (newest < end - 1) (void)list_range(result, *tenant, filter, {newest, among_older ? before : end}, most - put);
  });
  return Datum{0};
}

Datum insula_failures(PG_FUNCTION_ARGS) {
  const char *workflow = text_argument(fcinfo, 0);
  const TimestampTz since = PG_ARGISNULL(1) ? DT_NOBEGIN : clock_now() - required_duration(fcinfo, 1, "within");
  const int most = required_most(fcinfo, 2, "max_groups");
  const Tenant *tenant = open_named_tenant(fcinfo, 3, Access::read);
  ReturnSetInfo *result = begin_rows(fcinfo);
  in_session([&] {
    int count;
    const FailureGroup *groups = group_failures(*tenant, workflow, since, looked_at, most, &count);
    for (int i = 0; i < count; ++i)
      put_row(result, {text_field(groups[i].workflow), text_field(groups[i].error), int64_field(groups[i].executions),
                       time_field(groups[i].last_at), int64_field(core::make_id(tenant->number, groups[i].last))});
  });
  return Datum{0};
}
