// insula.max_tenant_transaction: a transaction of a tenant's login that is held for longer ends its session, since the
// dead rows of all tenants stay for it, and its locks.  It needs a preloaded library: a session that has loaded it by
// itself has had its chance.
#pragma once

#include "postgres.hpp"
#include "shared/transaction_end.hpp"

namespace insula {

// The first also where the library is not preloaded, and then nothing is limited.
void define_transaction_limit();
void limit_tenant_transactions();

// The limit in milliseconds; 0: none, or none is kept to.
int tenant_transaction_limit();

extern const TransactionStep transaction_limit_step;

}  // namespace insula
