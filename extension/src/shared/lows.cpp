// The watermarks in shared memory; see lows.hpp.
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

// nullptr: there is no room.
LowsEntry *make_entry(Oid database, std::int32_t tenant) {
  DueKey key = {database, tenant};
  bool found;
  auto *entry = static_cast<LowsEntry *>(hash_search(shared_lows, &key, HASH_ENTER_NULL, &found));
  if (!entry || found) return entry;
  // A tenant that had an entry before may have searches under way.
  entry->marks.start(++shared->lows_version << 32);
  entry->doubted_at[0] = entry->doubted_at[1] = DT_NOBEGIN;
  return entry;
}

std::uint64_t filter_of(const std::int32_t *keys, int count) {
  if (!keys) return 0;
  return hash_bytes_extended(reinterpret_cast<const unsigned char *>(keys),
                             static_cast<int>(sizeof(std::int32_t)) * count, 1) |
         1;
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
  if (const LowsEntry *entry = find_entry(MyDatabaseId, tenant)) {
    view.version = entry->marks.version();
    entry->marks.for_each([&](const Low &low) {
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
    view.version = entry->marks.version();
    view.may_raise = true;
  }
  LWLockRelease(shared->lock);
  return view;
}

std::int64_t beginning_of(const LowsView &view, std::int32_t lane) {
  if (!shared || !view.may_raise || !can_mark_searched()) return low_unknown;
  LWLockAcquire(shared->lock, LW_SHARED);
  const LowsEntry *entry = find_entry(MyDatabaseId, view.tenant);
  const std::int64_t beginning = entry ? entry->marks.beginning(view.filter, lane) : low_unknown;
  LWLockRelease(shared->lock);
  return beginning;
}

bool move_beginning(const LowsView &view, std::int32_t lane, std::int64_t from, std::int64_t to) {
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  LowsEntry *entry = find_entry(MyDatabaseId, view.tenant);
  const bool moved = entry && entry->marks.move_beginning({view.filter, lane, from, to}, view.version);
  LWLockRelease(shared->lock);
  return moved;
}

std::uint64_t lows_version(std::int32_t tenant) {
  if (!shared) return 0;
  LWLockAcquire(shared->lock, LW_SHARED);
  const LowsEntry *entry = find_entry(MyDatabaseId, tenant);
  const std::uint64_t version = entry ? entry->marks.version() : 0;
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
      entry->marks.forget_if(is_of);
    }
  }
  LWLockRelease(shared->lock);
  return may;
}

// ---- under the lock, at the end of a transaction ----

void raise_low(Oid database, const RaisedLow &raised) {
  if (LowsEntry *entry = find_entry(database, raised.tenant))
    entry->marks.raise(raised.searched, raised.version, raised.of_place);
}

void lower_lows(Oid database, std::int32_t tenant, std::int64_t due) {
  if (LowsEntry *entry = find_entry(database, tenant)) entry->marks.lower(due);
}

void forget_lows_of(Oid database, std::int32_t tenant) {
  if (LowsEntry *entry = find_entry(database, tenant)) entry->marks.forget();
}

void forget_lows_since(Oid database, const RacedLows &raced) {
  LowsEntry *entry = find_entry(database, raced.tenant);
  if (entry && entry->marks.version() != raced.version) entry->marks.forget();
}

void forget_beginnings_of(Oid database, std::int32_t tenant) {
  if (LowsEntry *entry = find_entry(database, tenant)) entry->marks.forget_beginnings();
}

void drop_lows_of(Oid database, std::int32_t tenant) {
  DueKey key = {database, tenant};
  hash_search(shared_lows, &key, HASH_REMOVE, nullptr);
}

void forget_all_lows(Oid database) {
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, shared_lows);
  while (auto *entry = static_cast<LowsEntry *>(hash_seq_search(&scan)))
    if (entry->key.database == database) entry->marks.forget();
}

}  // namespace insula
