// Claims of rows of `work` under the limits of workflows; see work_limits.cpp.
#pragma once

#include "storage/work.hpp"

namespace insula {

// The rows of one task key under one limit.
struct LimitPlace {
  std::int32_t key;
  std::int64_t limit;

  bool operator<(const LimitPlace &other) const { return key < other.key || (key == other.key && limit < other.limit); }
  bool operator==(const LimitPlace &other) const { return key == other.key && limit == other.limit; }
};
inline constexpr LimitPlace first_place = {0, PG_INT64_MIN};
inline LimitPlace just_before(const LimitPlace &place) {
  return {place.key, place.limit == PG_INT64_MIN ? place.limit : place.limit - 1};
}
// Says whether a task of the definition, under that limit, may be claimed.
struct LimitGate {
  void *self;
  bool (*admits)(void *self, std::int32_t definition, std::int64_t limit);
  // The one admitted last was not claimed after all; nullptr: tasks are only looked for.
  void (*takes_back)(void *self, std::int64_t limit);
};
// Nothing was found: whether it is time to look without what is known of where to look.
bool recheck_limited_lanes(const Tenant &tenant, const ClaimFilter &filter);
struct LimitsWalked {
  int count;   // rows that were claimed, or found
  int others;  // that were walked over besides
  bool whole;  // all was seen, and not given up because much of it may not be claimed
  bool held;   // other transactions hold some that are wanted
  bool knew;   // something of where to look
};
// Claims, or looks for, tasks in the order of the queue, or those at one place.  They go behind the first `found` of
// *claimed; nullptr: room is made once there is a lane with rows.
LimitsWalked walk_limits(const Tenant &tenant, const ClaimRequest &request, const LimitGate &gate,
                         const LimitPlace *place, Claimed **claimed, int found);
// Goes from place to place, to those alone whose tasks the request wants and where claimable rows may wait.
struct LimitTour;
LimitTour *begin_limit_tour(const Tenant &tenant, const ClaimRequest &request);
// The next place, and the definition of a row there; 0: there are many dead rows.  Less patience is left for each dead
// row that is passed over.  False: there is no other place, or no patience is left: then the tour goes on from *at.
bool next_limit(LimitTour *tour, LimitPlace *at, std::int32_t *definition, int *patience);
void end_limit_tour(LimitTour *tour);
// Ascending by limit; as the snapshot shows it, or nullptr: as of now.
LimitCount *running_by_limit(const Tenant &tenant, Snapshot snapshot, int *count);

}  // namespace insula
