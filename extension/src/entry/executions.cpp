// SQL entry points that list executions, what has failed, leases, workflows, and what happened to one execution.
#include <algorithm>
#include <span>

#include "core/ids.hpp"
#include "entry/answer.hpp"
#include "entry/each_tenant.hpp"
#include "shared/clock.hpp"
#include "shared/counters.hpp"
#include "shared/due_queue.hpp"
#include "shared/shared.hpp"
#include "storage/look.hpp"
#include "storage/record.hpp"
#include "storage/work.hpp"

using namespace insula;

INSULA_FUNCTION(insula_executions);
INSULA_FUNCTION(insula_read_failures);
INSULA_FUNCTION(insula_timeline);
INSULA_FUNCTION(insula_execution_source);
INSULA_FUNCTION(insula_leases);
INSULA_FUNCTION(insula_workflows);

namespace {

constexpr int most_of_a_page = 10000;
constexpr int most_in_stretch = 10000;  // rows read at once
constexpr int least_in_stretch = 100;

constexpr const char *statuses[] = {"pending", "running", "paused", "completed", "failed", "cancelled"};

void check_status(const char *status) {
  if (!status) return;
  for (const char *known : statuses)
    if (strcmp(known, status) == 0) return;
  ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("there is no status \"%s\"", status),
                  errdetail("It must be pending, running, paused, completed, failed or cancelled.")));
}

TimestampTz time_argument(FunctionCallInfo fcinfo, int argument, TimestampTz none) {
  return PG_ARGISNULL(argument) ? none : PG_GETARG_TIMESTAMPTZ(argument);
}

// Goes through a tenant's rows from the newest back, below `before` if that is a number, one stretch after another, of
// `rows` rows at first and then of twice as many, while `visit(after, last)` says so, and no further than rows of that
// time.  Numbers begin again at the end, behind which the oldest lie.
template <typename Visit>
void read_back(const Tenant &tenant, std::int64_t before, TimestampTz oldest, int rows, Visit visit) {
  const std::int64_t newest = newest_number(tenant);
  struct {
    std::int64_t after, last;
  } ranges[] = {{0, newest}, {newest, core::max_local_number}};
  const bool is_behind = before > newest && before != PG_INT64_MAX;
  for (int i = is_behind ? 1 : 0; i < 2; ++i) {
    auto [after, last] = ranges[i];
    if (i == (is_behind ? 1 : 0)) last = std::min(last, before - 1);
    MemoryContext callers = CurrentMemoryContext;
    MemoryContext scratch = AllocSetContextCreate(callers, "insula look", ALLOCSET_DEFAULT_SIZES);
    MemoryContextSwitchTo(scratch);
    bool goes_on = true;
    while (goes_on && last > after) {
      CHECK_FOR_INTERRUPTS();
      const Stretch stretch = last_stretch(tenant, after, last, rows);
      if (stretch.first == 0) break;
      goes_on = visit(stretch.first, last) && !(stretch.newest != DT_NOBEGIN && stretch.newest < oldest);
      last = stretch.first - 1;
      rows = std::min(2 * rows, most_in_stretch);
      MemoryContextReset(scratch);
    }
    MemoryContextSwitchTo(callers);
    MemoryContextDelete(scratch);
    if (!goes_on) return;
  }
}

TimestampTz earlier(TimestampTz time, std::int64_t by) {
  return TIMESTAMP_NOT_FINITE(time) || time < MIN_TIMESTAMP + by ? DT_NOBEGIN : time - by;
}

// The rest of a page.
struct Listing {
  ReturnSetInfo *rows;
  LookFilter filter;
  int room;
};

void put_execution(ReturnSetInfo *rows, const Tenant &tenant, const ListedExecution &row) {
  put_row(rows, {int64_field(core::make_id(tenant.number, row.id)), text_field(tenant.name), text_field(row.workflow),
                 int32_field(row.version), text_field(row.status), text_field(row.error), int32_field(row.priority),
                 time_field(row.created_at), time_field(row.started_at, 0), time_field(row.finished_at, 0)});
}

