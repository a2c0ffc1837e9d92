// Batches of ids.  An id carries its tenant's number, so a batch is worked through tenant by tenant,
// in the order of ids, which is the one global lock order.
#pragma once

#include <cstdint>

namespace insula {

// The positions of `ids`, by ascending id: grouped by tenant, and ascending within each group.
// Positions of equal ids ascend.
int *by_tenant(const std::int64_t *ids, int count);

// The end of the group of one tenant's ids that starts at `first`.  An id that no tenant can have is
// a group of its own.
int end_of_group(const std::int64_t *ids, const int *order, int first, int count);

}  // namespace insula
