// Workflows: tasks that depend on one another, and the functions that do them.
//
//        extract                   auto etl = insula::Workflow::builder("etl")
//        /     \                                  .task("extract", extract)
//   clean     count                               .task("clean", clean, {.depends_on = {"extract"}})
//        \     /                                  .task("count", count, {.depends_on = {"extract"}})
//         load                                    .task("load", load, {.depends_on = {"clean", "count"}})
//                                                 .build();
//
// A handler is any callable that takes a TaskContext&.  It reads the execution's input
// and what the tasks before it have set, and sets what the tasks after it shall see:
//
//   void count(insula::TaskContext& ctx) {
//     auto words = ctx.at<std::vector<std::string>>("words");
//     ctx.set("word_count", words.size());
//   }
//
// To return means: done.  To throw means: this attempt failed, try again by the task's
// policy (three attempts unless told otherwise).  A task may run more than once, since a
// process can die between the work and the news of it; only one run's changes count.
// The same handler runs on several threads at once.
#pragma once

#include <insula/context.hpp>
#include <insula/export.hpp>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace insula {

namespace detail {
struct Attempt;
struct WorkflowState;
class Engine;
}  // namespace detail

// Why a handler was asked to stop.
enum class StopReason {
  none,
  cancelled,   // its execution was cancelled
  paused,      // its execution was paused
  timeout,     // its task's time is up
  lease_lost,  // it is no longer ours: another worker has the task, or will have it
  draining,    // the server wants its workers gone
  shutdown,    // the runner is being shut down and its patience is over
};

// The enumerator's name, as in "lease_lost".
INSULA_EXPORT std::string_view name(StopReason reason) noexcept;

// What a handler is given: one attempt at one task.  Not thread-safe, and valid only
// until the handler returns; stop_token() alone may be taken to other threads.
class INSULA_EXPORT TaskContext {
 public:
  explicit TaskContext(detail::Attempt& attempt);  // the library makes these
  TaskContext(const TaskContext&) = delete;
  TaskContext& operator=(const TaskContext&) = delete;
  ~TaskContext();

  // Reading: the input, changed by what the tasks before this one have set, and by what
  // this one has set so far.  As Context::get and Context::at.
  template <class T>
  std::optional<T> get(std::string_view key) const {
    return context().get<T>(key);
  }
  template <class T>
  T at(std::string_view key) const {
    return context().at<T>(key);
  }
  bool contains(std::string_view key) const { return context().contains(key); }
  const Context& context() const noexcept;

  // Writing: recorded here, and handed over when the handler returns, as a merge patch:
  // an object is merged into one that is there (to replace it, erase it first), anything
  // else replaces, null deletes.
  TaskContext& set(std::string_view key, Value value);
  TaskContext& erase(std::string_view key) { return set(key, nullptr); }
  const Context& changes() const noexcept;

  const std::string& tenant() const noexcept;
  const std::string& workflow() const noexcept;
  const std::string& task() const noexcept;
  int version() const noexcept;       // of the workflow's definition
  int attempt() const noexcept;       // 1 for the first
  int max_attempts() const noexcept;  // the last of them fails for good
  std::int64_t execution_id() const noexcept;
  std::int64_t task_id() const noexcept;

  // Asked to stop: long handlers look at it now and then.  A handler that stops early
  // must throw (anything: throw_if_stopped is handy), since to return means "done".
  std::stop_token stop_token() const noexcept;
  bool stop_requested() const noexcept { return stop_token().stop_requested(); }
  StopReason stop_reason() const noexcept;
  void throw_if_stopped() const;  // throws insula::stopped

  // Put the task off: return after this, and the task starts again from its beginning at
  // that time, on any worker, with what was set so far.  Holds no thread meanwhile,
  // survives restarts, counts as no attempt.  A delay is counted by the server's clock.
  void defer_until(std::chrono::system_clock::time_point when);
  void defer_until(std::chrono::milliseconds from_now);

 private:
  friend class detail::Engine;
  detail::Attempt& attempt_;
};

// A task's options; all have defaults.
struct TaskOptions {
  std::vector<std::string> depends_on = {};  // ids of tasks that must be completed first
};

// A checked workflow: immutable, cheap to copy, thread-safe.
class INSULA_EXPORT Workflow {
 public:
  class Builder;
  static Builder builder(std::string name);

  const std::string& name() const noexcept;
  // The definition as it is registered with the server: same tasks, same text.
  const std::string& definition_json() const noexcept;

 private:
  friend class Builder;
  friend class Runner;
  explicit Workflow(std::shared_ptr<const detail::WorkflowState> state) : state_(std::move(state)) {}

  std::shared_ptr<const detail::WorkflowState> state_;
};

class INSULA_EXPORT Workflow::Builder {
 public:
  explicit Builder(std::string name);
  Builder(const Builder& other);  // a builder of its own
  Builder& operator=(const Builder& other);

  Builder& description(std::string text);

  // The handler is kept as long as any copy of the workflow, or a runner that has it.
  // It need not be copyable.
  template <class Handler>
  requires std::invocable < std::decay_t<Handler>
  &, TaskContext& > Builder& task(std::string id, Handler&& handler, TaskOptions options = {}) {
    using Stored = std::decay_t<Handler>;
    static_assert(std::is_void_v<std::invoke_result_t<Stored&, TaskContext&>>,
                  "a handler returns nothing: what it has to say goes into TaskContext::set");
    if constexpr (std::copy_constructible<Stored>) {
      return add(std::move(id), std::forward<Handler>(handler), std::move(options));
    } else {
      auto shared = std::make_shared<Stored>(std::forward<Handler>(handler));
      return add(
          std::move(id), [shared](TaskContext& context) { (*shared)(context); }, std::move(options));
    }
  }

  // Checks the whole: names, no task twice, dependencies that exist, no cycle, at least
  // one task.  Throws error{invalid} that lists every problem, one a line.
  Workflow build() const;

 private:
  Builder& add(std::string id, std::function<void(TaskContext&)> handler, TaskOptions options);

  std::shared_ptr<detail::WorkflowState> state_;
};

}  // namespace insula
