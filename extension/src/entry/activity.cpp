// SQL entry points of the statistics: the tenants' queues at a glance, the counters of workflows,
// and their reset.
#include <algorithm>

#include "entry/answer.hpp"
#include "entry/each_tenant.hpp"
#include "shared/counters.hpp"
#include "shared/overhead.hpp"
#include "shared/shared.hpp"
#include "spi/budget.hpp"
#include "storage/record.hpp"
#include "storage/work.hpp"

using namespace insula;

INSULA_FUNCTION(insula_read_activity);
INSULA_FUNCTION(insula_read_counters);
INSULA_FUNCTION(insula_read_tenant_counters);
INSULA_FUNCTION(insula_stat_reset);

namespace {

// Counts the tenant's queue, and keeps the count for the readers after this one.
TenantCounters counted_queue(const Tenant &tenant) {
  std::uint64_t ticket;
  const Snapshot snapshot = begin_counting(tenant.number, &ticket);
  TenantCounters found;
  found.items = count_queue(tenant, snapshot ? snapshot : GetLatestSnapshot(), &found.count);
  if (snapshot) end_counting(tenant.number, ticket, found.items, found.count);
  return found;
}

// A tenant's queue.  `oldest`: since when its oldest ready task is ready; DT_NOEND: it has none.
void put_activity(ReturnSetInfo *result, const char *tenant, std::int32_t number, const TenantCounters &queue,
                  TimestampTz oldest) {
  Field fields[3 + places] = {text_field(tenant)};
  for (int place = 0; place < places; ++place)
    fields[1 + place] = int64_field(queue.tasks(static_cast<Place>(place)));
  fields[1 + places] = time_field(oldest, DT_NOEND);
  const double overhead = static_cast<double>(overhead_of(number)) / USECS_PER_SEC;
  fields[2 + places] = shared_memory_available() ? datum_field(Float8GetDatum(overhead)) : null_field();
  put_row(result, fields, lengthof(fields));
}

void look_at_queue(ReturnSetInfo *result, const Tenant &tenant, const TenantCounters &queue) {
  begin_budget();  // the count may have spent it
  const TimestampTz oldest = queue.tasks(Place::ready) > 0 ? oldest_ready(tenant) : DT_NOEND;
  put_activity(result, tenant.name, tenant.number, queue, oldest);
}

Field wait_percentile(const Activity &activity, double part) {
  const std::int64_t bound = wait_bound(activity.waits, part);
  if (bound < 0) return null_field();
  auto *interval = static_cast<Interval *>(palloc0(sizeof(Interval)));
  interval->time = bound;
  return datum_field(IntervalPGetDatum(interval));
}

// `version`: nullptr: the counters are not those of one version.
void put_counters(ReturnSetInfo *result, const char *tenant, const VersionRow *version, const Activity &activity,
                  bool known) {
  Field fields[3 + places + happenings + 4] = {text_field(tenant), version ? text_field(version->workflow) : null_field(),
                                               version ? int32_field(version->version) : null_field()};
  int at = 3;
  for (std::int64_t tasks : activity.tasks) fields[at++] = known ? int64_field(tasks) : null_field();
  for (std::int64_t times : activity.happened) fields[at++] = int64_field(times);
  for (double part : {0.5, 0.99}) fields[at++] = wait_percentile(activity, part);
  fields[at++] = datum_field(int64_array(activity.waits, wait_classes));
  fields[at] = time_field(activity.since);
  put_row(result, fields, lengthof(fields));
}

void put_by_version(ReturnSetInfo *result, const Tenant &tenant, const Activity &activity, bool known) {
  VersionRow row = {};
  const bool others = activity.what.definition == 0;
  if (others || read_version(tenant, activity.what.definition, &row))
    put_counters(result, tenant.name, others ? nullptr : &row, activity, known);
}

Activity sum_of(const TenantCounters &counters) {
  Activity sum = counters.items[0];
  for (int i = 1; i < counters.count; ++i) {
    const Activity &one = counters.items[i];
    for (int place = 0; place < places; ++place) sum.tasks[place] += one.tasks[place];
    for (int what = 0; what < happenings; ++what) sum.happened[what] += one.happened[what];
    for (int wait = 0; wait < wait_classes; ++wait) sum.waits[wait] += one.waits[wait];
    sum.since = std::min(sum.since, one.since);
  }
  return sum;
}

}  // namespace

// The tables of a tenant whose queue is known and holds nothing that is ready are not opened: a server may have ten
// thousand of them.
Datum insula_read_activity(PG_FUNCTION_ARGS) {
  require_admin();
  ReturnSetInfo *result = begin_rows(fcinfo);
  const ActivityReport report = read_activity();
  int count;
  const TenantName *tenants = tenant_names(&count);
  for (int i = 0; i < count; ++i) {
    CHECK_FOR_INTERRUPTS();
    const auto &[number, name] = tenants[i];
    const bool known = report.knows(number);
    const TenantCounters queue = report.of(number);
    if (known && queue.tasks(Place::ready) == 0)
      put_activity(result, name, number, queue, DT_NOEND);
    else
      read_tenant(number, [&](const Tenant &tenant) {
        look_at_queue(result, tenant, known ? queue : counted_queue(tenant));
      });
  }
  return Datum{0};
}

Datum insula_read_counters(PG_FUNCTION_ARGS) {
  require_admin();
  const char *wanted = text_argument(fcinfo, 0);
  ReturnSetInfo *result = begin_rows(fcinfo);
  int count;
  const TenantName *tenants = tenant_names(&count);
  const auto each_counted = [&](const ActivityReport &report, auto work) {
    for (int i = 0; i < count; ++i) {
      CHECK_FOR_INTERRUPTS();
      if ((!wanted || strcmp(wanted, tenants[i].name) == 0) && report.of(tenants[i].number).count > 0) work(tenants[i]);
    }
  };
  ActivityReport report = read_activity();
  each_counted(report, [&](const TenantName &one) {
    if (!report.knows(one.number)) read_tenant(one.number, [](const Tenant &tenant) { (void)counted_queue(tenant); });
  });
  report = read_activity();
  each_counted(report, [&](const TenantName &one) {
    read_tenant(one.number, [&](const Tenant &tenant) {
      const TenantCounters counters = report.of(tenant.number);
      const bool known = report.knows(tenant.number);
      for (int i = 0; i < counters.count; ++i) put_by_version(result, tenant, counters.items[i], known);
    });
  });
  return Datum{0};
}

Datum insula_read_tenant_counters(PG_FUNCTION_ARGS) {
  require_admin();
  ReturnSetInfo *result = begin_rows(fcinfo);
  const ActivityReport report = read_activity();
  int count;
  const TenantName *tenants = tenant_names(&count);
  for (int i = 0; i < count; ++i) {
    const TenantCounters counters = report.of(tenants[i].number);
    if (counters.count > 0)
      put_counters(result, tenants[i].name, nullptr, sum_of(counters), report.knows(tenants[i].number));
  }
  return Datum{0};
}

Datum insula_stat_reset(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  require_admin();
  forget_activity();
  PG_RETURN_VOID();
}
