// The due queue; see due_queue.hpp.  Its entries are the nodes of a heap for each
// database, so that the next is found without a walk, whatever their number.
#include "shared/due_queue.hpp"

#include <algorithm>

#include "shared/clock.hpp"
#include "shared/launch.hpp"
#include "shared/shared.hpp"
#include "shared/slots.hpp"

namespace insula {

namespace {

// Whether the extension's version fits the library's.
constexpr std::int64_t between_looks = 60 * USECS_PER_SEC;

// Of a scheduler without shared memory.
DatabaseSlot *own_slot = nullptr;
HTAB *own_dues = nullptr;

HTAB *dues() { return shared ? shared_dues : own_dues; }

DueEntry *entry_of(pairingheap_node *node) {
  return reinterpret_cast<DueEntry *>(reinterpret_cast<char *>(node) - offsetof(DueEntry, node));
}

int later_first(const pairingheap_node *a, const pairingheap_node *b, void *) {
  const auto at_a = entry_of(const_cast<pairingheap_node *>(a))->due;
  const auto at_b = entry_of(const_cast<pairingheap_node *>(b))->due;
  return at_a < at_b ? 1 : at_a > at_b ? -1 : 0;
}

void start_slot(DatabaseSlot &slot, Oid database) {
  memset(&slot, 0, sizeof slot);
  slot.database = database;
  slot.dues.ph_compare = later_first;
  slot.not_before = slot.clock_target = DT_NOBEGIN;
  slot.wakes_at = slot.look_again = DT_NOEND;
}

}  // namespace

void lock(LWLockMode mode) {
  if (shared) LWLockAcquire(shared->lock, mode);
}

void unlock() {
  if (shared) LWLockRelease(shared->lock);
}

TimestampTz first_due(DatabaseSlot &slot) {
  return pairingheap_is_empty(&slot.dues) ? DT_NOEND : entry_of(pairingheap_first(&slot.dues))->due;
}

DatabaseSlot *find_slot(Oid database) {
  if (!shared) return own_slot;
  for (int i = 0; i < shared->max_databases; ++i)
    if (shared->databases[i].database == database) return &shared->databases[i];
  return nullptr;
}

// nullptr: there is no room.
DatabaseSlot *make_slot(Oid database) {
  DatabaseSlot *slot = find_slot(database);
  if (slot || !shared) return slot;
  slot = find_slot(InvalidOid);
  if (slot) start_slot(*slot, database);
  return slot;
}

// A database's place never moves while it has one.
DatabaseSlot *my_slot() {
  static DatabaseSlot *known = nullptr;
  if (!known || known->database != MyDatabaseId) known = find_slot(MyDatabaseId);
  return known;
}

void wake_launcher() {
  if (shared && shared->launcher.latch) SetLatch(shared->launcher.latch);
}

namespace {

void wake_for(DatabaseSlot &slot, TimestampTz due) {
  if (slot.latch) {
    if (due < slot.wakes_at) SetLatch(slot.latch);
  } else if (shared && !slot.until_told &&
             (due == DT_NOBEGIN || due - slot.ahead - launch_lead < shared->launcher.wakes_at)) {
    wake_launcher();
  }
}

void set_due(DatabaseSlot &slot, DueEntry &entry, TimestampTz due) {
  if (entry.due != DT_NOEND) pairingheap_remove(&slot.dues, &entry.node);
  entry.due = due;
  if (due != DT_NOEND) pairingheap_add(&slot.dues, &entry.node);
}

DueEntry *find_entry(Oid database, std::int32_t tenant) {
  DueKey key = {database, tenant};
  return static_cast<DueEntry *>(hash_search(dues(), &key, HASH_FIND, nullptr));
}

// nullptr: there is no room.
DueEntry *make_entry(Oid database, std::int32_t tenant) {
  DueKey key = {database, tenant};
  bool found;
  auto *entry = static_cast<DueEntry *>(hash_search(dues(), &key, shared ? HASH_ENTER_NULL : HASH_ENTER, &found));
  if (entry && !found) {
    entry->due = DT_NOEND;
    entry->in_hand = entry->reload = entry->awaits = entry->ended = entry->aside = entry->afresh = false;
  }
  return entry;
}

void remove_entry(DatabaseSlot &slot, DueEntry &entry) {
  set_due(slot, entry, DT_NOEND);
  DueKey key = entry.key;
  hash_search(dues(), &key, HASH_REMOVE, nullptr);
}

template <typename Visit>
void each_entry(Oid database, Visit visit) {
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, dues());
  while (auto *entry = static_cast<DueEntry *>(hash_seq_search(&scan)))
    if (entry->key.database == database) visit(*entry);
}

void make_own_board() {
  if (own_slot) return;
  own_slot = static_cast<DatabaseSlot *>(MemoryContextAlloc(TopMemoryContext, sizeof(DatabaseSlot)));
  start_slot(*own_slot, MyDatabaseId);
  HASHCTL control = {};
  control.keysize = sizeof(DueKey);
  control.entrysize = sizeof(DueEntry);
  control.hcxt = TopMemoryContext;
  own_dues = hash_create("insula due tenants", 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

}  // namespace

void remove_entries(DatabaseSlot &slot) {
  each_entry(slot.database, [&](DueEntry &entry) { remove_entry(slot, entry); });
}

// ---- under the lock, from commit callbacks ----

void note_due(Oid database, std::int32_t tenant, TimestampTz due, bool reload) {
  DatabaseSlot *slot = make_slot(database);
  if (!slot) return;
  // Nobody comes before those that have been due for longer, however often he is noted.
  due = std::max(due, GetCurrentTimestamp() + slot->ahead);
  DueEntry *entry = make_entry(database, tenant);
  if (!entry) {
    // A scheduler will fill the due queue again, as far as it can, and look at the rest by itself.
    slot->crowded = slot->asked = true;
    wake_for(*slot, DT_NOBEGIN);
    return;
  }
  entry->reload = entry->reload || reload;
  entry->afresh = entry->afresh || reload;
  if (due >= entry->due) return;
  set_due(*slot, *entry, due);
  wake_for(*slot, due);
}

void note_all_due(Oid database) {
  DatabaseSlot *slot = make_slot(database);
  if (!slot) return;
  slot->filled = false;
  slot->asked = true;
  wake_for(*slot, DT_NOBEGIN);
}

void note_aside_due(Oid database) {
  DatabaseSlot *slot = find_slot(database);
  if (!slot || !slot->troubled) return;
  slot->troubled = false;
  each_entry(database, [&](const DueEntry &entry) {
    if (!entry.aside && !entry.in_hand) return;
    slot->troubled = true;
    note_due(database, entry.key.tenant, DT_NOBEGIN, true);
  });
}

void note_asked(Oid database) {
  DatabaseSlot *slot = make_slot(database);
  if (!slot) return;
  slot->until_told = false;
  slot->look_again = DT_NOEND;
  slot->not_before = DT_NOBEGIN;
  note_all_due(database);
}

void note_stopped(Oid database) {
  DatabaseSlot *slot = make_slot(database);
  if (!slot) return;
  slot->until_told = true;
  slot->look_again = DT_NOEND;
  slot->asked = false;
  // One that runs sees that nobody is to.
  if (slot->latch) SetLatch(slot->latch);
}

void note_ended(Oid database, std::int32_t tenant) {
  DueEntry *entry = find_entry(database, tenant);
  if (!entry) return;
  // Who has it in hand may have looked before, and is still to say whether it waits for this.
  entry->ended = entry->in_hand || entry->awaits;
  if (entry->awaits) note_due(database, tenant, DT_NOBEGIN, false);
}

void forget_due(Oid database, std::int32_t tenant) {
  DatabaseSlot *slot = find_slot(database);
  DueEntry *entry = slot ? find_entry(database, tenant) : nullptr;
  if (entry) remove_entry(*slot, *entry);
}

// ---- the scheduler ----

static bool looks = false;

bool looks_whether_it_fits() { return looks; }

bool attach_scheduler() {
  if (!shared) make_own_board();
  lock(LW_EXCLUSIVE);
  DatabaseSlot *slot = make_slot(MyDatabaseId);
  const bool mine = slot && slot->pid == 0 && slot->holder == 0;
  if (slot) slot->starting = false;
  if (mine) {
    if (shared) slot->turn = ++shared->turns;
    slot->pid = MyProcPid;
    slot->latch = MyLatch;
    slot->wakes_at = DT_NOBEGIN;
    looks = slot->look_again != DT_NOEND;
    slot->asked = slot->until_told = false;
    slot->look_again = DT_NOEND;
    slot->failed = true;
    each_entry(MyDatabaseId, [&](DueEntry &entry) {
      if (!entry.in_hand) return;
      entry.in_hand = false;
      entry.reload = true;
      set_due(*slot, entry, DT_NOBEGIN);
    });
  }
  unlock();
  return mine;
}

void detach_scheduler() {
  lock(LW_EXCLUSIVE);
  DatabaseSlot *slot = my_slot();
  if (slot && slot->pid == MyProcPid) {
    slot->pid = 0;
    if (shared) slot->turn = ++shared->turns;
    slot->latch = nullptr;
    slot->wakes_at = DT_NOEND;
    wake_launcher();
  }
  unlock();
}

void begin_round() {
  lock(LW_EXCLUSIVE);
  my_slot()->asked = false;
  unlock();
}

bool due_queue_is_empty() { return !my_slot()->filled; }

int fill_due_queue(const std::int32_t *tenants, int count, TimestampTz due, bool afresh) {
  lock(LW_EXCLUSIVE);
  DatabaseSlot &slot = *my_slot();
  int entered = 0;
  for (; entered < count; ++entered) {
    DueEntry *entry = make_entry(MyDatabaseId, tenants[entered]);
    if (!entry) break;
    entry->reload = true;
    entry->afresh = entry->afresh || afresh;
    if (due < entry->due) set_due(slot, *entry, due);
  }
  slot.filled = true;
  slot.crowded = entered < count;
  unlock();
  return entered;
}

void make_all_due(TimestampTz due) {
  lock(LW_EXCLUSIVE);
  DatabaseSlot &slot = *my_slot();
  each_entry(MyDatabaseId, [&](DueEntry &entry) {
    // The one in hand is the reason for this.
    if (!entry.in_hand && due < entry.due) set_due(slot, entry, due);
  });
  unlock();
}

bool all_taken_since(TimestampTz at) {
  lock(LW_SHARED);
  const bool all = first_due(*my_slot()) > at;
  unlock();
  return all;
}

bool take_due_tenant(TimestampTz now, DueTenant *due) {
  lock(LW_EXCLUSIVE);
  DatabaseSlot &slot = *my_slot();
  slot.wakes_at = DT_NOBEGIN;
  const bool any = first_due(slot) <= now;
  if (any) {
    DueEntry &entry = *entry_of(pairingheap_first(&slot.dues));
    set_due(slot, entry, DT_NOEND);
    entry.in_hand = true;
    *due = {entry.key.tenant, entry.reload, entry.ended, entry.afresh};
    entry.reload = entry.ended = entry.afresh = false;
  }
  unlock();
  return any;
}

void requeue_due_tenant(const DueTenant &due, TimestampTz next, bool awaits, bool aside) {
  // Behind those that have waited for longer.
  const TimestampTz now = clock_now();
  lock(LW_EXCLUSIVE);
  DatabaseSlot &slot = *my_slot();
  if (DueEntry *entry = find_entry(MyDatabaseId, due.tenant)) {
    entry->in_hand = false;
    entry->reload = entry->reload || due.reload;
    entry->awaits = awaits;
    entry->aside = aside;
    slot.troubled = slot.troubled || aside;
    entry->ended = entry->ended && awaits;
    next = entry->ended ? now : std::max(next, now);
    if (next < entry->due) set_due(slot, *entry, next);
    if (entry->due == DT_NOEND && !awaits && !entry->reload) remove_entry(slot, *entry);
  }
  unlock();
}

TimestampTz plan_sleep() {
  lock(LW_EXCLUSIVE);
  DatabaseSlot &slot = *my_slot();
  slot.wakes_at = slot.filled ? first_due(slot) : DT_NOBEGIN;
  const TimestampTz at = slot.wakes_at;
  unlock();
  return at;
}

void leave_database(Rest rest) {
  lock(LW_EXCLUSIVE);
  DatabaseSlot *slot = my_slot();
  if (slot && slot->pid == MyProcPid) {
    slot->failed = false;
    slot->failures = 0;
    // Who has asked since it looked wants another look.
    slot->until_told = (rest == Rest::until_told || rest == Rest::until_fit) && !slot->asked;
    if (slot->until_told && rest == Rest::until_fit) {
      slot->look_again = GetCurrentTimestamp() + between_looks;
      wake_launcher();
    }
    if (rest == Rest::absent && !slot->asked) {
      each_entry(MyDatabaseId, [&](DueEntry &entry) { remove_entry(*slot, entry); });
      slot->database = InvalidOid;
      slot->pid = 0;
      slot->latch = nullptr;
      forget_rest_of(MyDatabaseId);
    }
  }
  unlock();
  if (rest == Rest::absent) drop_activity_of(MyDatabaseId);
}

bool others_wait() { return shared && shared->launcher.waiting > 0; }

// ---- everybody ----

SchedulerReport report_scheduler() {
  SchedulerReport report = {0, DT_NOEND, false, false, false, false};
  if (!shared) return report;
  lock(LW_SHARED);
  if (DatabaseSlot *slot = my_slot())
    report = {slot->pid, first_due(*slot), slot->crowded, false, slot->filled, false};
  else
    report.without_place = find_slot(InvalidOid) == nullptr;
  report.launcher = shared->launcher.pid != 0;
  unlock();
  return report;
}

bool due_in_queue(std::int32_t tenant, TimestampTz *due) {
  if (!shared) return false;
  lock(LW_SHARED);
  const DatabaseSlot *slot = my_slot();
  const bool known = slot && slot->filled && !slot->crowded;
  const DueEntry *entry = known ? find_entry(MyDatabaseId, tenant) : nullptr;
  *due = entry ? entry->due : DT_NOEND;
  // Of one that a scheduler has in hand, or has set aside after an error, nobody knows.
  const bool unsure = entry && (entry->in_hand || entry->reload);
  unlock();
  return known && !unsure;
}

long due_tenants() { return shared ? hash_get_num_entries(shared_dues) : 0; }

bool left_to_scheduler() {
  if (!shared || shared->launcher.pid == 0 || !schedulers_are_on()) return false;
  const DatabaseSlot *slot = my_slot();
  return slot && !slot->until_told && slot->pid != MyProcPid;
}

bool any_set_aside() {
  const DatabaseSlot *slot = shared ? my_slot() : nullptr;
  return slot && slot->troubled;
}

bool waits_until_told() {
  const DatabaseSlot *slot = shared ? my_slot() : nullptr;
  return slot && slot->until_told;
}

}  // namespace insula
