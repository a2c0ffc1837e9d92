// Contexts of tasks; see task_context.hpp.
#include "operation/task_context.hpp"

#include <algorithm>

#include "context/merge_patch.hpp"
#include "operation/operations.hpp"
#include "spi/budget.hpp"

namespace insula {

namespace {

// The bytes that one rule may look at: some tenths of a second.
constexpr std::size_t most_of_a_rule = std::size_t{256} << 20;

// Contexts that are merged of fewer patches are not kept.
constexpr std::size_t many_patches = 256;
constexpr std::size_t largest_kept = std::size_t{4} << 20;
// Tasks that become ready together mostly have the same dependencies.
constexpr int most_looked_at = 4;

// The ancestors of a task.
struct Ancestors {
  std::int32_t *tasks;
  std::size_t count;
  std::uint8_t *is_one;  // by declared position
};

Ancestors ancestors_of(const Definition &definition, std::int32_t task) {
  const auto tasks = static_cast<std::size_t>(definition.tasks);
  Ancestors ancestors = {palloc_array_of<std::int32_t>(tasks), 0, static_cast<std::uint8_t *>(palloc0(tasks))};
  ancestors.count = core::find_ancestors(definition.graph, task, {ancestors.is_one, tasks}, {ancestors.tasks, tasks});
  return ancestors;
}

// Leaves of the ancestors those that the context of another task lacks.  False: it is no beginning of theirs,
// since it has patches that they do not see, or that come after some of theirs.
bool leave_out(const Definition &definition, std::int32_t kept, Ancestors &ancestors) {
  const Ancestors known = ancestors_of(definition, kept);
  std::int32_t last = -1;
  for (std::size_t i = 0; i < known.count; ++i) {
    if (!ancestors.is_one[known.tasks[i]]) return false;
    last = std::max(last, definition.rank[known.tasks[i]]);
  }
  std::int32_t *end = std::remove_if(ancestors.tasks, ancestors.tasks + ancestors.count,
                                     [&](std::int32_t task) { return known.is_one[task]; });
  if (std::any_of(ancestors.tasks, end, [&](std::int32_t task) { return definition.rank[task] < last; })) return false;
  ancestors.count = static_cast<std::size_t>(end - ancestors.tasks);
  return true;
}

// The cost grows with the task's ancestors, or with what has come since the context that the execution keeps, and
// not with the graph.
Jsonb *merge_ancestors(const Tenant &tenant, const Definition &definition, std::int64_t head, std::int32_t task,
                       std::size_t most) {
  Ancestors ancestors = ancestors_of(definition, task);
  Jsonb *kept_one = nullptr;
  if (ancestors.count >= many_patches) {
    const KeptContext kept = kept_context(tenant, head, false);
    if (kept.task >= 0 && leave_out(definition, kept.task, ancestors))
      kept_one = kept_context(tenant, head, true).context;
    if (kept_one && ancestors.count == 0) return kept_one;
    if (!kept_one) ancestors = ancestors_of(definition, task);
  }
  const std::size_t count = ancestors.count;
  auto *ids = palloc_array_of<std::int64_t>(count + 1);
  // There is no row of this number.
  ids[0] = kept_one ? 0 : head;
  std::sort(ancestors.tasks, ancestors.tasks + count);
  for (std::size_t i = 0; i < count; ++i) ids[i + 1] = head + 1 + ancestors.tasks[i];
  Jsonb **outputs = outputs_of(tenant, ids, static_cast<int>(count) + 1, most);
  if (!outputs) return nullptr;
  if (kept_one) outputs[0] = kept_one;
  const std::size_t size = total_size(outputs, static_cast<int>(count) + 1);
  charge(size);
  if (size > most) return nullptr;
  auto *order = palloc_array_of<std::size_t>(count);
  for (std::size_t i = 0; i < count; ++i) order[i] = i;
  std::sort(order, order + count, [&](std::size_t a, std::size_t b) {
    return definition.rank[ancestors.tasks[a]] < definition.rank[ancestors.tasks[b]];
  });
  auto **patches = palloc_array_of<Jsonb *>(count);
  for (std::size_t i = 0; i < count; ++i) patches[i] = outputs[order[i] + 1];
  return merge_patches(outputs[0], patches, count);
}

// A task with a rule may become ready while ancestors of a dependency that was skipped still run.
bool have_ended(const Tenant &tenant, std::int64_t head, Ancestors &ancestors) {
  std::sort(ancestors.tasks, ancestors.tasks + ancestors.count);
  auto *ids = palloc_array_of<std::int64_t>(ancestors.count);
  for (std::size_t i = 0; i < ancestors.count; ++i) ids[i] = head + 1 + ancestors.tasks[i];
  const State *states = task_states(tenant, ids, static_cast<int>(ancestors.count));
  return std::all_of(states, states + ancestors.count, has_ended);
}

bool same_dependencies(const core::Graph &graph, std::int32_t a, std::int32_t b) {
  const auto of_a = graph.of(a);
  const auto of_b = graph.of(b);
  return a == b || std::equal(of_a.begin(), of_a.end(), of_b.begin(), of_b.end());
}

// How the task's dependencies, sorted, have ended.
struct Subjects {
  std::int32_t *tasks;
  int count;
  const State *states;

