// The longest time that is waited.  Callers say "for ever" by milliseconds::max(), to which no
// clock's reading can be added.
#pragma once

#include <algorithm>
#include <chrono>

namespace insula::wire {

inline constexpr std::chrono::milliseconds forever = std::chrono::hours{24 * 365 * 100};

// The same time, or as long as it can be; what is negative has passed already.
constexpr std::chrono::milliseconds bounded(std::chrono::milliseconds time) noexcept {
  return std::clamp(time, std::chrono::milliseconds{0}, forever);
}

}  // namespace insula::wire
