// The due queue; see due_queue.hpp.  Its entries are the nodes of a heap for each
// database, so that the next is found without a walk, whatever their number.
#include "shared/due_queue.hpp"

#include <algorithm>

#include "shared/clock.hpp"
#include "shared/databases.hpp"
#include "shared/drop_counters.hpp"
#include "shared/overhead.hpp"
#include "shared/ready_tenants.hpp"
#include "shared/schedulers.hpp"

namespace insula {

namespace {

struct DueEntry {
  TenantKey key;
  pairingheap_node node;
  TimestampTz due;         // DT_NOEND: it is not in the heap
  TimestampTz not_before;  // it is put off until then; DT_NOBEGIN: it is not
  bool in_hand;            // a scheduler looks at the tenant
  bool reload;             // its schedules may have changed
  bool awaits;             // an execution's end makes it due
  bool ended;              // one has ended since it was taken
  bool aside;              // its last turn has failed
  bool afresh;             // it may have been mended since
};

SharedTable<DueEntry> shared_dues;

// Whether the extension's version fits the library's.
constexpr std::int64_t between_looks = 60 * USECS_PER_SEC;

// For a scheduler without shared memory.
DatabaseSlot *own_slot = nullptr;
SharedTable<DueEntry> own_dues;

const SharedTable<DueEntry> &dues() { return shared_memory_available() ? shared_dues : own_dues; }

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

DueEntry *find_due(Oid database, std::int32_t tenant) { return dues().find({database, tenant}); }

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

// The moment of a tenant that a scheduler has in hand, or has set aside after an error, is not known; nothing is done
// for one that is put off, whatever is to be read anew.
bool is_sure(const DueEntry &entry, TimestampTz now) {
  const bool put_off = entry.not_before > now && entry.not_before <= now + longest_put_off;
  return !entry.in_hand && (!entry.reload || put_off);
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
  // A moment further ahead than the longest dates from before the clock was set back.
  if (entry->not_before <= due + longest_put_off) due = std::max(due, entry->not_before);
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

bool all_taken_since(TimestampTz at) {
  lock_shared_memory(LW_SHARED);
  const bool all = first_due(*my_database()) > at;
  unlock_shared_memory();
  return all;
}

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

void requeue_due_tenant(const DueTenant &due, TimestampTz next, bool awaits, bool aside, TimestampTz not_before) {
  // Behind those that have waited for longer.
  const TimestampTz now = clock_now();
  lock_shared_memory(LW_EXCLUSIVE);
  DatabaseSlot &slot = *my_database();
  slot.hand_full = false;
  if (DueEntry *entry = find_due(MyDatabaseId, due.tenant)) {
    entry->in_hand = false;
    entry->reload = entry->reload || due.reload;
    entry->awaits = awaits;
    entry->aside = aside;
    entry->not_before = not_before;
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
  slot.hand_full = false;
  if (DueEntry *entry = find_due(MyDatabaseId, due.tenant)) {
    entry->in_hand = false;
    entry->reload = entry->reload || due.reload;
    entry->ended = entry->ended || due.ended;
    entry->afresh = entry->afresh || due.afresh;
    entry->not_before = until;
    set_due(slot, *entry, until);
  }
  unlock_shared_memory();
}

TimestampTz next_in_due_queue() {
  lock_shared_memory(LW_SHARED);
  const TimestampTz at = first_due(*my_database());
  unlock_shared_memory();
  return at;
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
      dues().for_each_in(MyDatabaseId, [&](DueEntry &entry) { remove_due(*slot, entry); });
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

// ---- everybody ----

SchedulerReport report_scheduler() {
  SchedulerReport report = {0, DT_NOEND, false, false, false, false};
  if (!shared_memory_available()) return report;
  lock_shared_memory(LW_SHARED);
  if (DatabaseSlot *slot = my_database())
    report = {slot->pid, first_due(*slot), slot->crowded, false, slot->filled, false};
  else
    report.without_place = find_database(InvalidOid) == nullptr;
  report.launcher = databases->launcher.pid != 0;
  unlock_shared_memory();
  return report;
}

bool due_in_queue(std::int32_t tenant, TimestampTz *due) {
  if (!shared_memory_available()) return false;
  const TimestampTz now = clock_now();
  lock_shared_memory(LW_SHARED);
  const DatabaseSlot *slot = my_database();
  const bool known = slot && slot->filled && !slot->crowded;
  const DueEntry *entry = known ? find_due(MyDatabaseId, tenant) : nullptr;
  *due = entry ? entry->due : DT_NOEND;
  const bool sure = !entry || is_sure(*entry, now);
  unlock_shared_memory();
  return known && sure;
}

DueReport read_due_queue() {
  DueReport report = {};
  if (!shared_memory_available()) return report;
  const TimestampTz now = clock_now();
  for (int room = static_cast<int>(due_tenants()) + 64;; room = report.count + 64) {
    auto *items = palloc_array_of<DueReport::Item>(static_cast<std::size_t>(room));
    int count = 0;
    lock_shared_memory(LW_SHARED);
    const DatabaseSlot *slot = my_database();
    report.is_filled = slot && slot->filled && !slot->crowded;
    if (report.is_filled)
      dues().for_each_in(MyDatabaseId, [&](const DueEntry &entry) {
        if (count < room) items[count] = {entry.key.tenant, entry.due, is_sure(entry, now)};
        ++count;
      });
    unlock_shared_memory();
    report.items = items;
    report.count = count;
    if (count > room) {
      pfree(items);
      continue;
    }
    std::sort(items, items + count, [](const auto &a, const auto &b) { return a.tenant < b.tenant; });
    return report;
  }
}

bool DueReport::knows(std::int32_t tenant, TimestampTz *due) const {
  *due = DT_NOEND;
  if (!is_filled) return false;
  const Item *item = std::lower_bound(items, items + count, tenant,
                                      [](const Item &one, std::int32_t wanted) { return one.tenant < wanted; });
  if (item == items + count || item->tenant != tenant) return true;
  *due = item->due;
  return item->is_sure;
}

int databases_in_use() {
  int count = 0;
  if (!shared_memory_available()) return count;
  lock_shared_memory(LW_SHARED);
  for (int i = 0; i < shared_room.databases; ++i) count += OidIsValid(databases->slots[i].database);
  unlock_shared_memory();
  return count;
}

long due_tenants() { return shared_dues.count(); }

bool left_to_scheduler() {
  if (!shared_memory_available() || databases->launcher.pid == 0 || !schedulers_are_on()) return false;
  const DatabaseSlot *slot = my_database();
  return slot && !slot->until_told && slot->pid != MyProcPid;
}

bool time_is_left_to_scheduler() {
  if (!left_to_scheduler()) return false;
  lock_shared_memory(LW_SHARED);
  const DatabaseSlot *slot = my_database();
  // A scheduler that died with a tenant in hand leaves it to the next one.
  const bool known = slot && slot->filled && !slot->crowded && !(slot->hand_full && slot->pid == 0);
  unlock_shared_memory();
  return known;
}

int late_tenants(TimestampTz now, std::int32_t *tenants, int room) {
  const TimestampTz since = now - scheduler_patience;
  int count = 0;
  lock_shared_memory(LW_SHARED);
  DatabaseSlot *slot = my_database();
  if (slot && (first_due(*slot) <= since || (slot->hand_full && slot->hand_at <= since))) {
    const DueEntry *unnamed = dues().find_if([&](const DueEntry &entry) {
      const bool late = entry.due <= since || (entry.in_hand && slot->hand_at <= since);
      if (entry.key.database != MyDatabaseId || !late) return false;
      // A dead worker of all tenants may hold tasks of any.
      if (count == room || entry.key.tenant == 0) return true;
      tenants[count++] = entry.key.tenant;
      return false;
    });
    if (unnamed) count = room + 1;
  }
  unlock_shared_memory();
  return count;
}

bool is_attended(std::int32_t tenant, TimestampTz now) {
  if (!left_to_scheduler()) return false;
  const TimestampTz since = now - scheduler_patience;
  lock_shared_memory(LW_SHARED);
  const DatabaseSlot *slot = my_database();
  const DueEntry *entry = slot ? find_due(MyDatabaseId, tenant) : nullptr;
  const bool attended = entry && !entry->aside && entry->due > since && !(entry->in_hand && slot->hand_at <= since);
  unlock_shared_memory();
  return attended;
}

TimestampTz scheduler_late_at() {
  lock_shared_memory(LW_SHARED);
  DatabaseSlot *slot = my_database();
  // When the tenant in hand is due next is not known.
  const TimestampTz due = !slot ? DT_NOEND : slot->hand_full ? DT_NOBEGIN : first_due(*slot);
  unlock_shared_memory();
  return due == DT_NOEND ? DT_NOEND : std::max(due, clock_now()) + scheduler_patience;
}

bool is_aside_in_queue(std::int32_t tenant) {
  if (!any_set_aside()) return false;
  lock_shared_memory(LW_SHARED);
  const DueEntry *entry = find_due(MyDatabaseId, tenant);
  const bool aside = entry && entry->aside;
  unlock_shared_memory();
  return aside;
}

bool any_set_aside() {
  const DatabaseSlot *slot = shared_memory_available() ? my_database() : nullptr;
  return slot && slot->troubled;
}

bool waits_until_told() {
  const DatabaseSlot *slot = shared_memory_available() ? my_database() : nullptr;
  return slot && slot->until_told;
}

}  // namespace insula
