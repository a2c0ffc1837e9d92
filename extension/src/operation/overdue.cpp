// Which tenants are visited first by a look for what no process takes up; see overdue.hpp.  Shared memory tells.
#include "operation/overdue.hpp"

#include <algorithm>

#include "core/ids.hpp"
#include "shared/clock.hpp"
#include "shared/due_queue.hpp"
#include "shared/ready_tenants.hpp"

namespace insula {

namespace {

// A tenant that may have something overdue; the smallest rank is visited first.
struct Candidate {
  LikelyTenant tenant;
  std::int64_t rank;
  int place;  // among those of the same rank
};

struct Candidates {
  Candidate *items;
  int count = 0;

  explicit Candidates(const ActiveTenants &tenants)
      : items(palloc_array_of<Candidate>(static_cast<std::size_t>(tenants.count))) {}

  void add(const Candidate &candidate) { items[count++] = candidate; }

  LikelyTenants in_order() const {
    std::sort(items, items + count, [](const Candidate &a, const Candidate &b) {
      return a.rank != b.rank ? a.rank < b.rank : a.place < b.place;
    });
    const LikelyTenants likely = {palloc_array_of<LikelyTenant>(static_cast<std::size_t>(count)), count};
    std::transform(items, items + count, likely.items, [](const Candidate &one) { return one.tenant; });
    return likely;
  }
};

// The moment at which a scheduler looks again at a tenant whose lapsed lease it could not take back, since another
// transaction holds the row.
constexpr std::int64_t soon = 3 * USECS_PER_SEC / 2;

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

}  // namespace

ActiveTenants active_tenants_by_turns(TimestampTz now, int most) {
  ActiveTenants tenants;
  tenants.items = active_tenants(&tenants.count);
  if (tenants.count <= most) return tenants;
  TenantShare *end = tenants.items + tenants.count;
  std::sort(tenants.items, end, [](const TenantShare &a, const TenantShare &b) { return a.number < b.number; });
  const TimestampTz minute = std::max<TimestampTz>(now, 0) / USECS_PER_MINUTE;
  std::rotate(tenants.items, tenants.items + minute % tenants.count * most % tenants.count, end);
  return tenants;
}

// A lease's end is in the due queue.  Where no counter tells whether tasks of the tenant run, it has lapsed leases only
// if it is overdue or due soon.  Those in whose turn the scheduler is come first.
LikelyTenants likely_lapsed(const ActiveTenants &tenants, const ActivityReport &report, TimestampTz before) {
  const DueReport queue = read_due_queue();
  const TimestampTz late = clock_now() + soon;  // of all that the queue may hold by now
  Candidates candidates(tenants);
  for (int i = 0; i < tenants.count; ++i) {
    const std::int32_t number = tenants.items[i].number;
    TimestampTz due;
    const bool is_counted = report.knows(number);
    if (is_counted && report.of(number).tasks(Place::running) == 0) continue;
    const bool known = queue.knows(number, &due);
    if (!is_counted && known && due >= before && due > late) continue;
    candidates.add({{number, false}, known ? due : DT_NOBEGIN, i});
  }
  return candidates.in_order();
}

// First the tenants of which nothing was claimed in the last minutes, those with most ready tasks at the front; then
// those whose queue has not been counted, of which the set of ready tenants has not those that a limit holds back; then
// the others.
LikelyTenants likely_ready(const ActiveTenants &tenants, const ActivityReport &report) {
  constexpr std::int64_t behind_all = core::max_local_number;
  int served_count;
  const RecentClaims *claims = recent_claims(&served_count);
  const Numbers served = numbers_of(claims, served_count, [](const RecentClaims &one) { return one.tenant; });
  Numbers claimable = {};
  const bool is_known = read_claimable(&claimable);
  Candidates candidates(tenants);
  for (int i = 0; i < tenants.count; ++i) {
    const std::int32_t number = tenants.items[i].number;
    const bool is_counted = report.knows(number);
    const bool is_served = served.have(number);
    const std::int64_t ready = report.of(number).tasks(Place::ready);
    if (is_counted && ready == 0) continue;
    const std::int64_t uncounted = is_known && !claimable.have(number) ? 1 : 0;
    const std::int64_t rank = !is_counted ? uncounted : is_served ? behind_all - ready : -ready;
    candidates.add({{number, is_served}, rank, i});
  }
  return candidates.in_order();
}

}  // namespace insula
