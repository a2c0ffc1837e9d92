// The walk of a claim, or of a look, through the lanes of the queue: claims of rows under limits and of those under
// none share it; for the files of this folder alone.  Each lane is walked from its watermark, or from behind the
// claims that are under way, and the walk tells from where on the next one is to begin.  Rows that the walk is refused,
// since their limits are used up, stay in front of that place.
#pragma once

#include <algorithm>

#include "shared/watermarks.hpp"
#include "storage/limited_rows.hpp"
#include "storage/rows.hpp"

namespace insula {

// The rows of one claim.
struct RowClaim {
  const ClaimRequest &request;
  // One random number a claim, mixed with each row's own: a lease tells nothing about the
  // leases of other claims.
  std::int64_t lease;
  TimestampTz started_at;
  Datum worker;
};
RowClaim begin_claim(const ClaimRequest &request);  // of a look, which has no worker, nothing

// Claims the row found, unless another transaction has it.
bool claim_found(const Rows &rows, const RowClaim &claim, Claimed *claimed);

inline bool wants(const ClaimRequest &request, std::int32_t key) {
  return !request.keys || std::binary_search(request.keys, request.keys + request.key_count, key);
}

enum class Tried { claimed, taken, refused };

// The next lane of the kind that may hold something claimable; false: there is none.  To see that there is none costs
// less than to open the rows.
bool next_open_lane(const Tenant &tenant, const WatermarksView &view, LaneKind kind, std::int32_t *lane);
inline bool first_open_lane(const Tenant &tenant, const WatermarksView &view, LaneKind kind, std::int32_t *lane) {
  *lane = kind == LaneKind::limited ? PG_INT32_MIN : static_cast<std::int32_t>(lanes_free);
  return next_open_lane(tenant, view, kind, lane);
}

struct LaneWalk {
  const Tenant &tenant;
  const WatermarksView &view;
  const Rows &rows;
  Portion *portion = nullptr;
  const LimitPlace *place = nullptr;  // of this limit alone
  bool plans = false;                 // begins behind the claims that are under way
  // The next walk begins at the first refused row, too, so what lies behind it must not cost much.
  int refusals_left = 32;
  int entries_left = 1000;  // of dead rows, and of others that are not claimed, once one was refused
  bool refused = false;
  std::int64_t first_refused = watermark_end;  // in the present lane
  int not_walked = PG_INT32_MAX;

  int walked() const { return PG_INT32_MAX - not_walked; }
  bool gave_up() const { return refusals_left <= 0 || entries_left < 0; }
  bool has_enough() const { return portion && portion->is_full(); }

  // The lane from one place to another, which is not included.
  IndexScanDesc begin(std::int32_t lane, std::int64_t from, std::int64_t to) const;

  // From this lane of the kind on, `tries` each row until `most` are claimed; returns how many are, in the order of the
  // queue.
  template <typename Try>
  int walk(LaneKind kind, std::int32_t lane, Claimed *claimed, int most, Try tries) {
    int count = 0;
    for (bool open = true; open && count < most && !gave_up() && !has_enough();
         open = next_open_lane(tenant, view, kind, &lane))
      count += walk_lane(lane, claimed + count, most - count, tries);
    return count;
  }

 private:
  // A walk begins here, and ends there unless it must walk over other rows than its own.
  struct Plan {
    std::int64_t from;
    std::int64_t to;  // `from`: it is not known
  };

  Plan plan(std::int32_t lane, int most) const;
  void end_early(std::int32_t lane, const Plan &planned, std::int64_t passed) const;
  void tell(std::int32_t lane, std::int64_t from, std::int64_t to) const;

  // Below this a walk that has found all that it wanted has left nothing.
  static std::int64_t passed_by(const Claimed *rows, int count, std::int64_t from) {
    for (int i = 0; i < count; ++i) from = std::max(from, rows[i].due);
    return from;
  }

  template <typename Try>
  int walk_stretch(std::int32_t lane, std::int64_t from, std::int64_t to, Claimed *claimed, int most, Try tries) {
    IndexScanDesc scan = begin(lane, from, to);
    int count = 0;
    while (count < most && !gave_up() && !has_enough() &&
           next_row_within(rows, scan, refused ? &entries_left : &not_walked)) {
      CHECK_FOR_INTERRUPTS();
      const Tried tried = tries(claimed + count);
      --not_walked;
      if (tried == Tried::claimed && portion) portion->take(claimed[count]);
      if (tried == Tried::claimed) ++count;
      if (tried == Tried::taken && refused) --entries_left;
      if (tried != Tried::refused) continue;
      first_refused = std::min(first_refused, found_int64(rows, Column::due));
      refused = true;
      --refusals_left;
    }
    end_row_scan(scan);
    return count;
  }

  template <typename Try>
  int walk_lane(std::int32_t lane, Claimed *claimed, int most, Try tries) {
    const std::int64_t watermark = view.at(lane);
    const Plan planned = plans ? plan(lane, most) : Plan{watermark, watermark};
    first_refused = watermark_end;
    const int first = walk_stretch(lane, planned.from, watermark_end, claimed, most, tries);
    const bool behind_others = planned.from > watermark;
    // A permit that comes back is to find a claim that looks at the row that was refused.
    if (plans && (first_refused != watermark_end || gave_up())) forget_beginning(view, lane);
    if (first == most) {
      tell(lane, planned.from, std::max(passed_by(claimed, first, planned.from), planned.to));
      return most;
    }
    if (has_enough() && first > 0) {
      const std::int64_t passed = passed_by(claimed, first, planned.from);
      tell(lane, planned.from, passed);
      if (plans && first_refused == watermark_end && !gave_up()) end_early(lane, planned, passed);
      return first;
    }
    int second = 0;
    if (behind_others) second = walk_stretch(lane, watermark, planned.from, claimed + first, most - first, tries);
    const int last = behind_others ? second : first;
    const bool all = first + second < most && !gave_up() && !has_enough();
    tell(lane, watermark, all ? watermark_end : passed_by(claimed + first + second - last, last, watermark));
    std::rotate(claimed, claimed + first, claimed + first + second);
    return first + second;
  }
};

}  // namespace insula
