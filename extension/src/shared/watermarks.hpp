// The watermarks of tenants' queues in shared memory (core/watermarks.hpp has the protocol): a claim that has
// found nothing claimable below a place raises its watermark when it commits, and whatever makes a task claimable
// lowers it when it commits, or rolls back.  It is a cache: where nothing is known a search starts at the beginning,
// and finds what was written behind Insula's back.
#pragma once

#include "core/watermarks.hpp"
#include "postgres.hpp"

namespace insula {

inline constexpr std::int64_t watermark_unknown = core::watermark_unknown;
inline constexpr std::int64_t watermark_end = core::watermark_end;  // there is none

// Lanes that are searched together: of rows under limits, or under none.
enum class LaneKind { limited, free };
inline constexpr std::int32_t first_free_lane = -100000;  // lower ones are of the other kind
inline LaneKind kind_of(std::int32_t lane) { return lane < first_free_lane ? LaneKind::limited : LaneKind::free; }

using Watermark = core::Watermark;

// The watermarks before a search: to be read before its snapshot is taken.
struct WatermarksView {
  std::int32_t tenant;
  std::uint64_t filter;
  bool may_raise;  // else the search's snapshot may be older than this view
  std::uint64_t version;
  std::int64_t own;  // this transaction has made tasks claimable itself, from there on
  Watermark watermarks[core::Watermarks::room + core::Watermarks::limits_room];
  int count;

  std::int64_t at(std::int32_t lane) const {
    for (int i = 0; i < count; ++i)
      if (watermarks[i].lane == lane) return watermarks[i].due < own ? watermarks[i].due : own;
    return watermark_unknown;
  }
  // The next lane that something is known of; `end`: none before that.
  std::int32_t lane_after(std::int32_t lane, std::int32_t end) const {
    for (int i = 0; i < count; ++i)
      if (watermarks[i].lane > lane && watermarks[i].lane < end) end = watermarks[i].lane;
    return end;
  }
};

// `keys` sorted; nullptr: any.
WatermarksView read_watermarks(std::int32_t tenant, const std::int32_t *keys, int key_count);
// The place at which a claim of the lane may begin behind those that are under way.
std::int64_t beginning_of(const WatermarksView &view, std::int32_t lane);
bool move_beginning(const WatermarksView &view, std::int32_t lane, std::int64_t from, std::int64_t to);
// The claim has passed over rows that it leaves: the next claims begin at the watermark.
void forget_beginning(const WatermarksView &view, std::int32_t lane);
// Whether a search can still be told: a claim that cannot does not move the beginning of others.
bool can_announce_searched();
// The search has found that it leaves nothing claimable from here to there; told at the commit.
void announce_searched(const WatermarksView &view, std::int32_t lane, std::int64_t from, std::int64_t to);
// The same of one limit's own rows, whose view is read by a name of the limit's.
void announce_searched_of_place(const WatermarksView &view, std::int32_t lane, std::int64_t from, std::int64_t to);
// The transaction has made tasks claimable from there on.
void announce_claimable(std::int32_t tenant, std::int64_t due);
std::int64_t claimable_from(std::int32_t tenant);  // watermark_end: it has made none
// It has locked claimable rows, which others may have passed over: nothing is known of the tenant
// once it has ended.
void announce_locked(std::int32_t tenant);
// To be said before a statement whose rows another transaction may make claimable: PostgreSQL
// locks the newest version of a row before it finds that it fits no longer, and keeps the
// lock.  A row that may be locked is as good as locked if anything has become claimable by the end.
void announce_maybe_locked(std::int32_t tenant);
// In between, claimable rows are locked of which announce_locked or announce_claimed is said only
// afterwards: an error is as good as that.  Hand what the first returns to the second.
int begin_locking(std::int32_t tenant);
void end_locking(int before);

std::uint64_t watermarks_version(std::int32_t tenant);

bool has_watermarks(const WatermarksView &view, LaneKind kind);
// A search of these lanes that finds nothing may look again without what is known, but not often.
bool may_recheck_watermarks(const WatermarksView &view, LaneKind kind);

}  // namespace insula
