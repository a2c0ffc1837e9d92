// Claims of rows of `work` under the limits of workflows; see work_limits.cpp.
#pragma once

#include "storage/work.hpp"

namespace insula {

struct LimitPlace {
  std::int32_t key;
  std::int64_t limit;

  bool operator<(const LimitPlace &other) const { return key < other.key || (key == other.key && limit < other.limit); }
};
inline LimitPlace just_before(const LimitPlace &place) {
  return {place.key, place.limit == PG_INT64_MIN ? place.limit : place.limit - 1};
}
struct WaitingLimit {
  LimitPlace at;
  std::int32_t definition;  // 0: not known, nor whether anything waits
};
// Says whether a task of the definition, under that limit, may be claimed.
struct LimitGate {
  void *self;
  bool (*admits)(void *self, std::int32_t definition, std::int64_t limit);
  // The one admitted last was not claimed after all; nullptr: tasks are only looked for.
  void (*takes_back)(void *self, std::int64_t limit);
};
// Whether some wait, of the filter or not.
bool has_waiting_limits(const Tenant &tenant, const ClaimFilter &filter);
// Nothing was found: whether it is time to look without what is known of where to look.
bool recheck_limited_lanes(const Tenant &tenant, const ClaimFilter &filter);
struct LimitsWalked {
  bool whole;  // all was seen, and not given up because much of it may not be claimed
  int others;  // rows that were walked over besides
};
// Claims, or looks for, tasks in the order of the queue, or those at one place.
int walk_limits(const Tenant &tenant, const ClaimRequest &request, const LimitGate &gate, const LimitPlace *place,
                Claimed *claimed, LimitsWalked *walked);
// The next `most` tasks and limits behind the place that claimable rows may wait at.  Skips at most *entries entries of
// dead rows; *entries < 0: it has given up.  The place becomes the one to go on from.
WaitingLimit *waiting_limits(const Tenant &tenant, LimitPlace *place, int most, int *entries, int *count);
// Ascending by limit; as the snapshot shows it, or nullptr: as of now.
LimitCount *running_by_limit(const Tenant &tenant, Snapshot snapshot, int *count);

}  // namespace insula
