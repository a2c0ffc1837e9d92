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
#include "operation/task_context.hpp"
#include "shared/clock.hpp"
#include "spi/budget.hpp"

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
  make_ready(graph.tenant, graph.now, ids_of(graph, tasks), tasks.count);
}

// How tasks have been decided.
struct Decided {
  Tasks ready;
  Tasks opened;
  Tasks refused;
  Wave ended;
};

void decide_one(const Graph &graph, std::int32_t task, SeenContext *seen, Decided &decided) {
  const bool on_failure = graph.definition.options[task].on_failure;
  switch (on_failure ? (has_failed(graph) ? Verdict::runs : Verdict::skipped)
                     : judge_rule(graph.tenant, graph.definition, graph.head, task, seen)) {
    case Verdict::skipped:
      decided.refused.items[decided.refused.count++] = task;
      return;
    case Verdict::too_costly:
      end_group_row(graph.tenant, graph.id_of(task), State::failed, graph.now, nullptr,
                    "trigger_rule: its conditions would look at too much of the context");
      return add_ended(decided.ended, task, State::failed);
    case Verdict::runs:
      break;
  }
  if (!graph.definition.options[task].for_each) {
    decided.ready.items[decided.ready.count++] = task;
    return;
  }
  const Opened opened = open_group({graph.tenant, graph.definition, graph.head, task}, graph.now, graph.now, seen);
  if (opened.state != State::running) return add_ended(decided.ended, task, opened.state);
  decided.opened.items[decided.opened.count++] = task;
}

// What is known of the tasks that are to be settled: they have ended, or wait for nothing but a decision, which was
// put off or is new.
enum class Given { ended, open, put_off };

// A decision may follow for each such part of a large context.
constexpr std::size_t worth_another = std::size_t{1} << 20;

// Whether a task is decided beyond the budget: so that a large context is not merged again for each, some that need the
// same one are, in as much time as it took to merge that and decide the first.
bool shares_context(const Graph &graph, const SeenContext &seen, std::int32_t task, int done, std::int64_t began,
                    std::int64_t first) {
  return has_seen(seen, graph.definition, graph.head, task) && seen.context &&
         VARSIZE(seen.context) / worth_another >= static_cast<std::size_t>(done) && passing_time() - began < 2 * first;
}

// Runs or skips decided tasks that wait for nothing more; returns those that have ended by it.  Those that
// do not fit the budget are put off, or stay so; the first of those that were is decided in any case.
Wave decide(const Graph &graph, Tasks open, Given given) {
  Decided decided = {no_tasks(graph), no_tasks(graph), no_tasks(graph), no_wave(graph)};
  SeenContext seen = see_contexts();
  MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "insula rule", ALLOCSET_DEFAULT_SIZES);
  const std::int64_t began = passing_time();
  std::int64_t first = 0;
  int done = 0;
  for (; done < open.count; ++done) {
    CHECK_FOR_INTERRUPTS();
    const bool in_any_case = given == Given::put_off && done == 0;
    if (budget_is_spent() && !in_any_case && !shares_context(graph, seen, open.items[done], done, began, first)) break;
    MemoryContext before = MemoryContextSwitchTo(scratch);
    decide_one(graph, open.items[done], &seen, decided);
    MemoryContextSwitchTo(before);
    MemoryContextReset(scratch);
    if (done == 0) first = passing_time() - began;
  }
  MemoryContextDelete(scratch);
  MemoryContextDelete(seen.memory);
  const Tasks left = {open.items + done, open.count - done};
  if (left.count > 0 && given != Given::put_off)
    put_off_decisions(graph.tenant, graph.now, ids_of(graph, left), left.count);
  make_all_ready(graph, decided.ready);
  for (const Tasks &running : {decided.ready, decided.opened})
    keep_context_for(graph.tenant, graph.definition, graph.head, running.items, running.count);
  if (decided.refused.count == 0) return decided.ended;
  int skipped;
  const std::int32_t *tasks =
      skip_rows(graph.tenant, graph.now, ids_of(graph, decided.refused), decided.refused.count, &skipped);
  for (int i = 0; i < skipped; ++i) add_ended(decided.ended, tasks[i], State::skipped);
  return decided.ended;
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
    open.items =
        count_down_decided(graph.tenant, State::pending, changes.ids, changes.counts, changes.count, &open.count);
  return open;
}

void close_one(const Graph &graph, std::int32_t task, Wave &wave) {
  add_ended(wave, task, close_group({graph.tenant, graph.definition, graph.head, task}, graph.now));
}

