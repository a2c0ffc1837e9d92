// Claiming: first advances what is due, then claims rows, then builds the context of each task: the
// execution's input, the patches of all the task's ancestors in topological order, and the patches
// with which the task itself deferred.
#include <algorithm>

#include "context/merge_patch.hpp"
#include "context/text_size.hpp"
#include "operation/operations.hpp"
#include "shared/clock.hpp"
#include "shared/shared.hpp"
#include "shared/watermarks.hpp"
#include "storage/limited_rows.hpp"
#include "storage/random.hpp"

extern "C" {
#include "mb/pg_wchar.h"
#include "utils/fmgrprotos.h"
}

namespace insula {

namespace {

// The cost grows with the task's ancestors, not with the graph.
Jsonb *merge_ancestors(const Tenant &tenant, const Definition &definition, std::int64_t head, std::int32_t task) {
  const auto tasks = static_cast<std::size_t>(definition.tasks);
  auto *seen = static_cast<std::uint8_t *>(palloc0(tasks));
  auto *ancestors = palloc_array_of<std::int32_t>(tasks);
  const std::size_t count = core::find_ancestors(definition.graph, task, {seen, tasks}, {ancestors, tasks});

  auto *ids = palloc_array_of<std::int64_t>(count + 1);
  ids[0] = head;
  std::sort(ancestors, ancestors + count);
  for (std::size_t i = 0; i < count; ++i) ids[i + 1] = head + 1 + ancestors[i];
  Jsonb **outputs = outputs_of(tenant, ids, static_cast<int>(count) + 1);
  if (total_size(outputs, static_cast<int>(count) + 1) > max_merged_size) return nullptr;
  auto *order = palloc_array_of<std::size_t>(count);
  for (std::size_t i = 0; i < count; ++i) order[i] = i;
  std::sort(order, order + count, [&](std::size_t a, std::size_t b) {
    return definition.rank[ancestors[a]] < definition.rank[ancestors[b]];
  });
  auto **patches = palloc_array_of<Jsonb *>(count);
  for (std::size_t i = 0; i < count; ++i) patches[i] = outputs[order[i] + 1];
  return merge_patches(outputs[0], patches, count);
}

// A task that cannot be handed out fails, unless a transaction holds its execution: then its lease
// lapses and another claim tries again.  A run whose text this worker's encoding cannot hold is
// retried: another worker's may.
enum class Unable { context_too_large, not_in_its_encoding };

void fail_claimed(const Tenant &tenant, const Claimed &row, TimestampTz now, Unable why) {
  int found;
  const TaskRow *task = peek_tasks(tenant, &row.id, 1, &found);
  if (!found) return;
  const char *error = "the context of the task would be too large";
  if (why == Unable::not_in_its_encoding) {
    error = psprintf("the context of the task, its item or event cannot be sent to the worker in its encoding, %s",
                     pg_get_client_encoding_name());
    if (runs_again(tenant, *task, error)) {
      (void)retry_later(tenant, now, *task, time_of_retry(tenant, *task, now), error);
      return;
    }
  }
  if (lock_lineage(tenant, row.head ? row.head : task->parent_head, true))
    (void)fail_for_good(tenant, now, *task, error);
}

// The elements of a group differ only in their items, and do not see the array of the items: ten
// thousand elements would carry it ten thousand times.
struct GroupContext {
  std::int64_t head;
  std::int32_t task;
  Jsonb *context;
};

Jsonb *context_of_claimed(const Tenant &tenant, const Claimed &row, GroupContext *group) {
  if (!row.head) return datum_jsonb(row.input);
  const Definition &definition = definition_of(tenant, row.definition);
  if (row.element < 0) return context_of_task(tenant, definition, row.head, row.task);
  const ForEach &for_each = *definition.options[row.task].for_each;
  if (group->head != row.head || group->task != row.task) {
    Jsonb *context = context_of_task(tenant, definition, row.head, row.task);
    *group = {row.head, row.task, context ? without_value(for_each.items, context) : nullptr};
  }
  if (!group->context) return nullptr;
  JsonObject item = begin_object();
  add_member(item, for_each.as, datum_jsonb(row.input));
  return DatumGetJsonbP(
      DirectFunctionCall2(jsonb_concat, PointerGetDatum(group->context), PointerGetDatum(end_object(item))));
}

// Claims tasks under limits and others in random order, so that neither starve.
Claimed *claim_both(const Tenant &tenant, const ClaimRequest &request, int *count) {
  if (!has_waiting_limits(tenant, {request.keys, request.key_count})) return claim_rows(tenant, request, count);
  const bool limited_first = random_fraction() < 0.5;
  int first_count;
  Claimed *first = (limited_first ? claim_limited : claim_rows)(tenant, request, &first_count);
  *count = first_count;
  if (first_count == request.max_tasks) return first;
  ClaimRequest rest = request;
  rest.max_tasks -= first_count;
  int second_count;
  Claimed *second = (limited_first ? claim_rows : claim_limited)(tenant, rest, &second_count);
  *count += second_count;
  if (second_count == 0) return first;
  auto *both = palloc_array_of<Claimed>(static_cast<std::size_t>(*count));
  std::copy(first, first + first_count, both);
  std::copy(second, second + second_count, both + first_count);
  return both;
}

void count_start(const Tenant &tenant, const Claimed &row, TimestampTz now) {
  const Counted counted = {tenant.number, row.definition};
  count_moved(counted, Place::ready, Place::running, 1);
  count_happened(counted, Happened::started, 1);
  count_wait(counted, now - row.due);
}

// False: the context would be too large.
bool build_context(const Tenant &tenant, const Claimed &row, GroupContext *group, ClaimedTask *task) {
  Jsonb *context = context_of_claimed(tenant, row, group);
  if (!context) return false;
  if (row.output) context = merge_patch(context, datum_jsonb(row.output));
  *task = {row, context, row.element < 0 ? nullptr : datum_jsonb(row.input),
           row.event ? datum_jsonb(row.event) : nullptr};
  return !is_too_long_as_text(context);
}

bool expecting = false;
bool came_back_empty = false;

}  // namespace

Jsonb *context_of_task(const Tenant &tenant, const Definition &definition, std::int64_t head, std::int32_t task) {
  // A context in a graph of ten thousand tasks takes far more memory to build than to keep.
  MemoryContext result = CurrentMemoryContext;
  MemoryContext scratch = AllocSetContextCreate(result, "insula task context", ALLOCSET_DEFAULT_SIZES);
  MemoryContextSwitchTo(scratch);
  const Jsonb *context = merge_ancestors(tenant, definition, head, task);
  MemoryContextSwitchTo(result);
  Jsonb *copy = nullptr;
  if (context) {
    copy = static_cast<Jsonb *>(palloc(VARSIZE(context)));
    memcpy(copy, context, VARSIZE(context));
  }
  MemoryContextDelete(scratch);
  return copy;
}

void expect_claim() { expecting = true; }

void note_claim(int count) {
  if (count > 0)
    came_back_empty = false;
  else if (expecting)
    came_back_empty = true;
  expecting = false;
}

bool claims_come_back_empty() { return came_back_empty; }

bool would_claim(const Tenant &tenant, const char **tasks, int task_count, RowKind kind, bool unlocked,
                 Prospect *prospect) {
  if (tenant.suspended) return false;
  int key_count = 0;
  const std::int32_t *keys = claimable_task_keys(tenant, tasks, task_count, &key_count);
  const bool work = kind == RowKind::limited ? has_claimable_limited(tenant, {keys, key_count}, prospect)
                                             : has_claimable(tenant, keys, key_count, unlocked);
  return work && has_permit(tenant, clock_now(), prospect);
}

bool would_claim(const Tenant &tenant, const char **tasks, int task_count, Prospect *prospect) {
  return would_claim(tenant, tasks, task_count, RowKind::unlimited, false, prospect) ||
         (may_have_limited(tenant) && would_claim(tenant, tasks, task_count, RowKind::limited, false, prospect));
}

int claim(const Tenant &tenant, const ClaimRequest &request, const ClaimSink &sink) {
  if (may_need_advance(tenant, request.now, nullptr)) advance(tenant, request.now);
  if (request.keys && request.key_count == 0) return 0;
  ClaimRequest allowed = request;
  allowed.max_tasks = take_permits(tenant, request.now, request.max_tasks);
  if (allowed.max_tasks == 0) return 0;
  int row_count;
  const int before = begin_locking(tenant.number);
  begin_async_commit();
  Claimed *rows = claim_both(tenant, allowed, &row_count);
  GroupContext group = {};
  int count = 0;
  int used = 0;
  for (; used < row_count && (*sink.room > 0); ++used) {
    CHECK_FOR_INTERRUPTS();
    const Claimed &row = rows[used];
    count_start(tenant, row, request.now);
    ClaimedTask task;
    if (!build_context(tenant, row, &group, &task)) {
      fail_claimed(tenant, row, request.now, Unable::context_too_large);
      continue;
    }
    std::size_t bytes;
    if (!sink.put(sink.self, tenant, task, &bytes)) {
      fail_claimed(tenant, row, request.now, Unable::not_in_its_encoding);
      continue;
    }
    *sink.room -= std::min(*sink.room, bytes);
    ++count;
  }
  if (used < row_count) {
    put_back(tenant, rows + used, row_count - used);
    announce_ready(tenant.number, 0);
  }
  use_permits(tenant, request.now, {request.max_tasks, allowed.max_tasks, used});
  if (count == used) end_async_commit();
  if (row_count > 0) {
    announce_claimed(tenant.number);
    TimestampTz due = request.lease_expires;
    for (int i = 0; i < used; ++i)
      if (rows[i].deadline) due = std::min(due, rows[i].deadline);
    announce_due(tenant.number, due);
  }
  end_locking(before);
  return count;
}

}  // namespace insula
