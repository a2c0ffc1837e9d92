// Claiming: first advances what is due, then claims rows, then builds the context of each task: the
// execution's input, the patches of all the task's ancestors in topological order, and the patches
// with which the task itself deferred.  When the visit's budget is spent, the tasks that are left go
// back to the queue.
#include <algorithm>

#include "context/merge_patch.hpp"
#include "context/text_size.hpp"
#include "operation/operations.hpp"
#include "operation/task_context.hpp"
#include "shared/clock.hpp"
#include "shared/watermarks.hpp"
#include "spi/budget.hpp"
#include "storage/limited_rows.hpp"
#include "storage/random.hpp"

extern "C" {
#include "mb/pg_wchar.h"
#include "utils/fmgrprotos.h"
}

namespace insula {

namespace {

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

// Contexts that tasks of one claim share.
struct ClaimContexts {
  SeenContext seen;
  GroupContext group;
};

bool is_of_group(const Claimed &row, const GroupContext &group) {
  return row.element >= 0 && group.head == row.head && group.task == row.task;
}

// Whether the row's context is yet to be merged.
bool merges(const Claimed &row, const ClaimContexts &contexts) { return row.head && !is_of_group(row, contexts.group); }

Jsonb *context_of_claimed(const Tenant &tenant, const Claimed &row, ClaimContexts *contexts) {
  if (!row.head) return datum_jsonb(row.input);
  const Definition &definition = definition_of(tenant, row.definition);
  if (row.element < 0) return context_of_task(tenant, definition, row.head, row.task, &contexts->seen);
  const ForEach &for_each = *definition.options[row.task].for_each;
  GroupContext *group = &contexts->group;
  if (!is_of_group(row, *group)) {
    Jsonb *context = context_of_task(tenant, definition, row.head, row.task, &contexts->seen);
    *group = {row.head, row.task, nullptr};
    // It may be the context itself, which goes with the next one.
    if (context) group->context = copy_of(without_value(for_each.items, context));
  }
  if (!group->context) return nullptr;
  JsonObject item = begin_object();
  add_member(item, for_each.as, datum_jsonb(row.input));
  return DatumGetJsonbP(
      DirectFunctionCall2(jsonb_concat, PointerGetDatum(group->context), PointerGetDatum(end_object(item))));
}

// Claims tasks under limits and others in random order, so that neither starve.
Claimed *claim_both(const Tenant &tenant, const ClaimRequest &request, int *count) {
  const bool limited_first = random_fraction() < 0.5;
  int first_count;
  Claimed *first = (limited_first ? claim_limited : claim_rows)(tenant, request, &first_count);
  *count = first_count;
  if (first_count == request.max_tasks || request.has_enough()) return first;
  ClaimRequest rest = request;
  rest.max_tasks -= first_count;
  int second_count;
  Claimed *second = (limited_first ? claim_rows : claim_limited)(tenant, rest, &second_count);
  *count += second_count;
  if (second_count == 0) return first;
  if (first_count == 0) return second;
  auto *both = palloc_array_of<Claimed>(static_cast<std::size_t>(*count));
  std::copy(first, first + first_count, both);
  std::copy(second, second + second_count, both + first_count);
  return both;
}

// False: the context would be too large.
bool build_context(const Tenant &tenant, const Claimed &row, ClaimContexts *contexts, ClaimedTask *task) {
  Jsonb *context = context_of_claimed(tenant, row, contexts);
  if (!context) return false;
  if (row.output) context = merge_patch(context, datum_jsonb(row.output));
  const std::size_t size = text_size(context);
  if (size > max_text_size) return false;
  *task = {row, context, row.element < 0 ? nullptr : datum_jsonb(row.input),
           row.event ? datum_jsonb(row.event) : nullptr, size};
  if (task->item) task->text_size += text_size(task->item);
  if (task->event) task->text_size += text_size(task->event);
  return true;
}

// A claim's tasks that are handed out so far.
struct Handing {
  const Tenant &tenant;
  TimestampTz now;
  const ClaimSink &sink;
  ClaimContexts contexts;
  int count = 0;
  int used = 0;  // and those that cannot be
};

// The first is handed out whatever it costs, so that each is at some time; even behind one that cannot be.
bool has_handed_out_any(const Handing &handing) { return handing.count > 0 || handing.used > 1; }

bool has_room(const ClaimSink &sink) { return 0 < *sink.room && 0 < *sink.share; }

// Puts the task into the answer, or lets it fail; false: it is too long for the tenant's share.
bool hand_out(Handing *handing, const Claimed &row) {
  const Tenant &tenant = handing->tenant;
  const ClaimSink &sink = handing->sink;
  ClaimedTask task;
  const bool is_sound = build_context(tenant, row, &handing->contexts, &task);
  const bool is_long = is_sound && task.text_size > *sink.share;
  if (is_long && has_handed_out_any(*handing)) return false;
  if (is_long && !*sink.takes_long) {
    *sink.passed_over = true;
    return false;
  }
  ++handing->used;
  std::size_t bytes;
  if (!is_sound) {
    fail_claimed(tenant, row, handing->now, Unable::context_too_large);
  } else if (!sink.put(sink.self, tenant, task, &bytes)) {
    fail_claimed(tenant, row, handing->now, Unable::not_in_its_encoding);
  } else {
    charge(bytes);
    if (is_long) *sink.takes_long = false;
    bytes = std::min(bytes, *sink.share);
    *sink.share -= bytes;
    *sink.room -= std::min(*sink.room, bytes);
    ++handing->count;
  }
  return true;
}

// Hands out the first rows, until the budget is spent; returns how many.
int hand_out_some(Handing *handing, const Claimed *rows, int count) {
  int done = 0;
  for (; done < count && has_room(handing->sink); ++done) {
    CHECK_FOR_INTERRUPTS();
    const bool spent = merges(rows[done], handing->contexts) ? budget_is_spent() : budget_bytes_are_spent();
    if (spent && has_handed_out_any(*handing)) break;
    if (!hand_out(handing, rows[done])) break;
  }
  return done;
}

// Below this number of contexts to be merged a portion would cost more than what it puts back.
constexpr int first_merges = 32;

// A row that does not fit the budget is written twice for nothing.  So the first portion is what fits as far as
// the rows themselves tell, and each further one has no more rows than were handed out before.
void claim_in_portions(Handing *handing, const ClaimRequest &request, int allowed) {
  const std::size_t room = std::min(*handing->sink.room, *handing->sink.share);
  Portion first = {first_merges, static_cast<std::int64_t>(std::min(budget_bytes_left(), room))};
  ClaimRequest next = request;
  next.max_tasks = allowed;
  next.portion = &first;
  for (;;) {
    int count;
    Claimed *rows = claim_both(handing->tenant, next, &count);
    const bool all = count < next.max_tasks && !next.has_enough();
    const int done = hand_out_some(handing, rows, count);
    const bool puts_back = done < count;
    if (puts_back) put_back(handing->tenant, next, rows + done, count - done);
    const bool spent = !has_room(handing->sink) || (budget_is_spent() && has_handed_out_any(*handing));
    const bool has_all = all || handing->used == allowed;
    *handing->sink.cut_short = puts_back || (spent && !has_all);
    if (has_all || *handing->sink.cut_short) return;
    next.max_tasks = std::min(allowed - handing->used, handing->used);
    next.portion = nullptr;
  }
}

bool expecting = false;
bool came_back_empty = false;

}  // namespace

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
  begin_budget(sink.for_all ? share_microseconds() : visit_microseconds());
  if (request.keys && request.key_count == 0) return 0;
  const int allowed = take_permits(tenant, request.now, request.max_tasks);
  if (allowed == 0) return 0;
  const int before = begin_locking(tenant.number);
  begin_async_commit();
  Handing handing = {tenant, request.now, sink, {see_contexts(), {}}};
  claim_in_portions(&handing, request, allowed);
  use_permits(tenant, request.now, {request.max_tasks, allowed, handing.used});
  if (handing.count == handing.used) end_async_commit();
  end_locking(before);
  return handing.count;
}

}  // namespace insula
