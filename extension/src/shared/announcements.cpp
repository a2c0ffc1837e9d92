// The news that a transaction tells others at its end: tasks that became ready, moments to look at,
// tenants that changed, executions that ended, dead workers whose tasks were given back.
// Noted in backend memory and published from the commit callback, where nothing may fail,
// so room is made when something is announced.  Where a tenant announces more than fits, its own waiters
// all look; only a transaction that serves more than a thousand tenants wakes every waiter.  An abort
// discards the announcements, but wakes a waiter of each tenant from which the transaction had claimed, since those
// rows are free again.  A subtransaction's rollback keeps its wake-ups, since one too many is harmless, but discards
// the tenants that it has dropped, the workers whose tasks it gave back and, if it may have locked rows, the lanes that
// it has searched; rows that it had claimed are told of at once, as by an abort.  A prepared transaction would commit
// in another backend, which does not know them: PREPARE is refused, as it is for NOTIFY.
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
constexpr int raised_at_once = 256;     // published in one hold of the lock
constexpr int ended_at_once = 1024;     // published in one hold of the lock
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

struct ReapedWorker {
  WorkerKey worker;
  int level;
};

// Plain lists of bounded size; `add` is false where there is no room.
template <typename T, int Most = most_tenants>
struct Announced {
  T items[Most];
  int count;

  const T *begin() const { return items; }
  const T *end() const { return items + count; }
  bool has(const T &item) const { return std::find(begin(), end(), item) != end(); }

  bool add(const T &item) {
    if (count == Most) return false;
    items[count++] = item;
    return true;
  }
  bool add_once(const T &item) { return has(item) || add(item); }

  template <typename Doomed>
  void remove(Doomed doomed) {
    count = static_cast<int>(std::remove_if(items, items + count, doomed) - items);
  }
};
using AnnouncedTenants = Announced<std::int32_t>;

Announced<WakeUp> ready;
Announced<DueAnnouncement> due_announcements;
Announced<DueAnnouncement> upkeep;
AnnouncedTenants rescheduled;
PendingList<Search> raised;
Announced<DueAnnouncement> claimable;
AnnouncedTenants locked_tenants;
Announced<RacedWatermarks> maybe_locked;
std::int32_t locking_in;
int locking;  // how deep
bool scheduler_asked;
bool scheduler_stopped;
AnnouncedTenants changed;
PendingList<TenantOfLevel> dropped;
AnnouncedTenants renumbered;  // tenants whose numbers others are given
AnnouncedTenants claimed;
PendingList<ReapedWorker> reaped;
PendingList<TenantOfLevel> permits_locks;  // outlives the callbacks, as the locks do
bool tenant_mended;  // outlives them, too: what is mended is seen only once invalidations have been sent
bool wake_everyone;  // there is work for a session that is not known
bool all_changed;
// Of the commit that is ending: other sessions learn of the changes only after its step here.
AnnouncedTenants published_changed;
AnnouncedTenants published_rescheduled;  // of those
bool published_all_changed;
bool published_dues_lost;
bool dues_lost;
bool watermarks_lost;

std::int64_t *ended;  // in TopTransactionContext
int ended_count;
int ended_room;

bool anything_announced() {
  return ready.count || due_announcements.count || changed.count || !dropped.empty() || claimed.count ||
         !reaped.empty() || upkeep.count || rescheduled.count || !raised.empty() || claimable.count ||
         locked_tenants.count || maybe_locked.count || scheduler_asked || scheduler_stopped || wake_everyone ||
         all_changed || dues_lost || watermarks_lost || ended_count;
}

void forget_announcements() {
  ready.count = due_announcements.count = changed.count = claimed.count = 0;
  renumbered.count = 0;
  upkeep.count = rescheduled.count = claimable.count = locked_tenants.count = maybe_locked.count = 0;
  raised.forget();
  dropped.forget();
  reaped.forget();
  locking = 0;
  scheduler_asked = scheduler_stopped = wake_everyone = all_changed = dues_lost = watermarks_lost = false;
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
    wake_awaiting(ended + first, count);
    kick_watchers(ended + first, count);
    unlock_shared_memory();
  }
}

void publish_ready() {
  for (const WakeUp &wake_up : ready) {
    if (wake_up.key == every_key)
      wake_all_that_fit(MyDatabaseId, wake_up.tenant);
    else
      wake_one_waiter(MyDatabaseId, wake_up);
  }
}

void publish_reaped() {
  for (const ReapedWorker &one : reaped) forget_dead_worker(one.worker);
}

// Others may have passed over what is free now.
void publish_locked() {
  for (const RacedWatermarks &raced : maybe_locked)
    if (forget_watermarks_since(MyDatabaseId, raced)) wake_one_waiter(MyDatabaseId, {raced.tenant, 0, 0, false});
  for (const std::int32_t tenant : locked_tenants) {
    forget_watermarks_of(MyDatabaseId, tenant);
    wake_one_waiter(MyDatabaseId, {tenant, 0, 0, false});
  }
}

