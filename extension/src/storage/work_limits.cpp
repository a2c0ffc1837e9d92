// Rows of `work` under a concurrency limit, over SPI.
#include <algorithm>

#include "storage/random.hpp"
#include "storage/work.hpp"

namespace insula {

bool has_waiting_limits(const Tenant &tenant) { return run(tenant, Statement::probe_limited) > 0; }

bool next_waiting_limit(const Tenant &tenant, const LimitPlace &after, WaitingLimit *next) {
  Arguments arguments;
  arguments.add(Int32GetDatum(after.key)).add(Int64GetDatum(after.limit));
  if (run_without_sort(tenant, Statement::next_waiting_limit, arguments) == 0) return false;
  *next = {{get_int32(0, 1), get_int64(0, 2)}, get_int32(0, 3)};
  return true;
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
