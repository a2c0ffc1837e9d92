// Trigger rules: whether a task runs once its dependencies have ended.  A rule is a tree in one
// array, each node followed by its children; the caller evaluates the conditions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace insula::core {

enum class RuleKind : std::uint8_t {
  always,
  all,   // all children
  any,   // at least one child
  none,  // no child
  task_success,
  task_failed,
  task_skipped,
  context_value,
};

enum class Ended : std::uint8_t { completed, failed, skipped };

struct RuleNode {
  RuleKind kind;
  std::int32_t end;      // the index after its last descendant
  std::int32_t subject;  // a task condition's task, or a context condition's number
};

// The deepest nesting of a rule, counting the rule itself.
inline constexpr int max_rule_depth = 32;

// `ended` returns how a task has ended, `holds` whether a condition on the context holds.
template <typename EndedOf, typename Holds>
bool rule_passes(std::span<const RuleNode> rule, EndedOf ended, Holds holds, std::size_t at = 0) {
  const RuleNode& node = rule[at];
  const auto any_child = [&](bool wanted) {
    for (std::size_t child = at + 1; child < static_cast<std::size_t>(node.end);
         child = static_cast<std::size_t>(rule[child].end))
      if (rule_passes(rule, ended, holds, child) == wanted) return true;
    return false;
  };
  switch (node.kind) {
    case RuleKind::always:
      return true;
    case RuleKind::all:
      return !any_child(false);
    case RuleKind::any:
      return any_child(true);
    case RuleKind::none:
      return !any_child(true);
    case RuleKind::task_success:
      return ended(node.subject) == Ended::completed;
    case RuleKind::task_failed:
      return ended(node.subject) == Ended::failed;
    case RuleKind::task_skipped:
      return ended(node.subject) == Ended::skipped;
    case RuleKind::context_value:
      return holds(node.subject);
  }
  return false;
}

}  // namespace insula::core
