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

void put_activity(ReturnSetInfo *result, const Tenant &tenant, TenantCounters activity) {
  std::int64_t tasks[places] = {};
  for (int i = 0; i < activity.count; ++i)
    for (int place = 0; place < places; ++place) tasks[place] += activity.items[i].tasks[place];
  begin_budget();  // the count may have spent it
  const TimestampTz oldest = tasks[static_cast<int>(Place::ready)] > 0 ? oldest_ready(tenant) : DT_NOEND;
  Field fields[3 + places] = {text_field(tenant.name)};
  for (int place = 0; place < places; ++place) fields[1 + place] = int64_field(tasks[place]);
  fields[1 + places] = time_field(oldest, DT_NOEND);
  const double overhead = static_cast<double>(overhead_of(tenant.number)) / USECS_PER_SEC;
  fields[2 + places] = shared_memory_available() ? datum_field(Float8GetDatum(overhead)) : null_field();
  put_row(result, fields, lengthof(fields));
}

Field wait_percentile(const Activity &activity, double part) {
  const std::int64_t bound = wait_bound(activity.waits, part);
  if (bound < 0) return null_field();
  auto *interval = static_cast<Interval *>(palloc0(sizeof(Interval)));
  interval->time = bound;
  return datum_field(IntervalPGetDatum(interval));
}

void put_counters(ReturnSetInfo *result, const Tenant &tenant, const Activity &activity, bool known) {
  VersionRow row = {};
  const bool others = activity.what.definition == 0;
  if (!others && !read_version(tenant, activity.what.definition, &row)) return;
  Field fields[3 + places + happenings + 4] = {text_field(tenant.name),
                                               others ? null_field() : text_field(row.workflow),
                                               others ? null_field() : int32_field(row.version)};
  int at = 3;
  for (std::int64_t tasks : activity.tasks) fields[at++] = known ? int64_field(tasks) : null_field();
  for (std::int64_t times : activity.happened) fields[at++] = int64_field(times);
  for (double part : {0.5, 0.99}) fields[at++] = wait_percentile(activity, part);
  fields[at++] = datum_field(int64_array(activity.waits, wait_classes));
  fields[at] = time_field(activity.since);
  put_row(result, fields, lengthof(fields));
}

}  // namespace

Datum insula_read_activity(PG_FUNCTION_ARGS) {
  require_admin();
  ReturnSetInfo *result = begin_rows(fcinfo);
  const ActivityReport report = read_activity();
  const auto all = [](const TenantShare &) { return true; };
  each_tenant(all, [&](const Tenant &tenant) {
    const bool known = report.knows(tenant.number);
    put_activity(result, tenant, known ? report.of(tenant.number) : counted_queue(tenant));
  });
  return Datum{0};
}

Datum insula_read_counters(PG_FUNCTION_ARGS) {
  require_admin();
  ReturnSetInfo *result = begin_rows(fcinfo);
  ActivityReport report = read_activity();
  const auto counted = [&](const TenantShare &tenant) { return report.of(tenant.number).count > 0; };
  const auto unknown = [&](const TenantShare &tenant) { return counted(tenant) && !report.knows(tenant.number); };
  each_tenant(unknown, [](const Tenant &tenant) { (void)counted_queue(tenant); });
  report = read_activity();
  each_tenant(counted, [&](const Tenant &tenant) {
    const TenantCounters activity = report.of(tenant.number);
    const bool known = report.knows(tenant.number);
    for (int i = 0; i < activity.count; ++i) put_counters(result, tenant, activity.items[i], known);
  });
  return Datum{0};
}

Datum insula_stat_reset(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  require_admin();
  forget_activity();
  PG_RETURN_VOID();
}
