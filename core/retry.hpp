// When a failed task runs again.  The caller brings the random fraction, so that
// the rule itself can be tested.
#pragma once

#include <cstdint>

namespace insula::core {

struct RetryPolicy {
  std::int32_t max_attempts = 3;              // counts all runs, the first included
  std::int64_t initial_delay_us = 1'000'000;  // before the second run
  std::int64_t max_delay_us = 60'000'000;
  bool jitter = true;
};

// The wait before the run that follows `attempt` (1 for the first): initial * 2^(attempt-1),
// at most the maximum.  With jitter it lies between three quarters of that and that, so
// that a crowd of failures spreads and the maximum holds.  `fraction` is in [0, 1).
constexpr std::int64_t retry_delay_us(const RetryPolicy& policy, std::int32_t attempt, double fraction) noexcept {
  std::int64_t delay = policy.initial_delay_us;
  for (std::int32_t i = 1; i < attempt && delay < policy.max_delay_us; ++i) delay *= 2;
  if (delay > policy.max_delay_us) delay = policy.max_delay_us;
  if (policy.jitter) delay -= static_cast<std::int64_t>(static_cast<double>(delay) * 0.25 * fraction);
  return delay;
}

}  // namespace insula::core
