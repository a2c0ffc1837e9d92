// A leaky bucket holds an average, forgives bursts, and never stays too full for long.
#include "core/leaky_bucket.hpp"

#include <gtest/gtest.h>

namespace insula::core {
namespace {

constexpr std::int64_t one_second = 1000000;

TEST(LeakyBucket, ABurstOfAWindowIsForgiven) {
  LeakyBucket bucket = {};
  EXPECT_EQ(bucket.pour(5 * one_second, 0, 0.5), 0);
  EXPECT_EQ(bucket.pour(one_second, 0, 0.5), 2 * one_second);
  // The bucket has run out then.
  EXPECT_EQ(bucket.pour(0, 2 * one_second, 0.5), 2 * one_second);
  // All has at the end of the window.
  EXPECT_EQ(bucket.pour(5 * one_second, 12 * one_second, 0.5), 12 * one_second);
}

TEST(LeakyBucket, TheAverageIsTheShare) {
  for (const double share : {0.01, 0.25, 1.0, 3.0}) {
    LeakyBucket bucket = {};
    std::int64_t spent = 0;
    std::int64_t now = 0;
    while (now < 10000 * one_second) {
      spent += 50000;
      now = std::max(bucket.pour(50000, now + 50000, share), now + 50000);
    }
    EXPECT_NEAR(static_cast<double>(spent) / static_cast<double>(now), std::min(share, 1.0), 0.01 * share + 0.0001);
  }
}

TEST(LeakyBucket, OneGreatCostIsForgottenAfterAWhile) {
  LeakyBucket bucket = {};
  EXPECT_EQ(bucket.pour(86400 * one_second, 0, 0.1), bucket_longest);
  EXPECT_EQ(bucket.pour(86400 * one_second, bucket_longest, 0.1), 2 * bucket_longest);
}

TEST(LeakyBucket, AClockThatIsSetBackChangesNothing) {
  LeakyBucket bucket = {};
  (void)bucket.pour(5 * one_second, 3600 * one_second, 0.5);
  EXPECT_EQ(bucket.pour(one_second, 0, 0.5), 2 * one_second);
}

}  // namespace
}  // namespace insula::core
