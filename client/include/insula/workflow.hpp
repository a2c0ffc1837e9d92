// SPDX-License-Identifier: PostgreSQL
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
// or returns it: a Context is as if each of its keys were set, any other value that a
// Context can hold is set under the task's own id.  One that returns a Suspend, or an optional or variant
// with one in it, may be put off instead; see task_context.hpp.
//
// To return means: done.  To throw means: this attempt failed, try again by the task's
// policy (three attempts unless told otherwise); task_context.hpp has the finer points.  A
// task may run more than once, since a process can die between the work and the news of
// it; only one run's changes count.  The same handler runs on several threads at once.
#pragma once

#include <insula/context.hpp>
#include <insula/export.hpp>
#include <insula/task_context.hpp>
#include <insula/trigger_rule.hpp>

#include <chrono>
#include <concepts>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace insula {

namespace detail {
struct WorkflowAccess;
struct WorkflowState;

// Sets the value that a handler returns, or puts its task off.
template <class T>
struct Returning {
  static_assert(std::constructible_from<Value, T>,
                "a handler returns nothing, a Context, what a Context can hold, or a Suspend");
  static void take(TaskContext& task, T returned) { hand_over(task, std::move(returned)); }
};
template <>
struct Returning<Suspend> {
  static void take(TaskContext& task, const Suspend& suspend) { suspend.apply(task); }
};
template <>
struct Returning<std::optional<Suspend>> {
  static void take(TaskContext& task, const std::optional<Suspend>& suspend) {
    if (suspend) suspend->apply(task);
  }
};
template <class... T>
struct Returning<std::variant<T...>> {
  static void take(TaskContext& task, std::variant<T...> returned) {
    std::visit(
        [&]<class One>(One& one) {
          if constexpr (!std::same_as<One, std::monostate>) Returning<One>::take(task, std::move(one));
        },
        returned);
  }
};

template <class Handler>
bool is_empty(const Handler& handler) {
  if constexpr (std::is_pointer_v<Handler> || requires { handler.target_type(); })
    return !handler;  // a null function pointer, an empty std::function
  else
    return false;
}
}  // namespace detail

enum class Backoff { fixed, linear, exponential };

// Which errors are worth another attempt, by their text.
class INSULA_EXPORT RetryCondition {
 public:
  enum Word {
    all,
    never,
    transient,  // that speak of timeouts, connections, networks, being busy, unavailable, ...
  };
  RetryCondition(Word word = all) : word_(word) {}
  // Those that contain one of the texts, upper and lower case alike.
  [[nodiscard]] static RetryCondition matching(std::vector<std::string> texts);

  Value json() const;  // as it stands in the definition
  friend bool operator==(const RetryCondition&, const RetryCondition&) = default;

 private:
  Word word_;
  std::vector<std::string> texts_;
};

