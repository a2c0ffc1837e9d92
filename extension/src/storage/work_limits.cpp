// Rows of `work` under a concurrency limit, over SPI.
#include <algorithm>

#include "storage/rows.hpp"
#include "storage/work.hpp"

namespace insula {

// The lanes from here on are those of rows under a limit.
static constexpr std::int32_t below_limited = 150000;

bool has_waiting_limits(const Tenant &tenant) {
  std::int32_t lane;
  if (!find_lane(tenant, below_limited, PG_INT32_MAX, &lane)) return false;
  return run(tenant, Statement::probe_limited) > 0;
}

WaitingLimit *waiting_limits(const Tenant &tenant, const LimitPlace &after, int most, int *count) {
  Arguments arguments;
  arguments.add(Int32GetDatum(after.key)).add(Int64GetDatum(after.limit)).add(Int64GetDatum(most));
  const auto rows = run_without_sort(tenant, Statement::waiting_limits, arguments);
  auto *limits = palloc_array_of<WaitingLimit>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) limits[i] = {{get_int32(i, 1), get_int64(i, 2)}, get_int32(i, 3)};
  *count = static_cast<int>(rows);
  return limits;
}

LimitCount *running_by_limit(const Tenant &tenant, int *count) {
  Arguments none;
  const auto rows = run_on_latest(tenant, Statement::running_by_limit, none);
  auto *counts = palloc_array_of<LimitCount>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) counts[i] = {get_int64(i, 1), get_int64(i, 2)};
  std::sort(counts, counts + rows, [](const LimitCount &a, const LimitCount &b) { return a.limit < b.limit; });
  *count = static_cast<int>(rows);
  return counts;
}

}  // namespace insula
