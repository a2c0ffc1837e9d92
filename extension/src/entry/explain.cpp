// insula.explain_execution: tells of each task why it is in its state.
#include <algorithm>

#include "core/ids.hpp"
#include "entry/answer.hpp"
#include "entry/arguments.hpp"
#include "entry/prologue.hpp"
#include "operation/operations.hpp"
#include "shared/clock.hpp"
#include "storage/limited_rows.hpp"

using namespace insula;

INSULA_FUNCTION(insula_explain_execution);

namespace {

struct Explanation {
  const Tenant &tenant;
  const Definition &definition;
  const TaskDetail *tasks;  // by declared position
  const ElementDetail *elements;
  int element_count;
  const LimitCount *limits;  // those under which tasks run
  int limit_count;
  TimestampTz now;
  bool ends;  // all tasks have ended, and the execution's end is put off
};

const char *time_text(TimestampTz time) {
  return DatumGetCString(DirectFunctionCall1(timestamptz_out, TimestampTzGetDatum(time)));
}

// Names some of the tasks that the given one waits for and that the test picks.
template <typename Test>
const char *names_of(const Explanation &of, std::int32_t task, Test test) {
  constexpr int most = 5;
  StringInfoData text;
  initStringInfo(&text);
  int count = 0;
  for (std::int32_t dependency : of.definition.graph.of(task)) {
    if (!test(of.tasks[dependency].state)) continue;
    if (++count <= most) appendStringInfo(&text, "%s%s", count > 1 ? ", " : "", of.definition.ids[dependency]);
  }
  if (count > most) appendStringInfo(&text, " and %d more", count - most);
  return text.data;
}

std::int64_t running_under(const Explanation &of, std::int64_t limit) {
  for (int i = 0; i < of.limit_count; ++i)
    if (of.limits[i].limit == limit) return of.limits[i].used;
  return 0;
}

const char *why_not_claimed(const Explanation &of, const TaskDetail &task) {
  if (of.tenant.suspended) return "the tenant is suspended";
  if (task.paused) return "the execution is paused";
  if (is_workflow_paused(of.tenant, of.definition)) return "the workflow is paused";
  if (task.lane == lane_later)
    return psprintf("%s at %s", task.attempt > 0 ? "runs again" : "may start", time_text(task.due));
  if (const std::int32_t most = of.definition.limit.max; most > 0 && running_under(of, task.limit) >= most)
    return psprintf("the workflow's limit of %d is reached", most);
  Prospect prospect;
  if (has_permit(of.tenant, of.now, &prospect)) return "waits for a worker";
  if (prospect.next != DT_NOEND)
    return psprintf("the tenant's rate_per_second is used up until %s", time_text(prospect.next));
  return "the tenant's max_running is reached";
}

const char *why_running(const Explanation &of, const TaskDetail &task) {
  const char *lease = task.due <= of.now ? "lapsed at" : "lasts until";
  return psprintf("worker %s has it, attempt %d; its lease %s %s", task.worker ? task.worker : "?", task.attempt, lease,
                  time_text(task.due));
}

const char *why_waiting(const Explanation &of, const TaskDetail &task) {
  if (task.child)
    return psprintf("waits for execution %lld", static_cast<long long>(core::make_id(of.tenant.number, task.child)));
  const char *until = task.due == DT_NOEND ? "" : psprintf(" until %s", time_text(task.due));
  return task.waits_for ? psprintf("waits for event %s%s", task.waits_for, until) : psprintf("deferred%s", until);
}

const char *why_skipped(const Explanation &of, std::int32_t task) {
  if (of.definition.options[task].on_failure) return "no task has failed that no other deals with";
  if (of.definition.options[task].has_rule()) return "its trigger rule was not met";
  return psprintf("not completed: %s", names_of(of, task, [](State state) { return state != State::completed; }));
}

const ElementDetail *first_element(const Explanation &of, std::int32_t task) {
  return std::lower_bound(of.elements, of.elements + of.element_count, task,
                          [](const ElementDetail &element, std::int32_t wanted) { return element.task < wanted; });
}

bool is_element_of(const Explanation &of, const ElementDetail *element, std::int32_t task) {
  return element != of.elements + of.element_count && element->task == task;
}

const char *why_open(const Explanation &of, std::int32_t task) {
  int ended = 0;
  int all = 0;
  for (const ElementDetail *element = first_element(of, task); is_element_of(of, element, task); ++element) {
    ++all;
    ended += has_ended(element->detail.state) ? 1 : 0;
  }
  return psprintf("%d of %d elements have ended", ended, all);
}

const char *why(const Explanation &of, std::int32_t task, const TaskDetail &detail, bool element) {
  const bool group = of.definition.options[task].for_each && !element;
  switch (detail.state) {
    case State::pending:
      if (detail.lane == lane_deciding)
        return group ? "deciding: its dependencies have ended, and its elements are still to be made"
                     : "deciding: its dependencies have ended, and its trigger rule is still to be evaluated";
      return psprintf("waits for %s", names_of(of, task, [](State state) { return !has_ended(state); }));
    case State::ready:
      return why_not_claimed(of, detail);
    case State::running:
      if (detail.lane == lane_deciding)
        return "deciding: its elements have ended, and what they have handed over is still to be put together";
      return group ? why_open(of, task) : why_running(of, detail);
    case State::waiting:
      return why_waiting(of, detail);
    case State::failed:
      return detail.error;
    case State::skipped:
      return why_skipped(of, task);
    default:
      return of.ends ? "deciding: all tasks have ended, and the execution's end is still to come" : nullptr;
  }
}

void put_line(ReturnSetInfo *result, const char *name, State state, const char *why) {
  put_row(result, {text_field(name), text_field(state_name(state)), text_field(why)});
}

void explain_task(ReturnSetInfo *result, const Explanation &of, std::int32_t task) {
  const char *id = of.definition.ids[task];
  put_line(result, id, of.tasks[task].state, why(of, task, of.tasks[task], false));
  if (!of.definition.options[task].for_each) return;
  for (const ElementDetail *element = first_element(of, task); is_element_of(of, element, task); ++element)
    put_line(result, psprintf("%s[%d]", id, element->element), element->detail.state,
             why(of, task, element->detail, true));
}

void explain(ReturnSetInfo *result, const Tenant &tenant, std::int64_t id) {
  const std::int64_t local = core::local_of(id);
  ExecutionRow row;
  if (!read_execution(tenant, local, &row)) no_such_execution(id);
  const Definition &definition = definition_of(tenant, row.definition);
  const TaskDetail *tasks = task_details(tenant, local, row.span, definition.tasks);
  Explanation explanation = {tenant, definition, tasks, nullptr, 0, nullptr, 0, clock_now(), false};
  int ends;
  (void)still_put_off(tenant, &local, 1, &ends);
  explanation.ends = ends > 0 && !has_ended(row.state);
  if (definition.has_groups)
    explanation.elements = element_details(tenant, local, row.span, &explanation.element_count);
  if (definition.limit.max > 0) explanation.limits = running_by_limit(tenant, nullptr, &explanation.limit_count);
  for (int i = 0; i < definition.tasks; ++i) explain_task(result, explanation, definition.order[i]);
}

}  // namespace

Datum insula_explain_execution(PG_FUNCTION_ARGS) {
  const std::int64_t id = required_int64(fcinfo, 0, "execution_id");
  const Tenant *tenant = open_tenant_of_execution(id, Access::read);
  ReturnSetInfo *result = begin_rows(fcinfo);
  in_session([&] { explain(result, *tenant, id); });
  return Datum{0};
}
