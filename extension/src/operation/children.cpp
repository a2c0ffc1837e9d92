// Child executions: a running task submits one and waits, without a lease, until it ends.  The end
// of a child continues its parent in the same transaction, so a transaction that may end an
// execution first locks its lineage, the execution and all that wait for it, by ascending numbers:
// the one global order.  Parents have lower numbers than their children, so locking from a parent
// down to its children keeps the order, too.  The exception is a family that straddles the
// wrap-around of local numbers: it can deadlock, which the server resolves as it does any deadlock.
#include <algorithm>

#include "context/merge_patch.hpp"
#include "core/ids.hpp"
#include "operation/operations.hpp"
#include "shared/clock.hpp"
#include "spi/budget.hpp"
#include "storage/record.hpp"

namespace insula {

namespace {

constexpr int max_depth = 32;
// That one turn finds.
constexpr int most_open_children = 1000;

// The lineage, outermost execution first; returns its length.
int lineage_of(const Tenant &tenant, std::int64_t execution, std::int64_t (&ids)[max_depth + 1]) {
  int count = 0;
  Lineage lineage;
  while (execution && count <= max_depth && read_lineage(tenant, execution, &lineage)) {
    ids[count++] = execution;
    execution = lineage.parent_head;
  }
  std::reverse(ids, ids + count);
  return count;
}

const char *failure_text(const Tenant &tenant, std::int64_t child, const Outcome &outcome) {
  const auto id = static_cast<long long>(core::make_id(tenant.number, child));
  if (outcome.state == State::completed) return psprintf("execution %lld: the final context is too large", id);
  return psprintf("execution %lld %s%s%s", id, outcome.state == State::cancelled ? "was cancelled" : "failed",
                  outcome.error ? ": " : "", outcome.error ? outcome.error : "");
}

// False: it runs again, or does not wait for the child any more.
bool fail_with_child(const Tenant &tenant, TimestampTz now, const TaskRow &task, const Outcome &outcome) {
  const char *error = failure_text(tenant, task.child, outcome);
  if (outcome.state != State::cancelled && runs_again(tenant, task, error)) {
    const TimestampTz at = time_of_retry(tenant, task, now);
    if (retry_waiting(tenant, at, task, error)) note_failed_attempt(tenant, task, now, error);
    return false;
  }
  return fail_waiting(tenant, now, task, error);
}

bool complete_with_child(const Tenant &tenant, TimestampTz now, const TaskRow &task, Jsonb *final_context) {
  JsonObject patch = begin_object();
  add_member(patch, definition_of(tenant, task.definition).ids[task.task], final_context);
  return complete_waiting(tenant, now, task, end_object(patch));
}

// A child whose fan-outs are all empty has ended in its submission, before its parent's task
// waited.
void finish_if_ended(const Tenant &tenant, TimestampTz now, std::int64_t parent, std::int64_t child) {
  ExecutionRow row;
  if (!read_execution(tenant, child, &row) || !has_ended(row.state)) return;
  child_ended(tenant, now, parent, child, {row.state, row.output, row.error});
}

}  // namespace

bool lock_lineage(const Tenant &tenant, std::int64_t execution, bool skip) {
  std::int64_t ids[max_depth + 1];
  const int count = lineage_of(tenant, execution, ids);
  if (count == 0) return true;
  int locked;
  (void)lock_executions(tenant, ids, count, skip, &locked);
  return locked == count;
}

void lock_lineages(const Tenant &tenant, const std::int64_t *executions, int count) {
  auto *heads = palloc_array_of<std::int64_t>(static_cast<std::size_t>(count));
  int heads_count = 0;
  int room = count;
  for (int i = 0; i < count; ++i) {
    std::int64_t ids[max_depth + 1];
    const int lineage = lineage_of(tenant, executions[i], ids);
    if (heads_count + lineage > room) {
      room = 2 * room + lineage;
      heads = static_cast<std::int64_t *>(repalloc_huge(heads, static_cast<Size>(room) * sizeof(std::int64_t)));
    }
    std::copy(ids, ids + lineage, heads + heads_count);
    heads_count += lineage;
  }
  std::sort(heads, heads + heads_count);
  heads_count = static_cast<int>(std::unique(heads, heads + heads_count) - heads);
  int locked;
  (void)lock_executions(tenant, heads, heads_count, false, &locked);
}

// Rows of single tasks are locked when they are written, in order or without waiting.
static bool needs_execution_locked(const TaskRow &task) { return task.head || task.parent_head; }

// The executions of the tasks, and all that wait for these, ascending.
static std::int64_t *executions_of(const Tenant &tenant, const TaskRow *tasks, int count, bool of_single,
                                   int *heads_count) {
  const auto children = std::count_if(tasks, tasks + count, [](const TaskRow &task) { return task.parent_head != 0; });
  auto *heads = palloc_array_of<std::int64_t>(static_cast<std::size_t>(count + children * (max_depth + 1)));
  int found = 0;
  std::int64_t last_parent = 0;
  for (int i = 0; i < count; ++i) {
    if (of_single || needs_execution_locked(tasks[i])) heads[found++] = tasks[i].execution();
    if (!tasks[i].parent_head || tasks[i].parent_head == last_parent) continue;
    last_parent = tasks[i].parent_head;
    std::int64_t ids[max_depth + 1];
    const int ancestors = lineage_of(tenant, last_parent, ids);
    std::copy(ids, ids + ancestors, heads + found);
    found += ancestors;
  }
  std::sort(heads, heads + found);
  *heads_count = static_cast<int>(std::unique(heads, heads + found) - heads);
  return heads;
}

bool lock_executions_of(const Tenant &tenant, const TaskRow *tasks, int count) {
  if (std::none_of(tasks, tasks + count, needs_execution_locked)) return false;
  int heads_count;
  const std::int64_t *heads = executions_of(tenant, tasks, count, true, &heads_count);
  int locked;
  (void)lock_executions(tenant, heads, heads_count, false, &locked);
  return true;
}

bool try_lock_executions_of(const Tenant &tenant, const TaskRow *tasks, int count, bool *held) {
  std::fill(held, held + count, true);
  if (std::none_of(tasks, tasks + count, needs_execution_locked)) return false;
  int heads_count;
  const std::int64_t *heads = executions_of(tenant, tasks, count, false, &heads_count);
  int locked_count;
  const std::int64_t *locked = lock_executions(tenant, heads, heads_count, true, &locked_count);
  if (locked_count == heads_count) return true;
  const auto is_locked = [&](std::int64_t id) { return std::binary_search(locked, locked + locked_count, id); };
  for (int i = 0; i < count; ++i) {
    held[i] = !needs_execution_locked(tasks[i]) || is_locked(tasks[i].execution());
    if (!held[i] || !tasks[i].parent_head) continue;
    std::int64_t ids[max_depth + 1];
    const int ancestors = lineage_of(tenant, tasks[i].parent_head, ids);
    held[i] = std::all_of(ids, ids + ancestors, is_locked);
  }
  return true;
}

std::int64_t submit_child(const Tenant &tenant, std::int64_t id, std::int64_t lease, const char *workflow,
                          Jsonb *context) {
  int found;
  const TaskRow *task = peek_tasks(tenant, &id, 1, &found);
  if (found == 0) return 0;
  // The child may end at once, and end the parent.
  (void)lock_lineage(tenant, task->execution(), false);
  if (!lock_lease(tenant, id, lease)) return 0;
  task = peek_tasks(tenant, &id, 1, &found);
  std::int64_t ids[max_depth + 1];
  if (lineage_of(tenant, task->execution(), ids) > max_depth)
    ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("child executions are nested too deeply"),
                    errdetail("They can be nested %d deep.", max_depth)));
  Lineage lineage = {};
  (void)read_lineage(tenant, task->execution(), &lineage);
  const std::int32_t priority = std::clamp(lineage.priority, -max_priority, max_priority);
  const TimestampTz now = clock_now();
  const SubmitRequest request = {workflow, &context, nullptr, 1, priority, now, id, task->execution()};
  const std::int64_t child = *submit(tenant, request, CurrentMemoryContext);
  wait_for_child(tenant, *task, core::local_of(child));
  note_settled(tenant, id);
  JsonObject detail = begin_object();
  add_member(detail, "worker", task->worker);
  add_member(detail, "child", child);
  add_utc_time(detail, "started_at", task->started_at);
  insert_event(tenant, task->execution(), id, "task_waiting", now, end_object(detail));
  finish_if_ended(tenant, now, id, core::local_of(child));
  return child;
}

