// insula.read_overdue: what no process takes up, for insula.health().  It visits a bounded number of tenants, those
// that shared memory makes most likely.
#include <algorithm>

#include "core/ids.hpp"
#include "entry/answer.hpp"
#include "entry/each_tenant.hpp"
#include "shared/clock.hpp"
#include "shared/counters.hpp"
#include "shared/due_queue.hpp"
#include "shared/ready_tenants.hpp"
#include "shared/shared.hpp"
#include "spi/budget.hpp"
#include "storage/look.hpp"
#include "storage/work.hpp"

using namespace insula;

INSULA_FUNCTION(insula_read_overdue);

namespace {

constexpr int most_visits = 10000;

// So that a call ends, whatever a hundred tenants have in their queues.
std::int64_t look_microseconds() { return visit_microseconds() / 100; }

// A tenant that may have something overdue; the smallest rank is visited first.
struct Candidate {
  std::int32_t number;
  std::int64_t rank;
  int place;  // among those of the same rank
};

struct Overdue {
  ReturnSetInfo *rows;
  int most;
  TimestampTz before;  // what is older is overdue
};

template <typename Visit>
void visit_likeliest(Candidate *candidates, int count, int most, Visit visit) {
  std::sort(candidates, candidates + count, [](const Candidate &a, const Candidate &b) {
    return a.rank != b.rank ? a.rank < b.rank : a.place < b.place;
  });
  for (int i = 0; i < std::min(count, most); ++i) {
    CHECK_FOR_INTERRUPTS();
    read_tenant(candidates[i].number, visit);
  }
}

// The moment at which a scheduler looks again at a tenant whose lapsed lease it could not take back, since another
// transaction holds the row.
constexpr std::int64_t soon = 3 * USECS_PER_SEC / 2;

// A lease's end is in the due queue.  Where no counter tells whether tasks of the tenant run, it has lapsed leases only
// if it is overdue or due soon.  Those in whose turn the scheduler is come first.
void read_lapsed(const Overdue &overdue, const ActivityReport &report, const TenantShare *tenants, int count) {
  const DueReport queue = read_due_queue();
  const TimestampTz late = clock_now() + soon;  // of all that the queue may hold by now
  auto *candidates = palloc_array_of<Candidate>(static_cast<std::size_t>(count));
  int found = 0;
  for (int i = 0; i < count; ++i) {
    const std::int32_t number = tenants[i].number;
    TimestampTz due;
    const bool is_counted = report.knows(number);
    if (is_counted && report.of(number).tasks(Place::running) == 0) continue;
    const bool known = queue.knows(number, &due);
    if (!is_counted && known && due >= overdue.before && due > late) continue;
    candidates[found++] = {number, known ? due : DT_NOBEGIN, i};
  }
  visit_likeliest(candidates, found, overdue.most, [&](const Tenant &tenant) {
    begin_budget(look_microseconds());
    LeasedTask task;
    if (!first_leased_task(tenant, &task) || task.expires >= overdue.before) return;
    put_row(overdue.rows,
            {text_field("lease"), text_field(tenant.name), int64_field(core::make_id(tenant.number, task.execution)),
             text_field(task.worker), time_field(task.expires), null_field()});
  });
}

// Numbers of tenants, ascending.
struct Numbers {
  std::int32_t *items;
  int count;

  bool have(std::int32_t number) const { return std::binary_search(items, items + count, number); }
};

template <typename Item, typename NumberOf>
Numbers numbers_of(const Item *items, int count, NumberOf number_of) {
  const Numbers numbers = {palloc_array_of<std::int32_t>(static_cast<std::size_t>(count)), count};
  std::transform(items, items + count, numbers.items, number_of);
  std::sort(numbers.items, numbers.items + count);
  return numbers;
}

// The tenants that may have claimable tasks; false: that is not known.
bool read_claimable(Numbers *claimable) {
  std::int32_t *tenants;
  int count;
  if (!look_at_ready_tenants(&tenants, &count)) return false;
  *claimable = numbers_of(tenants, count, [](std::int32_t tenant) { return tenant; });
  return true;
}

// First the tenants of which nothing was claimed in the last minutes, those with most ready tasks at the front; then
// those whose queue has not been counted, of which the set of ready tenants has not those that a limit holds back; then
// the others.
void read_ready(const Overdue &overdue, const ActivityReport &report, const TenantShare *tenants, int count) {
  constexpr std::int64_t behind_all = core::max_local_number;
  int served_count;
  const RecentClaims *claims = recent_claims(&served_count);
  const Numbers served = numbers_of(claims, served_count, [](const RecentClaims &one) { return one.tenant; });
  const bool counts_claims = shared_memory_available() && !RecoveryInProgress();
  Numbers claimable = {};
  const bool is_known = read_claimable(&claimable);
  auto *candidates = palloc_array_of<Candidate>(static_cast<std::size_t>(count));
  int found = 0;
  for (int i = 0; i < count; ++i) {
    const std::int32_t number = tenants[i].number;
    const bool is_counted = report.knows(number);
    const std::int64_t ready = report.of(number).tasks(Place::ready);
    if (is_counted && ready == 0) continue;
    const std::int64_t uncounted = is_known && !claimable.have(number) ? 1 : 0;
    candidates[found++] = {number, !is_counted ? uncounted : served.have(number) ? behind_all - ready : -ready, i};
  }
  visit_likeliest(candidates, found, overdue.most, [&](const Tenant &tenant) {
    begin_budget(look_microseconds());
    std::int64_t execution = 0;
    const TimestampTz since = oldest_ready(tenant, &execution);
    if (since >= overdue.before) return;
    put_row(overdue.rows,
            {text_field("ready task"), text_field(tenant.name), int64_field(core::make_id(tenant.number, execution)),
             null_field(), time_field(since), counts_claims ? bool_field(served.have(tenant.number)) : null_field()});
  });
}

// Each minute others come first of the tenants that are alike: a call in each goes through all of them in time.
void begin_elsewhere(TenantShare *tenants, int count, TimestampTz now, int most) {
  if (count <= most) return;
  std::sort(tenants, tenants + count, [](const TenantShare &a, const TenantShare &b) { return a.number < b.number; });
  std::rotate(tenants, tenants + std::max<TimestampTz>(now, 0) / USECS_PER_MINUTE % count * most % count,
              tenants + count);
}

}  // namespace

Datum insula_read_overdue(PG_FUNCTION_ARGS) {
  require_admin();
  const TimestampTz now = clock_now();
  const TimestampTz ready_before = now - required_duration(fcinfo, 0, "ready_for");
  const TimestampTz lapsed_before = now - required_duration(fcinfo, 1, "lapsed_for");
  const int most = required_int32(fcinfo, 2, "max_tenants");
  if (most < 1 || most > most_visits)
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("max_tenants must be between 1 and %d", most_visits)));
  ReturnSetInfo *rows = begin_rows(fcinfo);
  const ActivityReport report = read_activity();
  int count;
  TenantShare *tenants = active_tenants(&count);
  begin_elsewhere(tenants, count, now, most);
  read_lapsed({rows, most, lapsed_before}, report, tenants, count);
  read_ready({rows, most, ready_before}, report, tenants, count);
  return Datum{0};
}
