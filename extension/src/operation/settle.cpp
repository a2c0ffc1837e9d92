// Settling: the consequences of tasks' ends, in the same transaction.  Dependants become ready or
// are skipped, executions end.  A task without a trigger rule is skipped as soon as a dependency
// does not complete; a task with a rule waits until all dependencies have ended.  Tasks with a rule
// or with for_each are decided here, one by one; all others are only counted down.  The caller
// holds the executions' rows, except those of single tasks.
#include <algorithm>

#include "context/merge_patch.hpp"
#include "context/text_size.hpp"
#include "core/ids.hpp"
#include "operation/operations.hpp"
#include "shared/shared.hpp"

namespace insula {

namespace {

// Rows to change, in growing arrays, added in ascending order of ids.
struct Changes {
  std::int64_t *ids;
  std::int32_t *counts;
  int count;
  int room;
  MemoryContext memory;
};

Changes no_changes() { return {nullptr, nullptr, 0, 0, CurrentMemoryContext}; }

void add_change(Changes &changes, std::int64_t id, std::int32_t n) {
  if (changes.count == changes.room) {
    const int room = changes.room ? changes.room * 2 : 64;
    MemoryContext before = MemoryContextSwitchTo(changes.memory);
    auto *ids = palloc_array_of<std::int64_t>(static_cast<std::size_t>(room));
    auto *counts = palloc_array_of<std::int32_t>(static_cast<std::size_t>(room));
    MemoryContextSwitchTo(before);
    std::copy(changes.ids, changes.ids + changes.count, ids);
    std::copy(changes.counts, changes.counts + changes.count, counts);
    changes.ids = ids;
    changes.counts = counts;
    changes.room = room;
  }
  changes.ids[changes.count] = id;
  changes.counts[changes.count++] = n;
}

// An execution with ended tasks; it is settled in waves.
struct Graph {
  const Tenant &tenant;
  TimestampTz now;
  const Definition &definition;
  std::int64_t head;

