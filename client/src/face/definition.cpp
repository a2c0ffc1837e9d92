// A workflow's definition as JSON.  What has its default value is left out, so that an
// option that is added here later does not make a new version of every workflow.
#include "runtime/workflow_state.hpp"
#include "wire/params.hpp"

#include <array>
#include <string_view>

namespace insula {

namespace {

using wire::interval;

std::string_view word(Backoff backoff) {
  constexpr std::array<std::string_view, 3> words{"fixed", "linear", "exponential"};
  return words.at(static_cast<std::size_t>(backoff));
}

std::string_view word(ParamType type) {
  constexpr std::array<std::string_view, 6> words{"string", "integer", "number", "boolean", "object", "array"};
  return words.at(static_cast<std::size_t>(type));
}

Context json_of(const RetryPolicy& policy) {
  const RetryPolicy usual;
  Context json;
  if (policy.max_attempts != usual.max_attempts) json.set("max_attempts", policy.max_attempts);
  if (policy.backoff != usual.backoff) json.set("backoff", word(policy.backoff));
  if (policy.initial_delay != usual.initial_delay) json.set("initial_delay", interval(policy.initial_delay));
  if (policy.max_delay != usual.max_delay) json.set("max_delay", interval(policy.max_delay));
  if (policy.jitter != usual.jitter) json.set("jitter", policy.jitter);
  if (policy.max_lapses != usual.max_lapses) json.set("max_lapses", policy.max_lapses);
  if (!(policy.condition == usual.condition)) json.set("condition", policy.condition.json());
  return json;
}

Context json_of(const ForEach& for_each) {
  Context json{{"items", for_each.items}};
  if (for_each.as != ForEach{}.as) json.set("as", for_each.as);
  if (for_each.allow_failures) json.set("allow_failures", true);
  return json;
}

Context json_of(const detail::TaskState& task) {
  const TaskOptions& options = task.options;
  Context json{{"id", task.id}};
  if (!options.depends_on.empty()) json.set("depends_on", options.depends_on);
  if (options.trigger_rule) json.set("trigger_rule", options.trigger_rule->json());
  if (Context retry = json_of(options.retry); !retry.empty()) json.set("retry", std::move(retry));
  if (options.timeout.count() != 0) json.set("timeout", interval(options.timeout));
  if (options.priority != 0) json.set("priority", options.priority);
  if (options.on_failure) json.set("on_failure", true);
  if (options.for_each) json.set("for_each", json_of(*options.for_each));
  return json;
}

Context json_of(const std::vector<detail::ParamState>& params) {
  Context json;
  for (const auto& param : params) {
    Context one{{"type", word(param.type)}};
    if (param.options.required) one.set("required", true);
    if (param.options.default_value) one.set("default", *param.options.default_value);
    json.set(param.name, std::move(one));
  }
  return json;
}

}  // namespace

RetryCondition RetryCondition::matching(std::vector<std::string> texts) {
  RetryCondition condition;
  condition.texts_ = std::move(texts);
  return condition;
}

Value RetryCondition::json() const {
  if (!texts_.empty()) return texts_;
  constexpr std::array<std::string_view, 3> words{"all", "never", "transient"};
  return words.at(static_cast<std::size_t>(word_));
}

std::string detail::definition_of(const WorkflowState& workflow) {
  std::vector<Context> tasks;
  for (const TaskState& task : workflow.tasks) tasks.push_back(json_of(task));
  Context json{{"name", workflow.name}, {"tasks", tasks}};
  if (!workflow.description.empty()) json.set("description", workflow.description);
  if (workflow.timeout.count() != 0) json.set("timeout", interval(workflow.timeout));
  if (!workflow.params.empty()) json.set("params", json_of(workflow.params));
  if (workflow.limited) {
    Context limit{{"max", workflow.limit}};
    if (!workflow.limit_key.empty()) limit.set("key", workflow.limit_key);
    json.set("limit", std::move(limit));
  }
  return json.to_json();
}

}  // namespace insula
