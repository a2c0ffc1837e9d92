// Trigger rules: every node on its own, and random trees against an evaluation that is
// written another way.
#include "core/rule.hpp"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace {

using insula::core::Ended;
using insula::core::rule_passes;
using insula::core::RuleKind;
using insula::core::RuleNode;
using Rule = std::vector<RuleNode>;

bool passes(const Rule& rule, const std::vector<Ended>& tasks, const std::vector<bool>& conditions = {}) {
  return rule_passes(
      rule, [&](std::int32_t task) { return tasks[static_cast<std::size_t>(task)]; },
      [&](std::int32_t condition) { return conditions[static_cast<std::size_t>(condition)]; });
}

TEST(Rule, HasConditionsOnTasks) {
  const Ended states[] = {Ended::completed, Ended::failed, Ended::skipped};
  const RuleKind kinds[] = {RuleKind::task_success, RuleKind::task_failed, RuleKind::task_skipped};
  for (int state = 0; state < 3; ++state)
    for (int kind = 0; kind < 3; ++kind) EXPECT_EQ(passes({{kinds[kind], 1, 0}}, {states[state]}), kind == state);
}

TEST(Rule, MayAlwaysPass) { EXPECT_TRUE(passes({{RuleKind::always, 1, -1}}, {})); }

TEST(Rule, HasConditionsOnTheContext) {
  EXPECT_TRUE(passes({{RuleKind::context_value, 1, 1}}, {}, {false, true}));
  EXPECT_FALSE(passes({{RuleKind::context_value, 1, 0}}, {}, {false, true}));
}

// A random rule below `depth`, and what it says, worked out as it is made.
bool grow(Rule& rule, std::mt19937& random, const std::vector<bool>& conditions, int depth) {
  const std::size_t at = rule.size();
  rule.push_back({RuleKind::context_value, static_cast<std::int32_t>(at + 1), 0});
  if (depth == 0 || random() % 3 == 0) {
    rule[at].subject = static_cast<std::int32_t>(random() % conditions.size());
    return conditions[static_cast<std::size_t>(rule[at].subject)];
  }
  int yes = 0;
  const int children = 1 + static_cast<int>(random() % 4);
  for (int i = 0; i < children; ++i) yes += grow(rule, random, conditions, depth - 1) ? 1 : 0;
  rule[at].end = static_cast<std::int32_t>(rule.size());
  switch (random() % 3) {
    case 0:
      rule[at].kind = RuleKind::all;
      return yes == children;
    case 1:
      rule[at].kind = RuleKind::any;
      return yes > 0;
    default:
      rule[at].kind = RuleKind::none;
      return yes == 0;
  }
}

TEST(Rule, NestsAsWritten) {
  std::mt19937 random{1};
  int passed = 0;
  for (int i = 0; i < 20000; ++i) {
    std::vector<bool> conditions;
    for (int c = 0; c < 5; ++c) conditions.push_back(random() % 2 == 0);
    Rule rule;
    const bool expected = grow(rule, random, conditions, 5);
    ASSERT_EQ(passes(rule, {}, conditions), expected) << i;
    passed += expected ? 1 : 0;
  }
  EXPECT_GT(passed, 5000);
  EXPECT_LT(passed, 15000);
}

}  // namespace