  std::size_t tasks() const { return static_cast<std::size_t>(definition.tasks); }
  std::int64_t id_of(std::int32_t task) const { return head + 1 + task; }
};

// A set of declared positions.
struct Tasks {
  std::int32_t *items;
  int count;
};

Tasks no_tasks(const Graph &graph) { return {palloc_array_of<std::int32_t>(graph.tasks()), 0}; }

std::int64_t *ids_of(const Graph &graph, Tasks tasks) {
  std::sort(tasks.items, tasks.items + tasks.count);
  auto *ids = palloc_array_of<std::int64_t>(static_cast<std::size_t>(tasks.count));
  for (int i = 0; i < tasks.count; ++i) ids[i] = graph.id_of(tasks.items[i]);
  return ids;
}

// Skips all direct and indirect dependants of tasks that did not complete; the walk ends at tasks
// with a rule.
Tasks skip_below(const Graph &graph, Tasks missed) {
  if (missed.count == 0) return missed;
  auto *seen = static_cast<bool *>(palloc0(graph.tasks()));
  Tasks stack = no_tasks(graph);
  Tasks below = no_tasks(graph);
  const auto visit = [&](std::int32_t task) {
    for (std::int32_t dependant : graph.definition.dependants.of(task)) {
      if (seen[dependant] || graph.definition.options[dependant].has_rule()) continue;
      seen[dependant] = true;
      stack.items[stack.count++] = dependant;
      below.items[below.count++] = dependant;
    }
  };
  for (int i = 0; i < missed.count; ++i) visit(missed.items[i]);
  while (stack.count > 0) visit(stack.items[--stack.count]);
  if (below.count == 0) return below;
  Tasks skipped = {};
  skipped.items = skip_rows(graph.tenant, graph.now, ids_of(graph, below), below.count, &skipped.count);
  return skipped;
}

// Counts, for each dependant, its dependencies in `ended`.
void count_dependants(const Graph &graph, Tasks ended, bool decided, std::int32_t *counts) {
  for (int i = 0; i < ended.count; ++i)
    for (std::int32_t dependant : graph.definition.dependants.of(ended.items[i]))
      if (graph.definition.options[dependant].is_decided() == decided) ++counts[dependant];
}

// Whether the execution fails, once all of it has ended but the task that runs then.
bool has_failed(const Graph &graph) {
  Tasks all = no_tasks(graph);
  while (all.count < graph.definition.tasks) all.items[all.count] = all.count, ++all.count;
  const State *states = task_states(graph.tenant, ids_of(graph, all), all.count);
  auto *results = static_cast<TaskResult *>(palloc0(sizeof(TaskResult) * graph.tasks()));
  for (std::int32_t task = 0; task < all.count; ++task) {
    results[task].task = task;
    results[task].state = states[task];
  }
  return failure_of(graph.definition, results, all.count) != nullptr;
}

bool passes(const Graph &graph, std::int32_t task) {
  const TaskOptions &options = graph.definition.options[task];
  if (!options.has_rule()) return true;
  if (options.on_failure) return has_failed(graph);
  const auto waits_for = graph.definition.graph.of(task);
  Tasks subjects = no_tasks(graph);
  for (std::int32_t dependency : waits_for) subjects.items[subjects.count++] = dependency;
  const std::int64_t *ids = ids_of(graph, subjects);
  const State *states = task_states(graph.tenant, ids, subjects.count);
  Jsonb *context = nullptr;
  return core::rule_passes(
      std::span<const core::RuleNode>{options.rule, static_cast<std::size_t>(options.rule_size)},
      [&](std::int32_t subject) {
        const auto at = std::lower_bound(subjects.items, subjects.items + subjects.count, subject) - subjects.items;
        return states[at] == State::completed ? core::Ended::completed
               : states[at] == State::failed  ? core::Ended::failed
                                              : core::Ended::skipped;
      },
      [&](std::int32_t condition) {
        if (!context) context = context_of_task(graph.tenant, graph.definition, graph.head, task);
        return context && condition_holds(options.conditions[condition], context);
      });
}

// Tasks that ended together, whose dependants are not settled yet.
struct Wave {
  Tasks completed;
  Tasks missed;

