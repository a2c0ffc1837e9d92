// Checking a whole workflow, so that a mistake is told with every other one and before the
// server is asked.
#include "runtime/workflow_state.hpp"

#include "core/graph.hpp"
#include "core/names.hpp"
#include "core/rule.hpp"
#include "wire/forever.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>

namespace insula::detail {

namespace {

using std::chrono::milliseconds;

constexpr std::string_view name_rule = "[A-Za-z_][A-Za-z0-9_-]{0,62}";
constexpr std::size_t max_tasks = 10'000;
constexpr int max_priority = 32'767;
constexpr int max_count = 1'000'000;  // of attempts, of tasks at once
constexpr int max_lapses = 100;

class Checker {
 public:
  explicit Checker(const WorkflowState& workflow) : workflow_(workflow) {}

  std::vector<std::string> problems() {
    if (!core::is_valid_name(workflow_.name)) report("the workflow's name \"{}\" is not {}", workflow_.name, name_rule);
    if (workflow_.tasks.empty()) report("it has no tasks");
    if (workflow_.tasks.size() > max_tasks) report("it has more than {} tasks", max_tasks);
    if (workflow_.limited && !is_count(workflow_.limit)) report("its limit is not 1 to {}", max_count);
    if (!is_duration(workflow_.timeout)) report("its timeout is not up to 100 years");
    check_params();
    check_ids();
    for (const TaskState& task : workflow_.tasks) {
      check_dependencies(task);
      check_rule(task);
      check_options(task);
    }
    check_on_failure();
    check_cycles();
    return std::move(problems_);
  }

 private:
  template <class... Args>
  void report(fmt::format_string<Args...> format, Args&&... args) {
    problems_.push_back(fmt::format(format, std::forward<Args>(args)...));
  }

  static bool is_count(int n) { return n >= 1 && n <= max_count; }
  // milliseconds::max() is for ever, which the definition says as wire::forever.
  static bool is_duration(milliseconds d) { return d.count() >= 0 && (d <= wire::forever || d == milliseconds::max()); }

  void check_params() {
    std::set<std::string_view> seen;
    for (const ParamState& param : workflow_.params) {
      if (!seen.insert(param.name).second) report("parameter \"{}\" is there twice", param.name);
      if (param.options.default_value && !is_of_type(*param.options.default_value, param.type))
        report("parameter \"{}\" has a default of another type", param.name);
    }
  }

  static bool is_of_type(const Value& value, ParamType type) {
    switch (type) {
      case ParamType::string:
        return value.as<std::string>().has_value();
      case ParamType::integer:
        return value.as<std::int64_t>() || value.as<std::uint64_t>();
      case ParamType::number:
        return value.as<double>().has_value();
      case ParamType::boolean:
        return value.as<bool>().has_value();
      case ParamType::object:
        return value.as<Context>().has_value();
      case ParamType::array:
        return std::holds_alternative<Value::Array>(value.storage());
    }
    return false;
  }

  void check_ids() {
    for (std::size_t i = 0; i < workflow_.tasks.size(); ++i) {
      const TaskState& task = workflow_.tasks[i];
      if (!core::is_valid_name(task.id)) report("the task id \"{}\" is not {}", task.id, name_rule);
      if (!task.handler) report("task \"{}\" has no handler", task.id);
      if (task.handler && task.handler->most == 0) report("task \"{}\": a batch holds 1 task or more", task.id);
      if (!positions_.emplace(task.id, static_cast<std::int32_t>(i)).second)
        report("task \"{}\" is there twice", task.id);
    }
  }

  void check_dependencies(const TaskState& task) {
    std::map<std::string_view, int> seen;
    for (const std::string& dependency : task.options.depends_on) {
      if (!positions_.contains(dependency))
        report("task \"{}\" depends on \"{}\", which is not there", task.id, dependency);
      if (++seen[dependency] == 2) report("task \"{}\" depends on \"{}\" twice", task.id, dependency);
    }
  }

