// The lows in shared memory; see lows.hpp.  A raise is worth only what was true when the
// search began, so each lowering since then bounds it: the last of them are remembered, and
// a search that has taken longer raises nothing.
#include "shared/lows.hpp"

#include <algorithm>

#include "shared/clock.hpp"
#include "shared/shared.hpp"
#include "shared/state.hpp"

extern "C" {
#include "common/hashfn.h"
}

namespace insula {

namespace {

constexpr std::int64_t between_doubts = 60 * USECS_PER_SEC;

LowsEntry *find_entry(Oid database, std::int32_t tenant) {
  DueKey key = {database, tenant};
  return static_cast<LowsEntry *>(hash_search(shared_lows, &key, HASH_FIND, nullptr));
}

void forget_lows(LowsEntry &entry) {
  entry.count = entry.place_count = 0;
  // Nobody who has searched before may raise.
  entry.version += lowerings_remembered + 1;
}

// nullptr: there is no room.
LowsEntry *make_entry(Oid database, std::int32_t tenant) {
  DueKey key = {database, tenant};
  bool found;
  auto *entry = static_cast<LowsEntry *>(hash_search(shared_lows, &key, HASH_ENTER_NULL, &found));
  if (!entry || found) return entry;
  // A tenant that had an entry before may have searches under way.
  entry->version = ++shared->lows_version << 32;
  entry->count = entry->place_count = entry->next = entry->next_place = 0;
  entry->doubted_at[0] = entry->doubted_at[1] = DT_NOBEGIN;
  return entry;
}

std::uint64_t filter_of(const std::int32_t *keys, int count) {
  if (!keys) return 0;
  return hash_bytes_extended(reinterpret_cast<const unsigned char *>(keys),
                             static_cast<int>(sizeof(std::int32_t)) * count, 1) |
         1;
}

template <typename Visit>
void for_each_low(LowsEntry &entry, Visit visit) {
  for (int i = 0; i < entry.count; ++i) visit(entry.lows[i]);
  for (int i = 0; i < entry.place_count; ++i) visit(entry.lows[lows_per_tenant + i]);
}

Low *find_low(LowsEntry &entry, std::uint64_t filter, std::int32_t lane) {
  Low *found = nullptr;
  for_each_low(entry, [&](Low &low) {
    if (low.filter == filter && low.lane == lane) found = &low;
  });
  return found;
}

// For one that is not known yet.
Low &new_low(LowsEntry &entry, bool of_place) {
  if (of_place) {
    const int at = entry.place_count < places_per_tenant ? entry.place_count++ : entry.next_place++ % places_per_tenant;
    return entry.lows[lows_per_tenant + at];
  }
  return entry.lows[entry.count < lows_per_tenant ? entry.count++ : entry.next++ % lows_per_tenant];
}

}  // namespace

LowsView read_lows(std::int32_t tenant, const std::int32_t *keys, int key_count) {
  LowsView view = {};
  view.tenant = tenant;
  view.own = claimable_from(tenant);
  if (!shared) return view;
  view.filter = filter_of(keys, key_count);
  view.may_raise = !IsolationUsesXactSnapshot();
  LWLockAcquire(shared->lock, LW_SHARED);
  if (LowsEntry *entry = find_entry(MyDatabaseId, tenant)) {
    view.version = entry->version;
    for_each_low(*entry, [&](const Low &low) {
      if (low.filter == view.filter) view.lows[view.count++] = low;
    });
  } else {
    view.may_raise = false;
  }
  const bool make = !view.may_raise && !IsolationUsesXactSnapshot();
  LWLockRelease(shared->lock);
  if (!make) return view;
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  if (const LowsEntry *entry = make_entry(MyDatabaseId, tenant)) {
    view.version = entry->version;
    view.may_raise = true;
  }
  LWLockRelease(shared->lock);
  return view;
}

std::uint64_t lows_version(std::int32_t tenant) {
  if (!shared) return 0;
  LWLockAcquire(shared->lock, LW_SHARED);
  const LowsEntry *entry = find_entry(MyDatabaseId, tenant);
  const std::uint64_t version = entry ? entry->version : 0;
  LWLockRelease(shared->lock);
  return version;
}

bool may_doubt_lows(const LowsView &view, LaneKind kind) {
  const auto is_of = [kind](const Low &low) { return kind_of(low.lane) == kind; };
  if (!shared || !std::any_of(view.lows, view.lows + view.count, is_of)) return false;
  const TimestampTz now = clock_now();
  bool may = false;
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  if (LowsEntry *entry = find_entry(MyDatabaseId, view.tenant)) {
    TimestampTz &doubted_at = entry->doubted_at[static_cast<int>(kind)];
    // The clock may have been set back since.
    may = now < doubted_at || now > doubted_at + between_doubts;
    if (may) {
      doubted_at = now;
      const Low *end = std::remove_if(entry->lows, entry->lows + entry->count, is_of);
      const int left = static_cast<int>(end - entry->lows);
      forget_lows(*entry);  // and the places, which are few
      entry->count = left;
    }
  }
  LWLockRelease(shared->lock);
  return may;
}

// ---- under the lock, at the end of a transaction ----

void raise_low(Oid database, const RaisedLow &raised) {
  LowsEntry *entry = find_entry(database, raised.tenant);
  if (!entry) return;
  const std::uint64_t since = entry->version - raised.version;
  if (since > lowerings_remembered) return;
  std::int64_t due = raised.low.due;
  for (std::uint64_t i = 0; i < since; ++i)
    due = std::min(due, entry->lowerings[(entry->version - 1 - i) % lowerings_remembered]);
  Low *low = find_low(*entry, raised.low.filter, raised.low.lane);
  if (!low) {
    low = &new_low(*entry, raised.of_place);
    *low = raised.low;
  }
  low->due = due;
}

void lower_lows(Oid database, std::int32_t tenant, std::int64_t due) {
  LowsEntry *entry = find_entry(database, tenant);
  if (!entry) return;
  entry->lowerings[entry->version++ % lowerings_remembered] = due;
  for_each_low(*entry, [due](Low &low) { low.due = std::min(low.due, due); });
}

void forget_lows_of(Oid database, std::int32_t tenant) {
  if (LowsEntry *entry = find_entry(database, tenant)) forget_lows(*entry);
}

void forget_lows_since(Oid database, const RacedLows &raced) {
  LowsEntry *entry = find_entry(database, raced.tenant);
  if (entry && entry->version != raced.version) forget_lows(*entry);
}

void drop_lows_of(Oid database, std::int32_t tenant) {
  DueKey key = {database, tenant};
  hash_search(shared_lows, &key, HASH_REMOVE, nullptr);
}

void forget_all_lows(Oid database) {
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, shared_lows);
  while (auto *entry = static_cast<LowsEntry *>(hash_seq_search(&scan)))
    if (entry->key.database == database) forget_lows(*entry);
}

}  // namespace insula
