// The retry policy: whether and when a failed task runs again.  The caller brings the random
// fraction, so that tests can fix it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

namespace insula::core {

enum class Backoff : std::uint8_t { fixed, linear, exponential };

enum class RetryCondition : std::uint8_t {
  all,        // any error
  never,      // none
  transient,  // errors that are likely to pass: see is_transient
  matching,   // errors that contain one of the given texts
};

struct RetryPolicy {
  std::int32_t max_attempts = 3;              // counts all runs but those that lapsed, the first included
  std::int32_t max_lapses = 10;               // runs that may end without a word from their worker
  std::int64_t initial_delay_us = 1'000'000;  // before the second run
  std::int64_t max_delay_us = 60'000'000;
  bool jitter = true;
  Backoff backoff = Backoff::exponential;
  RetryCondition condition = RetryCondition::all;
};

// The wait before the run that follows `attempt` (1 for the first): the initial delay, times the
// attempt (linear) or 2^(attempt-1) (exponential), at most the maximum.  Jitter takes off up to a
// quarter, so that many failures spread and the maximum holds.  `fraction` is in [0, 1).
constexpr std::int64_t retry_delay_us(const RetryPolicy& policy, std::int32_t attempt, double fraction) noexcept {
  std::int64_t delay = policy.initial_delay_us;
  if (policy.backoff == Backoff::exponential) {
    for (std::int32_t i = 1; i < attempt && delay < policy.max_delay_us; ++i) delay *= 2;
  } else if (policy.backoff == Backoff::linear && delay > 0) {
    delay = attempt <= policy.max_delay_us / delay ? delay * attempt : policy.max_delay_us;
  }
  delay = std::min(delay, policy.max_delay_us);
  if (policy.jitter) delay -= static_cast<std::int64_t>(static_cast<double>(delay) * 0.25 * fraction);
  return delay;
}

// Whether `text` contains `part`, ignoring the case of ASCII letters; `part` is in lower case.
constexpr bool contains_ignoring_case(std::string_view text, std::string_view part) noexcept {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  const auto equal = [lower](char a, char b) { return lower(a) == lower(b); };
  return std::search(text.begin(), text.end(), part.begin(), part.end(), equal) != text.end();
}

constexpr bool is_transient(std::string_view error) noexcept {
  for (std::string_view part :
       {std::string_view{"timeout"}, std::string_view{"timed out"}, std::string_view{"connection"},
        std::string_view{"network"}, std::string_view{"temporar"}, std::string_view{"unavailable"},
        std::string_view{"busy"}, std::string_view{"overloaded"}, std::string_view{"rate limit"},
        std::string_view{"too many requests"}})
    if (contains_ignoring_case(error, part)) return true;
  return false;
}

// Whether the task runs again after its run `attempt` ended with this error.
constexpr bool retries(const RetryPolicy& policy, std::span<const std::string_view> texts, std::int32_t attempt,
                       std::string_view error) noexcept {
  if (attempt >= policy.max_attempts) return false;
  switch (policy.condition) {
    case RetryCondition::all:
      return true;
    case RetryCondition::never:
      return false;
    case RetryCondition::transient:
      return is_transient(error);
    case RetryCondition::matching:
      return std::any_of(texts.begin(), texts.end(),
                         [error](std::string_view text) { return contains_ignoring_case(error, text); });
  }
  return false;
}

// Whether the task runs again after a run that lapsed, as `lapses` others did before.  A lapse says nothing about the
// task, so it uses no attempt; but a task that is to run once never runs twice.
constexpr bool survives_lapse(const RetryPolicy& policy, std::int64_t lapses) noexcept {
  return policy.max_attempts > 1 && policy.condition != RetryCondition::never && lapses < policy.max_lapses;
}

}  // namespace insula::core
