// Batches of ids; see tenant_groups.hpp.
#include "entry/tenant_groups.hpp"

#include <algorithm>

#include "core/ids.hpp"
#include "postgres.hpp"

namespace insula {

int *by_tenant(const std::int64_t *ids, int count) {
  auto *order = palloc_array_of<int>(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) order[i] = i;
  std::sort(order, order + count, [ids](int a, int b) { return ids[a] < ids[b] || (ids[a] == ids[b] && a < b); });
  return order;
}

int end_of_group(const std::int64_t *ids, const int *order, int first, int count) {
  int last = first + 1;
  if (!core::is_plausible_id(ids[order[first]])) return last;
  while (last < count && core::tenant_of(ids[order[last]]) == core::tenant_of(ids[order[first]])) ++last;
  return last;
}

}  // namespace insula
