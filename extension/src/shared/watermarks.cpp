// The watermarks in shared memory; see watermarks.hpp.
#include "shared/watermarks.hpp"

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

WatermarksEntry *find_entry(Oid database, std::int32_t tenant) {
  DueKey key = {database, tenant};
  return static_cast<WatermarksEntry *>(hash_search(shared_watermarks, &key, HASH_FIND, nullptr));
}

// nullptr: there is no room.
WatermarksEntry *make_entry(Oid database, std::int32_t tenant) {
  DueKey key = {database, tenant};
  bool found;
  auto *entry = static_cast<WatermarksEntry *>(hash_search(shared_watermarks, &key, HASH_ENTER_NULL, &found));
  if (!entry || found) return entry;
  // A tenant that had an entry before may have searches under way.
  entry->watermarks.start(++shared->watermarks_version << 32);
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

WatermarksView read_watermarks(std::int32_t tenant, const std::int32_t *keys, int key_count) {
  WatermarksView view = {};
  view.tenant = tenant;
  view.own = claimable_from(tenant);
  if (!shared) return view;
  view.filter = filter_of(keys, key_count);
  view.may_raise = !IsolationUsesXactSnapshot();
  LWLockAcquire(shared->lock, LW_SHARED);
  if (const WatermarksEntry *entry = find_entry(MyDatabaseId, tenant)) {
    view.version = entry->watermarks.version();
    entry->watermarks.for_each([&](const Watermark &mark) {
      if (mark.filter == view.filter) view.watermarks[view.count++] = mark;
    });
  } else {
    view.may_raise = false;
  }
  const bool make = !view.may_raise && !IsolationUsesXactSnapshot();
  LWLockRelease(shared->lock);
  if (!make) return view;
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  if (const WatermarksEntry *entry = make_entry(MyDatabaseId, tenant)) {
    view.version = entry->watermarks.version();
    view.may_raise = true;
  }
  LWLockRelease(shared->lock);
  return view;
}

std::int64_t beginning_of(const WatermarksView &view, std::int32_t lane) {
  if (!shared || !view.may_raise || !can_announce_searched()) return watermark_unknown;
  LWLockAcquire(shared->lock, LW_SHARED);
  const WatermarksEntry *entry = find_entry(MyDatabaseId, view.tenant);
  const std::int64_t beginning = entry ? entry->watermarks.beginning(view.filter, lane) : watermark_unknown;
  LWLockRelease(shared->lock);
  return beginning;
}

bool move_beginning(const WatermarksView &view, std::int32_t lane, std::int64_t from, std::int64_t to) {
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  WatermarksEntry *entry = find_entry(MyDatabaseId, view.tenant);
  const bool moved = entry && entry->watermarks.move_beginning({view.filter, lane, from, to}, view.version);
  LWLockRelease(shared->lock);
  return moved;
}

std::uint64_t watermarks_version(std::int32_t tenant) {
  if (!shared) return 0;
  LWLockAcquire(shared->lock, LW_SHARED);
  const WatermarksEntry *entry = find_entry(MyDatabaseId, tenant);
  const std::uint64_t version = entry ? entry->watermarks.version() : 0;
  LWLockRelease(shared->lock);
  return version;
}

bool may_recheck_watermarks(const WatermarksView &view, LaneKind kind) {
  const auto is_of = [kind](const Watermark &mark) { return kind_of(mark.lane) == kind; };
  if (!shared || !std::any_of(view.watermarks, view.watermarks + view.count, is_of)) return false;
  const TimestampTz now = clock_now();
  bool may = false;
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  if (WatermarksEntry *entry = find_entry(MyDatabaseId, view.tenant)) {
    TimestampTz &doubted_at = entry->doubted_at[static_cast<int>(kind)];
    // The clock may have been set back since.
    may = now < doubted_at || now > doubted_at + between_doubts;
    if (may) {
      doubted_at = now;
      entry->watermarks.forget_if(is_of);
    }
  }
  LWLockRelease(shared->lock);
  return may;
}

// ---- under the lock, at the end of a transaction ----

void raise_watermark(Oid database, const RaisedWatermark &raised) {
  if (WatermarksEntry *entry = find_entry(database, raised.tenant))
    entry->watermarks.raise(raised.searched, raised.version, raised.of_place);
}

void lower_watermarks(Oid database, std::int32_t tenant, std::int64_t due) {
  if (WatermarksEntry *entry = find_entry(database, tenant)) entry->watermarks.lower(due);
}

void forget_watermarks_of(Oid database, std::int32_t tenant) {
  if (WatermarksEntry *entry = find_entry(database, tenant)) entry->watermarks.forget();
}

void forget_watermarks_since(Oid database, const RacedWatermarks &raced) {
  WatermarksEntry *entry = find_entry(database, raced.tenant);
  if (entry && entry->watermarks.version() != raced.version) entry->watermarks.forget();
}

void forget_beginnings_of(Oid database, std::int32_t tenant) {
  if (WatermarksEntry *entry = find_entry(database, tenant)) entry->watermarks.forget_beginnings();
}

void drop_watermarks_of(Oid database, std::int32_t tenant) {
  DueKey key = {database, tenant};
  hash_search(shared_watermarks, &key, HASH_REMOVE, nullptr);
}

void forget_all_watermarks(Oid database) {
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, shared_watermarks);
  while (auto *entry = static_cast<WatermarksEntry *>(hash_seq_search(&scan)))
    if (entry->key.database == database) entry->watermarks.forget();
}

}  // namespace insula
