// The contexts of an execution's tasks, and what trigger rules make of them.
#pragma once

#include "context/merge_patch.hpp"
#include "definition/definition.hpp"

namespace insula {

// Built for one task after another: tasks of an execution with the same dependencies see the same, which is
// built once.  `memory` holds it until the next is built.
struct SeenContext {
  MemoryContext memory;
  std::int64_t head;  // 0: none yet
  std::int32_t task;
  Jsonb *context;
};
// In a child of the current memory context.
SeenContext see_contexts();
bool has_seen(const SeenContext &seen, const Definition &definition, std::int64_t head, std::int32_t task);
// The input, with the patches of all the task's completed ancestors.  It lives until the next call with a task that
// sees another.  nullptr: what is to be merged comes to more than `most` bytes.
Jsonb *context_of_task(const Tenant &tenant, const Definition &definition, std::int64_t head, std::int32_t task,
                       SeenContext *seen, std::size_t most = max_merged_size);

// In the current memory context.
Jsonb *copy_of(const Jsonb *value);

// Whether its tasks can have enough ancestors for a context to be kept.
bool may_keep_contexts(const Definition &definition);
// Tasks of an execution have become ready, whose row the caller holds.  If their contexts are merged of many
// patches, the execution keeps one of them, so that a claim merges no more than what has come since.
void keep_context_for(const Tenant &tenant, const Definition &definition, std::int64_t head, const std::int32_t *tasks,
                      int count);

enum class Verdict {
  runs,
  skipped,
  too_costly,  // its conditions ask more of the context than rules may
};
// Evaluates the task's trigger rule, its dependencies having ended.
Verdict judge_rule(const Tenant &tenant, const Definition &definition, std::int64_t head, std::int32_t task,
                   SeenContext *seen);

}  // namespace insula
