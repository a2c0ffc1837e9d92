// A bucket with a leak: what is poured in runs out at an even rate, so that the bucket is too full while more than
// that rate has come in over some time.
//
// Plain data without a lock of its own, since it lies in shared memory.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace insula::core {

// In microseconds, as all times here: the time over which the rate is an average.
inline constexpr std::int64_t bucket_window = 10 * 1000000;
// However much is poured in at once, it is too full for no longer.
inline constexpr std::int64_t bucket_longest = 30 * 1000000;

struct LeakyBucket {
  double level;  // at that moment
  std::int64_t at;

  // Pours in what took `time`; `share` of the passing time runs out.  Returns the moment until which the bucket is too
  // full: `now` if it is not.  A clock that is set back lets nothing run out.
  std::int64_t pour(std::int64_t time, std::int64_t now, double share) {
    const double left = level - static_cast<double>(std::max<std::int64_t>(now - at, 0)) * share;
    const double full = share * static_cast<double>(bucket_window);
    const double most = full + share * static_cast<double>(bucket_longest);
    level = std::min(std::max(left, 0.0) + static_cast<double>(time), most);
    at = now;
    return level > full ? now + static_cast<std::int64_t>(std::ceil((level - full) / share)) : now;
  }
};

}  // namespace insula::core
