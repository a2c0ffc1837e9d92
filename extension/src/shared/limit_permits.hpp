// Permits under the limits of workflows and of their keys, as numbers in shared memory: like those
// of tenants (permits.hpp), and exact for the same reason.  `running` is what has been committed, a
// claim reserves a permit for each row before it takes it, and with its transaction the reservation
// becomes part of `running` or comes back.
//
// There may be as many limits as keys, so only those under which something runs or is reserved
// have an entry, and what is known is known of all limits of a tenant at once: who counts, under
// the tenant's permits lock, counts them all, and from then on a limit without an entry has
// nothing running.  Where there is no room for one nothing is known, and claims count in the
// queue, one at a time.
//
// Rows that somebody has written by hand are not in the numbers.  Where permits are refused whoever
// looks or claims counts anew every minute, so that no work stands still for that.
//
// Whoever is about to wait and finds none is counted, and so many times a permit that comes
// back wakes somebody; who cannot use it passes that on.
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
// Reserves up to so many of them; none also where nothing is known.
Reserved reserve_limit(const LimitedWork &of, std::int64_t limit, std::int64_t most, int wanted);
// Whether that would be any.
bool is_limit_free(const LimitedWork &of, std::int64_t limit, std::int64_t most);
// Of the limit that was reserved of last.
void return_limit(std::int32_t tenant, std::int64_t limit, const Reserved &reserved);
// For who has found none since then, and will wait; false: some have come back meanwhile.
std::uint64_t limits_version(const LimitedWork &of);
bool await_limit(const LimitedWork &of, std::uint64_t version);

// Under the tenant's permits lock, for who counts because nobody can know: what other transactions have
// reserved, by limit, which from then on can only become less.  False: the numbers are known.
bool read_reserved(const LimitedWork &of, LimitCount **counts, int *count);
// Reserves one whether it is free or not.
void reserve_limit_ahead(const LimitedWork &of, std::int64_t limit);
// nullptr: the limits cannot be counted so that they are known.
Snapshot begin_counting_limits(const LimitedWork &of);
void end_counting_limits(const LimitedWork &of, const LimitCount *counts, int count);

// So many more tasks run under the limit when this transaction commits.
void note_under_limit(std::int32_t tenant, std::int64_t limit, int tasks);

extern const TransactionStep limit_permits_step;

void forget_limits();  // of this database: rows were written by others

}  // namespace insula