  int count() const { return completed.count + missed.count; }
};

Wave no_wave(const Graph &graph) { return {no_tasks(graph), no_tasks(graph)}; }

void add_ended(Wave &wave, std::int32_t task, State state) {
  Tasks &fate = state == State::completed ? wave.completed : wave.missed;
  fate.items[fate.count++] = task;
}

void make_all_ready(const Graph &graph, Tasks tasks) {
  if (tasks.count == 0) return;
  int count;
  const std::int32_t *keys = make_ready(graph.tenant, graph.now, ids_of(graph, tasks), tasks.count, &count);
  for (int i = 0; i < count; ++i) announce_ready(graph.tenant.number, keys[i]);
}

// Runs or skips decided tasks that wait for nothing more; returns those that have ended by it.
Wave decide(const Graph &graph, Tasks open) {
  Tasks ready = no_tasks(graph);
  Tasks refused = no_tasks(graph);
  Wave wave = no_wave(graph);
  MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "insula rule", ALLOCSET_DEFAULT_SIZES);
  for (int i = 0; i < open.count; ++i) {
    CHECK_FOR_INTERRUPTS();
    const std::int32_t task = open.items[i];
    MemoryContext before = MemoryContextSwitchTo(scratch);
    const bool runs = passes(graph, task);
    MemoryContextSwitchTo(before);
    MemoryContextReset(scratch);
    if (!runs) {
      refused.items[refused.count++] = task;
    } else if (!graph.definition.options[task].for_each) {
      ready.items[ready.count++] = task;
    } else {
      const Opened opened = open_group({graph.tenant, graph.definition, graph.head, task}, graph.now, graph.now);
      if (opened.state != State::running) add_ended(wave, task, opened.state);
    }
  }
  MemoryContextDelete(scratch);
  make_all_ready(graph, ready);
  if (refused.count == 0) return wave;
  int skipped;
  const std::int32_t *tasks = skip_rows(graph.tenant, graph.now, ids_of(graph, refused), refused.count, &skipped);
  for (int i = 0; i < skipped; ++i) add_ended(wave, tasks[i], State::skipped);
  return wave;
}

// The decided tasks whose last open dependency is among the given ones.
Tasks open_decided(const Graph &graph, const Wave &ended, Tasks skipped) {
  auto *counts = static_cast<std::int32_t *>(palloc0(sizeof(std::int32_t) * graph.tasks()));
  count_dependants(graph, ended.completed, true, counts);
  count_dependants(graph, ended.missed, true, counts);
  count_dependants(graph, skipped, true, counts);
  Changes changes = no_changes();
  for (std::int32_t task = 0; task < graph.definition.tasks; ++task)
    if (counts[task]) add_change(changes, graph.id_of(task), counts[task]);
  Tasks open = {};
  if (changes.count)
    open.items = count_down_rules(graph.tenant, changes.ids, changes.counts, changes.count, &open.count);
  return open;
}

// Closes groups whose last elements have ended.
void close_groups(const Graph &graph, const std::int32_t *elements, Wave &wave) {
  Changes changes = no_changes();
  for (std::int32_t task = 0; task < graph.definition.tasks; ++task)
    if (elements[task]) add_change(changes, graph.id_of(task), elements[task]);
  if (changes.count == 0) return;
  int closed;
  const std::int32_t *tasks = count_down_groups(graph.tenant, changes.ids, changes.counts, changes.count, &closed);
  for (int i = 0; i < closed; ++i)
    add_ended(wave, tasks[i], close_group({graph.tenant, graph.definition, graph.head, tasks[i]}, graph.now));
}

Wave first_wave(const Graph &graph, const TaskRow *rows, int count) {
  Wave wave = no_wave(graph);
  auto *elements = static_cast<std::int32_t *>(palloc0(sizeof(std::int32_t) * graph.tasks()));
  for (int i = 0; i < count; ++i) {
    if (rows[i].element >= 0)
      ++elements[rows[i].task];
    else
      add_ended(wave, rows[i].task, rows[i].state);
  }
  if (graph.definition.has_groups) close_groups(graph, elements, wave);
  return wave;
}

// Settles the tasks of one execution that have just ended: adds the dependants that are only
// counted down to `dependants`, and decides or skips the others.  Returns how many tasks have ended
// in all.
int settle_tasks(const Tenant &tenant, TimestampTz now, const TaskRow *rows, int count, Changes &dependants) {
  const Graph graph = {tenant, now, definition_of(tenant, rows[0].definition), rows[0].head};
  auto *counts = static_cast<std::int32_t *>(palloc0(sizeof(std::int32_t) * graph.tasks()));
  int gone = 0;
  for (Wave wave = first_wave(graph, rows, count); wave.count() > 0;) {
    const Tasks skipped = skip_below(graph, wave.missed);
    gone += wave.count() + skipped.count;
    count_dependants(graph, wave.completed, false, counts);
    if (!graph.definition.has_rules && !graph.definition.has_groups) break;
    wave = decide(graph, open_decided(graph, wave, skipped));
  }
  for (std::int32_t task = 0; task < graph.definition.tasks; ++task)
    if (counts[task]) add_change(dependants, graph.id_of(task), counts[task]);
  return gone;
}

void finish_execution(const Tenant &tenant, TimestampTz now, const HeadProgress &head) {
  int count;
  const TaskResult *results = task_results(tenant, head.id, head.span, &count);
  const Definition &definition = definition_of(tenant, head.definition);
  const char *error = failure_of(definition, results, count);
  Jsonb *final_context = final_context_of(definition, head.input, results, count);
  if (!final_context && !error) error = "the final context would be too large";
  const State state = error ? State::failed : State::completed;
  end_execution(tenant, head.id, state, now, final_context, error);
  if (final_context) note_conflicts(tenant, now, definition, head.id, results, count);
  note_end(tenant, head.id, head.definition, state);
  if (head.parent) child_ended(tenant, now, head.parent, head.id, {state, final_context, error});
}

void finish_single(const Tenant &tenant, TimestampTz now, const TaskRow &task) {
  note_end(tenant, task.id, task.definition, task.state);
  if (!task.parent) return;
  ExecutionRow row;
  if (!read_execution(tenant, task.id, &row)) return;
  const TaskResult result = {0,           row.state,      row.output,      row.error,
                             row.attempt, row.started_at, row.finished_at, row.worker};
  const Definition &definition = definition_of(tenant, row.definition);
  child_ended(tenant, now, task.parent, task.id,
              {row.state, final_context_of(definition, row.input, &result, 1), failure_of(definition, &result, 1)});
}

bool by_execution(const TaskRow &a, const TaskRow &b) { return a.head < b.head || (a.head == b.head && a.id < b.id); }

}  // namespace

