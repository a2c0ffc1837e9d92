// Permits, as numbers in shared memory, so that neither a claim nor a submission counts rows, or waits for
// another.  A permit is the right to run a task under max_running, to run one under the limit of a workflow or of a
// key in it, or to have one in the queue under max_queued.  `used` is what has been committed; a transaction reserves
// permits before it writes the rows that use them, and with the transaction the reservation becomes part of `used`
// or comes back.  Neither number is ever too small: nothing is used that was not reserved, a reservation goes as what
// it has become is added, and what has ended is taken off after its commit.  A transaction that reserves at most the
// limit - used - reserved can therefore never exceed the limit.  (A limit binds transactions that begin after it was
// set: those under way before have not reserved.  Tasks that become ready later are not refused by max_queued.)
//
// There may be as many limits as keys, so only those of which a permit is used or reserved have numbers, and the
// numbers of all limits of a tenant's workflows are known together: from a count on, a limit without numbers has no
// task running.
//
// After a start of the server the numbers are unknown: a claim or submission counts rows and publishes what it found,
// to which each transaction adds what the count does not show.  Claims that cannot go by the numbers hold the tenant's
// permits lock, reserve ahead, and count for themselves: of two at once the later sees the other's reservation,
// whichever way it goes.  Until a claim has counted under that lock all claims hold it, so that none under way is
// missing in the numbers.  Where there is no room, or no shared memory, that lock alone keeps claims apart.  A
// submission that cannot go by the numbers reserves ahead and counts without a lock.
//
// Rows that were written by hand are not in the numbers.  Where a permit is refused rows are counted anew, but not
// every time, so that no work stands still for that.  The numbers stay known while that goes on.
//
// Sessions that find no permit and will wait are counted; each permit that comes back wakes one and lowers that
// count.  It may be another one, which passes on the wake-ups that it cannot use.
#pragma once

#include "postgres.hpp"
#include "shared/transaction_end.hpp"

namespace insula {

enum class Limited : std::int32_t {
  running,    // by max_running
  queued,     // by max_queued
  workflows,  // tasks that run, by the limits of workflows and of their keys
  starts,     // by the rate; it has no permits, and only what it holds back is counted
};

// The key of a limit of `running` and `queued`.
inline constexpr std::int64_t limit_of_tenant = 0;

struct LimitedWork {
  std::int32_t tenant;
  Limited what;
  Oid work;  // its table: numbers that were counted in another one are not known
};

struct LimitCount {
  std::int64_t limit;
  std::int64_t used;
};

// ---- by the numbers ----

// The answer where the numbers are not known.
inline constexpr std::int64_t permits_unknown = -1;

bool permits_are_known(const LimitedWork &of);
// How many are free under the limit, which is `most`, for this transaction: those of tasks that it has ended are.
std::int64_t free_permits(const LimitedWork &of, std::int64_t limit, std::int64_t most);

struct Reserved {
  std::int64_t count = 0;
  std::uint64_t turned_away = 0;  // sessions that had been by then
  bool known = false;             // else there are none by the numbers
};
// Reserves from `least` to `wanted` of them, or none.
Reserved reserve_permits(const LimitedWork &of, std::int64_t limit, std::int64_t most, std::int64_t least,
                         std::int64_t wanted);
// Permits that this subtransaction has reserved and will not use.
void return_permits(const LimitedWork &of, std::int64_t limit, const Reserved &reserved);

// `tasks` more use a permit when this transaction commits.
void note_permits_used(std::int32_t tenant, Limited what, std::int64_t limit, std::int64_t tasks);

// For a session that has found none since it read the version, and will wait; false: some have come back since.
std::uint64_t permits_version(const LimitedWork &of);
bool await_permit(const LimitedWork &of, std::uint64_t version);

// ---- what the limits hold back ----

// Ready tasks have found no permit, or have found one.  Calls about permits note it by themselves.
void note_held_back(const LimitedWork &of);
void note_let_through(const LimitedWork &of);
// For how long tasks were ready that the limit did not let through, in microseconds, as far as claims and waits have
// met it.
std::int64_t held_back_time(const LimitedWork &of);

// ---- counts; permit_counts.cpp ----

// Whether the numbers can and ought to be counted, first or again.
bool permits_want_count(const LimitedWork &of);
// To count with; under the tenant's permits lock, unless what is queued is counted.  nullptr: they cannot be known.
Snapshot begin_counting_permits(const LimitedWork &of);
// `is_all`: else there are more.  Returns whether permits may have come back by the count: the numbers were not known,
// or were too high.
bool end_counting_permits(const LimitedWork &of, const LimitCount *counts, int count, bool is_all);

// For a transaction that counts for itself, afterwards; claims do under the tenant's permits lock.  Reserves permits
// whether they are free or not.
struct Ahead {
  std::int64_t others;  // what other transactions had reserved
  Reserved own;
};
Ahead reserve_permits_ahead(const LimitedWork &of, std::int64_t limit, std::int64_t wanted);
std::int64_t permits_reserved_by_others(const LimitedWork &of, std::int64_t limit);
// The same of all limits, ascending, which from then on can only become less.  False: the numbers are known.
bool read_reserved(const LimitedWork &of, LimitCount **counts, int *count);

void forget_permits();  // of this database, now and at the commit: rows were written by others

// Of all databases, in shared memory.
long limits_of_tenants();
long counted_limits();

extern const TransactionStep permits_step;

}  // namespace insula
