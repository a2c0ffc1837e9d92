// Running a handler without a runtime.
#include "runtime/attempt.hpp"
#include "wire/session.hpp"

#include <insula/error.hpp>
#include <insula/testing.hpp>

#include <fmt/format.h>

#include <algorithm>

namespace insula {

// A Workflow shows its state to the library alone.
struct detail::WorkflowAccess {
  static const WorkflowState& state(const Workflow& workflow) { return *workflow.state_; }
};

namespace testing {

namespace {

using detail::Attempt;

std::string json_of(const Event& event) {
  Context json{{"name", event.name}};
  if (event.timed_out) return json.with("timed_out", true).to_json();
  return json.with("payload", event.payload).to_json();
}

struct ReadRequest {
  TaskRun& run;

  void operator()(std::monostate) const {}
  void operator()(std::chrono::system_clock::time_point until) const { run.until = until; }
  void operator()(std::chrono::milliseconds delay) const { run.delay = delay; }
  void operator()(const detail::EventWait& wait) const {
    run.event = wait.event;
    run.event_timeout = wait.timeout;
  }
  void operator()(const detail::Child& child) const {
    run.child = child.workflow;
    run.child_context = Context::from_json(child.context);
  }
};

TaskOutcome word_for(detail::Outcome::Kind kind) {
  switch (kind) {
    case detail::Outcome::Kind::failed:
      return TaskOutcome::failed;
    case detail::Outcome::Kind::put_off:
      return TaskOutcome::put_off;
    case detail::Outcome::Kind::given_back:
      return TaskOutcome::given_back;
    default:
      return TaskOutcome::completed;
  }
}

// As a runtime does: what cannot be committed has failed.
void end_transaction(const Attempt& attempt, detail::Outcome& outcome) {
  using Kind = detail::Outcome::Kind;
  if (!attempt.used_test_connection) return;
  const bool kept = outcome.kind == Kind::completed || outcome.kind == Kind::put_off;
  try {
    if (kept) detail::require_open_transaction(attempt.test_connection);
  } catch (const error& e) {
    outcome = {.attempt = outcome.attempt, .kind = Kind::failed, .error = e.what()};
  }
  if (!attempt.began || PQtransactionStatus(attempt.test_connection) == PQTRANS_IDLE) return;
  wire::exchange(attempt.test_connection, {kept && outcome.kind != Kind::failed ? "COMMIT" : "ROLLBACK"});
}

}  // namespace

TaskRun run_task(const Workflow& workflow, std::string_view task, TaskInput input) {
  const auto& tasks = detail::WorkflowAccess::state(workflow).tasks;
  const auto found = std::find_if(tasks.begin(), tasks.end(), [&](const auto& t) { return t.id == task; });
  if (found == tasks.end())
    throw error{errc::not_found, fmt::format("workflow \"{}\" has no task \"{}\"", workflow.name(), task)};

  wire::Claimed claimed;
  claimed.tenant = input.tenant;
  claimed.task_id = 1;
  claimed.execution_id = 1;
  claimed.workflow = workflow.name();
  claimed.version = 1;
  claimed.task = task;
  claimed.attempt = input.attempt;
  claimed.max_attempts = input.max_attempts;
  claimed.context = input.context.to_json();
  if (!input.item.is_null()) claimed.item = input.item.to_json();
  if (input.event) claimed.event = json_of(*input.event);
  const auto attempt = std::make_shared<Attempt>(std::move(claimed), found->handler);
  if (input.stop_requested != StopReason::none) attempt->request_stop(input.stop_requested);
  if (input.checkpoint) attempt->checkpoint.emplace(*input.checkpoint);
  attempt->test_connection = input.connection;

  detail::Outcome outcome = detail::run_attempt(attempt);
  end_transaction(*attempt, outcome);
  TaskRun run;
  run.outcome = word_for(outcome.kind);
  if (!outcome.patch.empty()) run.changes = Context::from_json(outcome.patch);
  run.error = outcome.error;
  run.permanent = run.outcome == TaskOutcome::failed && !outcome.retryable;
  run.retry_in = outcome.retry_in;
  run.free_retries = outcome.free_retries;
  if (const auto progress = attempt->take_progress()) {
    if (progress->checkpoint) run.checkpoint = Value::from_json(*progress->checkpoint);
    run.progress = progress->reached;
    run.note = progress->note.value_or("");
  }
  if (run.outcome == TaskOutcome::put_off) std::visit(ReadRequest{run}, attempt->request);
  return run;
}

}  // namespace testing
}  // namespace insula
