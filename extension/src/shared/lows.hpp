// The watermarks of tenants' queues in shared memory (core/watermarks.hpp has the protocol): a claim that has
// found nothing claimable below a place raises its watermark when it commits, and whatever makes a task claimable
// lowers it when it commits, or rolls back.  It is a cache: where nothing is known a search starts at the beginning,
// and finds what was written behind Insula's back.
#pragma once

#include "core/watermarks.hpp"
#include "postgres.hpp"

namespace insula {

inline constexpr std::int64_t low_unknown = core::watermark_unknown;
inline constexpr std::int64_t low_nothing = core::watermark_end;  // there is none

// Lanes that are searched together: of rows under limits, or under none.
enum class LaneKind { limited, free };
inline constexpr std::int32_t first_free_lane = -100000;  // lower ones are of the other kind
inline LaneKind kind_of(std::int32_t lane) { return lane < first_free_lane ? LaneKind::limited : LaneKind::free; }

using Low = core::Watermark;

// What was known before a search: to be read before its snapshot is taken.
struct LowsView {
  std::int32_t tenant;
  std::uint64_t filter;
  bool may_raise;  // else the search's snapshot may be older than this view
  std::uint64_t version;
  std::int64_t own;  // what this transaction has made claimable itself, from there on
  Low lows[core::Watermarks::room + core::Watermarks::limits_room];
  int count;

  std::int64_t at(std::int32_t lane) const {
    for (int i = 0; i < count; ++i)
      if (lows[i].lane == lane) return lows[i].due < own ? lows[i].due : own;
    return low_unknown;
  }
  // The next lane that something is known of; `end`: none before that.
  std::int32_t lane_after(std::int32_t lane, std::int32_t end) const {
    for (int i = 0; i < count; ++i)
      if (lows[i].lane > lane && lows[i].lane < end) end = lows[i].lane;
    return end;
  }
};

// `keys` sorted; nullptr: any.
LowsView read_lows(std::int32_t tenant, const std::int32_t *keys, int key_count);
// Where a claim of the lane may begin behind those that are under way.
std::int64_t beginning_of(const LowsView &view, std::int32_t lane);
bool move_beginning(const LowsView &view, std::int32_t lane, std::int64_t from, std::int64_t to);
// Whether a search can still be told: a claim that cannot does not move the beginning of others.
bool can_mark_searched();
// The search has found that it leaves nothing claimable from here to there; told at the commit.
void mark_searched(const LowsView &view, std::int32_t lane, std::int64_t from, std::int64_t to);
// The same of one limit's own rows, whose view is read by a name of the limit's.
void mark_searched_of_place(const LowsView &view, std::int32_t lane, std::int64_t from, std::int64_t to);
// The transaction has made tasks claimable from there on.
void mark_claimable(std::int32_t tenant, std::int64_t due);
std::int64_t claimable_from(std::int32_t tenant);  // low_nothing: it has made none
// It holds claimable rows, which others may have passed over: nothing is known of the tenant
// once it has ended.
void mark_held(std::int32_t tenant);
// To be said before a statement whose rows others may make claimable meanwhile: PostgreSQL
// locks the newest version of a row before it finds that it fits no longer, and keeps the
// lock.  So much is as good as held if anything has become claimable by the end.
void mark_racing(std::int32_t tenant);
// In between, claimable rows are locked of which mark_held or mark_claimed is said only
// afterwards: an error is as good as that.  Hand what the first returns to the second.
int begin_locking(std::int32_t tenant);
void end_locking(int before);

std::uint64_t lows_version(std::int32_t tenant);

// A search of these lanes that finds nothing may look again without what is known, but not often.
bool may_doubt_lows(const LowsView &view, LaneKind kind);

}  // namespace insula
