// Events: messages to an execution, and tasks that wait for them.  Sending and waiting both lock
// the execution's row, so that an event either finds the waiting task or is stored before a task
// begins to wait.
#include "context/merge_patch.hpp"
#include "operation/operations.hpp"
#include "shared/clock.hpp"
#include "storage/progress.hpp"
#include "storage/record.hpp"

namespace insula {

namespace {

// Bounds of an execution's stored events: sent, and not yet waited for.
constexpr int max_kept_events = 1000;
constexpr std::int64_t max_kept_bytes = std::int64_t{16} << 20;

Jsonb *event_as_json(const char *event, Jsonb *payload) {
  JsonObject json = begin_object();
  add_member(json, "name", event);
  add_member(json, "payload", payload);
  return end_object(json);
}

// False: no task of the execution waits for the event.
bool deliver(const Tenant &tenant, std::int64_t execution, std::int32_t span, TimestampTz now, const char *event,
             Jsonb *payload) {
  return deliver_event(tenant, execution, span, now, event, event_as_json(event, payload));
}

}  // namespace

bool wait_event(const Tenant &tenant, std::int64_t id, std::int64_t lease, const char *event, TimestampTz until,
                Jsonb *patch) {
  int found;
  const TaskRow *task = peek_tasks(tenant, &id, 1, &found);
  if (found == 0) return false;
  const std::int64_t execution = task->execution();
  int locked;
  (void)lock_executions(tenant, &execution, 1, false, &locked);
  if (!wait_row(tenant, until, *task, lease, event, patch)) return false;
  note_settled(tenant, id);
  // One that waits for ever has the same run_at each time, by which lapses are counted.
  if (until == DT_NOEND) forget_lapses(tenant, {id, execution});
  const TimestampTz now = clock_now();
  JsonObject detail = begin_object();
  add_member(detail, "worker", task->worker);
  add_member(detail, "event", event);
  add_utc_time(detail, "started_at", task->started_at);
  insert_event(tenant, execution, id, "task_waiting", now, end_object(detail));
  Jsonb *payload;
  if (take_kept_event(tenant, execution, event, &payload)) {
    ExecutionRow row;
    (void)read_execution(tenant, execution, &row);
    (void)deliver(tenant, execution, row.span, now, event, payload);
  }
  return true;
}

Change send_event(const Tenant &tenant, std::int64_t execution, TimestampTz now, const SentEvent &sent) {
  const auto [event, payload, idempotency_key] = sent;
  int locked;
  (void)lock_executions(tenant, &execution, 1, false, &locked);
  ExecutionRow row;
  if (locked == 0 || !read_execution(tenant, execution, &row)) return Change::unknown;
  if (has_ended(row.state))
    return idempotency_key && knows_event_key(tenant, execution, idempotency_key) ? Change::done : Change::already;
  if (idempotency_key && !take_event_key(tenant, execution, idempotency_key, now)) return Change::done;
  JsonObject detail = begin_object();
  add_member(detail, "event", event);
  insert_event(tenant, execution, execution, "event_received", now, end_object(detail));
  if (deliver(tenant, execution, row.span, now, event, payload)) return Change::done;
  std::int64_t bytes;
  if (kept_events(tenant, execution, max_kept_events, &bytes) >= max_kept_events || bytes > max_kept_bytes)
    ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                    errmsg("too many events that no task of the execution has waited for"),
                    errdetail("At most %d are kept, and 16 MB.", max_kept_events)));
  keep_event(tenant, execution, now, event, payload);
  return Change::done;
}

}  // namespace insula
