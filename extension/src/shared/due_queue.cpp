// The due queue; see due_queue.hpp.  Its entries are the nodes of a heap for each
// database, so that the next is found without a walk, whatever their number.
#include "shared/due_queue.hpp"

#include <algorithm>

#include "shared/clock.hpp"
#include "shared/databases.hpp"
#include "shared/drop_counters.hpp"
#include "shared/due_table.hpp"
#include "shared/overhead.hpp"
#include "shared/ready_tenants.hpp"

namespace insula {

namespace {

// Whether the extension's version fits the library's.
constexpr std::int64_t between_looks = 60 * USECS_PER_SEC;

// For a scheduler without shared memory.
DatabaseSlot *own_slot = nullptr;

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

Databases *databases = nullptr;
SharedTable<DueEntry> shared_dues;
SharedTable<DueEntry> own_dues;

const SharedPart databases_part = {
    [] {
      const Size slots = sizeof(DatabaseSlot) * static_cast<Size>(shared_room.databases);
      return add_size(MAXALIGN(offsetof(Databases, slots) + slots), shared_dues.size(shared_room.due_tenants));
    },
    [](bool first) {
      const Size size = offsetof(Databases, slots) + sizeof(DatabaseSlot) * static_cast<Size>(shared_room.databases);
      bool found;
      databases = static_cast<Databases *>(ShmemInitStruct("insula databases", size, &found));
      if (first) memset(databases, 0, size);
      shared_dues.attach("insula due tenants", shared_room.due_tenants);
    }};

TimestampTz first_due(DatabaseSlot &slot) {
  return pairingheap_is_empty(&slot.dues) ? DT_NOEND : entry_of(pairingheap_first(&slot.dues))->due;
}

DatabaseSlot *find_database(Oid database) {
  if (!shared_memory_available()) return own_slot;
  for (int i = 0; i < shared_room.databases; ++i)
    if (databases->slots[i].database == database) return &databases->slots[i];
  return nullptr;
}

// nullptr: there is no room.
DatabaseSlot *make_database(Oid database) {
  DatabaseSlot *slot = find_database(database);
  if (slot || !shared_memory_available()) return slot;
  slot = find_database(InvalidOid);
  if (slot) start_slot(*slot, database);
  return slot;
}

// A database's place never moves while it has one.
DatabaseSlot *my_database() {
  static DatabaseSlot *known = nullptr;
  if (!known || known->database != MyDatabaseId) known = find_database(MyDatabaseId);
  return known;
}

void wake_launcher() {
  if (shared_memory_available() && databases->launcher.latch) SetLatch(databases->launcher.latch);
}

namespace {

void wake_for(DatabaseSlot &slot, TimestampTz due) {
  if (slot.latch) {
    if (due < slot.wakes_at) SetLatch(slot.latch);
  } else if (shared_memory_available() && !slot.until_told &&
             (due == DT_NOBEGIN || due - slot.ahead - launch_lead < databases->launcher.wakes_at)) {
    wake_launcher();
  }
}

void set_due(DatabaseSlot &slot, DueEntry &entry, TimestampTz due) {
  if (entry.due != DT_NOEND) pairingheap_remove(&slot.dues, &entry.node);
  entry.due = due;
  if (due != DT_NOEND) pairingheap_add(&slot.dues, &entry.node);
}

// nullptr: there is no room.
DueEntry *make_due(Oid database, std::int32_t tenant) {
  return dues().find_or_make({database, tenant}, [](DueEntry &made) {
    made.due = DT_NOEND;
    made.not_before = DT_NOBEGIN;
  });
}

void remove_due(DatabaseSlot &slot, DueEntry &entry) {
  set_due(slot, entry, DT_NOEND);
  dues().remove(entry);
}

void make_own_due_queue() {
  if (own_slot) return;
  own_slot = static_cast<DatabaseSlot *>(MemoryContextAlloc(TopMemoryContext, sizeof(DatabaseSlot)));
  start_slot(*own_slot, MyDatabaseId);
  own_dues.make_own("insula due tenants", 256);
}

}  // namespace

void forget_dues(DatabaseSlot &slot) {
  dues().for_each_in(slot.database, [&](DueEntry &entry) { remove_due(slot, entry); });
}

// ---- under the lock, from commit callbacks ----

void note_due(Oid database, std::int32_t tenant, TimestampTz due, bool reload) {
  DatabaseSlot *slot = make_database(database);
  if (!slot) return;
  // A tenant that is noted again and again does not come before those that have been due for longer.
  due = std::max(due, GetCurrentTimestamp() + slot->ahead);
  DueEntry *entry = make_due(database, tenant);
  if (!entry) {
    // A scheduler will fill the due queue again, as far as it can, and look at the rest by itself.
    slot->crowded = slot->asked = true;
    wake_for(*slot, DT_NOBEGIN);
    return;
  }
  entry->reload = entry->reload || reload;
  entry->afresh = entry->afresh || reload;
  if (is_put_off(entry->not_before, due)) due = entry->not_before;
  if (due >= entry->due) return;
  set_due(*slot, *entry, due);
  wake_for(*slot, due);
}

void note_all_due(Oid database) {
  DatabaseSlot *slot = make_database(database);
  if (!slot) return;
  slot->filled = false;
  slot->asked = true;
  wake_for(*slot, DT_NOBEGIN);
}

void note_aside_due(Oid database) {
  DatabaseSlot *slot = find_database(database);
  if (!slot || !slot->troubled) return;
  slot->troubled = false;
  dues().for_each_in(database, [&](const DueEntry &entry) {
    if (!entry.aside && !entry.in_hand) return;
    slot->troubled = true;
    note_due(database, entry.key.tenant, DT_NOBEGIN, true);
  });
}

void note_asked(Oid database) {
  DatabaseSlot *slot = make_database(database);
  if (!slot) return;
  slot->until_told = false;
  slot->look_again = DT_NOEND;
  slot->not_before = DT_NOBEGIN;
  note_all_due(database);
}

void note_stopped(Oid database) {
  DatabaseSlot *slot = make_database(database);
  if (!slot) return;
  slot->until_told = true;
  slot->look_again = DT_NOEND;
  slot->asked = false;
  // A scheduler that runs sees that none is to.
  if (slot->latch) SetLatch(slot->latch);
}

void note_ended(Oid database, std::int32_t tenant) {
  DueEntry *entry = find_due(database, tenant);
  if (!entry) return;
  // The scheduler that has it in hand may have looked before, and is still to say whether the tenant
  // awaits this.
  entry->ended = entry->in_hand || entry->awaits;
  if (entry->awaits) note_due(database, tenant, DT_NOBEGIN, false);
}

void forget_due(Oid database, std::int32_t tenant) {
  DatabaseSlot *slot = find_database(database);
  DueEntry *entry = slot ? find_due(database, tenant) : nullptr;
  if (entry) remove_due(*slot, *entry);
}

// ---- the scheduler ----

static bool looks = false;

bool looks_whether_it_fits() { return looks; }

bool attach_scheduler() {
  if (!shared_memory_available()) make_own_due_queue();
  lock_shared_memory(LW_EXCLUSIVE);
  DatabaseSlot *slot = make_database(MyDatabaseId);
  const bool mine = slot && slot->pid == 0 && slot->holder == 0;
  if (slot) slot->starting = false;
  if (mine) {
    if (shared_memory_available()) slot->turn = ++databases->turns;
    slot->pid = MyProcPid;
    slot->latch = MyLatch;
    slot->wakes_at = DT_NOBEGIN;
    looks = slot->look_again != DT_NOEND;
    slot->asked = slot->until_told = false;
    slot->look_again = DT_NOEND;
    slot->failed = true;
    slot->hand_full = false;
    dues().for_each_in(MyDatabaseId, [&](DueEntry &entry) {
      if (!entry.in_hand) return;
      entry.in_hand = false;
      entry.reload = true;
      set_due(*slot, entry, DT_NOBEGIN);
    });
  }
  unlock_shared_memory();
  return mine;
}

void detach_scheduler() {
  lock_shared_memory(LW_EXCLUSIVE);
  DatabaseSlot *slot = my_database();
  if (slot && slot->pid == MyProcPid) {
    slot->pid = 0;
    if (shared_memory_available()) slot->turn = ++databases->turns;
    slot->latch = nullptr;
    slot->wakes_at = DT_NOEND;
    wake_launcher();
  }
  unlock_shared_memory();
}

void begin_round() {
  lock_shared_memory(LW_EXCLUSIVE);
  my_database()->asked = false;
  unlock_shared_memory();
}

bool due_queue_is_empty() { return !my_database()->filled; }

int fill_due_queue(const std::int32_t *tenants, int count, TimestampTz due, bool afresh) {
  lock_shared_memory(LW_EXCLUSIVE);
  DatabaseSlot &slot = *my_database();
  int entered = 0;
  for (; entered < count; ++entered) {
    DueEntry *entry = make_due(MyDatabaseId, tenants[entered]);
    if (!entry) break;
    entry->reload = true;
    entry->afresh = entry->afresh || afresh;
    if (due < entry->due) set_due(slot, *entry, due);
  }
  slot.filled = true;
  slot.crowded = entered < count;
  unlock_shared_memory();
  return entered;
}

void make_all_due(TimestampTz due) {
  lock_shared_memory(LW_EXCLUSIVE);
  DatabaseSlot &slot = *my_database();
  dues().for_each_in(MyDatabaseId, [&](DueEntry &entry) {
    // The one in hand is the reason for this.
    if (!entry.in_hand && due < entry.due) set_due(slot, entry, due);
  });
  unlock_shared_memory();
}

bool all_taken_since(TimestampTz at) { return next_in_due_queue() > at; }

bool take_due_tenant(TimestampTz now, DueTenant *due) {
  lock_shared_memory(LW_EXCLUSIVE);
  DatabaseSlot &slot = *my_database();
  slot.wakes_at = DT_NOBEGIN;
  const bool any = first_due(slot) <= now;
  if (any) {
    DueEntry &entry = *entry_of(pairingheap_first(&slot.dues));
    set_due(slot, entry, DT_NOEND);
    entry.in_hand = slot.hand_full = true;
    slot.hand_at = now;
    *due = {entry.key.tenant, entry.reload, entry.ended, entry.afresh};
    entry.reload = entry.ended = entry.afresh = false;
  }
  unlock_shared_memory();
  return any;
}

// The tenant is in hand no more; nullptr: it has been dropped.
static DueEntry *put_down(DatabaseSlot &slot, const DueTenant &due, TimestampTz not_before) {
  slot.hand_full = false;
  DueEntry *entry = find_due(MyDatabaseId, due.tenant);
  if (!entry) return nullptr;
  entry->in_hand = false;
  entry->reload = entry->reload || due.reload;
  entry->not_before = not_before;
  return entry;
}

void requeue_due_tenant(const DueTenant &due, TimestampTz next, bool awaits, bool aside, TimestampTz not_before) {
  // Behind those that have waited for longer.
  const TimestampTz now = clock_now();
  lock_shared_memory(LW_EXCLUSIVE);
  DatabaseSlot &slot = *my_database();
  if (DueEntry *entry = put_down(slot, due, not_before)) {
    entry->awaits = awaits;
    entry->aside = aside;
    slot.troubled = slot.troubled || aside;
    // Claims do what time causes for a tenant that the scheduler leaves for a while.
    if (aside) enter_ready_tenant(due.tenant);
    entry->ended = entry->ended && awaits;
    next = std::max(entry->ended ? now : std::max(next, now), not_before);
    // It may have become due while it was in hand.
    next = std::max(std::min(next, entry->due), not_before);
    if (next != entry->due) set_due(slot, *entry, next);
    if (entry->due == DT_NOEND && !awaits && !entry->reload) remove_due(slot, *entry);
  }
  unlock_shared_memory();
}

void put_off_due_tenant(const DueTenant &due, TimestampTz until) {
  lock_shared_memory(LW_EXCLUSIVE);
  DatabaseSlot &slot = *my_database();
  if (DueEntry *entry = put_down(slot, due, until)) {
    entry->ended = entry->ended || due.ended;
    entry->afresh = entry->afresh || due.afresh;
    set_due(slot, *entry, until);
  }
  unlock_shared_memory();
}

TimestampTz next_in_due_queue() {
  return read_shared_memory([] { return first_due(*my_database()); });
}

TimestampTz plan_sleep() {
  lock_shared_memory(LW_EXCLUSIVE);
  DatabaseSlot &slot = *my_database();
  slot.wakes_at = slot.filled ? first_due(slot) : DT_NOBEGIN;
  const TimestampTz at = slot.wakes_at;
  unlock_shared_memory();
  return at;
}

void leave_database(Rest rest) {
  bool forgotten = false;
  lock_shared_memory(LW_EXCLUSIVE);
  DatabaseSlot *slot = my_database();
  if (slot && slot->pid == MyProcPid) {
    slot->failed = false;
    slot->failures = 0;
    // A session that has asked since the scheduler looked wants another look.
    slot->until_told = (rest == Rest::until_told || rest == Rest::until_fit) && !slot->asked;
    if (slot->until_told && rest == Rest::until_fit) {
      slot->look_again = GetCurrentTimestamp() + between_looks;
      wake_launcher();
    }
    if (rest == Rest::absent && !slot->asked) {
      forget_dues(*slot);
      slot->database = InvalidOid;
      slot->pid = 0;
      slot->latch = nullptr;
      forget_rest_of(MyDatabaseId);
      forgotten = true;
    }
  }
  unlock_shared_memory();
  if (forgotten) drop_counters_of(MyDatabaseId);
}

bool others_wait() { return shared_memory_available() && databases->launcher.waiting > 0; }

}  // namespace insula