void list_executions(const Tenant &tenant, std::int64_t before, Listing *page) {
  const TimestampTz oldest = earlier(page->filter.created_after, USECS_PER_HOUR);
  // An execution has at least one row.
  const int rows = std::clamp(2 * page->room, least_in_stretch, most_in_stretch);
  read_back(tenant, before, oldest, rows, [&](std::int64_t first, std::int64_t last) {
    int count;
    const ListedExecution *found = listed_executions(tenant, page->filter, first - 1, last, page->room, &count);
    for (int i = 0; i < count; ++i) put_execution(page->rows, tenant, found[i]);
    page->room -= count;
    return page->room > 0;
  });
}

// A run of a tenant's ids.
void list_some(const Tenant &tenant, std::span<const std::int64_t> ids, Listing *page) {
  MemoryContext callers = CurrentMemoryContext;
  MemoryContext scratch = AllocSetContextCreate(callers, "insula look", ALLOCSET_DEFAULT_SIZES);
  MemoryContextSwitchTo(scratch);
  for (const std::int64_t id : ids) {
    CHECK_FOR_INTERRUPTS();
    const std::int64_t local = core::local_of(id);
    int count;
    const ListedExecution *found = listed_executions(tenant, page->filter, local - 1, local, 1, &count);
    if (count) put_execution(page->rows, tenant, *found);
    MemoryContextReset(scratch);
  }
  MemoryContextSwitchTo(callers);
  MemoryContextDelete(scratch);
}

// Those of the ids that were given, the highest first; of `only` alone if that is a tenant.
void list_given(FunctionCallInfo fcinfo, const Tenant *only, std::span<const std::int64_t> given, Listing *page) {
  auto *ids = palloc_array_of<std::int64_t>(given.size());
  std::int64_t *end = std::copy_if(given.begin(), given.end(), ids, core::is_plausible_id);
  std::sort(ids, end, [](std::int64_t a, std::int64_t b) { return a > b; });
  end = std::unique(ids, end);
  page->rows = begin_rows(fcinfo);
  for (std::int64_t *first = ids; first < end;) {
    const std::int32_t number = core::tenant_of(*first);
    std::int64_t *last = std::find_if(first, end, [&](std::int64_t id) { return core::tenant_of(id) != number; });
    const std::span<const std::int64_t> run(first, last);
    if (!only)
      read_tenant(number, [&](const Tenant &tenant) { list_some(tenant, run, page); });
    else if (only->number == number)
      in_session([&] { list_some(*only, run, page); });
    first = last;
  }
}

// The tenants by number, the highest first, as their ids are.
void list_all(std::int64_t before, Listing *page) {
  int count;
  TenantShare *tenants = all_tenants(&count);
  std::sort(tenants, tenants + count, [](const TenantShare &a, const TenantShare &b) { return a.number > b.number; });
  const std::int32_t from = before == PG_INT64_MAX ? PG_INT32_MAX : core::tenant_of(before);
  for (int i = 0; i < count && page->room > 0; ++i) {
    CHECK_FOR_INTERRUPTS();
    const std::int32_t number = tenants[i].number;
    if (number > from) continue;
    const std::int64_t local = number == from ? core::local_of(before) : PG_INT64_MAX;
    read_tenant(number, [&](const Tenant &tenant) { list_executions(tenant, local, page); });
  }
}

void put_failures(ReturnSetInfo *rows, const Tenant &tenant, TimestampTz since) {
  const TimestampTz oldest = earlier(since, USECS_PER_DAY);
  read_back(tenant, PG_INT64_MAX, oldest, least_in_stretch, [&](std::int64_t first, std::int64_t last) {
    int count;
    const FailureGroup *groups = failure_groups(tenant, first, last, since, &count);
    for (int i = 0; i < count; ++i) {
      const FailureGroup &group = groups[i];
      put_row(rows,
              {text_field(tenant.name), text_field(group.workflow), text_field(group.task), text_field(group.error),
               int64_field(group.failed), int64_field(group.retrying), time_field(group.first_at),
               time_field(group.last_at), int64_field(core::make_id(tenant.number, group.example))});
    }
    return true;
  });
}

