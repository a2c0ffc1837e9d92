// A workflow's definition: checked at registration, compiled at its first use in a backend.
#pragma once

#include "context/condition.hpp"
#include "core/graph.hpp"
#include "core/retry.hpp"
#include "core/rule.hpp"
#include "storage/work.hpp"

namespace insula {

inline constexpr int max_tasks = 10000;

// A task that runs once for each element of an array.
struct ForEach {
  ContextCondition items;  // only its path is used
  const char *as;
  bool allow_failures;
};

// The options of a task: everything but its id and its dependencies.
struct TaskOptions {
  core::RetryPolicy retry;
  std::span<const std::string_view> patterns;  // an error must contain one of these texts to be retried
  std::int64_t timeout_us = 0;                 // 0: none
  std::int32_t priority = 0;                   // added to the execution's
  // Decides whether the task runs once its dependencies have ended; nullptr: it runs if all have
  // completed.
  core::RuleNode *rule = nullptr;
  int rule_size = 0;
  const ContextCondition *conditions = nullptr;  // the rule's nodes name them by number
  const ForEach *for_each = nullptr;             // nullptr: it runs once
  // It waits for all others, and runs if the execution fails, which it does all the same; its rule is `always`.
  bool on_failure = false;

  bool has_rule() const { return rule_size > 0; }
  // Whether the end of its dependencies leaves a decision beyond making the task ready.
  bool is_decided() const { return has_rule() || for_each != nullptr; }
};

// The concurrency limit of a workflow, or of each value of a key in its inputs.
struct Limit {
  std::int32_t max;  // 0: no limit
  bool has_key;
  ContextCondition key;  // only its path is used
};

enum class ParamType { string, integer, number, boolean, object, array };

// A declared parameter: a value that an execution's input must or may hold.
struct Param {
  const char *name;
  int length;
  ParamType type;
  bool required;
  bool has_default;
  JsonbValue default_value;
};

// A definition's JSON, parsed into the current memory context.
struct ParsedDefinition {
  const char *name;
  int tasks;
  const char **ids;
  TaskOptions *options;
  bool has_rules;
  bool has_groups;  // a task has for_each
  Param *params;
  int param_count;
  std::int64_t timeout_us;  // an execution's; 0: none
  Limit limit;
  core::Graph dependencies;  // by declared position
};

// Parses and checks a definition; raises IS004 with every problem.
ParsedDefinition parse_definition(Jsonb *definition);
// Raises IS004 if the defaults of its params are too long as text, which older versions may have.
void check_defaults(const ParsedDefinition &parsed);

// A registered version, ready for use.  It lives in the backend's cache; a pointer to it is good
// until the next call of `definition_of`.
struct Definition {
  std::int32_t number;
  std::int32_t version;
  const char *workflow;
  int tasks;
  const char **ids;
  const TaskOptions *options;
  bool has_rules;
  bool has_groups;  // a task has for_each
  const Param *params;
  int param_count;
  std::int64_t timeout_us;  // an execution's; 0: none
  Limit limit;
  const std::int32_t *keys;  // the number of each task's key
  const std::int32_t
      *dependencies;  // the number of each task's dependencies; 1 for a group that waits only for its elements
  const std::int32_t *priorities;   // added to the execution's
  const std::int64_t *time_limits;  // a run's, in microseconds; 0: none
  const std::int32_t *order;        // topological; ties in declared order
  const std::int32_t *rank;         // each task's index in `order`
  core::Graph graph;
  core::Graph dependants;
};

// Whether an execution is a single row: one task, no timeout, no elements.
inline bool is_single(const Definition &definition) {
  return definition.tasks == 1 && definition.timeout_us == 0 && !definition.has_groups;
}

// The input with the defaults that it lacks; appends each fault of the input to `problems`.
Jsonb *apply_params(const Definition &definition, Jsonb *input, StringInfo problems);

const Definition &definition_of(const Tenant &tenant, std::int32_t number);

// The number of the workflow's current definition, or IS002.
std::int32_t require_workflow(const Tenant &tenant, const char *workflow);

// The numbers of the task keys in `names` (workflow.task), sorted, in the current memory context.
// Unregistered names are left out.
std::int32_t *resolve_task_keys(const Tenant &tenant, const char *const *names, int count, int *resolved);

// The same without the tasks of paused workflows; nullptr: any task may be claimed, since no names
// were given and no workflow is paused.
std::int32_t *claimable_task_keys(const Tenant &tenant, const char *const *names, int count, int *claimable);

// The highest number of a task key.
std::int32_t last_task_key_of(const Tenant &tenant);

bool is_workflow_paused(const Tenant &tenant, const Definition &definition);

// False: it was so already.
bool pause_or_resume_workflow(const Tenant &tenant, const char *workflow, bool paused);

// Registers a definition and returns its version.
std::int32_t register_definition(const Tenant &tenant, Jsonb *definition, bool activate);

}  // namespace insula
