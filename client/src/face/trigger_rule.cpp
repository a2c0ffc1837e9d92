// Trigger rules, written straight as the JSON of a definition.
#include <insula/error.hpp>
#include <insula/trigger_rule.hpp>

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>
#include <utility>

namespace insula {

namespace {

constexpr std::array<std::string_view, 8> comparisons{"equals",    "not_equals",    "greater_than", "greater_or_equal",
                                                      "less_than", "less_or_equal", "contains",     "not_contains"};

Value condition(std::string key, std::string_view op) {
  return Context{{"context_value", Context{{"key", std::move(key)}, {"op", op}}}};
}

}  // namespace

TriggerRule TriggerRule::always() { return TriggerRule{"always"}; }

TriggerRule TriggerRule::task_success(std::string task) { return of_task("task_success", std::move(task)); }
TriggerRule TriggerRule::task_failed(std::string task) { return of_task("task_failed", std::move(task)); }
TriggerRule TriggerRule::task_skipped(std::string task) { return of_task("task_skipped", std::move(task)); }

TriggerRule TriggerRule::context_value(std::string key, Comparison comparison, Value value) {
  const std::string_view op = comparisons.at(static_cast<std::size_t>(comparison));
  return TriggerRule{
      Context{{"context_value", Context{{"key", std::move(key)}, {"op", op}, {"value", std::move(value)}}}}};
}
TriggerRule TriggerRule::context_exists(std::string key) { return TriggerRule{condition(std::move(key), "exists")}; }
TriggerRule TriggerRule::context_not_exists(std::string key) {
  return TriggerRule{condition(std::move(key), "not_exists")};
}

TriggerRule TriggerRule::all(std::vector<TriggerRule> rules) { return of_rules("all", std::move(rules)); }
TriggerRule TriggerRule::any(std::vector<TriggerRule> rules) { return of_rules("any", std::move(rules)); }
TriggerRule TriggerRule::none(std::vector<TriggerRule> rules) { return of_rules("none", std::move(rules)); }

TriggerRule TriggerRule::of_task(const char* condition, std::string task) {
  TriggerRule rule{Context{{condition, task}}};
  rule.tasks_.push_back(std::move(task));
  return rule;
}

TriggerRule TriggerRule::of_rules(const char* condition, std::vector<TriggerRule> rules) {
  if (rules.empty()) throw error{errc::invalid, std::string{"a trigger rule \""} + condition + "\" of nothing"};
  Value::Array json;
  std::vector<std::string> tasks;
  int depth = 0;
  for (TriggerRule& rule : rules) {
    json.push_back(std::move(rule.json_));
    std::move(rule.tasks_.begin(), rule.tasks_.end(), std::back_inserter(tasks));
    depth = std::max(depth, rule.depth_);
  }
  TriggerRule whole{Context{{condition, std::move(json)}}};
  whole.tasks_ = std::move(tasks);
  whole.depth_ = depth + 1;
  return whole;
}

}  // namespace insula