void put_leases(ReturnSetInfo *rows, const Tenant &tenant) {
  int count;
  const LeasedTask *tasks = leased_tasks(tenant, &count);
  for (int i = 0; i < count; ++i) {
    const LeasedTask &task = tasks[i];
    put_row(rows, {text_field(tenant.name), int64_field(core::make_id(tenant.number, task.id)),
                   int64_field(core::make_id(tenant.number, task.execution)), text_field(task.workflow),
                   text_field(task.task), text_field(task.worker), int32_field(task.attempt),
                   time_field(task.started_at, 0), time_field(task.expires), time_field(task.deadline, 0)});
  }
}

void put_workflows(ReturnSetInfo *rows, const Tenant &tenant) {
  int count;
  const ListedWorkflow *workflows = listed_workflows(tenant, &count);
  for (int i = 0; i < count; ++i) {
    const ListedWorkflow &workflow = workflows[i];
    put_row(rows, {text_field(tenant.name), text_field(workflow.name), int32_field(workflow.version),
                   text_field(workflow.paused ? "paused" : "active"), time_field(workflow.registered_at),
                   json_field(workflow.definition)});
  }
}

// Shared memory's knowledge of running tasks.
struct RunningTasks {
  ActivityReport activity;
  DueReport queue;
  // The transaction itself has changed tasks of these tenants, which shared memory does not tell.
  std::int32_t touched[64];
  int touched_count;
  bool is_of_use;

  // Whether the tenant has some, or may have some: its counters are not known, and for all that the due queue knows a
  // lease of it may end.  A scheduler enters no suspended tenant.
  bool may_be_of(const TenantShare &tenant) const {
    if (!is_of_use || std::find(touched, touched + touched_count, tenant.number) != touched + touched_count)
      return true;
    if (activity.knows(tenant.number)) return activity.of(tenant.number).tasks(Place::running) > 0;
    TimestampTz due;
    return !tenant.is_active || !queue.knows(tenant.number, &due) || due != DT_NOEND;
  }
};

// A snapshot that is older than what it tells may show tasks that have ended since.
RunningTasks read_running_tasks() {
  RunningTasks running = {};
  if (IsolationUsesXactSnapshot() || announces_changes()) return running;
  const int count = touched_tenants(running.touched, lengthof(running.touched));
  if (count > static_cast<int>(lengthof(running.touched))) return running;
  running.touched_count = count;
  running.activity = read_activity();
  running.queue = read_due_queue();
  running.is_of_use = true;
  return running;
}

}  // namespace

Datum insula_executions(PG_FUNCTION_ARGS) {
  Listing page = {};
  page.filter = {text_argument(fcinfo, 0),           text_argument(fcinfo, 1), time_argument(fcinfo, 2, DT_NOBEGIN),
                 time_argument(fcinfo, 3, DT_NOEND), text_argument(fcinfo, 4), object_argument(fcinfo, 5, "context")};
  check_status(page.filter.status);
  const std::int64_t before = PG_ARGISNULL(6) ? PG_INT64_MAX : PG_GETARG_INT64(6);
  if (before != PG_INT64_MAX && !core::is_plausible_id(before))
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("before must be the id of an execution")));
  page.room = required_int32(fcinfo, 7, "max_executions");
  if (page.room < 1 || page.room > most_of_a_page)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("max_executions must be between 1 and %d", most_of_a_page)));
  const Tenant *tenant = is_for_all(fcinfo, 8) ? nullptr : open_named_tenant(fcinfo, 8, Access::read);
  if (!PG_ARGISNULL(9)) {
    const Int64Array ids = required_int64_array(fcinfo, 9, "execution_ids");
    if (before != PG_INT64_MAX)
      ereport(ERROR,
              (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("before and execution_ids cannot be given together")));
    if (ids.count > page.room)
      ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                      errmsg("execution_ids must hold no more ids than max_executions, which is %d", page.room)));
    list_given(fcinfo, tenant, {ids.values, static_cast<std::size_t>(ids.count)}, &page);
    return Datum{0};
  }
  page.rows = begin_rows(fcinfo);
  if (!tenant)
    list_all(before, &page);
  else if (before == PG_INT64_MAX || core::tenant_of(before) == tenant->number)
    in_session([&] { list_executions(*tenant, before == PG_INT64_MAX ? before : core::local_of(before), &page); });
  return Datum{0};
}

