// SPDX-License-Identifier: PostgreSQL
// Observer: what happens in a runtime, told as it happens, to the logs, metrics and traces of
// your own choice.  (RunnerConfig::log is for plain lines of text, Runner::metrics() for
// Prometheus.)
//
//   struct Spans : insula::Observer {
//     void task_started(const insula::TaskContext& task) override {
//       begin_span(task.task(), task.get<std::string>(insula::traceparent_key));
//     }
//     void task_ended(const insula::TaskContext&, const insula::TaskEnd& end) override {
//       end_span(name(end.outcome), end.error);
//     }
//     void execution_failed(const insula::FailedExecution& failed) override {
//       alarm(failed.workflow, failed.execution_id, failed.error);
//     }
//   };
//   insula::Runner runner{url, {.observer = std::make_shared<Spans>()}};
//
// Everything has an empty body, so that you override what you want.  Calls come from several
// threads at once, must be quick, and must not call the runner; what they throw is dropped.
#pragma once

#include <insula/error.hpp>
#include <insula/export.hpp>
#include <insula/task_context.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace insula {

// The outcome of a handler's run.
enum class TaskOutcome {
  completed,
  put_off,     // until a time, an event, a child's end
  failed,      // this attempt
  given_back,  // it was asked to stop, and did
};

// The enumerator's name, as in "put_off".
INSULA_EXPORT std::string_view name(TaskOutcome outcome) noexcept;

struct TaskEnd {
  TaskOutcome outcome = TaskOutcome::completed;
  std::string_view error = {};  // of a failed one
  std::chrono::nanoseconds duration{0};
  // Of a failed one: whether no attempt is left, or it failed by permanent_error.  (The task's
  // retry.condition may end it before that: the server decides by it.)
  bool final = false;
};

// A task whose outcome came too late, or that has failed for good.
struct LostTask {
  std::string tenant;
  std::string workflow;
  std::string task;
  std::int64_t execution_id = 0;
  std::int64_t task_id = 0;
  int attempt = 0;
};

struct FailedExecution {
  std::string tenant;
  std::string workflow;
  std::int64_t execution_id = 0;
  std::string error;  // its own
};

class INSULA_EXPORT Observer {
 public:
  Observer() = default;
  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;
  virtual ~Observer();

  // On the handler's own thread, right before and after it.  The outcome is what the server
  // is told next; it may not take it, if the lease was lost: see outcome_refused.
  virtual void task_started(const TaskContext& task);
  virtual void task_ended(const TaskContext& task, const TaskEnd& end);

  // `connection` is "control" or "dispatch".
  virtual void connection_up(std::string_view connection);
  virtual void connection_lost(std::string_view connection, const error& why);

  // After task_ended: the server has not taken the outcome, because the lease was lost; the task is
  // another worker's.  On the runtime's own thread.
  virtual void outcome_refused(const LostTask& task);

  // After task_ended: the server has taken the failure as the task's last, by its policy, and so fails the execution,
  // unless another task's trigger_rule deals with it.  On the runtime's own thread.  Once, through broken connections
  // too, as long as this runtime lives.  (What runs whenever an execution has failed, for whatever reason and wherever
  // its tasks ran, is a task with TaskOptions::on_failure.)
  virtual void task_failed(const LostTask& task, std::string_view error);

  // After task_failed: the execution of that task has ended, and has failed for good.  On the runtime's own thread.
  // It comes once, unless the execution is retried, and only in a runtime that has reported a task_failed of it and
  // lives: not for those that end by a timeout or by lapsed runs alone; in a Fleet only where it has the rights that
  // Fleet::tenant takes.
  virtual void execution_failed(const FailedExecution& execution);
};

}  // namespace insula
