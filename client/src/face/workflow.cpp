// The builder: collects tasks, and checks the whole graph in build(), so that a mistake
// is told with every other one and before the server is asked.  A built workflow's state
// is immutable; build() copies it out of the builder.
#include "face/workflow_state.hpp"

#include "core/graph.hpp"
#include "core/names.hpp"

#include <insula/error.hpp>
#include <insula/workflow.hpp>

#include <fmt/format.h>

#include <cstdint>
#include <map>

namespace insula {

namespace {

using detail::WorkflowState;

constexpr std::string_view name_rule = "[A-Za-z_][A-Za-z0-9_-]{0,62}";

// Checks one workflow; every problem becomes a line.
class Checker {
 public:
  explicit Checker(const WorkflowState& workflow) : workflow_(workflow) {}

  std::vector<std::string> problems() {
    if (!core::is_valid_name(workflow_.name)) report("the workflow's name \"{}\" is not {}", workflow_.name, name_rule);
    if (workflow_.tasks.empty()) report("it has no tasks");
    check_ids();
    check_dependencies();
    check_cycles();
    return std::move(problems_);
  }

 private:
  template <class... Args>
  void report(fmt::format_string<Args...> format, Args&&... args) {
    problems_.push_back(fmt::format(format, std::forward<Args>(args)...));
  }

  void check_ids() {
    for (std::size_t i = 0; i < workflow_.tasks.size(); ++i) {
      const auto& task = workflow_.tasks[i];
      if (!core::is_valid_name(task.id)) report("the task id \"{}\" is not {}", task.id, name_rule);
      if (!task.handler) report("task \"{}\" has no handler", task.id);
      if (!positions_.emplace(task.id, static_cast<std::int32_t>(i)).second)
        report("task \"{}\" is there twice", task.id);
    }
  }

  void check_dependencies() {
    for (const auto& task : workflow_.tasks) {
      std::map<std::string_view, int> seen;
      for (const std::string& dependency : task.depends_on) {
        if (!positions_.contains(dependency))
          report("task \"{}\" depends on \"{}\", which is not there", task.id, dependency);
        if (++seen[dependency] == 2) report("task \"{}\" depends on \"{}\" twice", task.id, dependency);
      }
    }
  }

  void check_cycles() {
    std::vector<std::int32_t> offsets{0};
    std::vector<std::int32_t> targets;
    for (const auto& task : workflow_.tasks) {
      for (const std::string& dependency : task.depends_on)
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

std::string definition_of(const WorkflowState& workflow) {
  std::vector<Context> tasks;
  for (const auto& task : workflow.tasks) {
    Context& out = tasks.emplace_back(Context{{"id", task.id}});
    if (!task.depends_on.empty()) out.set("depends_on", task.depends_on);
  }
  Context definition{{"name", workflow.name}, {"tasks", tasks}};
  if (!workflow.description.empty()) definition.set("description", workflow.description);
  return definition.to_json();
}

}  // namespace

Workflow::Builder Workflow::builder(std::string name) { return Builder{std::move(name)}; }

const std::string& Workflow::name() const noexcept { return state_->name; }
const std::string& Workflow::definition_json() const noexcept { return state_->definition; }

Workflow::Builder::Builder(std::string name) : state_(std::make_shared<WorkflowState>()) {
  state_->name = std::move(name);
}

Workflow::Builder::Builder(const Builder& other) : state_(std::make_shared<WorkflowState>(*other.state_)) {}

Workflow::Builder& Workflow::Builder::operator=(const Builder& other) {
  state_ = std::make_shared<WorkflowState>(*other.state_);
  return *this;
}

Workflow::Builder& Workflow::Builder::description(std::string text) {
  state_->description = std::move(text);
  return *this;
}

Workflow::Builder& Workflow::Builder::add(std::string id, std::function<void(TaskContext&)> handler,
                                          TaskOptions options) {
  state_->tasks.push_back(
      {std::move(id), std::move(options.depends_on), std::make_shared<const detail::Handler>(std::move(handler))});
  if (!*state_->tasks.back().handler) state_->tasks.back().handler.reset();
  return *this;
}

Workflow Workflow::Builder::build() const {
  const auto problems = Checker{*state_}.problems();
  if (!problems.empty())
    throw error{errc::invalid, fmt::format("workflow \"{}\":\n  {}", state_->name, fmt::join(problems, "\n  "))};
  auto built = std::make_shared<WorkflowState>(*state_);
  built->definition = definition_of(*built);
  return Workflow{std::move(built)};
}

}  // namespace insula
