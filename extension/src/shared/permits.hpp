// Permits to run tasks, as numbers in shared memory, so that a claim neither counts what runs nor waits for
// another claim.  A limit is a tenant's max_running (limit_of_tenant) or that of a workflow, or of one value
// of its key.  `running` is what has been committed; a claim reserves a permit for each task before it takes
// it, and with its transaction the reservation becomes part of `running` or comes back.  Neither number is
// ever too small: nothing runs that was not reserved, a reservation goes as what it has become is added, and
// a task that has ended is taken off after its commit.  A claim that reserves at most
// max - running - reserved can therefore never exceed the limit.  (A limit binds claims that begin after it
// was set: those under way before have not reserved.)
//
// After a start of the server the numbers are unknown.  A claim that wants them counts all that runs, under
// the tenant's permits lock, and from then on a limit without an entry has nothing running.  Where they
// cannot be known, for want of room or of shared memory, claims reserve ahead and count in the queue, one at
// a time under that lock: of two claims the later sees the other's reservation or its tasks.
//
// Rows that were written by hand are not in the numbers.  Where a permit is refused a claim counts anew, at
// most every second and for a hundredth of the time, so that no work stands still for that.
//
// Sessions that find no permit before they wait are counted, for the tenant's own limit and for all others
// apart; each permit that comes back wakes one session and lowers the count.  A session that cannot use the
// permit passes the wake-up on.
#pragma once

#include "postgres.hpp"
#include "shared/transaction_end.hpp"

namespace insula {

inline constexpr std::int64_t limit_of_tenant = 0;
inline constexpr std::int64_t any_other_limit = 1;

struct LimitedWork {
  std::int32_t tenant;
  Oid work;  // its table: numbers that were counted in another one are not known
};

struct LimitCount {
  std::int64_t limit;
  std::int64_t running;
};

// Whether a claim may go by the numbers; whether they can and ought to be counted, first or again.
bool permits_are_known(const LimitedWork &of);
bool permits_want_count(const LimitedWork &of);

struct Reserved {
  int count = 0;
  std::uint64_t turned_away = 0;  // sessions that had been by then
};
// Reserves up to `wanted` of them; none also where the numbers are not known.
Reserved reserve_permits(const LimitedWork &of, std::int64_t limit, std::int64_t most, int wanted);
// Whether that would be any.
bool is_permit_free(const LimitedWork &of, std::int64_t limit, std::int64_t most);
// Permits that this subtransaction has reserved.
void return_permits(std::int32_t tenant, std::int64_t limit, const Reserved &reserved);
// For a session that has found none since then, and will wait; false: some have come back since.
std::uint64_t permits_version(const LimitedWork &of, std::int64_t limit);
bool await_permit(const LimitedWork &of, std::int64_t limit, std::uint64_t version);

// Under the tenant's permits lock, where the numbers cannot be known: the reservations of other
// transactions, ascending by limit, which from then on can only become less.  False: the numbers are known.
bool read_reserved(const LimitedWork &of, LimitCount **counts, int *count);
// Reserves permits whether they are free or not.
void reserve_permits_ahead(const LimitedWork &of, std::int64_t limit, int count);
// nullptr: the permits cannot be counted so that they are known.
Snapshot begin_counting_permits(const LimitedWork &of);
void end_counting_permits(const LimitedWork &of, const LimitCount *counts, int count);

// `tasks` more run under the limit when this transaction commits.
void note_started(std::int32_t tenant, std::int64_t limit, std::int64_t tasks);

// Of this database, now and at the commit: rows were written by hand.
void forget_permits();

extern const TransactionStep permits_step;

}  // namespace insula