  core::Ended how(std::int32_t task) const {
    switch (states[std::lower_bound(tasks, tasks + count, task) - tasks]) {
      case State::completed:
        return core::Ended::completed;
      case State::failed:
        return core::Ended::failed;
      default:
        return core::Ended::skipped;
    }
  }
};

Subjects subjects_of(const Tenant &tenant, const Definition &definition, std::int64_t head, std::int32_t task) {
  const auto waits_for = definition.graph.of(task);
  Subjects subjects = {palloc_array_of<std::int32_t>(waits_for.size()), static_cast<int>(waits_for.size()), nullptr};
  std::copy(waits_for.begin(), waits_for.end(), subjects.tasks);
  std::sort(subjects.tasks, subjects.tasks + subjects.count);
  auto *ids = palloc_array_of<std::int64_t>(waits_for.size());
  for (int i = 0; i < subjects.count; ++i) ids[i] = head + 1 + subjects.tasks[i];
  subjects.states = task_states(tenant, ids, subjects.count);
  return subjects;
}

}  // namespace

Jsonb *copy_of(const Jsonb *value) {
  auto *copy = static_cast<Jsonb *>(MemoryContextAllocHuge(CurrentMemoryContext, VARSIZE(value)));
  memcpy(copy, value, VARSIZE(value));
  return copy;
}

SeenContext see_contexts() {
  MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "insula seen context", ALLOCSET_DEFAULT_SIZES);
  return {memory, 0, 0, nullptr};
}

bool has_seen(const SeenContext &seen, const Definition &definition, std::int64_t head, std::int32_t task) {
  return seen.head == head && same_dependencies(definition.graph, seen.task, task);
}

// A context in a graph of ten thousand tasks takes far more memory to build than to keep.
Jsonb *context_of_task(const Tenant &tenant, const Definition &definition, std::int64_t head, std::int32_t task,
                       SeenContext *seen, std::size_t most) {
  if (has_seen(*seen, definition, head, task)) return seen->context;
  *seen = {seen->memory, 0, 0, nullptr};
  MemoryContextReset(seen->memory);
  MemoryContext callers = CurrentMemoryContext;
  MemoryContext scratch = AllocSetContextCreate(callers, "insula task context", ALLOCSET_DEFAULT_SIZES);
  MemoryContextSwitchTo(scratch);
  const Jsonb *context = merge_ancestors(tenant, definition, head, task, most);
  MemoryContextSwitchTo(seen->memory);
  if (context) seen->context = copy_of(context);
  MemoryContextSwitchTo(callers);
  MemoryContextDelete(scratch);
  seen->head = head;
  seen->task = task;
  return seen->context;
}

bool may_keep_contexts(const Definition &definition) {
  return static_cast<std::size_t>(definition.tasks) > many_patches;
}

void keep_context_for(const Tenant &tenant, const Definition &definition, std::int64_t head, const std::int32_t *tasks,
                      int count) {
  if (!may_keep_contexts(definition) || budget_is_spent()) return;
  std::int32_t best = -1;
  Ancestors of_best = {};
  std::int32_t before = -1;
  for (int i = 0, looked_at = 0; i < count && looked_at < most_looked_at; ++i) {
    if (before >= 0 && same_dependencies(definition.graph, before, tasks[i])) continue;
    before = tasks[i];
    ++looked_at;
    const Ancestors ancestors = ancestors_of(definition, tasks[i]);
    if (ancestors.count < many_patches || ancestors.count <= of_best.count) continue;
    best = tasks[i];
    of_best = ancestors;
  }
  if (best < 0) return;
  const KeptContext kept = kept_context(tenant, head, false);
  if (kept.task >= 0) {
    // Of two that are no beginning of each other one is kept, until the other has become twice as large.
    const bool begins = leave_out(definition, kept.task, of_best);
    if (begins ? of_best.count < many_patches : of_best.count < 2 * ancestors_of(definition, kept.task).count) return;
    if (!begins) of_best = ancestors_of(definition, best);
  }
  // All tasks whose patches it has must have ended.
  if (definition.has_rules && !have_ended(tenant, head, of_best)) return;
  SeenContext seen = see_contexts();
  Jsonb *context = context_of_task(tenant, definition, head, best, &seen, largest_kept);
  if (context) keep_context(tenant, head, {best, context});
  MemoryContextDelete(seen.memory);
}

Verdict judge_rule(const Tenant &tenant, const Definition &definition, std::int64_t head, std::int32_t task,
                   SeenContext *seen) {
  const TaskOptions &options = definition.options[task];
  if (!options.has_rule()) return Verdict::runs;
  const Subjects subjects = subjects_of(tenant, definition, head, task);
  bool asked = false;
  Jsonb *context = nullptr;
  std::size_t left = most_of_a_rule;
  const bool passes = core::rule_passes(
      std::span<const core::RuleNode>{options.rule, static_cast<std::size_t>(options.rule_size)},
      [&](std::int32_t subject) { return subjects.how(subject); },
      [&](std::int32_t condition) {
        if (!asked) context = context_of_task(tenant, definition, head, task, seen);
        asked = true;
        return context && condition_holds(options.conditions[condition], context, &left);
      });
  if (left == 0) return Verdict::too_costly;
  return passes ? Verdict::runs : Verdict::skipped;
}

}  // namespace insula
