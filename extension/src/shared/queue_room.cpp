// Room in queues, in shared memory; see queue_room.hpp.  It is guarded by the lock of the counters, whose
// counts of this transaction say by how much the queue grows.
#include "shared/queue_room.hpp"

#include <algorithm>

#include "shared/clock.hpp"
#include "shared/count_basis.hpp"
#include "shared/counters.hpp"
#include "shared/drop_counters.hpp"
#include "shared/pending.hpp"
#include "shared/queue_table.hpp"

namespace insula {

namespace {

struct QueueEntry {
  TenantKey key;
  TallyState state;
  Oid work;  // the table that was counted
  CountBasis basis;
  bool is_at_least;       // there may be more than `queued`
  std::int64_t began_at;  // the last count, in passing time
  std::int64_t doubt_at;  // a full queue is counted anew
  std::int64_t queued;    // as far as transactions have ended
  std::int64_t reserved;  // by submissions under way
};

HTAB *shared_queues = nullptr;

constexpr std::int64_t shortest_trust = USECS_PER_SEC;
constexpr std::int64_t trust_a_count = 100;  // times as long as it took
constexpr std::int64_t counted_beyond = 1000;

// ---- what the current transaction holds ----

struct Reserved {
  std::int32_t tenant;
  int level;
  std::int64_t tasks;
};

Pending<Reserved> reserved;

// The count that this session has begun and not ended.
struct Counting {
  std::int32_t tenant;  // 0: none
  std::int64_t began_at;
};
Counting counting = {0, 0};
bool forgets = false;  // its commit does

std::int64_t reserved_here(std::int32_t tenant) {
  std::int64_t all = 0;
  for (const Reserved &one : reserved)
    if (one.tenant == tenant) all += one.tasks;
  return all;
}

// May fail; so before the lock is taken.
Reserved &reserved_of(std::int32_t tenant) {
  Reserved *known = reserved.find_here([tenant](const Reserved &other) { return other.tenant == tenant; });
  return known ? *known : reserved.add({tenant, 0, 0});
}

// ---- under the lock ----

QueueEntry *find_queue(std::int32_t tenant) {
  TenantKey key = {MyDatabaseId, tenant};
  return static_cast<QueueEntry *>(hash_search(shared_queues, &key, HASH_FIND, nullptr));
}

QueueEntry *make_queue(std::int32_t tenant) {
  TenantKey key = {MyDatabaseId, tenant};
  bool found;
  auto *entry = static_cast<QueueEntry *>(hash_search(shared_queues, &key, HASH_ENTER_NULL, &found));
  if (!entry || found) return entry;
  entry->state = TallyState::unknown;
  entry->work = InvalidOid;
  entry->is_at_least = false;
  entry->began_at = entry->doubt_at = 0;
  entry->queued = entry->reserved = 0;
  return entry;
}

bool is_known(const QueueEntry &entry, const QueueLimit &of) {
  return entry.state == TallyState::known && entry.work == of.work;
}

// True for one session at a time.
bool is_doubted(QueueEntry &entry) {
  const std::int64_t now = passing_time();
  if (now < entry.doubt_at) return false;
  entry.doubt_at = now + shortest_trust;
  return true;
}

// The room for what this transaction adds in all, its earlier submissions included.
std::int64_t reserve(QueueEntry *entry, Reserved *mine, std::int64_t needed, std::int64_t here) {
  const std::int64_t more = std::max<std::int64_t>(needed - here, 0);
  entry->reserved += more;
  mine->tasks += more;
  return more;
}

void return_from(int first) {
  for (const Reserved *one = reserved.begin() + first; one != reserved.end(); ++one)
    if (QueueEntry *entry = find_queue(one->tenant)) entry->reserved -= one->tasks;
  reserved.drop_from(first);
}

// ---- the end of a transaction ----

void abandon_count() {
  if (counting.tenant == 0) return;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  QueueEntry *entry = find_queue(counting.tenant);
  if (entry && entry->state == TallyState::counting && entry->began_at == counting.began_at)
    entry->state = TallyState::unknown;
  LWLockRelease(counters_lock);
  counting.tenant = 0;
}

void give_back_from(int first) {
  if (reserved.count() == first) return;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  return_from(first);
  LWLockRelease(counters_lock);
}

void forget_now() {
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, shared_queues);
  while (auto *entry = static_cast<QueueEntry *>(hash_seq_search(&scan)))
    if (entry->key.database == MyDatabaseId) entry->state = TallyState::unknown;
  LWLockRelease(counters_lock);
}

void aborted() {
  abandon_count();
  give_back_from(0);
  reserved.forget();
  forgets = false;
}

void committed() {
  if (forgets) forget_now();
  aborted();
}

void subtransaction_committed(SubTransactionId) {
  reserved.hand_over([](const Reserved &a, const Reserved &b) { return a.tenant == b.tenant; },
                     [](Reserved &to, const Reserved &from) { to.tasks += from.tasks; });
}

void subtransaction_aborted() {
  abandon_count();
  give_back_from(reserved.first_here());
}

}  // namespace

