// Ids: 17 bits of tenant number above 36 bits of local number.  Both must come back
// exactly, and an id that was never given out must be known as such without a look.
#include "core/ids.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <random>

namespace {

using namespace insula::core;

constexpr std::int64_t one = 1;

TEST(Ids, AreSafeInJson) {
  static_assert(tenant_bits == 17 && local_bits == 36);
  static_assert(max_tenant_number == 131'071);
  static_assert(max_local_number == 68'719'476'735);
  constexpr std::int64_t largest = make_id(131'071, max_local_number);
  static_assert(largest == (one << 53) - 1);
  // The largest integer up to which a double holds every integer.
  static_assert(static_cast<std::int64_t>(static_cast<double>(largest)) == largest);
}

TEST(Ids, HaveTheTenantAboveTheLocalNumber) {
  EXPECT_EQ(make_id(1, 1), (one << 36) + 1);
  EXPECT_EQ(make_id(1, max_local_number), (one << 37) - 1);
  EXPECT_EQ(make_id(2, 1), (one << 37) + 1);
  EXPECT_EQ(make_id(131'071, 1), 131'071 * (one << 36) + 1);
  // The offset that a tenant's views add to local numbers.
  EXPECT_EQ(make_id(7, 0) + 5, make_id(7, 5));
}

TEST(Ids, ComeApartAsTheyWerePutTogether) {
  for (std::int32_t tenant : {1, 2, 3, 65'535, 65'536, 131'070, 131'071})
    for (std::int64_t local : {one, 2 * one, (one << 31) - 1, one << 31, (one << 32) - 1, one << 32, (one << 35),
                               max_local_number - 1, max_local_number}) {
      const std::int64_t id = make_id(tenant, local);
      EXPECT_EQ(tenant_of(id), tenant);
      EXPECT_EQ(local_of(id), local);
      EXPECT_TRUE(is_plausible_id(id));
    }
}

TEST(Ids, ComeApartAsTheyWerePutTogetherWhateverTheNumbers) {
  std::mt19937_64 random{17};
  for (int i = 0; i < 20'000; ++i) {
    const auto tenant = static_cast<std::int32_t>(1 + random() % static_cast<std::uint64_t>(max_tenant_number));
    const auto local = static_cast<std::int64_t>(1 + random() % static_cast<std::uint64_t>(max_local_number));
    const std::int64_t id = make_id(tenant, local);
    ASSERT_EQ(tenant_of(id), tenant);
    ASSERT_EQ(local_of(id), local);
    ASSERT_TRUE(is_plausible_id(id));
  }
}

// An id of one tenant can never be taken for one of another, and ids of a tenant are
// ordered as their local numbers.
TEST(Ids, AreOrderedByTenantThenNumber) {
  EXPECT_LT(make_id(1, max_local_number), make_id(2, 1));
  EXPECT_LT(make_id(5, 1), make_id(5, 2));
  EXPECT_LT(make_id(131'070, max_local_number), make_id(131'071, 1));
}

// Local numbers begin again: then a lower one may be the newer.
TEST(Ids, TellWhichLocalNumberCameFirst) {
  EXPECT_TRUE(came_by(5, 6, max_local_number));
  EXPECT_TRUE(came_by(6, 6, max_local_number));
  EXPECT_FALSE(came_by(7, 6, max_local_number));
  EXPECT_TRUE(came_by(1, max_local_number, max_local_number));
  // The last was 10: from 11 on they are of the time before.
  EXPECT_TRUE(came_by(11, 12, 10));
  EXPECT_TRUE(came_by(11, max_local_number, 10));
  EXPECT_TRUE(came_by(max_local_number, 1, 10));
  EXPECT_TRUE(came_by(max_local_number, 10, 10));
  EXPECT_FALSE(came_by(1, 11, 10));
  EXPECT_FALSE(came_by(10, 9, 10));
  EXPECT_TRUE(came_by(9, 10, 10));
}

TEST(Ids, ThatWereNeverGivenAreNotPlausible) {
  using limits = std::numeric_limits<std::int64_t>;
  EXPECT_FALSE(is_plausible_id(0));
  EXPECT_FALSE(is_plausible_id(-1));
  EXPECT_FALSE(is_plausible_id(limits::min()));
  EXPECT_FALSE(is_plausible_id(limits::max()));
  EXPECT_FALSE(is_plausible_id(-make_id(1, 1)));

  // No tenant.
  EXPECT_FALSE(is_plausible_id(1));
  EXPECT_FALSE(is_plausible_id(max_local_number));
  // No local number.
  EXPECT_FALSE(is_plausible_id(make_id(1, 0)));
  EXPECT_FALSE(is_plausible_id(make_id(131'071, 0)));
  // The first and the last that there are, and their neighbours outside.
  EXPECT_FALSE(is_plausible_id(one << 36));
  EXPECT_TRUE(is_plausible_id((one << 36) + 1));
  EXPECT_TRUE(is_plausible_id((one << 53) - 1));
  EXPECT_FALSE(is_plausible_id(one << 53));
  EXPECT_FALSE(is_plausible_id((one << 53) + 1));
}

}  // namespace
