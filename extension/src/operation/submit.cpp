// Submission: inserts rows of `work` in the caller's transaction.  Idempotency keys are taken
// first, in sorted order, so that two submissions of the same keys cannot deadlock.
#include <algorithm>

#include "core/ids.hpp"
#include "operation/operations.hpp"
#include "operation/task_context.hpp"
#include "shared/clock.hpp"
#include "spi/budget.hpp"
#include "storage/record.hpp"

namespace insula {

namespace {

// Bounds the time for which one call's numbers make the tenant's other submissions wait.
constexpr int max_rows = 1000000;

struct KeyedSubmission {
  const char *name;  // workflow:key
  int index;
};

bool by_name(const KeyedSubmission &a, const KeyedSubmission &b) {
  const int order = strcmp(a.name, b.name);
  return order < 0 || (order == 0 && a.index < b.index);
}

// The keys of a call, sorted, and their distinct names.
struct Keys {
  KeyedSubmission *keyed;
  int count;
  const char **names;
  int *firsts;  // by name: the first submission with it
  int distinct;
};

Keys keys_of(const SubmitRequest &request) {
  const auto room = static_cast<std::size_t>(request.count);
  Keys keys = {palloc_array_of<KeyedSubmission>(room), 0, palloc_array_of<const char *>(room),
               palloc_array_of<int>(room), 0};
  for (int i = 0; i < request.count; ++i)
    if (request.keys[i]) keys.keyed[keys.count++] = {psprintf("%s:%s", request.workflow, request.keys[i]), i};
  std::sort(keys.keyed, keys.keyed + keys.count, by_name);
  for (int i = 0; i < keys.count; ++i) {
    if (i > 0 && strcmp(keys.keyed[i].name, keys.keyed[i - 1].name) == 0) continue;
    keys.names[keys.distinct] = keys.keyed[i].name;
    keys.firsts[keys.distinct++] = keys.keyed[i].index;
  }
  return keys;
}

// Sets which submissions seem to be new, before any number or key is taken; false: none, and ids are
// those of the executions that hold the keys.
bool look_up(const Tenant &tenant, const SubmitRequest &request, const Keys &keys, std::int64_t *ids, bool *fresh) {
  auto *holders = palloc_array_of<std::int64_t>(static_cast<std::size_t>(keys.distinct));
  find_idempotency_keys(tenant, keys.names, keys.distinct, holders);
  for (int i = 0, name = -1; i < keys.count; ++i) {
    if (i == 0 || strcmp(keys.keyed[i].name, keys.keyed[i - 1].name) != 0) ++name;
    const int index = keys.keyed[i].index;
    ids[index] = holders[name];
    fresh[index] = holders[name] == 0 && index == keys.firsts[name];
  }
  return std::find(fresh, fresh + request.count, true) != fresh + request.count;
}

// Decides which submissions are new: if the key is known, ids[i] becomes its execution and fresh[i]
// false.
void apply_idempotency(const Tenant &tenant, const Keys &keys, std::int64_t *ids, bool *fresh) {
  const auto room = static_cast<std::size_t>(keys.distinct);
  auto *firsts = palloc_array_of<std::int64_t>(room);
  auto *taken = palloc_array_of<bool>(room);
  auto *holders = palloc_array_of<std::int64_t>(room);
  for (int i = 0; i < keys.distinct; ++i) firsts[i] = ids[keys.firsts[i]];
  take_idempotency_keys(tenant, keys.names, firsts, keys.distinct, taken);
  find_idempotency_keys(tenant, keys.names, keys.distinct, holders);
  for (int i = 0, name = -1; i < keys.count; ++i) {
    if (i == 0 || strcmp(keys.keyed[i].name, keys.keyed[i - 1].name) != 0) ++name;
    const int index = keys.keyed[i].index;
    if (holders[name] == 0)
      ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
                      errmsg("could not submit because of a concurrent submission with the same idempotency key")));
    fresh[index] = taken[name] && ids[index] == holders[name];
    ids[index] = holders[name];
  }
}

// `place` is the input's index in a batch; -1: it is the only one.
Jsonb *checked_input(const Definition &definition, Jsonb *input, int place) {
  if (definition.param_count == 0) return input;
  StringInfoData problems;
  initStringInfo(&problems);
  Jsonb *complete = apply_params(definition, input, &problems);
  if (problems.len > 0)
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
             place < 0 ? errmsg("invalid input for workflow \"%s\"", definition.workflow)
                       : errmsg("invalid input for workflow \"%s\" in contexts[%d]", definition.workflow, place + 1),
             errdetail_internal("%s", problems.data)));
  return complete;
}