void child_ended(const Tenant &tenant, TimestampTz now, std::int64_t parent, std::int64_t child,
                 const Outcome &outcome) {
  int found;
  TaskRow *task = peek_tasks(tenant, &parent, 1, &found);
  if (found == 0 || task->state != State::waiting || task->child != child) return;
  const bool completed = outcome.state == State::completed && outcome.final_context;
  if (completed ? !complete_with_child(tenant, now, *task, outcome.final_context)
                : !fail_with_child(tenant, now, *task, outcome))
    return;
  task->state = completed ? State::completed : State::failed;
  settle(tenant, now, task, 1, true);
}

// Locks the rows that a cancel changes, and cancels some elements before, if they are very many.  False: they still
// are, or another transaction holds a row.
static bool prepare_cancel(const Tenant &tenant, TimestampTz now, std::int64_t execution, bool *any) {
  int locked;
  ExecutionRow row;
  (void)lock_executions(tenant, &execution, 1, true, &locked);
  if (locked == 0 || !read_execution(tenant, execution, &row)) return false;
  if (definition_of(tenant, row.definition).has_groups) {
    const CancelledElements cancelled = cancel_some_elements(tenant, execution, row.span, now, most_elements);
    *any = *any || cancelled.any;
    if (!cancelled.all) return false;
  }
  return lock_open_rows(tenant, execution, row.span);
}

