// The state of a Workflow: shared by its copies and, task by task, by the runners that have
// it.  Written by the builder only.
#pragma once

#include <insula/error.hpp>
#include <insula/workflow.hpp>

#include <atomic>
#include <chrono>
#include <concepts>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace insula::detail {

struct Handler {
  Handler() = default;
  template <std::invocable<TaskContext&> One>
  Handler(One one) : run(std::move(one)) {}
  Handler(std::function<void(std::span<TaskContext* const>)> many, std::size_t at_most)
      : run_batch(std::move(many)), most(at_most) {}

  std::function<void(TaskContext&)> run;
  // In its place, of a task that runs in batches of up to `most`; 0: build() refuses it.
  std::function<void(std::span<TaskContext* const>)> run_batch;
  std::size_t most = 1;
  // It has begun a transaction: its batches are no larger than there are connections for that.
  std::shared_ptr<std::atomic<bool>> uses_transactions = std::make_shared<std::atomic<bool>>(false);
};

// What a handler has thrown, which TaskOptions::retry_if has found not worth another attempt.
struct not_again : permanent_error {
  using permanent_error::permanent_error;
};

struct TaskState {
  std::string id;
  TaskOptions options;
  std::shared_ptr<const Handler> handler;  // shared with running attempts
};

struct ParamState {
  std::string name;
  ParamType type;
  ParamOptions options;
};

struct WorkflowState {
  std::string name;
  std::string description;
  std::chrono::milliseconds timeout{0};
  bool limited = false;
  int limit = 0;
  std::string limit_key;
  std::vector<ParamState> params;
  std::vector<TaskState> tasks;
  std::string definition;  // JSON; filled by build()
};

// Throws error{invalid} for an id that is none of its tasks.
void require_tasks(const WorkflowState& workflow, const std::vector<std::string>& ids);

// Every problem, a line each; none: it can be registered.
std::vector<std::string> problems_of(const WorkflowState& workflow);

// The JSON that is registered: what has its default value is left out.
std::string definition_of(const WorkflowState& workflow);

}  // namespace insula::detail
