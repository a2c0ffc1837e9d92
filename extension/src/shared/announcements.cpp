// The news that a transaction tells others at its end: tasks that became ready, moments to look at,
// tenants that changed, executions that ended, dead workers whose tasks were given back.
// Noted in backend memory and published from the commit callback, where nothing may fail,
// so room is made when something is announced.  Where a tenant announces more than fits, its own waiters
// all look; only a transaction that serves more than a thousand tenants wakes every waiter.  An abort forgets
// them, but frees what the transaction had claimed, so it wakes a waiter for that.  A
// subtransaction's rollback leaves its announcements, since a wake-up too many is harmless, but takes what it says
// of tenants that it has dropped and lanes that it has searched.  A prepared
// transaction would commit in another backend, which does not know them: PREPARE is
// refused, as it is for NOTIFY.
#include <algorithm>

#include "core/ids.hpp"
#include "errors.hpp"
#include "shared/changes.hpp"
#include "shared/counters.hpp"
#include "shared/databases.hpp"
#include "shared/drop_counters.hpp"
#include "shared/pending.hpp"
#include "shared/ready_tenants.hpp"
#include "shared/waiters.hpp"
#include "shared/watches.hpp"
#include "shared/watermark_table.hpp"
#include "shared/workers.hpp"

namespace insula {

namespace {

constexpr int most_tenants = 1024;  // a claim of all tenants may serve as many
constexpr int most_keys = 64;       // of one tenant's tasks
constexpr int most_searches = 4 * most_tenants;
constexpr int raised_at_once = 256;     // told under the lock before others may have it
constexpr int ended_at_once = 1024;     // told under the lock before others may have it
constexpr std::int32_t every_key = -1;  // more than most_keys: each waiter that fits the tenant looks

struct DueAnnouncement {
  std::int32_t tenant;
  TimestampTz due;
};

struct Search {
  RaisedWatermark raised;
  int level;
};

struct TenantOfLevel {
  std::int32_t tenant;
  int level;
};

// Plain lists of bounded size; `add` is false where there is no room.
template <typename T, int Most = most_tenants>
struct Announced {
  T items[Most];
  int count;

  bool add(const T &item) {
    if (count == Most) return false;
    items[count++] = item;
    return true;
  }