// Raises unless the queue has room for the new submissions; returns how many they are, and sets
// their inputs in `contexts`.
int admit(const Tenant &tenant, const Definition &definition, const SubmitRequest &request, const bool *fresh,
          Jsonb **contexts) {
  int count = 0;
  for (int i = 0; i < request.count; ++i)
    if (fresh[i]) contexts[count++] = checked_input(definition, request.contexts[i], request.count > 1 ? i : -1);
  check_queue_room(tenant, std::int64_t{count} * definition.tasks);
  return count;
}

// Opens the groups without dependencies: their elements are part of the submission, if they fit the budget.
void open_root_groups(const Tenant &tenant, std::int32_t number, const Submission &submission,
                      const NewExecutions &executions) {
  std::int64_t elements = 0;
  SeenContext seen = see_contexts();
  for (int i = 0; i < executions.count; ++i) {
    for (std::int32_t task = 0; task < definition_of(tenant, number).tasks; ++task) {
      const Definition &definition = definition_of(tenant, number);
      if (!definition.options[task].for_each || !definition.graph.of(task).empty()) continue;
      CHECK_FOR_INTERRUPTS();
      const FanOut group = {tenant, definition, executions.ids[i], task};
      if (budget_is_spent()) {
        const std::int64_t id = group.id();
        put_off_decisions(tenant, std::max(submission.now, submission.run_at), &id, 1);
        continue;
      }
      const Opened opened = open_group(group, submission.now, submission.run_at, &seen);
      elements += opened.elements;
      if (elements > max_rows)
        ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                        errmsg("one call can submit at most %d executions and tasks", max_rows)));
      if (opened.state == State::running) continue;
      TaskRow ended = ended_group(group, opened.state);
      settle(tenant, submission.now, &ended, 1);
    }
  }
}

void insert(const Tenant &tenant, const Definition &definition, const Submission &submission,
            const NewExecutions &executions) {
  const TaskPlan plan = {definition.keys, definition.dependencies, definition.priorities, definition.time_limits,
                         definition.tasks};
  if (is_single(definition)) return insert_single(tenant, submission, plan, executions);
  insert_graph(tenant, submission, plan, executions);
  if (definition.has_groups) open_root_groups(tenant, definition.number, submission, executions);
}

std::int64_t *global_ids(const Tenant &tenant, std::int64_t *ids, int count) {
  for (int i = 0; i < count; ++i) ids[i] = core::make_id(tenant.number, ids[i]);
  return ids;
}

}  // namespace

std::int64_t *submit(const Tenant &tenant, const SubmitRequest &request, MemoryContext result_memory) {
  const std::int32_t number = require_workflow(tenant, request.workflow);
  const Definition &definition = definition_of(tenant, number);

  const auto count = static_cast<std::size_t>(request.count);
  auto *ids = static_cast<std::int64_t *>(MemoryContextAlloc(result_memory, sizeof(std::int64_t) * (count + 1)));
  if (count == 0) return ids;
  // Tasks follow their execution by number; a single task is its execution.
  const std::int64_t stride = is_single(definition) ? 1 : definition.tasks + 1;
  if (stride * request.count > max_rows)
    ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                    errmsg("one call can submit at most %d executions and tasks", max_rows)));
  bool *fresh = request.fresh ? request.fresh : palloc_array_of<bool>(count);
  std::fill(fresh, fresh + count, true);
  auto **contexts = palloc_array_of<Jsonb *>(count);
  const bool keyed =
      request.keys && std::any_of(request.keys, request.keys + count, [](const char *key) { return key != nullptr; });
  const Keys keys_given = keyed ? keys_of(request) : Keys{};
  if (keyed && !look_up(tenant, request, keys_given, ids, fresh)) return global_ids(tenant, ids, request.count);
  // A refused submission takes no numbers, nor does one whose keys are all known.
  int new_count = admit(tenant, definition, request, fresh, contexts);
  take_execution_numbers(tenant, stride, request.count, ids);
  if (keyed) {
    std::fill(fresh, fresh + count, true);
    apply_idempotency(tenant, keys_given, ids, fresh);
    new_count = admit(tenant, definition, request, fresh, contexts);
  }

  auto *new_ids = palloc_array_of<std::int64_t>(count);
  auto **keys = request.keys ? palloc_array_of<const char *>(count) : nullptr;
  for (std::size_t i = 0, n = 0; i < count; ++i) {
    if (!fresh[i]) continue;
    new_ids[n] = ids[i];
    if (keys) keys[n] = request.keys[i];
    ++n;
  }
  const Submission submission = {number,         request.priority,    clock_now(),          request.run_at,
                                 request.parent, request.parent_head, definition.timeout_us};
  std::int64_t *limits = nullptr;
  if (definition.limit.max > 0) {
    limits = palloc_array_of<std::int64_t>(count);
    for (int i = 0; i < new_count; ++i) limits[i] = limit_key_of(definition, contexts[i]);
  }
  if (new_count > 0) insert(tenant, definition, submission, {new_ids, contexts, keys, limits, new_count});
  return global_ids(tenant, ids, request.count);
}

}  // namespace insula
