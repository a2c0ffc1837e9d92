// Reports on executions, and insula.result; see result.hpp.
#include "entry/result.hpp"

#include <algorithm>

#include "context/merge_patch.hpp"
#include "core/ids.hpp"
#include "entry/answer.hpp"
#include "entry/arguments.hpp"
#include "entry/prologue.hpp"
#include "operation/operations.hpp"
#include "storage/progress.hpp"

namespace insula {

namespace {

Jsonb *task_as_json(const char *id, const TaskResult &result) {
  JsonObject task = begin_object();
  add_member(task, "task", id);
  add_member(task, "status", state_name(result.state));
  add_member(task, "attempt", std::int64_t{result.attempt});
  add_member(task, "error", result.error);
  add_time(task, "started_at", result.started_at);
  add_time(task, "finished_at", result.finished_at);
  return end_object(task);
}

struct Elements {
  const ElementResult *items;  // sorted by task and element
  int count;
};

struct ProgressOfTasks {
  const ShownProgress *items;  // sorted by task
  int count;

  Jsonb *with(Jsonb *task, std::int64_t id) const {
    const ShownProgress *at = std::lower_bound(
        items, items + count, id, [](const ShownProgress &of, std::int64_t wanted) { return of.task < wanted; });
    return at != items + count && at->task == id ? merge_patch(task, at->shown) : task;
  }
};

void push(JsonbMaker &array, Jsonb *json) {
  JsonbValue value;
  JsonbToJsonbValue(json, &value);
  push_json(array, WJB_ELEM, &value);
}

void push_elements(JsonbMaker &array, const char *id, std::int32_t task, const Elements &elements,
                   const ProgressOfTasks &progress) {
  const ElementResult *element =
      std::lower_bound(elements.items, elements.items + elements.count, task,
                       [](const ElementResult &of, std::int32_t wanted) { return of.result.task < wanted; });
  for (; element != elements.items + elements.count && element->result.task == task; ++element)
    push(array, progress.with(task_as_json(psprintf("%s[%d]", id, element->element), element->result), element->id));
}

// `first`: the number of the first task.
Jsonb *tasks_as_json(const Definition &definition, const TaskResult *results, int count, std::int64_t first,
                     const Elements &elements, const ProgressOfTasks &progress) {
  auto *places = static_cast<int *>(palloc0(sizeof(int) * static_cast<Size>(definition.tasks)));
  for (int i = 0; i < count; ++i) places[results[i].task] = i + 1;
  JsonbMaker array = {};
  push_json(array, WJB_BEGIN_ARRAY);
  for (int i = 0; i < definition.tasks; ++i) {
    const std::int32_t task = definition.order[i];
    if (places[task] == 0) continue;
    push(array, progress.with(task_as_json(definition.ids[task], results[places[task] - 1]), first + task));
    push_elements(array, definition.ids[task], task, elements, progress);
  }
  push_json(array, WJB_END_ARRAY);
  return JsonbValueToJsonb(array.result);
}

const char *execution_status(const ExecutionRow &row, TimestampTz started_at) {
  if (has_ended(row.state)) return state_name(row.state);
  if (row.paused) return "paused";
  return started_at ? "running" : "pending";
}

}  // namespace

bool report_execution(const Tenant &tenant, std::int64_t local, ExecutionReport *report) {
  ExecutionRow row;
  if (!read_execution(tenant, local, &row)) return false;
  TaskResult single = {0, row.state, row.output, row.error, row.attempt, row.started_at, row.finished_at, row.worker};
  const TaskResults all = row.span ? task_results(tenant, local, row.span, 0) : TaskResults{&single, 1, 0};
  const TaskResult *results = all.items;
  const int count = all.count;
  const Definition &definition = definition_of(tenant, row.definition);
  TimestampTz started_at = row.started_at;
  for (int i = 0; i < count; ++i)
    if (results[i].started_at && (!started_at || results[i].started_at < started_at))
      started_at = results[i].started_at;

  *report = {};
  report->execution_id = core::make_id(tenant.number, local);
  report->workflow = pstrdup(definition.workflow);
  report->version = definition.version;
  report->ended = has_ended(row.state);
  report->status = execution_status(row, started_at);
  if (report->ended)
    report->final_context = row.span ? row.output : final_context_of(definition, row.input, results, count);
  if (report->ended)
    report->error = row.state == State::failed && !row.span ? failure_of(definition, results, count) : row.error;
  report->created_at = row.created_at;
  report->started_at = first_start(tenant, local, started_at);
  report->finished_at = row.finished_at;
  Elements elements = {};
  if (definition.has_groups) elements.items = element_results(tenant, local, row.span, &elements.count);
  // It tells nothing more of what has ended.
  ProgressOfTasks progress = {};
  if (!report->ended) progress.items = read_progress(tenant, local, &progress.count);
  report->tasks = tasks_as_json(definition, results, count, row.span ? local + 1 : local, elements, progress);
  return true;
}

Jsonb *report_as_json(const ExecutionReport &report) {
  JsonObject json = begin_object();
  add_member(json, "execution_id", report.execution_id);
  add_member(json, "workflow", report.workflow);
  add_member(json, "version", std::int64_t{report.version});
  add_member(json, "status", report.status);
  add_member(json, "final_context", report.final_context);
  add_member(json, "error", report.error);
  add_time(json, "created_at", report.created_at);
  add_time(json, "started_at", report.started_at);
  add_time(json, "finished_at", report.finished_at);
  add_member(json, "tasks", report.tasks);
  return end_object(json);
}

}  // namespace insula

using namespace insula;

INSULA_FUNCTION(insula_result);

static Datum report_as_row(FunctionCallInfo fcinfo, const ExecutionReport &report) {
  return row_datum(answer_columns(fcinfo),
                   {int64_field(report.execution_id), text_field(report.workflow), int32_field(report.version),
                    text_field(report.status), json_field(report.final_context), text_field(report.error),
                    time_field(report.created_at), time_field(report.started_at, 0), time_field(report.finished_at, 0),
                    json_field(report.tasks)});
}

Datum insula_result(PG_FUNCTION_ARGS) {
  const std::int64_t id = required_int64(fcinfo, 0, "execution_id");
  const Tenant *tenant = open_tenant_of_execution(id, Access::read);
  MemoryContext callers = CurrentMemoryContext;
  PG_RETURN_DATUM(in_session([&] {
    ExecutionReport report;
    if (!report_execution(*tenant, core::local_of(id), &report)) no_such_execution(id);
    MemoryContextSwitchTo(callers);
    return report_as_row(fcinfo, report);
  }));
}