// Closes groups whose last elements have ended; those that do not fit the budget are put off.
void close_groups(const Graph &graph, const std::int32_t *elements, Wave &wave) {
  Changes changes = no_changes();
  for (std::int32_t task = 0; task < graph.definition.tasks; ++task)
    if (elements[task]) add_change(changes, graph.id_of(task), elements[task]);
  if (changes.count == 0) return;
  int closed;
  std::int32_t *tasks =
      count_down_decided(graph.tenant, State::running, changes.ids, changes.counts, changes.count, &closed);
  int done = 0;
  for (; done < closed && !budget_is_spent(); ++done) close_one(graph, tasks[done], wave);
  const Tasks left = {tasks + done, closed - done};
  if (left.count > 0) put_off_decisions(graph.tenant, graph.now, ids_of(graph, left), left.count);
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

void add_all(Tasks &to, const Tasks &from) {
  std::copy(from.items, from.items + from.count, to.items + to.count);
  to.count += from.count;
}

// Groups whose elements have ended are closed, all others are decided.
Wave open_wave(const Graph &graph, const TaskRow *rows, int count, Given given) {
  Wave wave = no_wave(graph);
  Tasks open = no_tasks(graph);
  Tasks left = no_tasks(graph);
  for (int i = 0; i < count; ++i) {
    if (rows[i].state == State::pending)
      open.items[open.count++] = rows[i].task;
    else if (wave.count() == 0 || !budget_is_spent())
      close_one(graph, rows[i].task, wave);
    else
      left.items[left.count++] = rows[i].task;
  }
  if (given == Given::put_off && wave.count() > 0 && budget_is_spent()) return wave;
  if (left.count > 0 && given != Given::put_off)
    put_off_decisions(graph.tenant, graph.now, ids_of(graph, left), left.count);
  if (open.count == 0) return wave;
  const Wave decided = decide(graph, open, given);
  add_all(wave.completed, decided.completed);
  add_all(wave.missed, decided.missed);
  return wave;
}

// Settles tasks of one execution: adds the dependants that are only counted down to `dependants`, and decides or
// skips the others.  Returns how many tasks have ended in all.
int settle_tasks(const Graph &graph, const TaskRow *rows, int count, Given given, Changes &dependants) {
  auto *counts = static_cast<std::int32_t *>(palloc0(sizeof(std::int32_t) * graph.tasks()));
  int gone = 0;
  Wave wave = given == Given::ended ? first_wave(graph, rows, count) : open_wave(graph, rows, count, given);
  while (wave.count() > 0) {
    const Tasks skipped = skip_below(graph, wave.missed);
    gone += wave.count() + skipped.count;
    count_dependants(graph, wave.completed, false, counts);
    if (!graph.definition.has_rules && !graph.definition.has_groups) break;
    // A wave takes memory by the size of the graph, and there can be as many as there are tasks.
    charge(graph.tasks() * 16);
    wave = decide(graph, open_decided(graph, wave, skipped), Given::open);
  }
  for (std::int32_t task = 0; task < graph.definition.tasks; ++task)
    if (counts[task]) add_change(dependants, graph.id_of(task), counts[task]);
  return gone;
}

void finish_execution(const Tenant &tenant, TimestampTz now, const HeadProgress &head) {
  const TaskResults results = task_results(tenant, head.id, head.span, max_merged_size);
  const Definition &definition = definition_of(tenant, head.definition);
  const char *error = failure_of(definition, results.items, results.count);
  Jsonb *final_context = final_context_of(definition, head, results);
  if (!final_context && !error) error = "the final context would be too large";
  const State state = error ? State::failed : State::completed;
  end_execution(tenant, head, state, now, final_context, error);
  if (final_context) note_conflicts(tenant, now, definition, head.id, results.items, results.count);
  if (head.parent) child_ended(tenant, now, head.parent, head.id, {state, final_context, error});
}

// Tells the execution that waits for a single task how that has ended.
void tell_parent(const Tenant &tenant, TimestampTz now, const TaskRow &task) {
  ExecutionRow row;
  if (!read_execution(tenant, task.id, &row)) return;
  const TaskResult result = {0,           row.state,      row.output,      row.error,
                             row.attempt, row.started_at, row.finished_at, row.worker};
  const Definition &definition = definition_of(tenant, row.definition);
  child_ended(tenant, now, task.parent, task.id,
              {row.state, final_context_of(definition, row.input, &result, 1), failure_of(definition, &result, 1)});
}

// What the ends of single tasks are to executions that wait for them; it is put off where it does not fit the budget.
void tell_parents(const Tenant &tenant, TimestampTz now, const TaskRow *tasks, int count, bool of_child) {
  auto *left = palloc_array_of<std::int64_t>(static_cast<std::size_t>(count));
  int left_count = 0;
  MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "insula settle single", ALLOCSET_SMALL_SIZES);
  for (int i = 0; i < count; ++i) {
    if (!tasks[i].parent) continue;
    if ((i > 0 || of_child) && budget_is_spent()) {
      left[left_count++] = tasks[i].id;
      continue;
    }
    MemoryContext before = MemoryContextSwitchTo(scratch);
    tell_parent(tenant, now, tasks[i]);
    MemoryContextSwitchTo(before);
    MemoryContextReset(scratch);
  }
  MemoryContextDelete(scratch);
  if (left_count > 0) put_off_decisions(tenant, now, left, left_count);
}