// Returns how many are left: beyond the budget, but for one, or held.  *any: whether something was done at all.
static int cancel_some_children(const Tenant &tenant, TimestampTz now, const std::int64_t *children, int count,
                                bool one, LockWait wait, bool *any) {
  const char *reason = "the execution that waited for it has ended";
  MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "insula cancel", ALLOCSET_DEFAULT_SIZES);
  int left = 0;
  for (int i = 0; i < count; ++i) {
    CHECK_FOR_INTERRUPTS();
    if (budget_is_spent() && !(one && !*any)) {
      left += count - i;
      break;
    }
    MemoryContext before = MemoryContextSwitchTo(scratch);
    if (wait == LockWait::block || prepare_cancel(tenant, now, children[i], any))
      *any = cancel_open(tenant, children[i], now, reason, wait) == Change::done || *any;
    else
      ++left;
    MemoryContextSwitchTo(before);
    MemoryContextReset(scratch);
  }
  MemoryContextDelete(scratch);
  return left;
}

void cancel_children(const Tenant &tenant, TimestampTz now, std::int64_t execution, const std::int64_t *children,
                     int count, LockWait wait) {
  bool any = false;
  if (cancel_some_children(tenant, now, children, count, false, wait, &any) > 0)
    put_off_decisions(tenant, now, &execution, 1);
}

bool cancel_open_children(const Tenant &tenant, TimestampTz now, std::int64_t execution, LockWait wait) {
  int count;
  const std::int64_t *children = open_children(tenant, execution, most_open_children, &count);
  bool any = false;
  const int left = cancel_some_children(tenant, now, children, count, true, wait, &any);
  if (left > 0 || count == most_open_children) return any;
  no_longer_put_off(tenant, execution);
  return true;
}

}  // namespace insula
