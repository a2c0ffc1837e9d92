// A workflow's definition: checked when it is registered, compiled when it is used.
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
  ContextCondition items;  // only its path counts
  const char *as;
  bool allow_failures;
};

// What a definition says of a task beside its id and its dependencies.
struct TaskOptions {
  core::RetryPolicy retry;
  std::span<const std::string_view> patterns;  // texts of which an error must contain one to be retried
  std::int64_t timeout_us = 0;                 // 0: none
  std::int32_t priority = 0;                   // added to the execution's
  // Whether it runs once all that it waits for has ended; none: if all of that was completed.
  core::RuleNode *rule = nullptr;
  int rule_size = 0;
  const ContextCondition *conditions = nullptr;  // which the rule's nodes name by number
  const ForEach *for_each = nullptr;             // nullptr: it runs once

  bool has_rule() const { return rule_size > 0; }
  // Whether more is to be done than making it ready when all that it waits for was completed.
  bool is_decided() const { return has_rule() || for_each != nullptr; }
};

// How many tasks of a workflow may run at once, for each value of a key where there is one.
struct Limit {
  std::int32_t max;  // 0: any number
  bool has_key;
  ContextCondition key;  // only its path counts
};

enum class ParamType { string, integer, number, boolean, object, array };

// What an execution's input may have to hold.
struct Param {
  const char *name;
  int length;
  ParamType type;
  bool required;
  bool has_default;
  JsonbValue default_value;
};

// What a definition's JSON says, in the current memory context.
struct ParsedDefinition {
  const char *name;
  int tasks;
  const char **ids;
  TaskOptions *options;
  bool has_rules;
  bool has_groups;  // tasks with for_each
  Param *params;
  int param_count;
  std::int64_t timeout_us;  // of an execution; 0: none
  Limit limit;
  core::Graph dependencies;  // by declared position
};

// Reads and checks a definition; raises IS004 with every problem.
ParsedDefinition parse_definition(Jsonb *definition);

// A registered version, ready for use.  Lives in the backend's cache, which is bounded; a
// pointer to one is good until the next call of `definition_of`.
struct Definition {
  std::int32_t number;
  std::int32_t version;
  const char *workflow;
  int tasks;
  const char **ids;
  const TaskOptions *options;
  bool has_rules;
  bool has_groups;  // tasks with for_each
  const Param *params;
  int param_count;
  std::int64_t timeout_us;  // of an execution; 0: none
  Limit limit;
  const std::int32_t *keys;          // the number of each task's key
  const std::int32_t *dependencies;  // how many tasks each one waits for; one that waits only for its elements: 1
  const std::int32_t *priorities;    // added to the execution's
  const std::int64_t *time_limits;   // of a run, in microseconds; 0: none
  const std::int32_t *order;         // topological, ties by declared position
  const std::int32_t *rank;          // the place of each task in that order
  core::Graph graph;
  core::Graph dependants;
};

// Whether an execution is a single row: its only task, and nothing that asks for more.
inline bool is_single(const Definition &definition) {
  return definition.tasks == 1 && definition.timeout_us == 0 && !definition.has_groups;
}

// The input with the defaults that it lacks; what is wrong with it is appended to `problems`.
Jsonb *apply_params(const Definition &definition, Jsonb *input, StringInfo problems);

const Definition &definition_of(const Tenant &tenant, std::int32_t number);

// The number of the workflow's current definition, or IS002.
std::int32_t require_workflow(const Tenant &tenant, const char *workflow);

// The numbers of the task keys in `names` (workflow.task); names that nobody has
// registered are left out.  Sorted; in the current memory context.
std::int32_t *resolve_task_keys(const Tenant &tenant, const char *const *names, int count, int *resolved);

// The same, sorted too, without those of paused workflows; nullptr: any task may be claimed,
// since no names were given and no workflow is paused.
std::int32_t *claimable_task_keys(const Tenant &tenant, const char *const *names, int count, int *claimable);

// The highest number of a task's key.
std::int32_t last_task_key_of(const Tenant &tenant);

bool is_workflow_paused(const Tenant &tenant, const Definition &definition);

// Registers a definition and returns its version.
std::int32_t register_definition(const Tenant &tenant, Jsonb *definition, bool activate);

}  // namespace insula