  template <typename Doomed>
  void remove(Doomed doomed) {
    count = static_cast<int>(std::remove_if(items, items + count, doomed) - items);
  }
};

Announced<WakeUp> ready;
Announced<DueAnnouncement> due_announcements;
Announced<DueAnnouncement> upkeep;
Announced<std::int32_t> rescheduled;
PendingList<Search> raised;
Announced<DueAnnouncement> claimable;
Announced<std::int32_t> locked;
Announced<RacedWatermarks> maybe_locked;
std::int32_t locking_in;
int locking;  // how deep
bool asked;
bool stopped;
Announced<std::int32_t> changed;
PendingList<TenantOfLevel> dropped;
Announced<std::int32_t> renumbered;  // tenants whose numbers others are given
Announced<std::int32_t> claimed;
Announced<WorkerKey> reaped;
PendingList<TenantOfLevel> permits_locks;  // outlives the callbacks, as the locks do
bool mended;    // outlives them, too: what is mended is seen only once invalidations have been sent
bool everyone;  // there is work for a session that is not known
bool all_changed;
bool dues_lost;
bool watermarks_lost;

std::int64_t *ended;  // in TopTransactionContext
int ended_count;
int ended_room;

bool anything_announced() {
  return ready.count || due_announcements.count || changed.count || !dropped.empty() || claimed.count || reaped.count ||
         upkeep.count || rescheduled.count || !raised.empty() || claimable.count || locked.count ||
         maybe_locked.count || asked || stopped || everyone || all_changed || dues_lost || watermarks_lost ||
         ended_count;
}

void forget_announcements() {
  ready.count = due_announcements.count = changed.count = claimed.count = reaped.count = 0;
  renumbered.count = 0;
  upkeep.count = rescheduled.count = claimable.count = locked.count = maybe_locked.count = 0;
  raised.forget();
  dropped.forget();
  locking = 0;
  asked = stopped = everyone = all_changed = dues_lost = watermarks_lost = false;
  ended = nullptr;
  ended_count = ended_room = 0;
}

// A part at a time: a transaction may end a million executions.
void publish_ended() {
  std::sort(ended, ended + ended_count);
  for (int first = 0; first < ended_count; first += ended_at_once) {
    const int count = std::min(ended_at_once, ended_count - first);
    lock_shared_memory(LW_EXCLUSIVE);
    for (int i = first; i < first + count; ++i)
      if (i == 0 || core::tenant_of(ended[i]) != core::tenant_of(ended[i - 1]))
        note_ended(MyDatabaseId, core::tenant_of(ended[i]));
    signal_awaiting(ended + first, count);
    kick_watchers(ended + first, count);
    unlock_shared_memory();
  }
}

void publish_ready() {
  for (int i = 0; i < ready.count; ++i) {
    if (ready.items[i].key == every_key)
      signal_all_that_fit(MyDatabaseId, ready.items[i].tenant);
    else
      signal_one_waiter(MyDatabaseId, ready.items[i]);
  }
}

void publish_reaped() {
  for (int i = 0; i < reaped.count; ++i) forget_dead_worker(reaped.items[i]);
}

// Others may have passed over what is free now.
void publish_locked() {
  for (int i = 0; i < maybe_locked.count; ++i)
    if (forget_watermarks_since(MyDatabaseId, maybe_locked.items[i]))
      signal_one_waiter(MyDatabaseId, {maybe_locked.items[i].tenant, 0, 0, false});
  for (int i = 0; i < locked.count; ++i) {
    forget_watermarks_of(MyDatabaseId, locked.items[i]);
    signal_one_waiter(MyDatabaseId, {locked.items[i], 0, 0, false});
  }
}

// It is not known of which tenants tasks are claimable.
void publish_lost() {
  forget_all_watermarks(MyDatabaseId);
  doubt_all_ready_tenants();
  signal_everyone(MyDatabaseId);
}

void raise_watermarks(const Search *first, const Search *end) {
  for (; first < end; ++first) raise_watermark(MyDatabaseId, first->raised);
}

// Returns the first search that is left.  Between the parts another transaction may lower a watermark, which then
// is not raised.
const Search *publish_most_searches() {
  const Search *next = raised.begin();
  for (; raised.end() - next > raised_at_once; next += raised_at_once) {
    lock_shared_memory(LW_EXCLUSIVE);
    raise_watermarks(next, next + raised_at_once);
    unlock_shared_memory();
  }
  return next;
}

// Before any session is woken, which then must find the tasks that this transaction has made claimable.
void publish_watermarks(const Search *searches) {
  raise_watermarks(searches, raised.end());
  publish_locked();
  for (int i = 0; i < claimable.count; ++i) {
    lower_watermarks(MyDatabaseId, claimable.items[i].tenant, claimable.items[i].due);
    enter_ready_tenant(claimable.items[i].tenant);
  }
  for (const TenantOfLevel &gone : dropped) {
    drop_watermarks_of(MyDatabaseId, gone.tenant);
    remove_ready_tenant(gone.tenant);
  }
  if (watermarks_lost) publish_lost();
}

void publish() {
  if (!shared_memory_available() || !anything_announced()) return;
  const Search *searches = publish_most_searches();
  lock_shared_memory(LW_EXCLUSIVE);
  for (int i = 0; i < changed.count; ++i) {
    note_changed(MyDatabaseId, changed.items[i]);
    enter_ready_tenant(changed.items[i]);
  }
  // First, since another tenant may have been given the number of one that was dropped.
  for (const TenantOfLevel &gone : dropped) {
    forget_workers_of_tenant(MyDatabaseId, gone.tenant);
    forget_due(MyDatabaseId, gone.tenant);
  }
  if (all_changed) note_all_changed();
  if (everyone || all_changed) {
    doubt_all_ready_tenants();
    signal_everyone(MyDatabaseId);
  }
  if (dues_lost) note_all_due(MyDatabaseId);
  publish_watermarks(searches);
  publish_ready();
  for (int i = 0; i < due_announcements.count; ++i) {
    signal_for_due(MyDatabaseId, due_announcements.items[i].tenant, due_announcements.items[i].due);
    note_due(MyDatabaseId, due_announcements.items[i].tenant, due_announcements.items[i].due, false);
  }
  for (int i = 0; i < upkeep.count; ++i) note_due(MyDatabaseId, upkeep.items[i].tenant, upkeep.items[i].due, false);
  if (asked) {
    note_asked(MyDatabaseId);
    doubt_all_ready_tenants();
  }
  if (stopped) note_stopped(MyDatabaseId);
  for (int i = 0; i < rescheduled.count; ++i) note_due(MyDatabaseId, rescheduled.items[i], DT_NOBEGIN, true);
  for (int i = 0; i < changed.count; ++i) signal_all_of_tenant(MyDatabaseId, changed.items[i]);
  publish_reaped();
  unlock_shared_memory();
  publish_ended();
}

// The rows that the transaction, or a subtransaction, had claimed or locked are free again, and what it searched
// from the given one on is not told.
void publish_unlocked(const Search *searches) {
  if (locking > 0) announce_claimed(locking_in);
  locking = 0;
  if (!shared_memory_available()) return;
  if (claimed.count == 0 && locked.count == 0 && maybe_locked.count == 0 && searches == raised.end() &&
      renumbered.count == 0 && !watermarks_lost)
    return;
  lock_shared_memory(LW_EXCLUSIVE);
  publish_locked();
  for (; searches < raised.end(); ++searches) forget_beginnings_of(MyDatabaseId, searches->raised.tenant);
  for (int i = 0; i < renumbered.count; ++i) {
    note_due(MyDatabaseId, renumbered.items[i], DT_NOBEGIN, true);
    enter_ready_tenant(renumbered.items[i]);
  }
  for (int i = 0; i < claimed.count; ++i) {
    forget_watermarks_of(MyDatabaseId, claimed.items[i]);
    signal_one_waiter(MyDatabaseId, {claimed.items[i], 0, 0, true});
  }
  if (watermarks_lost || renumbered.count == most_tenants) publish_lost();
  if (renumbered.count == most_tenants) note_all_due(MyDatabaseId);
  unlock_shared_memory();
}

void committed() {
  if (claimed.count > 0) answer_wake_up();
  publish();
  forget_announcements();
}

void aborted() {
  end_wait();
  pass_signal_on();
  publish_unlocked(raised.begin());
  forget_announcements();
}

const char *pending_work() {
  const bool any = anything_announced() || !permits_locks.empty();
  return any ? "has submitted, claimed or completed work" : nullptr;
}

void signal_for_permits_locks(int first) {
  if (!shared_memory_available() || first == permits_locks.count()) return;
  lock_shared_memory(LW_EXCLUSIVE);
  for (const TenantOfLevel *free = permits_locks.begin() + first; free < permits_locks.end(); ++free)
    signal_for_permits_lock(MyDatabaseId, free->tenant);
  unlock_shared_memory();
}

// Nothing here may fail.
void locks_released(bool committed, bool top_level) {
  if (!top_level) {
    // The parent keeps the locks of a subtransaction that commits.  They may have been released by a portal that failed
    // before its subtransaction does, and so all are told of again at the end.
    if (!committed) signal_for_permits_locks(permits_locks.first_here());
    return;
  }
  signal_for_permits_locks(0);
  permits_locks.forget();
  if (mended && committed && shared_memory_available()) {
    lock_shared_memory(LW_EXCLUSIVE);
    note_aside_due(MyDatabaseId);
    unlock_shared_memory();
  }
  mended = false;
}

void subtransaction_committed(SubTransactionId) {
  raised.hand_over();
  dropped.hand_over();
  permits_locks.hand_over();
}

void subtransaction_aborted() {
  dropped.drop_from(dropped.first_here());
  if (!TransactionIdIsValid(GetCurrentTransactionIdIfAny())) {
    // It has locked no row, and what its searches have found is as true as before.
    locking = 0;
    return raised.hand_over();
  }
  const int first = raised.first_here();
  publish_unlocked(raised.begin() + first);
  raised.drop_from(first);
}

}  // namespace

const TransactionStep announcements_step = {.pending = pending_work,
                                            .committed = committed,
                                            .aborted = aborted,
                                            .subtransaction_committed = subtransaction_committed,
                                            .subtransaction_aborted = subtransaction_aborted,
                                            .locks_released = locks_released};

bool announces_changes() { return changed.count > 0 || all_changed; }

bool can_announce_searched() { return raised.count() < most_searches; }

void announce_searched(const WatermarksView &view, std::int32_t lane, std::int64_t from, std::int64_t to) {
  // One that is not told costs only the next search.
  if (view.may_raise && to != watermark_unknown && can_announce_searched())
    raised.add({{view.tenant, view.version, {view.filter, lane, from, to}, false}, 0});
}

void announce_searched_of_place(const WatermarksView &view, std::int32_t lane, std::int64_t from, std::int64_t to) {
  if (view.may_raise && to != watermark_unknown && raised.count() < most_searches - 2 * core::Watermarks::room)
    raised.add({{view.tenant, view.version, {view.filter, lane, from, to}, true}, 0});
}

void announce_locked(std::int32_t tenant) {
  for (int i = 0; i < locked.count; ++i)
    if (locked.items[i] == tenant) return;
  if (!locked.add(tenant)) watermarks_lost = true;
}

void announce_unknown() { watermarks_lost = true; }

void announce_maybe_locked(std::int32_t tenant) {
  for (int i = 0; i < maybe_locked.count; ++i)
    if (maybe_locked.items[i].tenant == tenant) return;
  if (!maybe_locked.add({tenant, watermarks_version(tenant)})) watermarks_lost = true;
}

int begin_locking(std::int32_t tenant) {
  locking_in = tenant;
  return locking++;
}

void end_locking(int before) { locking = before; }

// Makes room: each tenant with several keys keeps one entry, for all of them.
static void merge_keys() {
  int kept = 0;
  for (int i = 0; i < ready.count; ++i) {
    const WakeUp next = ready.items[i];
    WakeUp *known =
        std::find_if(ready.items, ready.items + kept, [&](const WakeUp &one) { return one.tenant == next.tenant; });
    if (known == ready.items + kept)
      ready.items[kept++] = next;
    else
      known->key = every_key;
  }
  ready.count = kept;
}

void announce_ready(std::int32_t tenant, std::int32_t key) {
  // Rows that became ready in this transaction have a place after its start.
  announce_claimable(tenant, GetCurrentTransactionStartTimestamp());
  int keys = 0;
  for (int i = 0; i < ready.count; ++i) {
    const WakeUp &other = ready.items[i];
    if (other.tenant != tenant) continue;
    if (other.key == key || other.key == every_key) return;
    ++keys;
  }
  if (keys < most_keys && ready.add({tenant, key, 0, false})) return;
  if (keys < most_keys) merge_keys();
  ready.remove([tenant](const WakeUp &other) { return other.tenant == tenant; });
  if (!ready.add({tenant, every_key, 0, false})) everyone = true;
}

void announce_resumed(std::int32_t tenant) { announce_ready(tenant, 0); }

// False where there is no room.
static bool add_due(Announced<DueAnnouncement> &list, std::int32_t tenant, TimestampTz due) {
  // It is told row by row, and so mostly of the last tenant.
  for (int i = list.count - 1; i >= 0; --i) {
    if (list.items[i].tenant != tenant) continue;
    list.items[i].due = std::min(list.items[i].due, due);
    return true;
  }
  return list.add({tenant, due});
}

void announce_claimable(std::int32_t tenant, std::int64_t due) {
  if (!add_due(claimable, tenant, due)) watermarks_lost = true;
}

std::int64_t claimable_from(std::int32_t tenant) {
  for (int i = 0; i < claimable.count; ++i)
    if (claimable.items[i].tenant == tenant) return claimable.items[i].due;
  return watermarks_lost ? watermark_unknown : watermark_end;
}

void announce_due(std::int32_t tenant, TimestampTz due) {
  if (!add_due(due_announcements, tenant, due)) everyone = dues_lost = true;
}

void announce_upkeep(std::int32_t tenant, TimestampTz due) {
  if (!add_due(upkeep, tenant, due)) dues_lost = true;
}

void announce_scheduler_asked() {
  asked = true;
  stopped = false;
}

void announce_scheduler_stopped() {
  stopped = true;
  asked = false;
}

void announce_mended() { mended = true; }

void announce_rescheduled(std::int32_t tenant) {
  for (int i = 0; i < rescheduled.count; ++i)
    if (rescheduled.items[i] == tenant) return;
  if (!rescheduled.add(tenant)) dues_lost = true;
}

void announce_changed(std::int32_t tenant) {
  for (int i = 0; i < changed.count; ++i)
    if (changed.items[i] == tenant) return;
  if (!changed.add(tenant)) all_changed = true;
}

void announce_dropped(std::int32_t tenant) {
  announce_changed(tenant);
  dropped.add({tenant, 0});
  count_no_more(tenant);
}

void forget_tenant_number(std::int32_t tenant) {
  // After a rollback the old tenant is due again.
  if (!renumbered.add(tenant)) dues_lost = true;
  if (shared_memory_available()) {
    lock_shared_memory(LW_EXCLUSIVE);
    drop_watermarks_of(MyDatabaseId, tenant);
    forget_workers_of_tenant(MyDatabaseId, tenant);
    forget_due(MyDatabaseId, tenant);
    remove_ready_tenant(tenant);
    unlock_shared_memory();
  }
  drop_counters_of(MyDatabaseId, tenant);
}

void announce_claimed(std::int32_t tenant) {
  // It is told of each row.
  if (claimed.count > 0 && claimed.items[claimed.count - 1] == tenant) return;
  for (int i = 0; i < claimed.count; ++i)
    if (claimed.items[i] == tenant) return;
  if (!claimed.add(tenant)) announce_locked(tenant);
}

void announce_permits_lock(std::int32_t tenant) {
  const auto is_of = [tenant](const TenantOfLevel &other) { return other.tenant == tenant; };
  if (std::none_of(permits_locks.begin(), permits_locks.end(), is_of)) permits_locks.add({tenant, 0});
}

void announce_ended(std::int64_t execution) {
  if (ended_count == ended_room) {
    const int room = ended_room ? ended_room * 2 : 64;
    const Size size = sizeof(std::int64_t) * static_cast<Size>(room);
    ended = static_cast<std::int64_t *>(ended ? repalloc_huge(ended, size)
                                              : MemoryContextAlloc(TopTransactionContext, size));
    ended_room = room;
  }
  ended[ended_count++] = execution;
}

void announce_dead_worker_reaped(Oid role, const char *name) { (void)reaped.add(worker_key(role, name)); }

}  // namespace insula
