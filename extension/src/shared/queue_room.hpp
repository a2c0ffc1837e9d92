// Room in the queues of tenants with max_queued, as numbers in shared memory, so that a submission does not
// count what is queued.  `queued` is what has been committed; a submission reserves room for its tasks
// before it writes them, and with its transaction the reservation becomes part of `queued` or comes back.
// Submissions of the same moment see each other's reservations, and never exceed the limit together.
// (Tasks that become ready later, and transactions that began before the limit was set, are not refused.)
//
// After a start of the server the numbers are unknown: a submission counts the queue and publishes what it
// found.  It counts no more than twice the limit: where there are more, all submissions are refused until
// half of what was counted has left, and then it is counted again.  Where others are counting, or where there is no
// shared memory or no room in it, it counts up to the limit for itself alone.
//
// Rows that were written by hand are not in the numbers.  Where these leave no room the queue is counted
// anew, but not every time: each second, and not for more than a hundredth of the time.
#pragma once

#include "postgres.hpp"
#include "shared/transaction_end.hpp"

namespace insula {

struct QueueLimit {
  std::int32_t tenant;
  Oid work;  // its table: numbers that were counted in another one are not known
  std::int64_t most;
};

enum class QueueRoom { taken, none, unknown };

// Reserves room for `added` more tasks until the transaction ends.  `queued`: how many fill the queue where it leaves
// none.
QueueRoom take_queue_room(const QueueLimit &of, std::int64_t added, std::int64_t *queued);

// To count the queue with, up to the second number; nullptr: others count, or the numbers cannot be known.
Snapshot begin_counting_queued(const QueueLimit &of, std::int64_t *most);
void end_counting_queued(const QueueLimit &of, std::int64_t queued, bool is_all);

// For a submission that counts for itself, afterwards: takes room whether there is any or not.
struct AheadOfCount {
  std::int64_t others;  // what other transactions have reserved
  std::int64_t taken;
};
AheadOfCount take_queue_room_ahead(const QueueLimit &of, std::int64_t added);
void return_queue_room(std::int32_t tenant, std::int64_t taken);

extern const TransactionStep queue_room_step;

void forget_queued();  // of this database, now and at the commit: rows were written by others

}  // namespace insula
