// SPDX-License-Identifier: PostgreSQL
// Trigger rules: whether a task runs once all that it waits for has ended.
//
// Without a rule a task runs if everything in its depends_on was completed, and is skipped
// otherwise.  A rule is asked when all of that has ended, in whatever way:
//
//   using insula::Comparison, insula::TriggerRule;
//   insula::Workflow::builder("order")
//       .task("charge", charge)
//       .task("refund", refund, {.depends_on = {"charge"}, .trigger_rule = TriggerRule::task_failed("charge")})
//       .task("report", report, {.depends_on = {"charge", "refund"},
//                                .trigger_rule = TriggerRule::any({
//                                    TriggerRule::task_success("refund"),
//                                    TriggerRule::all({
//                                        TriggerRule::task_success("charge"),
//                                        TriggerRule::context_value("$.total", Comparison::greater_than, 100)})})})
//       .build();
//
// A failure that a task with a rule has run after does not fail the execution.
#pragma once

#include <insula/context.hpp>
#include <insula/export.hpp>

#include <string>
#include <vector>

namespace insula {

enum class Comparison {
  equals,
  not_equals,
  greater_than,
  greater_or_equal,
  less_than,
  less_or_equal,
  contains,  // a text its part, an array its element
  not_contains,
};

// A value: immutable, cheap enough to copy.  The names are those of a definition's JSON.
// Tasks that a rule names must be in its own task's depends_on, which Builder::build()
// checks with all the rest.
class INSULA_EXPORT TriggerRule {
 public:
  static TriggerRule always();  // however the others ended

  static TriggerRule task_success(std::string task);
  static TriggerRule task_failed(std::string task);
  static TriggerRule task_skipped(std::string task);

  // Tests a value that the task would see: `key` is a key of the context, or a path like $.a.b[0].
  // A value that is absent, or of a type that does not compare, makes it false.
  static TriggerRule context_value(std::string key, Comparison comparison, Value value);
  static TriggerRule context_exists(std::string key);
  static TriggerRule context_not_exists(std::string key);

  // One rule or more; none at all throws error{invalid}.
  static TriggerRule all(std::vector<TriggerRule> rules);
  static TriggerRule any(std::vector<TriggerRule> rules);
  static TriggerRule none(std::vector<TriggerRule> rules);

  const Value& json() const noexcept { return json_; }                       // as it stands in the definition
  const std::vector<std::string>& tasks() const noexcept { return tasks_; }  // all that it names
  int depth() const noexcept { return depth_; }                              // at most 32 is taken

 private:
  explicit TriggerRule(Value json) : json_(std::move(json)) {}
  static TriggerRule of_task(const char* condition, std::string task);
  static TriggerRule of_rules(const char* condition, std::vector<TriggerRule> rules);

  Value json_;
  std::vector<std::string> tasks_;
  int depth_ = 1;
};

}  // namespace insula