const SharedPart queue_room_part = {[] { return hash_estimate_size(shared_room.due_tenants, sizeof(QueueEntry)); },
                                    [](bool) {
                                      shared_queues = make_shared_table("insula queue room", shared_room.due_tenants,
                                                                        sizeof(TenantKey), sizeof(QueueEntry));
                                    }};

const TransactionStep queue_room_step = {.committed = committed,
                                         .aborted = aborted,
                                         .subtransaction_committed = subtransaction_committed,
                                         .subtransaction_aborted = subtransaction_aborted};

bool any_queue_is_limited() { return hash_get_num_entries(shared_queues) > 0; }

void add_queued(std::int32_t tenant, std::int64_t tasks, std::uint64_t transaction) {
  QueueEntry *entry = tasks ? find_queue(tenant) : nullptr;
  if (!entry || entry->state == TallyState::unknown || entry->basis.shows(transaction)) return;
  entry->queued += tasks;
  if (entry->state == TallyState::known && entry->queued < 0) entry->state = TallyState::unknown;
}

void drop_queue_reservations() { return_from(0); }

void drop_queue_room_of(Oid database, std::int32_t tenant) {
  drop_entries_of<QueueEntry>(shared_queues, database, tenant);
}

QueueRoom take_queue_room(const QueueLimit &of, std::int64_t added, std::int64_t *queued) {
  if (!shared_queues) return QueueRoom::unknown;
  const std::int64_t needed = queued_here(of.tenant) + added;
  const std::int64_t here = reserved_here(of.tenant);
  Reserved &mine = reserved_of(of.tenant);
  QueueRoom room = QueueRoom::unknown;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  QueueEntry *entry = find_queue(of.tenant);
  if (entry && is_known(*entry, of)) {
    const std::int64_t others = entry->queued + entry->reserved - here;
    *queued = others + needed - added;
    if (others + needed > of.most) {
      room = is_doubted(*entry) ? QueueRoom::unknown : QueueRoom::none;
    } else if (!entry->is_at_least) {
      (void)reserve(entry, &mine, needed, here);
      room = QueueRoom::taken;
    }
  }
  LWLockRelease(counters_lock);
  return room;
}

Snapshot begin_counting_queued(const QueueLimit &of, std::int64_t *most) {
  if (!shared_queues) return nullptr;
  *most = 2 * std::min<std::int64_t>(of.most, PG_INT64_MAX / 4) + counted_beyond;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  QueueEntry *entry = make_queue(of.tenant);
  Snapshot snapshot = nullptr;
  // A transaction that has published had committed before, so that this snapshot shows it.
  if (entry && entry->state != TallyState::counting) snapshot = GetLatestSnapshot();
  if (snapshot && entry->basis.take(*snapshot)) {
    entry->state = TallyState::counting;
    entry->work = of.work;
    entry->queued = 0;
    entry->is_at_least = false;
    entry->began_at = passing_time();
    counting = {of.tenant, entry->began_at};
  } else {
    snapshot = nullptr;
  }
  LWLockRelease(counters_lock);
  return snapshot;
}

void end_counting_queued(const QueueLimit &of, std::int64_t queued, bool is_all) {
  // The snapshot shows what this transaction has done, which is added when it is committed.
  queued -= queued_here(of.tenant);
  const std::int64_t now = passing_time();
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  QueueEntry *entry = find_queue(of.tenant);
  if (entry && entry->state == TallyState::counting && entry->began_at == counting.began_at) {
    entry->queued += queued;
    entry->is_at_least = !is_all;
    entry->state = TallyState::known;
    entry->doubt_at = now + std::max(shortest_trust, trust_a_count * (now - entry->began_at));
  }
  LWLockRelease(counters_lock);
  counting.tenant = 0;
}

AheadOfCount take_queue_room_ahead(const QueueLimit &of, std::int64_t added) {
  if (!shared_queues) return {0, 0};
  const std::int64_t needed = queued_here(of.tenant) + added;
  const std::int64_t here = reserved_here(of.tenant);
  Reserved &mine = reserved_of(of.tenant);
  AheadOfCount ahead = {0, 0};
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  if (QueueEntry *entry = make_queue(of.tenant)) {
    ahead.others = entry->reserved - here;
    ahead.taken = reserve(entry, &mine, needed, here);
  }
  LWLockRelease(counters_lock);
  return ahead;
}

void return_queue_room(std::int32_t tenant, std::int64_t taken) {
  if (!shared_queues || taken == 0) return;
  Reserved &mine = reserved_of(tenant);
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  if (QueueEntry *entry = find_queue(tenant)) entry->reserved -= taken;
  LWLockRelease(counters_lock);
  mine.tasks -= taken;
}

void forget_queued() {
  if (!shared_queues) return;
  forget_now();
  // Others see what this transaction has written itself only then.
  forgets = true;
}

}  // namespace insula