// The retries after a failed attempt.  The wait before the next is initial_delay, times the
// attempt's number (linear) or doubled with each (exponential), up to max_delay; jitter
// takes up to a quarter off, so that a crowd of failures spreads.
struct RetryPolicy {
  int max_attempts = 3;  // all runs whose outcome was reported, the first included
  Backoff backoff = Backoff::exponential;
  std::chrono::milliseconds initial_delay{1'000};
  std::chrono::milliseconds max_delay{60'000};
  bool jitter = true;
  RetryCondition condition = {};
  // Runs whose worker died, or did not report before their lease ended: they use no attempt, but no more than these
  // may come; 0 to 100.  A task of one attempt, or that is never retried, fails at the first.
  int max_lapses = 10;

  friend bool operator==(const RetryPolicy&, const RetryPolicy&) = default;
};

// A task that runs once for each element of an array, up to 10,000, side by side.  A run
// finds its element in TaskContext::item(), and in its context under `as`, in place of the
// array.  The tasks after it see, under the task's id, an array of what each run has set,
// in the order of the elements.
struct ForEach {
  std::string items = {};  // a key of the context, or a path like $.order.lines
  std::string as = "item";
  bool allow_failures = false;  // false: one that fails fails the task; true: it leaves a null
};

// A task's options; all have defaults.
struct TaskOptions {
  std::vector<std::string> depends_on = {};      // ids of the tasks that it waits for
  std::optional<TriggerRule> trigger_rule = {};  // none: all of those must be completed
  RetryPolicy retry = {};
  std::chrono::milliseconds timeout{0};  // of one attempt, which then counts as failed; 0: none
  int priority = 0;                      // added to the execution's; higher first
  std::optional<ForEach> for_each = {};
  // Whether what the handler has thrown is worth another attempt; false: the task fails for good.
  // Called on the handler's thread, for each std::exception but permanent_error, retry_after and stopped.  Empty: as
  // retry.condition says, which goes by the text.
  //   const auto is_busy = [](const std::exception& e) { return dynamic_cast<const Busy*>(&e) != nullptr; };
  std::function<bool(const std::exception&)> retry_if = {};
  // For one task, which depends on nothing: it runs when all others have ended and the execution is about to fail, to
  // clean up or to tell about it, and is skipped otherwise.  The execution fails all the same.  (One that is
  // cancelled, or past its timeout, ends without it.)
  bool on_failure = false;
};

enum class ParamType { string, integer, number, boolean, object, array };

struct ParamOptions {
  bool required = false;                    // an execution without it is refused
  std::optional<Value> default_value = {};  // what it is given instead
};

// A checked workflow: immutable, cheap to copy, thread-safe.
class INSULA_EXPORT Workflow {
 public:
  class Builder;
  [[nodiscard]] static Builder builder(std::string name);

  const std::string& name() const noexcept;
  // The definition as it is registered with the server: same tasks and options, same text.
  const std::string& definition_json() const noexcept;

 private:
  friend class Builder;
  friend class Fleet;
  friend class Runner;
  friend struct detail::WorkflowAccess;
  explicit Workflow(std::shared_ptr<const detail::WorkflowState> state) : state_(std::move(state)) {}

  std::shared_ptr<const detail::WorkflowState> state_;
};

class INSULA_EXPORT Workflow::Builder {
 public:
  explicit Builder(std::string name);
  Builder(const Builder& other);  // a builder of its own
  Builder& operator=(const Builder& other);

  Builder& description(std::string text);
  // Bounds an execution, from its planned start to its end; one that takes longer fails.
  Builder& timeout(std::chrono::milliseconds most);
  // At most `max` tasks of the workflow, in all its versions, run at once; with `key` (a key of
  // the input, or a path like $.customer.id), at most `max` for each value of it.
  Builder& limit(int max, std::string key = {});
  // Declares what the input must hold; other keys are free.
  Builder& param(std::string name, ParamType type, ParamOptions options = {});

  // The handler is kept as long as any copy of the workflow, or a runner that has it.
  // It need not be copyable.
  template <class Handler>
  requires std::invocable < std::decay_t<Handler>
  &, TaskContext& > Builder& task(std::string id, Handler&& handler, TaskOptions options = {}) {
    using Stored = std::decay_t<Handler>;
    using Returned = std::invoke_result_t<Stored&, TaskContext&>;
    if (detail::is_empty<Stored>(handler)) return add(std::move(id), {}, std::move(options));
    auto run = [kept = std::make_shared<Stored>(std::forward<Handler>(handler))](TaskContext& task) {
      if constexpr (std::is_void_v<Returned>)
        (*kept)(task);
      else
        detail::Returning<std::remove_cvref_t<Returned>>::take(task, (*kept)(task));
    };
    return add(std::move(id), std::move(run), std::move(options));
  }

  // A task whose handler is given several executions' tasks at a time, up to `most`: those that are there, one at
  // least.  To return means that all are done, but those on which it has called TaskContext::fail; to throw, that all
  // have failed.  Each counts as a handler of its own in max_concurrent_tasks, and may have a transaction of its own:
  // the first transaction() of a batch then waits for a connection for each of its tasks, and a batch is no larger than
  // max_connections - 3, or 1.  One that was made before the handler had ever called transaction() may be larger: its
  // tasks are put off, with no attempt used, if the handler throws what that call has thrown.
  //
  //   .batch("index", [](std::span<insula::TaskContext* const> tasks) {
  //     for (insula::TaskContext* task : tasks)
  //       if (!index(task->at<std::string>("document"))) task->fail("no such document");
  //   })
  Builder& batch(std::string id, std::function<void(std::span<TaskContext* const>)> handler, TaskOptions options = {},
                 int most = 100);

  // Checks the whole: names, no task twice, dependencies that exist, no cycle, options in
  // their range, at least one task.  Throws error{invalid} that lists every problem, one a
  // line.  (Runner::add lets the server check the rest, as paths into the context.)
  Workflow build() const;

 private:
  Builder& add(std::string id, std::function<void(TaskContext&)> handler, TaskOptions options);
  std::shared_ptr<detail::WorkflowState> state_;
};

}  // namespace insula
