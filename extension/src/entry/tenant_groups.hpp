// Batches of ids: ids carry their tenant, so a batch is worked through tenant by tenant, in
// the one global order.
#pragma once

#include "spi/session.hpp"
#include "tenant/tenant.hpp"

namespace insula {

// The positions of `ids`, grouped by tenant, ascending.
int *by_tenant(const std::int64_t *ids, int count);

// The end of the group of one tenant's ids that starts at `first`; an id that can be
// nobody's is a group of its own.
int end_of_group(const std::int64_t *ids, const int *order, int first, int count);

// The tenant of the id, opened, if the caller may work for it; an id that he may not touch
// is answered like one that does not exist.
Tenant *tenant_to_work_for(std::int64_t id);

// As open_session, for calls about a claimed task.  A runner of many tenants serves the
// others while one of them sits on his rows.
Session open_outcome_session(const Tenant &tenant);

}  // namespace insula