Datum insula_read_failures(PG_FUNCTION_ARGS) {
  const TimestampTz since = clock_now() - required_duration(fcinfo, 0, "since");
  ReturnSetInfo *rows = begin_rows(fcinfo);
  one_or_each_tenant(
      fcinfo, 1, [](const TenantShare &) { return true; },
      [&](const Tenant &tenant) { put_failures(rows, tenant, since); });
  return Datum{0};
}

Datum insula_timeline(PG_FUNCTION_ARGS) {
  const std::int64_t id = required_int64(fcinfo, 0, "execution_id");
  const Tenant *tenant = open_tenant_of_execution(id, Access::read);
  ReturnSetInfo *rows = begin_rows(fcinfo);
  in_session([&] {
    const std::int64_t local = core::local_of(id);
    ExecutionRow row;
    if (!read_execution(*tenant, local, &row)) no_such_execution(id);
    int count;
    const TimelineEvent *events = timeline_of(*tenant, local, row.span, &count);
    for (int i = 0; i < count; ++i) {
      const TimelineEvent &event = events[i];
      put_row(rows, {time_field(event.at), text_field(event.task), text_field(event.event),
                     event.attempt > 0 ? int32_field(event.attempt) : null_field(), text_field(event.worker),
                     json_field(event.detail), json_field(event.changed)});
    }
  });
  return Datum{0};
}

Datum insula_execution_source(PG_FUNCTION_ARGS) {
  const std::int64_t id = required_int64(fcinfo, 0, "execution_id");
  const Tenant *tenant = open_tenant_of_execution(id, Access::read);
  MemoryContext callers = CurrentMemoryContext;
  PG_RETURN_DATUM(in_session([&] {
    ExecutionRow row;
    DefinitionRow definition = {};
    if (!read_execution(*tenant, core::local_of(id), &row)) no_such_execution(id);
    const bool found = read_definition(*tenant, row.definition, &definition);
    MemoryContextSwitchTo(callers);
    return row_datum(
        answer_columns(fcinfo),
        {text_field(tenant->name), found ? json_field(definition.body) : null_field(), json_field(row.input),
         row.parent_head ? int64_field(core::make_id(tenant->number, row.parent_head)) : null_field()});
  }));
}

Datum insula_leases(PG_FUNCTION_ARGS) {
  ReturnSetInfo *rows = begin_rows(fcinfo);
  const RunningTasks running = is_for_all(fcinfo, 0) ? read_running_tasks() : RunningTasks{};
  one_or_each_tenant(
      fcinfo, 0, [&](const TenantShare &tenant) { return running.may_be_of(tenant); },
      [&](const Tenant &tenant) { put_leases(rows, tenant); });
  return Datum{0};
}

Datum insula_workflows(PG_FUNCTION_ARGS) {
  ReturnSetInfo *rows = begin_rows(fcinfo);
  one_or_each_tenant(
      fcinfo, 0, [](const TenantShare &) { return true; }, [&](const Tenant &tenant) { put_workflows(rows, tenant); });
  return Datum{0};
}