bool is_handled(const Definition &definition, const TaskResult *results, std::int32_t task) {
  for (std::int32_t dependant : definition.dependants.of(task)) {
    const State state = results[dependant].state;
    const TaskOptions &options = definition.options[dependant];
    if (options.has_rule() && !options.on_failure && (state == State::completed || state == State::failed)) return true;
  }
  return false;
}

const char *failure_of(const Definition &definition, const TaskResult *results, int count) {
  for (int i = 0; i < count; ++i) {
    if (results[i].state != State::failed || definition.options[results[i].task].on_failure) continue;
    if (definition.has_rules && is_handled(definition, results, results[i].task)) continue;
    return psprintf("task \"%s\" failed: %s", definition.ids[results[i].task],
                    results[i].error ? results[i].error : "");
  }
  return nullptr;
}

Jsonb *final_context_of(const Definition &definition, Jsonb *input, const TaskResult *results, int count) {
  auto **patches = static_cast<Jsonb **>(palloc0(sizeof(Jsonb *) * static_cast<Size>(definition.tasks)));
  for (int i = 0; i < count; ++i)
    if (results[i].state == State::completed) patches[definition.rank[results[i].task]] = results[i].output;
  if (total_size(patches, definition.tasks) > max_merged_size) return nullptr;
  Jsonb *context = merge_patches(input, patches, static_cast<std::size_t>(definition.tasks));
  return is_too_long_as_text(context) ? nullptr : context;
}

void settle(const Tenant &tenant, TimestampTz now, TaskRow *ended, int count) {
  std::sort(ended, ended + count, by_execution);
  int first = 0;
  for (; first < count && ended[first].head == 0; ++first) finish_single(tenant, now, ended[first]);
  if (first == count) return;

  Changes dependants = no_changes();
  Changes heads = no_changes();
  MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "insula settle", ALLOCSET_DEFAULT_SIZES);
  while (first < count) {
    int last = first;
    while (last < count && ended[last].head == ended[first].head) ++last;
    MemoryContext before = MemoryContextSwitchTo(scratch);
    const int gone = settle_tasks(tenant, now, ended + first, last - first, dependants);
    MemoryContextSwitchTo(before);
    MemoryContextReset(scratch);
    if (gone) add_change(heads, ended[first].head, gone);
    first = last;
  }
  if (dependants.count) {
    int ready;
    const std::int32_t *keys = count_down(tenant, now, dependants.ids, dependants.counts, dependants.count, &ready);
    for (int i = 0; i < ready; ++i) announce_ready(tenant.number, keys[i]);
  }
  if (heads.count == 0) return;
  int found;
  const HeadProgress *progress = head_progress(tenant, heads.ids, heads.counts, heads.count, &found);
  for (int i = 0; i < found; ++i)
    if (progress[i].remaining == 0) finish_execution(tenant, now, progress[i]);
}

}  // namespace insula