// It is not known of which tenants tasks are claimable.
void publish_lost() {
  forget_all_watermarks(MyDatabaseId);
  doubt_all_ready_tenants();
  wake_all_waiters(MyDatabaseId);
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
  for (const DueAnnouncement &from : claimable) {
    lower_watermarks(MyDatabaseId, from.tenant, from.due);
    enter_ready_tenant(from.tenant);
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
  for (const std::int32_t tenant : changed) {
    note_changed(MyDatabaseId, tenant);
    enter_ready_tenant(tenant);
  }
  // First, since another tenant may have been given the number of one that was dropped.
  for (const TenantOfLevel &gone : dropped) {
    forget_workers_of_tenant(MyDatabaseId, gone.tenant);
    forget_due(MyDatabaseId, gone.tenant);
  }
  if (all_changed) note_all_changed();
  if (wake_everyone || all_changed) {
    doubt_all_ready_tenants();
    wake_all_waiters(MyDatabaseId);
  }
  if (dues_lost) note_all_due(MyDatabaseId);
  publish_watermarks(searches);
  publish_ready();
  for (const DueAnnouncement &one : due_announcements) {
    wake_for_due(MyDatabaseId, one.tenant, one.due);
    note_due(MyDatabaseId, one.tenant, one.due, false);
  }
  for (const DueAnnouncement &one : upkeep) note_due(MyDatabaseId, one.tenant, one.due, false);
  if (scheduler_asked) {
    note_asked(MyDatabaseId);
    doubt_all_ready_tenants();
  }
  if (scheduler_stopped) note_stopped(MyDatabaseId);
  for (const std::int32_t tenant : rescheduled) note_due(MyDatabaseId, tenant, DT_NOBEGIN, true);
  for (const std::int32_t tenant : changed) wake_all_of_tenant(MyDatabaseId, tenant);
  publish_reaped();
  unlock_shared_memory();
  publish_ended();
}

// The rows that the transaction, or a subtransaction, had claimed or locked are free again, and its searches
// from the given one on are not published.  At a subtransaction's end this is done for all tenants of the transaction
// so far, since a wake-up too many is harmless.
void publish_unlocked(const Search *searches) {
  if (locking > 0) announce_claimed(locking_in);
  locking = 0;
  if (!shared_memory_available()) return;
  if (claimed.count == 0 && locked_tenants.count == 0 && maybe_locked.count == 0 && searches == raised.end() &&
      renumbered.count == 0 && !watermarks_lost)
    return;
  lock_shared_memory(LW_EXCLUSIVE);
  publish_locked();
  for (; searches < raised.end(); ++searches) forget_beginnings_of(MyDatabaseId, searches->raised.tenant);
  for (const std::int32_t tenant : renumbered) {
    note_due(MyDatabaseId, tenant, DT_NOBEGIN, true);
    enter_ready_tenant(tenant);
  }
  for (const std::int32_t tenant : claimed) {
    forget_watermarks_of(MyDatabaseId, tenant);
    wake_one_waiter(MyDatabaseId, {tenant, 0, 0, true});
  }
  if (watermarks_lost || renumbered.count == most_tenants) publish_lost();
  if (renumbered.count == most_tenants) note_all_due(MyDatabaseId);
  unlock_shared_memory();
}

void committed() {
  if (claimed.count > 0) answer_wake_up();
  publish();
  published_changed = changed;
  published_rescheduled.count = 0;
  for (const std::int32_t tenant : rescheduled)
    if (changed.has(tenant)) published_rescheduled.add(tenant);
  published_all_changed = all_changed;
  published_dues_lost = all_changed && dues_lost;
  forget_announcements();
}

void aborted() {
  end_wait();
  pass_wake_up_on();
  publish_unlocked(raised.begin());
  forget_announcements();
}

const char *pending_work() {
  const bool any = anything_announced() || !permits_locks.empty();
  return any ? "has submitted, claimed or completed work" : nullptr;
}

void wake_for_permits_locks(int first) {
  if (!shared_memory_available() || first == permits_locks.count()) return;
  lock_shared_memory(LW_EXCLUSIVE);
  for (const TenantOfLevel *free = permits_locks.begin() + first; free < permits_locks.end(); ++free)
    wake_for_permits_lock(MyDatabaseId, free->tenant);
  unlock_shared_memory();
}

// A claim that came before the invalidations took a tenant that is resumed for a suspended one, and left it out, as a
// scheduler did with what time causes for it.
void enter_changed_again() {
  if (shared_memory_available() && (published_changed.count > 0 || published_all_changed)) {
    lock_shared_memory(LW_EXCLUSIVE);
    for (const std::int32_t tenant : published_changed) {
      enter_ready_tenant(tenant);
      wake_all_of_tenant(MyDatabaseId, tenant);
    }
    for (const std::int32_t tenant : published_rescheduled) note_due(MyDatabaseId, tenant, DT_NOBEGIN, true);
    if (published_dues_lost) note_all_due(MyDatabaseId);
    if (published_all_changed) {
      doubt_all_ready_tenants();
      wake_all_waiters(MyDatabaseId);
    }
    unlock_shared_memory();
  }
  published_changed.count = 0;
  published_all_changed = false;
}

// Nothing here may fail.
void locks_released(bool committed, bool top_level) {
  if (!top_level) {
    // The parent keeps the locks of a subtransaction that commits.  They may have been released by a portal that failed
    // before its subtransaction does, and so all are told of again at the end.
    if (!committed) wake_for_permits_locks(permits_locks.first_here());
    return;
  }
  wake_for_permits_locks(0);
  permits_locks.forget();
  enter_changed_again();
  if (tenant_mended && committed && shared_memory_available()) {
    lock_shared_memory(LW_EXCLUSIVE);
    note_aside_due(MyDatabaseId);
    unlock_shared_memory();
  }
  tenant_mended = false;
}

void subtransaction_committed(SubTransactionId) {
  raised.hand_over();
  dropped.hand_over();
  reaped.hand_over();
  permits_locks.hand_over();
}

void subtransaction_aborted() {
  dropped.drop_from(dropped.first_here());
  if (!TransactionIdIsValid(GetCurrentTransactionIdIfAny())) {
    // It has locked no row, and what its searches have found is as true as before.
    locking = 0;
    reaped.hand_over();
    return raised.hand_over();
  }
  reaped.drop_from(reaped.first_here());
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

// One that is not published costs only the next search.
static void add_search(const WatermarksView &view, const core::Searched &searched, bool of_place, int most) {
  if (view.may_raise && searched.to != watermark_unknown && raised.count() < most)
    raised.add({{view.tenant, view.version, searched, of_place}, 0});
}

void announce_searched(const WatermarksView &view, std::int32_t lane, std::int64_t from, std::int64_t to) {
  add_search(view, {view.filter, lane, from, to}, false, most_searches);
}

void announce_searched_of_place(const WatermarksView &view, std::int32_t lane, std::int64_t from, std::int64_t to) {
  add_search(view, {view.filter, lane, from, to}, true, most_searches - 2 * core::Watermarks::room);
}

void announce_locked(std::int32_t tenant) {
  if (!locked_tenants.add_once(tenant)) watermarks_lost = true;
}

void announce_unknown() { watermarks_lost = true; }

void announce_maybe_locked(std::int32_t tenant) {
  for (const RacedWatermarks &raced : maybe_locked)
    if (raced.tenant == tenant) return;
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
  for (const WakeUp &other : ready) {
    if (other.tenant != tenant) continue;
    if (other.key == key || other.key == every_key) return;
    ++keys;
  }
  if (keys < most_keys && ready.add({tenant, key, 0, false})) return;
  if (keys < most_keys) merge_keys();
  ready.remove([tenant](const WakeUp &other) { return other.tenant == tenant; });
  if (!ready.add({tenant, every_key, 0, false})) wake_everyone = true;
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
  for (const DueAnnouncement &from : claimable)
    if (from.tenant == tenant) return from.due;
  return watermarks_lost ? watermark_unknown : watermark_end;
}

void announce_due(std::int32_t tenant, TimestampTz due) {
  if (!add_due(due_announcements, tenant, due)) wake_everyone = dues_lost = true;
}

void announce_upkeep(std::int32_t tenant, TimestampTz due) {
  if (!add_due(upkeep, tenant, due)) dues_lost = true;
}

void announce_scheduler_asked() {
  scheduler_asked = true;
  scheduler_stopped = false;
}

void announce_scheduler_stopped() {
  scheduler_stopped = true;
  scheduler_asked = false;
}

void announce_mended() { tenant_mended = true; }

void announce_rescheduled(std::int32_t tenant) {
  if (!rescheduled.add_once(tenant)) dues_lost = true;
}

void announce_changed(std::int32_t tenant) {
  if (!changed.add_once(tenant)) all_changed = true;
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
  if (!claimed.add_once(tenant)) announce_locked(tenant);
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

// One that is not published is reaped once more.
void announce_dead_worker_reaped(Oid role, const char *name) {
  const WorkerKey worker = worker_key(role, name);
  const auto is_it = [&](const ReapedWorker &one) { return one.worker == worker; };
  if (reaped.count() < most_tenants && std::none_of(reaped.begin(), reaped.end(), is_it)) reaped.add({worker, 0});
}

}  // namespace insula
