// The wait before another run: doubling, the cap, and jitter that only ever shortens,
// so that the maximum is one.
#include "core/retry.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

#include "second.hpp"

namespace {

using insula::core::retry_delay_us;
using insula::core::RetryPolicy;

// The largest fraction below one.
const double almost_one = std::nextafter(1.0, 0.0);

constexpr RetryPolicy exact(std::int64_t initial, std::int64_t maximum) {
  return {.max_attempts = 3, .initial_delay_us = initial, .max_delay_us = maximum, .jitter = false};
}

constexpr RetryPolicy spread(std::int64_t initial, std::int64_t maximum) {
  return {.max_attempts = 3, .initial_delay_us = initial, .max_delay_us = maximum, .jitter = true};
}

TEST(Retry, HasTheDocumentedDefaults) {
  constexpr RetryPolicy policy;
  EXPECT_EQ(policy.max_attempts, 3);
  EXPECT_EQ(policy.initial_delay_us, second);
  EXPECT_EQ(policy.max_delay_us, 60 * second);
  EXPECT_TRUE(policy.jitter);
  EXPECT_EQ(policy.max_lapses, 10);
}

TEST(Retry, LapsesHaveALimitOfTheirOwn) {
  using insula::core::survives_lapse;
  EXPECT_TRUE(survives_lapse({}, 9));
  EXPECT_FALSE(survives_lapse({}, 10));
  EXPECT_FALSE(survives_lapse({.max_lapses = 0}, 0));
  EXPECT_FALSE(survives_lapse({.max_attempts = 1}, 0)) << "a task that is to run once";
  EXPECT_FALSE(survives_lapse({.condition = insula::core::RetryCondition::never}, 0));
}

TEST(Retry, Doubles) {
  const std::int64_t seconds[] = {1, 2, 4, 8, 16, 32};
  for (std::int32_t attempt = 1; attempt <= 6; ++attempt)
    EXPECT_EQ(retry_delay_us(exact(second, 60 * second), attempt, 0.0), seconds[attempt - 1] * second) << attempt;
}

TEST(Retry, StopsAtTheMaximum) {
  // 64 s would be next: the maximum need not be a power of two away.
  EXPECT_EQ(retry_delay_us(exact(second, 60 * second), 6, 0.0), 32 * second);
  for (std::int32_t attempt : {7, 8, 9, 100, 1000, 1'000'000, std::numeric_limits<std::int32_t>::max()})
    EXPECT_EQ(retry_delay_us(exact(second, 60 * second), attempt, 0.0), 60 * second) << attempt;
  // Exactly reached.
  EXPECT_EQ(retry_delay_us(exact(second, 32 * second), 6, 0.0), 32 * second);
  EXPECT_EQ(retry_delay_us(exact(second, 32 * second), 7, 0.0), 32 * second);
  // One below and one above.
  EXPECT_EQ(retry_delay_us(exact(second, 32 * second - 1), 6, 0.0), 32 * second - 1);
  EXPECT_EQ(retry_delay_us(exact(second, 32 * second + 1), 6, 0.0), 32 * second);
  EXPECT_EQ(retry_delay_us(exact(second, 32 * second + 1), 7, 0.0), 32 * second + 1);
}

TEST(Retry, StopsAtAMaximumBelowTheFirstDelay) {
  EXPECT_EQ(retry_delay_us(exact(10 * second, second), 1, 0.0), second);
  EXPECT_EQ(retry_delay_us(exact(10 * second, second), 2, 0.0), second);
  EXPECT_EQ(retry_delay_us(exact(second, 0), 1, 0.0), 0);
}

TEST(Retry, MayBeAtOnce) {
  for (std::int32_t attempt : {1, 2, 1000}) EXPECT_EQ(retry_delay_us(exact(0, 60 * second), attempt, 0.0), 0);
  EXPECT_EQ(retry_delay_us(spread(0, 60 * second), 5, almost_one), 0);
}

TEST(Retry, DoesNotOverflow) {
  const std::int64_t century = std::int64_t{36'525} * 86'400 * second;
  const std::int64_t largest = std::int64_t{1} << 62;  // doubling what is below it still fits
  for (std::int64_t maximum : {century, largest})
    for (std::int64_t initial : {std::int64_t{1}, second, century - 1, largest - 1})
      for (std::int32_t attempt : {1, 2, 62, 63, 64, 65, 1000}) {
        const std::int64_t delay = retry_delay_us(exact(initial, maximum), attempt, 0.0);
        EXPECT_GE(delay, std::min(initial, maximum));
        EXPECT_LE(delay, maximum);
        if (attempt >= 64) {
          EXPECT_EQ(delay, maximum);
        }
      }
}

TEST(Retry, WithoutJitterTakesNoNoticeOfTheFraction) {
  for (double fraction : {0.0, 0.5, almost_one})
    EXPECT_EQ(retry_delay_us(exact(second, 60 * second), 3, fraction), 4 * second);
}

TEST(Retry, JitterTakesUpToAQuarterOff) {
  EXPECT_EQ(retry_delay_us(spread(second, 60 * second), 1, 0.0), second);
  EXPECT_EQ(retry_delay_us(spread(second, 60 * second), 1, 0.5), 875'000);
  EXPECT_NEAR(static_cast<double>(retry_delay_us(spread(second, 60 * second), 1, almost_one)), 750'000, 1);
  // The capped delay is what is shortened: the first delay's jitter does not grow beyond the maximum.
  EXPECT_EQ(retry_delay_us(spread(second, 60 * second), 1000, 0.0), 60 * second);
  EXPECT_EQ(retry_delay_us(spread(second, 60 * second), 1000, 0.5), 52'500'000);
}

TEST(Retry, JitterStaysBetweenThreeQuartersAndTheCappedDelay) {
  std::mt19937_64 random{27};
  std::uniform_real_distribution<double> fraction{0.0, 1.0};
  std::uniform_int_distribution<std::int64_t> microseconds{0, 7200 * second};
  std::uniform_int_distribution<std::int32_t> attempts{1, 1000};
  for (int i = 0; i < 20'000; ++i) {
    const std::int64_t initial = microseconds(random);
    const std::int64_t maximum = microseconds(random);
    const std::int32_t attempt = attempts(random);
    const std::int64_t capped = retry_delay_us(exact(initial, maximum), attempt, 0.0);
    const double at = i % 10 == 0 ? almost_one : fraction(random);
    const std::int64_t delay = retry_delay_us(spread(initial, maximum), attempt, at);
    ASSERT_LE(delay, maximum);
    ASSERT_LE(delay, capped);
    ASSERT_GE(delay * 4, capped * 3) << initial << ' ' << maximum << ' ' << attempt << ' ' << at;
  }
}

// A crowd of tasks that failed together does not come back together.
TEST(Retry, JitterSpreads) {
  std::mt19937_64 random{37};
  std::uniform_real_distribution<double> fraction{0.0, 1.0};
  int quarters[4] = {};
  for (int i = 0; i < 4000; ++i) {
    const std::int64_t delay = retry_delay_us(spread(second, 60 * second), 1, fraction(random));
    ++quarters[std::min<std::int64_t>((delay - 750'000) / 62'500, 3)];
  }
  for (int count : quarters) EXPECT_GT(count, 800);
}

TEST(Retry, MayBeFixedOrLinear) {
  RetryPolicy policy = exact(10 * second, 25 * second);
  policy.backoff = insula::core::Backoff::fixed;
  for (std::int32_t attempt : {1, 2, 3, 1'000'000}) EXPECT_EQ(retry_delay_us(policy, attempt, 0.0), 10 * second);
  policy.backoff = insula::core::Backoff::linear;
  const std::int64_t delays[] = {10, 20, 25, 25};
  for (std::int32_t attempt = 1; attempt <= 4; ++attempt)
    EXPECT_EQ(retry_delay_us(policy, attempt, 0.0), delays[attempt - 1] * second) << attempt;
  EXPECT_EQ(retry_delay_us(policy, std::numeric_limits<std::int32_t>::max(), 0.0), 25 * second);
  policy.initial_delay_us = 0;
  EXPECT_EQ(retry_delay_us(policy, 7, 0.0), 0);
}

TEST(Retry, DependsOnTheError) {
  using insula::core::retries;
  using insula::core::RetryCondition;
  RetryPolicy policy;
  EXPECT_TRUE(retries(policy, {}, 1, "anything"));
  EXPECT_TRUE(retries(policy, {}, 2, ""));
  EXPECT_FALSE(retries(policy, {}, 3, "anything"));
  policy.condition = RetryCondition::never;
  EXPECT_FALSE(retries(policy, {}, 1, "timeout"));
  policy.condition = RetryCondition::transient;
  for (const char* error : {"Connection refused", "read TIMED OUT", "service Unavailable", "Temporary failure",
                            "429 Too Many Requests", "rate limit exceeded", "database is busy"})
    EXPECT_TRUE(retries(policy, {}, 1, error)) << error;
  for (const char* error : {"", "no such customer", "time out of joint"})
    EXPECT_FALSE(retries(policy, {}, 1, error)) << error;
  policy.condition = RetryCondition::matching;
  const std::string_view texts[] = {"no such", "100%"};
  EXPECT_TRUE(retries(policy, texts, 1, "No Such Customer"));
  EXPECT_TRUE(retries(policy, texts, 1, "is 100% full"));
  EXPECT_FALSE(retries(policy, texts, 1, "is 100 % full"));
  EXPECT_FALSE(retries(policy, {}, 1, "anything"));
}

}  // namespace
