// Which fires are to be made: catch-up, grace, jitter, windows and fires held back, against
// an oracle that looks at every second.
#include "core/fires.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "second.hpp"

namespace {

using insula::core::CatchUp;
using insula::core::CronError;
using insula::core::due_of_fire;
using insula::core::FirePlan;
using insula::core::FireRules;
using insula::core::last_instant;
using insula::core::next_allowed_fire;
using insula::core::Offset;
using insula::core::parse_cron;
using insula::core::plan_fires;

constexpr std::int64_t grace = 60 * second;
constexpr std::int64_t not_held = INT64_MIN;
constexpr std::int64_t none = last_instant + 1;

using Fires = std::vector<std::int64_t>;

Offset in_utc(const void *, std::int64_t) noexcept { return {0, INT64_MAX}; }

FireRules rules_of(const std::string &cron, CatchUp catch_up = CatchUp::skip, int max_catch_up = 100) {
  FireRules rules;
  CronError error{};
  EXPECT_TRUE(parse_cron(cron, &rules.cron, &error)) << cron;
  rules.zone = {nullptr, &in_utc};
  rules.catch_up = catch_up;
  rules.max_catch_up = max_catch_up;
  return rules;
}

// Plans until a plan deals with nothing more; all fires that were to be made.
Fires plan_all(const FireRules &rules, std::int64_t after, std::int64_t now, std::int64_t held = not_held,
               std::size_t room = 1000) {
  Fires made;
  std::vector<std::int64_t> fires(room);
  for (;;) {
    const FirePlan plan = plan_fires(rules, after, now, grace, held, fires);
    EXPECT_LE(static_cast<std::size_t>(plan.count), room);
    made.insert(made.end(), fires.begin(), fires.begin() + plan.count);
    EXPECT_GE(plan.until, after);
    EXPECT_EQ(plan.next, next_allowed_fire(rules, plan.until));
    if (plan.count > 0) {
      EXPECT_EQ(fires[static_cast<std::size_t>(plan.count - 1)], plan.until);
    }
    if (plan.until == after) return made;
    after = plan.until;
  }
}

TEST(Fires, OnTimeAreMadeWhateverTheCatchUp) {
  for (CatchUp catch_up : {CatchUp::skip, CatchUp::run_once, CatchUp::run_all})
    EXPECT_EQ(plan_all(rules_of("*/20 * * * * *", catch_up, 1), 0, 60 * second), (Fires{20, 40, 60}));
}

TEST(Fires, OneAsLateAsTheGraceIsOnTime) {
  EXPECT_EQ(plan_all(rules_of("@hourly"), 0, 3600 * second + grace), (Fires{3600}));
  EXPECT_EQ(plan_all(rules_of("@hourly"), 0, 3600 * second + grace + 1), Fires{});
  EXPECT_EQ(plan_all(rules_of("@hourly"), 0, 3600 * second - 1), Fires{});
}

TEST(Fires, MissedAreDroppedOrStoodForOrMade) {
  const std::int64_t now = 5 * 3600 * second + 90 * second;
  EXPECT_EQ(plan_all(rules_of("@hourly", CatchUp::skip), 0, now), Fires{});
  EXPECT_EQ(plan_all(rules_of("@hourly", CatchUp::run_once), 0, now), (Fires{18000}));
  EXPECT_EQ(plan_all(rules_of("@hourly", CatchUp::run_all), 0, now), (Fires{3600, 7200, 10800, 14400, 18000}));
  EXPECT_EQ(plan_all(rules_of("@hourly", CatchUp::run_all, 2), 0, now), (Fires{14400, 18000}));
}

TEST(Fires, SkippedOnesAreDealtWith) {
  std::int64_t fires[4];
  const FirePlan plan = plan_fires(rules_of("@hourly"), 0, 5 * 3600 * second + 90 * second, grace, not_held, fires);
  EXPECT_EQ(plan.count, 0);
  EXPECT_EQ(plan.until, 18000);
  EXPECT_EQ(plan.next, 21600);
}

TEST(Fires, AYearOfSecondsIsPlannedAtOnce) {
  const std::int64_t year = 365 * 86400;
  EXPECT_EQ(plan_all(rules_of("* * * * * *", CatchUp::run_once), 0, year * second).size(), 62U);
  EXPECT_EQ(plan_all(rules_of("* * * * * *", CatchUp::run_all, 1000), 0, year * second).size(), 1061U);
}

TEST(Fires, KeptBackByTheScheduleItselfAreNotMissed) {
  const FireRules rules = rules_of("0 * * * * *", CatchUp::skip, 3);
  // An execution ran from 12:00 to 12:10; now that it has ended the newest three go on.
  EXPECT_EQ(plan_all(rules, 0, 600 * second, 600 * second), (Fires{480, 540, 600}));
  EXPECT_EQ(plan_all(rules, 0, 600 * second, 600 * second, 3), (Fires{480, 540, 600}));
  // That it ended long ago is no excuse.
  EXPECT_EQ(plan_all(rules, 0, 7200 * second, 600 * second), (Fires{7140, 7200}));
}

TEST(Fires, TheWindowBounds) {
  FireRules rules = rules_of("0 * * * * *", CatchUp::run_all);
  rules.starts_at = 120;
  rules.ends_at = 240;
  EXPECT_EQ(plan_all(rules, 0, 86400 * second), (Fires{120, 180, 240}));
  EXPECT_EQ(next_allowed_fire(rules, 0), 120);
  EXPECT_EQ(next_allowed_fire(rules, 120), 180);
  EXPECT_EQ(next_allowed_fire(rules, 240), none);
  rules.ends_at = 119;
  EXPECT_EQ(plan_all(rules, 0, 86400 * second), Fires{});
}

TEST(Fires, JitterIsTheFiresOwnAndWithinItsBound) {
  FireRules rules = rules_of("* * * * * *");
  rules.jitter = 10 * second;
  rules.seed = 7;
  std::int64_t least = rules.jitter;
  std::int64_t most = 0;
  for (std::int64_t fire = -1000; fire < 1000; ++fire) {
    const std::int64_t late = due_of_fire(rules, fire) - fire * second;
    EXPECT_EQ(late, due_of_fire(rules, fire) - fire * second);
    least = std::min(least, late);
    most = std::max(most, late);
  }
  EXPECT_GE(least, 0);
  EXPECT_LE(most, rules.jitter);
  EXPECT_LT(least, second) << "spread over all of it";
  EXPECT_GT(most, 9 * second);
  FireRules other = rules;
  other.seed = 8;
  EXPECT_NE(due_of_fire(rules, 0), due_of_fire(other, 0));
}

// A scheduler that wakes whenever the next fire is due makes each, none later than its jitter,
// also where the jitter is longer than grace and period: none counts as missed.
TEST(Fires, JitterLongerThanTheGraceLosesNone) {
  FireRules rules = rules_of("0 * * * * *");
  rules.jitter = 3600 * second;
  std::int64_t dealt_with = 0;
  std::int64_t now = 0;
  std::int64_t expected = 60;
  std::int64_t fires[1000];
  while (expected < 10 * 86400) {
    now = std::max(now, due_of_fire(rules, next_allowed_fire(rules, dealt_with)));
    const FirePlan plan = plan_fires(rules, dealt_with, now, grace, not_held, fires);
    ASSERT_GT(plan.count, 0);
    for (int i = 0; i < plan.count; ++i, expected += 60) {
      ASSERT_EQ(fires[i], expected);
      ASSERT_LE(now, fires[i] * second + rules.jitter);
    }
    dealt_with = plan.until;
  }
}

// ---- the oracle ----

// The fires that one look at `now` must make, found by walking through every second.
Fires oracle(const FireRules &rules, int period, std::int64_t after, std::int64_t now, std::int64_t held,
             std::size_t room) {
  const bool held_back = held >= now - grace;
  const bool all = held_back || rules.catch_up == CatchUp::run_all;
  const std::size_t most = std::min(room, all ? static_cast<std::size_t>(rules.max_catch_up) : 1);
  Fires missed;
  Fires on_time;
  for (std::int64_t fire = after + 1; fire * second <= now; ++fire) {
    if (fire % period != 0 || fire < rules.starts_at || fire > rules.ends_at) continue;
    if (fire * second + rules.jitter < now - grace) {
      missed.push_back(fire);
      continue;
    }
    if (due_of_fire(rules, fire) > now) break;
    on_time.push_back(fire);
  }
  if (held_back) {
    missed.insert(missed.end(), on_time.begin(), on_time.end());
    on_time.clear();
  } else if (rules.catch_up == CatchUp::skip) {
    missed.clear();
  }
  if (missed.size() > most) missed.erase(missed.begin(), missed.end() - static_cast<std::ptrdiff_t>(most));
  missed.insert(missed.end(), on_time.begin(), on_time.end());
  return missed;
}

TEST(Fires, AgreeWithTheOracle) {
  std::mt19937_64 random{4711};
  const auto up_to = [&random](std::int64_t most) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(most + 1));
  };
  const int periods[] = {1, 2, 5, 15, 30, 60};
  for (int i = 0; i < 20000; ++i) {
    const int period = periods[up_to(5)];
    FireRules rules = rules_of(period == 60 ? "0 * * * * *" : "*/" + std::to_string(period) + " * * * * *",
                               static_cast<CatchUp>(up_to(2)), static_cast<int>(1 + up_to(20)));
    rules.seed = random();
    if (up_to(2) == 0) rules.jitter = up_to(200) * second + up_to(999'999);
    if (up_to(3) == 0) rules.starts_at = up_to(400);
    if (up_to(3) == 0) rules.ends_at = up_to(600);
    const std::int64_t after = up_to(300) - 100;
    const std::int64_t now = (after + up_to(600)) * second + up_to(999'999);
    const std::int64_t held = up_to(3) == 0 ? now - up_to(120) * second : not_held;
    const std::size_t room = static_cast<std::size_t>(1 + up_to(40));
    ASSERT_EQ(plan_all(rules, after, now, held, room), oracle(rules, period, after, now, held, room))
        << "case " << i << ": period " << period << ", after " << after << ", now " << now << ", jitter "
        << rules.jitter << ", held " << held << ", room " << room;
  }
}

}  // namespace
