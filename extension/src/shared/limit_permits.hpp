// Permits under the limits of workflows and of their keys, as numbers in shared memory: like those
// of tenants (permits.hpp), and exact for the same reason.  `running` is what has been committed, a
// claim reserves a permit for each row before it takes it, and with its transaction the reservation
// becomes part of `running` or comes back.
//
// There may be as many limits as keys, so only those under which something runs or is reserved
// have an entry, and the numbers are known for all limits of a tenant at once: a claim that counts, under
// the tenant's permits lock, counts them all, and from then on a limit without an entry has
// nothing running.  Where there is no room for one nothing is known, and claims count in the
// queue, one at a time.
//
// Rows that were written by hand are not in the numbers.  Where permits are refused a claim counts anew
// every minute, so that no work stands still for that.
//
// Sessions that find no permit before they wait are counted; each permit that comes back wakes one
// session and lowers the count.  A session that cannot use the permit passes the wake-up on.
#pragma once

#include "postgres.hpp"
#include "shared/transaction_end.hpp"

namespace insula {

struct LimitedWork {
  std::int32_t tenant;
  Oid work;  // its table: what was counted in another one is not known
};

struct LimitCount {
  std::int64_t limit;
  std::int64_t running;
};

// Whether a claim may go by the numbers; whether they can and ought to be counted, first or again.
bool limits_are_known(const LimitedWork &of);
bool limits_want_count(const LimitedWork &of);

struct Reserved {
  int count = 0;
  std::uint64_t turned_away = 0;  // how many had been by then
};
// Reserves up to `wanted` of them; none also where the numbers are not known.
Reserved reserve_limit(const LimitedWork &of, std::int64_t limit, std::int64_t most, int wanted);
// Whether that would be any.
bool is_limit_free(const LimitedWork &of, std::int64_t limit, std::int64_t most);
// The limit must be the one of the last reservation.
void return_limit(std::int32_t tenant, std::int64_t limit, const Reserved &reserved);
// For a session that has found none since then, and will wait; false: some have come back since.
std::uint64_t limits_version(const LimitedWork &of);
bool await_limit(const LimitedWork &of, std::uint64_t version);

// Under the tenant's permits lock, where the numbers cannot be known: the reservations of other
// transactions, by limit, which from then on can only become less.  False: the numbers are known.
bool read_reserved(const LimitedWork &of, LimitCount **counts, int *count);
// Reserves one whether it is free or not.
void reserve_limit_ahead(const LimitedWork &of, std::int64_t limit);
// nullptr: the limits cannot be counted so that they are known.
Snapshot begin_counting_limits(const LimitedWork &of);
void end_counting_limits(const LimitedWork &of, const LimitCount *counts, int count);

// `tasks` more run under the limit when this transaction commits.
void note_under_limit(std::int32_t tenant, std::int64_t limit, int tasks);

extern const TransactionStep limit_permits_step;

void forget_limits();  // of this database: rows were written by others

}  // namespace insula
