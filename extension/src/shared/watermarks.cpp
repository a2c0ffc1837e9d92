// The watermarks in shared memory; see watermarks.hpp.
#include "shared/watermarks.hpp"

#include <algorithm>

#include "shared/clock.hpp"
#include "shared/watermark_table.hpp"

extern "C" {
#include "common/hashfn.h"
}

namespace insula {

namespace {

struct WatermarksEntry {
  TenantKey key;
  core::Watermarks watermarks;
  TimestampTz doubted_at[2];  // by kind of lanes
};

SharedTable<WatermarksEntry> shared_watermarks;
std::uint64_t *versions = nullptr;  // counts entries that were made

constexpr std::int64_t between_doubts = 60 * USECS_PER_SEC;

WatermarksEntry *find_watermarks(Oid database, std::int32_t tenant) {
  return shared_watermarks.find({database, tenant});
}

// nullptr: there is no room.
WatermarksEntry *make_watermarks(Oid database, std::int32_t tenant) {
  return shared_watermarks.find_or_make({database, tenant}, [](WatermarksEntry &made) {
    // A tenant that had an entry before may have searches under way.
    made.watermarks.start(++*versions << 32);
    made.doubted_at[0] = made.doubted_at[1] = DT_NOBEGIN;
  });
}

std::uint64_t filter_of(const std::int32_t *keys, int count) {
  if (!keys) return 0;
  return hash_bytes_extended(reinterpret_cast<const unsigned char *>(keys),
                             static_cast<int>(sizeof(std::int32_t)) * count, 1) |
         1;
}

}  // namespace

const SharedPart watermarks_part = {
    [] { return add_size(sizeof(std::uint64_t), shared_watermarks.size(shared_room.due_tenants)); },
    [](bool first) {
      bool found;
      versions = static_cast<std::uint64_t *>(ShmemInitStruct("insula watermark versions", sizeof *versions, &found));
      if (first) *versions = 0;
      shared_watermarks.attach("insula watermarks", shared_room.due_tenants);
    }};

long tenants_with_watermarks() { return shared_watermarks.count(); }

WatermarksView read_watermarks(std::int32_t tenant, const std::int32_t *keys, int key_count) {
  WatermarksView view = {};
  view.tenant = tenant;
  view.own = claimable_from(tenant);
  if (!shared_memory_available()) return view;
  view.filter = filter_of(keys, key_count);
  view.may_raise = !IsolationUsesXactSnapshot();
  lock_shared_memory(LW_SHARED);
  if (const WatermarksEntry *entry = find_watermarks(MyDatabaseId, tenant)) {
    view.version = entry->watermarks.version();
    entry->watermarks.for_each([&](const Watermark &mark) {
      if (mark.filter == view.filter) view.watermarks[view.count++] = mark;
    });
  } else {
    view.may_raise = false;
  }
  const bool make = !view.may_raise && !IsolationUsesXactSnapshot();
  unlock_shared_memory();
  if (!make) return view;
  lock_shared_memory(LW_EXCLUSIVE);
  if (const WatermarksEntry *entry = make_watermarks(MyDatabaseId, tenant)) {
    view.version = entry->watermarks.version();
    view.may_raise = true;
  }
  unlock_shared_memory();
  return view;
}

std::int64_t beginning_of(const WatermarksView &view, std::int32_t lane) {
  if (!shared_memory_available() || !view.may_raise || !can_announce_searched()) return watermark_unknown;
  return read_shared_memory([&] {
    const WatermarksEntry *entry = find_watermarks(MyDatabaseId, view.tenant);
    return entry ? entry->watermarks.beginning(view.filter, lane) : watermark_unknown;
  });
}

bool move_beginning(const WatermarksView &view, std::int32_t lane, std::int64_t from, std::int64_t to) {
  lock_shared_memory(LW_EXCLUSIVE);
  WatermarksEntry *entry = find_watermarks(MyDatabaseId, view.tenant);
  const bool moved = entry && entry->watermarks.move_beginning({view.filter, lane, from, to}, view.version);
  unlock_shared_memory();
  return moved;
}

void forget_beginning(const WatermarksView &view, std::int32_t lane) {
  if (!shared_memory_available()) return;
  lock_shared_memory(LW_EXCLUSIVE);
  if (WatermarksEntry *entry = find_watermarks(MyDatabaseId, view.tenant))
    entry->watermarks.forget_beginning(view.filter, lane);
  unlock_shared_memory();
}

std::uint64_t watermarks_version(std::int32_t tenant) {
  if (!shared_memory_available()) return 0;
  return read_shared_memory([tenant] {
    const WatermarksEntry *entry = find_watermarks(MyDatabaseId, tenant);
    return entry ? entry->watermarks.version() : 0;
  });
}

bool has_watermarks(const WatermarksView &view, LaneKind kind) {
  return std::any_of(view.watermarks, view.watermarks + view.count,
                     [kind](const Watermark &mark) { return kind_of(mark.lane) == kind; });
}

bool may_recheck_watermarks(const WatermarksView &view, LaneKind kind) {
  const auto is_of = [kind](const Watermark &mark) { return kind_of(mark.lane) == kind; };
  if (!shared_memory_available() || !has_watermarks(view, kind)) return false;
  const TimestampTz now = clock_now();
  bool may = false;
  lock_shared_memory(LW_EXCLUSIVE);
  if (WatermarksEntry *entry = find_watermarks(MyDatabaseId, view.tenant)) {
    TimestampTz &doubted_at = entry->doubted_at[static_cast<int>(kind)];
    // The clock may have been set back since.
    may = now < doubted_at || now > doubted_at + between_doubts;
    if (may) {
      doubted_at = now;
      entry->watermarks.forget_if(is_of);
    }
  }
  unlock_shared_memory();
  return may;
}

// ---- under the lock, at the end of a transaction ----

void raise_watermark(Oid database, const RaisedWatermark &raised) {
  if (WatermarksEntry *entry = find_watermarks(database, raised.tenant))
    entry->watermarks.raise(raised.searched, raised.version, raised.of_place);
}

void lower_watermarks(Oid database, std::int32_t tenant, std::int64_t due) {
  if (WatermarksEntry *entry = find_watermarks(database, tenant)) entry->watermarks.lower(due);
}

void forget_watermarks_of(Oid database, std::int32_t tenant) {
  if (WatermarksEntry *entry = find_watermarks(database, tenant)) entry->watermarks.forget();
}

bool forget_watermarks_since(Oid database, const RacedWatermarks &raced) {
  WatermarksEntry *entry = find_watermarks(database, raced.tenant);
  if (!entry) return true;
  const bool lowered = entry->watermarks.version() != raced.version;
  if (lowered) entry->watermarks.forget();
  return lowered;
}

void forget_beginnings_of(Oid database, std::int32_t tenant) {
  if (WatermarksEntry *entry = find_watermarks(database, tenant)) entry->watermarks.forget_beginnings();
}

void drop_watermarks_of(Oid database, std::int32_t tenant) {
  if (const WatermarksEntry *entry = find_watermarks(database, tenant)) shared_watermarks.remove(*entry);
}

void forget_watermarks_in(Oid database) { shared_watermarks.remove_of(database); }

void forget_all_watermarks(Oid database) {
  shared_watermarks.for_each_in(database, [](WatermarksEntry &entry) { entry.watermarks.forget(); });
}

}  // namespace insula
