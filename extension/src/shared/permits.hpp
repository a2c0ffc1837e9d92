// Permits of tenants with max_running, as numbers in shared memory, so that a claim neither
// counts what runs nor waits for another claim.  `running` is what has been committed; a claim
// reserves what it may take before it takes it, and with its transaction the reservation becomes
// part of `running` or comes back.  Neither number is ever too small: nothing runs that was not
// reserved, a reservation goes as what it has become is added, and what has ended is taken off
// after its commit.  A claim that reserves at most max_running - running - reserved can therefore never
// exceed the limit.
// (A limit binds claims that begin after it was set: those under way before have not reserved.)
//
// After a start of the server the numbers are unknown.  A claim that cannot go by the numbers
// holds the tenant's permits lock, reserves ahead, counts in the queue and returns what is not
// free: of two claims at once the later sees the other's reservation, whichever way it goes.
// Until a claim has counted under that lock all claims hold it, so that none under way is missing
// in the numbers.  Without an entry, where there is no room or no shared memory, that lock alone
// keeps claims apart.
//
// Rows that were written by hand are not in the numbers.  Where these leave nothing, a claim counts anew
// every second, but not for more than a hundredth of the time, so that no tenant stands still for that.
//
// Sessions that find no permit are counted; permits that come back wake a session and lower the count.
// It may be another one, which passes on the permits that it leaves.  Where there is no room each end of
// a task wakes one.
#pragma once

#include "postgres.hpp"
#include "shared/transaction_end.hpp"

namespace insula {

struct Permits {
  std::int32_t tenant;
  Oid work;  // its table: numbers that were counted in another one are not known
  std::int64_t most;
};

// The answer where the numbers are not known.
inline constexpr std::int64_t permits_unknown = -1;

// How many are free by the numbers.
std::int64_t free_permits(const Permits &of);
// The same, for a session that will wait where there is none.
std::int64_t await_permit(const Permits &of);
// Reserves up to `wanted` of them, and returns how many.
std::int64_t reserve_permits(const Permits &of, int wanted);

// Under the tenant's permits lock: reserves `wanted` whether they are free or not, and returns how
// many other transactions have reserved.
std::int64_t reserve_permits_ahead(const Permits &of, int wanted);
std::int64_t permits_reserved_by_others(std::int32_t tenant);
// The holder of the permits lock counts with the snapshot returned.
// nullptr: they need not be, or cannot.
Snapshot begin_counting_running(const Permits &of);
void end_counting_running(const Permits &of, std::int64_t running);

// Returns permits that this subtransaction has reserved.
void return_permits(std::int32_t tenant, int count);
// A claim has used all that it was given, and wanted more.
void leave_work_for_permits(const Permits &of);
// `tasks` more run when this transaction commits.
void note_started(std::int32_t tenant, std::int64_t tasks);
// Whether this transaction has ended tasks whose permits are free for itself alone.
bool ends_tasks_here(std::int32_t tenant);

extern const TransactionStep permits_step;

void forget_running();  // of this database, now and at the commit: rows were written by others

}  // namespace insula