  void check_rule(const TaskState& task) {
    if (!task.options.trigger_rule) return;
    const TriggerRule& rule = *task.options.trigger_rule;
    const auto& known = task.options.depends_on;
    if (known.empty()) report("task \"{}\" has a trigger rule but depends on nothing", task.id);
    if (rule.depth() > core::max_rule_depth)
      report("task \"{}\": its trigger rule is nested deeper than {}", task.id, core::max_rule_depth);
    const std::set<std::string> named{rule.tasks().begin(), rule.tasks().end()};
    for (const std::string& other : named)
      if (std::find(known.begin(), known.end(), other) == known.end())
        report("task \"{}\": its trigger rule asks for \"{}\", which is not in its depends_on", task.id, other);
  }

  void check_options(const TaskState& task) {
    const TaskOptions& options = task.options;
    if (!is_count(options.retry.max_attempts))
      report("task \"{}\": retry.max_attempts is not 1 to {}", task.id, max_count);
    if (options.retry.max_lapses < 0 || options.retry.max_lapses > max_lapses)
      report("task \"{}\": retry.max_lapses is not 0 to {}", task.id, max_lapses);
    if (!is_duration(options.retry.initial_delay) || !is_duration(options.retry.max_delay))
      report("task \"{}\": a delay of its retries is not 0 to 100 years", task.id);
    if (!is_duration(options.timeout)) report("task \"{}\": timeout is not up to 100 years", task.id);
    if (options.priority < -max_priority || options.priority > max_priority)
      report("task \"{}\": priority is not -{} to {}", task.id, max_priority, max_priority);
    if (options.for_each && (options.for_each->items.empty() || options.for_each->as.empty()))
      report("task \"{}\": for_each needs items and as", task.id);
  }

  void check_on_failure() {
    int count = 0;
    for (const TaskState& task : workflow_.tasks) {
      for (const std::string& dependency : task.options.depends_on)
        if (const auto at = positions_.find(dependency);
            at != positions_.end() && workflow_.tasks[static_cast<std::size_t>(at->second)].options.on_failure)
          report("task \"{}\" depends on \"{}\", which runs on failure", task.id, dependency);
      const TaskOptions& options = task.options;
      if (!options.on_failure) continue;
      if (++count > 1) report("task \"{}\" is not the only one with on_failure", task.id);
      if (!options.depends_on.empty() || options.trigger_rule || options.for_each)
        report("task \"{}\": on_failure goes with no depends_on, trigger_rule or for_each", task.id);
      if (workflow_.tasks.size() == 1) report("task \"{}\" has on_failure, and there is no other task", task.id);
    }
  }

  void check_cycles() {
    std::vector<std::int32_t> offsets{0};
    std::vector<std::int32_t> targets;
    for (const TaskState& task : workflow_.tasks) {
      for (const std::string& dependency : task.options.depends_on)
        if (const auto found = positions_.find(dependency); found != positions_.end()) targets.push_back(found->second);
      offsets.push_back(static_cast<std::int32_t>(targets.size()));
    }
    std::vector<std::int32_t> path(workflow_.tasks.size());
    std::vector<std::int32_t> scratch(workflow_.tasks.size());
    const std::size_t length = core::find_cycle({offsets, targets}, path, scratch);
    if (length == 0) return;
    std::string text;
    for (std::size_t i = 0; i <= length; ++i)
      text += (i ? " -> " : "") + workflow_.tasks[static_cast<std::size_t>(path[i % length])].id;
    report("tasks depend on one another in a circle: {}", text);
  }

  const WorkflowState& workflow_;
  std::map<std::string_view, std::int32_t> positions_;
  std::vector<std::string> problems_;
};

}  // namespace

void require_tasks(const WorkflowState& workflow, const std::vector<std::string>& ids) {
  for (const std::string& id : ids)
    if (std::ranges::none_of(workflow.tasks, [&](const TaskState& task) { return task.id == id; }))
      throw error{errc::invalid, fmt::format("workflow \"{}\" has no task \"{}\"", workflow.name, id)};
}

std::vector<std::string> problems_of(const WorkflowState& workflow) { return Checker{workflow}.problems(); }

}  // namespace insula::detail
