// Permits of tenants with max_running, as numbers in shared memory, so that a claim neither
// counts what runs nor waits for another claim.  `running` is what has been committed; a claim
// reserves what it may take before it takes it, and with its transaction the reservation becomes
// part of `running` or comes back.  Neither number is ever too small: nothing runs that was not
// reserved, a reservation goes as what it has become is added, and what has ended is taken off
// after its commit.  So who reserves no more than they leave never exceeds the limit.
// (A limit binds claims that begin after it was set: those under way before have not reserved.)
//
// After a start of the server nobody knows what runs.  A claim that cannot go by the numbers
// holds the tenant's permits lock, reserves ahead, counts in the queue and returns what is not
// free: of two claims at once the later sees the other's reservation, whichever way it goes.
// Until somebody has counted under that lock all claims hold it, so that none under way is missing
// in the numbers.  Without an entry, where there is no room or no shared memory, that lock alone
// keeps claims apart.
//
// Rows that somebody has written by hand are not in the numbers.  Where they leave nothing, who
// wants a permit counts anew every second, so that no tenant stands still for that.
//
// Whoever finds no permit is counted, and so many times permits that come back wake somebody: it
// may be another one, who passes on what it leaves.  Where there is no room each end of a task does.
#pragma once

#include "postgres.hpp"
#include "shared/transaction_end.hpp"

namespace insula {

struct Permits {
  std::int32_t tenant;
  Oid work;  // its table: numbers that were counted in another one are not known
  std::int64_t most;
};

// What the numbers say where they are not known.
inline constexpr std::int64_t permits_unknown = -1;

// How many are free by the numbers.
std::int64_t free_permits(const Permits &of);
// The same, for who will wait where there is none.
std::int64_t await_permit(const Permits &of);
// Reserves up to so many of them, and says how many.
std::int64_t reserve_permits(const Permits &of, int wanted);

// Under the tenant's permits lock: reserves so many whether they are free or not, and says how
// many other transactions have reserved.
std::int64_t reserve_permits_ahead(const Permits &of, int wanted);
std::int64_t permits_reserved_by_others(std::int32_t tenant);
// Where the numbers are to be counted: who holds the lock does it with the snapshot returned.
// nullptr: they need not be, or cannot.
Snapshot begin_counting_running(const Permits &of);
void end_counting_running(const Permits &of, std::int64_t running);

// Of those that this subtransaction has reserved.
void return_permits(std::int32_t tenant, int count);
// A claim has used all that it was given, and wanted more.
void leave_work_for_permits(const Permits &of);
// So many more tasks run when this transaction commits.
void note_started(std::int32_t tenant, std::int64_t tasks);
// Whether it has ended tasks whose permits only it can know to be free.
bool ends_tasks_here(std::int32_t tenant);

extern const TransactionStep permits_step;

void forget_running();  // of this database, now and at the commit: rows were written by others

}  // namespace insula
