// Answers about the due queue, and about the processes that serve it; see due_queue.hpp.
#include <algorithm>

#include "shared/clock.hpp"
#include "shared/due_queue.hpp"
#include "shared/due_table.hpp"
#include "shared/overhead.hpp"
#include "shared/schedulers.hpp"

namespace insula {

namespace {

bool knows_all(const DatabaseSlot *slot) { return slot && slot->filled && !slot->crowded; }

// The moment of a tenant that a scheduler has in hand, or has set aside after an error, is not known; nothing is done
// for one that is put off, whatever is to be read anew.
bool is_sure(const DueEntry &entry, TimestampTz now) {
  return !entry.in_hand && (!entry.reload || is_put_off(entry.not_before, now));
}

// Whether the scheduler should have done with the tenant by then.
bool is_late(const DueEntry &entry, const DatabaseSlot &slot, TimestampTz since) {
  return entry.due <= since || (entry.in_hand && slot.hand_at <= since);
}

}  // namespace

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
  const bool known = knows_all(my_database());
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
  auto *items = palloc_for_all<DueReport::Item>(shared_room.due_tenants);
  report.items = items;
  lock_shared_memory(LW_SHARED);
  report.is_filled = knows_all(my_database());
  if (report.is_filled)
    dues().for_each_in(MyDatabaseId, [&](const DueEntry &entry) {
      items[report.count++] = {entry.key.tenant, entry.due, is_sure(entry, now)};
    });
  unlock_shared_memory();
  std::sort(items, items + report.count, [](const auto &a, const auto &b) { return a.tenant < b.tenant; });
  return report;
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
  if (!shared_memory_available()) return 0;
  return read_shared_memory([] {
    return static_cast<int>(std::count_if(databases->slots, databases->slots + shared_room.databases,
                                          [](const DatabaseSlot &slot) { return OidIsValid(slot.database); }));
  });
}

long due_tenants() { return shared_dues.count(); }

bool left_to_scheduler() {
  if (!shared_memory_available() || databases->launcher.pid == 0 || !schedulers_are_on()) return false;
  const DatabaseSlot *slot = my_database();
  return slot && !slot->until_told && slot->pid != MyProcPid;
}

bool time_is_left_to_scheduler() {
  if (!left_to_scheduler()) return false;
  return read_shared_memory([] {
    const DatabaseSlot *slot = my_database();
    // A scheduler that died with a tenant in hand leaves it to the next one.
    return knows_all(slot) && !(slot->hand_full && slot->pid == 0);
  });
}

int late_tenants(TimestampTz now, std::int32_t *tenants, int room) {
  const TimestampTz since = now - scheduler_patience;
  int count = 0;
  lock_shared_memory(LW_SHARED);
  DatabaseSlot *slot = my_database();
  if (slot && (first_due(*slot) <= since || (slot->hand_full && slot->hand_at <= since))) {
    const DueEntry *unnamed = dues().find_if([&](const DueEntry &entry) {
      if (entry.key.database != MyDatabaseId || !is_late(entry, *slot, since)) return false;
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
  return read_shared_memory([&] {
    const DatabaseSlot *slot = my_database();
    const DueEntry *entry = slot ? find_due(MyDatabaseId, tenant) : nullptr;
    return entry && !entry->aside && !is_late(*entry, *slot, since);
  });
}

TimestampTz scheduler_late_at() {
  const TimestampTz due = read_shared_memory([]() -> TimestampTz {
    DatabaseSlot *slot = my_database();
    // When the tenant in hand is due next is not known.
    return !slot ? DT_NOEND : slot->hand_full ? DT_NOBEGIN : first_due(*slot);
  });
  return due == DT_NOEND ? DT_NOEND : std::max(due, clock_now()) + scheduler_patience;
}

bool is_aside_in_queue(std::int32_t tenant) {
  if (!any_set_aside()) return false;
  return read_shared_memory([tenant] {
    const DueEntry *entry = find_due(MyDatabaseId, tenant);
    return entry && entry->aside;
  });
}

bool any_set_aside() {
  const DatabaseSlot *slot = my_shared_database();
  return slot && slot->troubled;
}

bool waits_until_told() {
  const DatabaseSlot *slot = my_shared_database();
  return slot && slot->until_told;
}

}  // namespace insula
