// Completion, failure, deferral and cancellation; what follows from them is in settle.cpp.
// Lock order: executions' rows ascending, then tasks' rows ascending; whoever ends a task of
// a larger execution holds its execution's row, so that the counts below it move one
// transaction at a time.
#include <algorithm>

#include "context/merge_patch.hpp"
#include "core/ids.hpp"
#include "operation/operations.hpp"
#include "shared/shared.hpp"
#include "storage/random.hpp"
#include "storage/record.hpp"

namespace insula {

namespace {

// Locks the executions of the given tasks, except single ones; sorted and once each.
void lock_executions_of(const Tenant &tenant, const TaskRow *tasks, int count) {
  auto *heads = palloc_array_of<std::int64_t>(static_cast<std::size_t>(count));
  int heads_count = 0;
  for (int i = 0; i < count; ++i)
    if (tasks[i].head) heads[heads_count++] = tasks[i].head;
  std::sort(heads, heads + heads_count);
  heads_count = static_cast<int>(std::unique(heads, heads + heads_count) - heads);
  int locked;
  if (heads_count) (void)lock_executions(tenant, heads, heads_count, false, &locked);
}

Jsonb *attempt_detail(const TaskRow &task, const char *error) {
  JsonObject detail = begin_object();
  add_member(detail, "attempt", std::int64_t{task.attempt});
  add_member(detail, "worker", task.worker);
  add_time(detail, "started_at", task.started_at);
  add_member(detail, "error", error);
  return end_object(detail);
}

const TaskOptions &options_of(const Tenant &tenant, const TaskRow &task) {
  return definition_of(tenant, task.definition).options[task.task];
}

}  // namespace

bool runs_again(const Tenant &tenant, const TaskRow &task, const char *error) {
  const TaskOptions &options = options_of(tenant, task);
  return core::retries(options.retry, options.patterns, task.attempt, error);
}

void complete(const Tenant &tenant, const std::int64_t *ids, const std::int64_t *leases, Jsonb *const *patches,
              int count, bool *completed) {
  const auto room = static_cast<std::size_t>(count);
  auto *order = palloc_array_of<int>(room);
  auto *sorted_ids = palloc_array_of<std::int64_t>(room);
  auto *sorted_leases = palloc_array_of<std::int64_t>(room);
  auto **sorted_patches = palloc_array_of<Jsonb *>(room);
  for (int i = 0; i < count; ++i) order[i] = i;
  std::sort(order, order + count, [ids](int a, int b) { return ids[a] < ids[b] || (ids[a] == ids[b] && a < b); });
  for (int i = 0; i < count; ++i) {
    sorted_ids[i] = ids[order[i]];
    sorted_leases[i] = leases[order[i]];
    sorted_patches[i] = patches[order[i]];
    completed[i] = false;
  }
  int found;
  const TaskRow *tasks = peek_tasks(tenant, sorted_ids, count, &found);
  lock_executions_of(tenant, tasks, found);
  // The locks may have taken a while: nothing ends before what it waited for.
  const TimestampTz now = GetCurrentTimestamp();

  int written;
  auto *entries = palloc_array_of<int>(room);
  TaskRow *ended = complete_rows(tenant, now, sorted_ids, sorted_leases, sorted_patches, count, entries, &written);
  for (int i = 0; i < written; ++i) completed[order[entries[i]]] = true;
  for (int i = 0; i < written; ++i) note_settled(tenant, ended[i].id);
  if (written) {
    mark_permit_freed(tenant);
    settle(tenant, now, ended, written);
  }
}

bool fail_for_good(const Tenant &tenant, TimestampTz now, const TaskRow &task, const char *error) {
  if (!fail_row(tenant, now, task.id, task.lease, error)) return false;
  note_settled(tenant, task.id);
  mark_permit_freed(tenant);
  TaskRow ended = task;
  ended.state = State::failed;
  settle(tenant, now, &ended, 1);
  return true;
}

bool retry_later(const Tenant &tenant, TimestampTz now, const TaskRow &task, const char *error) {
  const TimestampTz at = now + core::retry_delay_us(options_of(tenant, task).retry, task.attempt, random_fraction());
  if (!retry_row(tenant, at, task.id, task.lease, error)) return false;
  note_settled(tenant, task.id);
  mark_permit_freed(tenant);
  insert_event(tenant, task.execution(), task.id, "task_attempt_failed", now, attempt_detail(task, error));
  mark_due(tenant.number, at);
  return true;
}

const char *fail(const Tenant &tenant, TimestampTz now, std::int64_t id, std::int64_t lease, const char *error,
                 bool retryable) {
  int found;
  const TaskRow *task = peek_tasks(tenant, &id, 1, &found);
  if (found == 0 || task->state != State::running || task->lease != lease) return nullptr;
  if (retryable && runs_again(tenant, *task, error))
    return retry_later(tenant, now, *task, error) ? state_name(State::ready) : nullptr;
  lock_executions_of(tenant, task, 1);
  return fail_for_good(tenant, now, *task, error) ? state_name(State::failed) : nullptr;
}

bool defer(const Tenant &tenant, std::int64_t id, std::int64_t lease, TimestampTz until, Jsonb *patch) {
  int found;
  const TaskRow *task = peek_tasks(tenant, &id, 1, &found);
  if (found == 0 || !defer_row(tenant, until, id, lease, patch)) return false;
  JsonObject detail = begin_object();
  add_member(detail, "worker", task->worker);
  add_time(detail, "until", until);
  insert_event(tenant, task->execution(), id, "task_deferred", GetCurrentTimestamp(), end_object(detail));
  note_settled(tenant, id);
  mark_due(tenant.number, until);
  mark_permit_freed(tenant);
  return true;
}

Change cancel(const Tenant &tenant, std::int64_t execution, TimestampTz now, const char *reason) {
  HeadProgress head;
  if (!cancel_execution_row(tenant, execution, now, reason, &head)) {
    ExecutionRow row;
    return read_execution(tenant, execution, &row) ? Change::already : Change::unknown;
  }
  if (head.span > 0) {
    cancel_task_rows(tenant, execution, head.span, now);
    int count;
    const TaskResult *results = task_results(tenant, execution, head.span, &count);
    end_execution(tenant, execution, State::cancelled, now,
                  final_context_of(definition_of(tenant, head.definition), head.input, results, count), reason);
  }
  mark_permit_freed(tenant);
  mark_ended(core::make_id(tenant.number, execution));
  return Change::done;
}

}  // namespace insula
