// SQL entry points for what goes on: the tenants' queues at a glance, the counters of
// workflows, and their reset.
#include <algorithm>

#include "entry/arguments.hpp"
#include "shared/activity.hpp"
#include "storage/record.hpp"
#include "storage/work.hpp"
#include "tenant/caller.hpp"
#include "tenant/in_subtransaction.hpp"

using namespace insula;

INSULA_FUNCTION(insula_read_activity);
INSULA_FUNCTION(insula_read_counters);
INSULA_FUNCTION(insula_stat_reset);

namespace {

// The counters of one tenant, a part of what has been read.
struct OfTenant {
  const Activity *items;
  int count;
};

OfTenant of_tenant(const ActivityReport &report, std::int32_t tenant) {
  const auto before = [](const Activity &activity, std::int32_t number) { return activity.what.tenant < number; };
  const Activity *end = report.items + report.count;
  const Activity *first = std::lower_bound(report.items, end, tenant, before);
  const Activity *last = std::lower_bound(first, end, tenant + 1, before);
  return {first, static_cast<int>(last - first)};
}

// Counts the tenant's queue, once for all who read it after this.
OfTenant counted_queue(const Tenant &tenant) {
  std::uint64_t ticket;
  const Snapshot snapshot = begin_counting(tenant.number, &ticket);
  OfTenant found;
  found.items = count_queue(tenant, snapshot ? snapshot : GetLatestSnapshot(), &found.count);
  if (snapshot) end_counting(tenant.number, ticket, found.items, found.count);
  return found;
}

// Opens those tenants that the filter admits.
template <typename Filter, typename Work>
void each_tenant(Filter filter, Work work) {
  int count;
  const TenantShare *tenants = all_tenants(&count);
  for (int i = 0; i < count; ++i) {
    CHECK_FOR_INTERRUPTS();
    const std::int32_t number = tenants[i].number;
    if (!filter(number)) continue;
    (void)in_subtransaction(number, [&] {
      const Tenant *tenant = open_untouched_tenant(number);
      if (!tenant) return;
      const Session session = open_session();
      work(*tenant);
      close_session(session);
    });
  }
}

void put_activity(ReturnSetInfo *result, const Tenant &tenant, OfTenant activity) {
  std::int64_t tasks[places] = {};
  for (int i = 0; i < activity.count; ++i)
    for (int place = 0; place < places; ++place) tasks[place] += activity.items[i].tasks[place];
  const TimestampTz oldest = tasks[static_cast<int>(Place::ready)] > 0 ? oldest_ready(tenant) : DT_NOEND;
  Datum values[2 + places] = {CStringGetTextDatum(tenant.name)};
  bool nulls[2 + places] = {};
  for (int place = 0; place < places; ++place) values[1 + place] = Int64GetDatum(tasks[place]);
  values[1 + places] = TimestampTzGetDatum(oldest);
  nulls[1 + places] = oldest == DT_NOEND;
  tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

// A percentile of the waits, as the least bound that is known for it; false: there are none.
bool wait_percentile(const Activity &activity, double part, Datum *interval) {
  std::int64_t all = 0;
  for (std::int64_t waits : activity.waits) all += waits;
  if (all == 0) return false;
  std::int64_t below = 0;
  int place = 0;
  while (place < wait_classes - 1 &&
         static_cast<double>(below += activity.waits[place]) < part * static_cast<double>(all))
    ++place;
  auto *bound = static_cast<Interval *>(palloc0(sizeof(Interval)));
  bound->time = std::int64_t{1000} << place;
  *interval = IntervalPGetDatum(bound);
  return true;
}

void put_counters(ReturnSetInfo *result, const Tenant &tenant, const Activity &activity, bool known) {
  DefinitionRow row = {};
  const bool others = activity.what.definition == 0;
  if (!others && !read_definition(tenant, activity.what.definition, &row)) return;
  Datum values[3 + places + happenings + 4] = {CStringGetTextDatum(tenant.name),
                                               others ? Datum{0} : CStringGetTextDatum(row.workflow),
                                               Int32GetDatum(row.version)};
  bool nulls[lengthof(values)] = {false, others, others};
  int at = 3;
  for (std::int64_t tasks : activity.tasks) {
    nulls[at] = !known;
    values[at++] = Int64GetDatum(tasks);
  }
  for (std::int64_t times : activity.happened) values[at++] = Int64GetDatum(times);
  for (double part : {0.5, 0.99}) {
    nulls[at] = !wait_percentile(activity, part, &values[at]);
    ++at;
  }
  values[at++] = int64_array(activity.waits, wait_classes);
  values[at] = TimestampTzGetDatum(activity.since);
  tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

}  // namespace

Datum insula_read_activity(PG_FUNCTION_ARGS) {
  require_admin();
  InitMaterializedSRF(fcinfo, 0);
  auto *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
  const ActivityReport report = read_activity();
  const auto everyone = [](std::int32_t) { return true; };
  each_tenant(everyone, [&](const Tenant &tenant) {
    const bool known = report.knows(tenant.number);
    put_activity(result, tenant, known ? of_tenant(report, tenant.number) : counted_queue(tenant));
  });
  return Datum{0};
}

Datum insula_read_counters(PG_FUNCTION_ARGS) {
  require_admin();
  InitMaterializedSRF(fcinfo, 0);
  auto *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
  ActivityReport report = read_activity();
  const auto counted = [&](std::int32_t tenant) { return of_tenant(report, tenant).count > 0; };
  const auto unknown = [&](std::int32_t tenant) { return counted(tenant) && !report.knows(tenant); };
  each_tenant(unknown, [](const Tenant &tenant) { (void)counted_queue(tenant); });
  report = read_activity();
  each_tenant(counted, [&](const Tenant &tenant) {
    const OfTenant activity = of_tenant(report, tenant.number);
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