bool by_execution(const TaskRow &a, const TaskRow &b) { return a.head < b.head || (a.head == b.head && a.id < b.id); }

// Ends executions whose tasks have all ended.
// Those that do not fit the budget are put off, or stay so; with `one`, the first one ends in any case.
void finish_executions(const Tenant &tenant, TimestampTz now, const HeadProgress *heads, int count, bool taken_up,
                       bool one) {
  auto *left = palloc_array_of<std::int64_t>(static_cast<std::size_t>(count));
  int left_count = 0;
  for (int i = 0; i < count; ++i) {
    if (heads[i].remaining != 0) continue;
    if (one || !budget_is_spent())
      finish_execution(tenant, now, heads[i]);
    else
      left[left_count++] = heads[i].id;
    one = false;
  }
  if (left_count > 0 && !taken_up) put_off_decisions(tenant, now, left, left_count);
}

// Counts down the dependants that are under no decision; `keep`: their contexts may be worth keeping.
void make_counted_down_ready(const Tenant &tenant, TimestampTz now, const Changes &dependants, bool keep) {
  int count;
  const ReadyTask *ready = count_down(tenant, now, dependants.ids, dependants.counts, dependants.count, &count);
  if (!keep) return;
  auto *tasks = palloc_array_of<std::int32_t>(static_cast<std::size_t>(count));
  for (int first = 0; first < count;) {
    const ReadyTask &of = ready[first];
    int last = first;
    for (; last < count && ready[last].head == of.head; ++last)
      tasks[last - first] = static_cast<std::int32_t>(ready[last].id - of.head - 1);
    keep_context_for(tenant, definition_of(tenant, of.definition), of.head, tasks, last - first);
    first = last;
  }
}

void settle_graphs(const Tenant &tenant, TimestampTz now, const TaskRow *rows, int count, Given given, bool one) {
  Changes dependants = no_changes();
  Changes heads = no_changes();
  bool keep = false;
  MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "insula settle", ALLOCSET_DEFAULT_SIZES);
  for (int first = 0; first < count;) {
    int last = first;
    while (last < count && rows[last].head == rows[first].head) ++last;
    MemoryContext before = MemoryContextSwitchTo(scratch);
    const Graph graph = {tenant, now, definition_of(tenant, rows[first].definition), rows[first].head};
    keep = keep || may_keep_contexts(graph.definition);
    const int gone = settle_tasks(graph, rows + first, last - first, given, dependants);
    MemoryContextSwitchTo(before);
    MemoryContextReset(scratch);
    if (gone) add_change(heads, rows[first].head, gone);
    first = last;
  }
  if (dependants.count) make_counted_down_ready(tenant, now, dependants, keep);
  if (heads.count == 0) return;
  int found;
  const HeadProgress *progress = head_progress(tenant, heads.ids, heads.counts, heads.count, &found);
  finish_executions(tenant, now, progress, found, false, one);
}

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

Jsonb *final_context_of(const Definition &definition, const HeadProgress &head, const TaskResults &results) {
  charge(results.bytes + stored_size(head.input));
  if (results.bytes > max_merged_size) return nullptr;
  return final_context_of(definition, head.input ? datum_jsonb(head.input) : nullptr, results.items, results.count);
}

void settle(const Tenant &tenant, TimestampTz now, TaskRow *ended, int count, bool of_child) {
  std::sort(ended, ended + count, by_execution);
  int singles = 0;
  while (singles < count && ended[singles].head == 0) ++singles;
  tell_parents(tenant, now, ended, singles, of_child);
  if (singles < count) settle_graphs(tenant, now, ended + singles, count - singles, Given::ended, !of_child);
}

void settle_open(const Tenant &tenant, TimestampTz now, const TaskRow *open, int count) {
  settle_graphs(tenant, now, open, count, Given::open, true);
}

bool settle_put_off(const Tenant &tenant, TimestampTz now, const TaskRow *rows, int count, LockWait wait) {
  const TaskRow &first = rows[0];
  if (first.head) {
    settle_graphs(tenant, now, rows, count, Given::put_off, true);
    return true;
  }
  if (has_ended(first.state)) {
    if (first.task >= 0 && first.parent) tell_parent(tenant, now, first);
    return cancel_open_children(tenant, now, first.id, wait);
  }
  const std::int32_t none = 0;
  int found;
  const HeadProgress *progress = head_progress(tenant, &first.id, &none, 1, &found);
  finish_executions(tenant, now, progress, found, true, true);
  return true;
}

}  // namespace insula
