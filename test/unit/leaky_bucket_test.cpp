// A leaky bucket holds an average, forgives bursts, and never stays too full for long.
#include "core/leaky_bucket.hpp"

#include <gtest/gtest.h>

namespace insula::core {
namespace {

constexpr std::int64_t second = 1000000;

TEST(LeakyBucket, ABurstOfAWindowIsForgiven) {
  LeakyBucket bucket = {};
  EXPECT_EQ(bucket.pour(5 * second, 0, 0.5), 0);
  EXPECT_EQ(bucket.pour(second, 0, 0.5), 2 * second);
  // What was too much has run out then.
  EXPECT_EQ(bucket.pour(0, 2 * second, 0.5), 2 * second);
  // All has at the end of the window.
  EXPECT_EQ(bucket.pour(5 * second, 12 * second, 0.5), 12 * second);
}

TEST(LeakyBucket, TheAverageIsTheShare) {
  for (const double share : {0.01, 0.25, 1.0, 3.0}) {
    LeakyBucket bucket = {};
    std::int64_t spent = 0;
    std::int64_t now = 0;
    while (now < 10000 * second) {
      spent += 50000;
      now = std::max(bucket.pour(50000, now + 50000, share), now + 50000);
    }
    EXPECT_NEAR(static_cast<double>(spent) / static_cast<double>(now), std::min(share, 1.0), 0.01 * share + 0.0001);
  }
}

TEST(LeakyBucket, OneGreatCostIsForgottenAfterAWhile) {
  LeakyBucket bucket = {};
  EXPECT_EQ(bucket.pour(86400 * second, 0, 0.1), bucket_longest);
  EXPECT_EQ(bucket.pour(86400 * second, bucket_longest, 0.1), 2 * bucket_longest);
}

TEST(LeakyBucket, AClockThatIsSetBackChangesNothing) {
  LeakyBucket bucket = {};
  (void)bucket.pour(5 * second, 3600 * second, 0.5);
  EXPECT_EQ(bucket.pour(second, 0, 0.5), 2 * second);
}

}  // namespace
}  // namespace insula::core
