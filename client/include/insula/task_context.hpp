// SPDX-License-Identifier: PostgreSQL
// TaskContext: what a handler is given, and how it says what became of its task.
//
//   std::optional<insula::Suspend> charge(insula::TaskContext& ctx) {
//     if (!ctx.event()) return insula::wait_event("approved", std::chrono::hours{24});
//     if (ctx.event()->timed_out) throw insula::permanent_error{"no approval in time"};
//     ctx.set("charged", ctx.at<int>("amount"));
//     return std::nullopt;
//   }
//
// A handler ends in one of these ways:
//   it returns                      the task is completed, with what was set
//   it returns a Suspend            the task is put off, and holds no thread, no connection
//                                   and no attempt, through restarts of anything
//   it throws permanent_error       the task has failed, whatever attempts are left
//   it throws retry_after           the task runs again after that time, if it has attempts left
//   it throws stopped, or anything  (when it was asked to stop) the task is given back, and
//     else                          runs again unless its execution has ended
//   it throws anything else         this attempt failed: the task's retry policy decides.
//                                   what() is kept as the task's error
// A handler that throws hands nothing over: all that was set is dropped.
#pragma once

#include <insula/context.hpp>
#include <insula/export.hpp>

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

extern "C" {
typedef struct pg_conn PGconn;  // as in libpq-fe.h
}

namespace insula {

namespace detail {
struct Attempt;
}

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

// When a checkpoint reaches the server.
enum class Durable {
  with_heartbeat,  // with the next heartbeat, a third of the lease away at most; and when the run ends otherwise than
                   // well
  at_once,         // before the call returns, which waits for a commit
};

// A handler returns it in place of being done; see below the class.
class Suspend;

// The event that a task has waited for.
struct Event {
  std::string name;
  Value payload = {};      // null if it was sent without one
  bool timed_out = false;  // it did not come in time
};

// One attempt at one task.  Not thread-safe, and valid only until the handler returns;
// stop_token() alone may be taken to other threads.
class INSULA_EXPORT TaskContext {
 public:
  explicit TaskContext(detail::Attempt& attempt);  // the library makes these
  TaskContext(const TaskContext&) = delete;
  TaskContext& operator=(const TaskContext&) = delete;
  ~TaskContext();

  // Reading: the input, changed by what the tasks before this one have set, and by what
  // this one has set so far.  As Context::get and Context::at.  The first of these calls reads
  // what the server sent: error{invalid} where that is nested more than 1,000 deep.
  template <class T>
  [[nodiscard]] std::optional<T> get(std::string_view key) const {
    return context().get<T>(key);
  }
  template <class T>
  T at(std::string_view key) const {
    return context().at<T>(key);
  }
  [[nodiscard]] bool contains(std::string_view key) const { return context().contains(key); }
  const Context& context() const;

  // Writing: recorded here, and handed over when the handler returns, as a merge patch:
  // an object is merged into one that is there (to replace it, erase it first), anything
  // else replaces, null deletes.
  TaskContext& set(std::string_view key, Value value);
  TaskContext& set(std::string_view key, std::initializer_list<Value> elements) {
    return set(key, Value(Value::Array(elements)));
  }
  TaskContext& erase(std::string_view key) { return set(key, nullptr); }
  const Context& changes() const noexcept;

  const std::string& tenant() const noexcept;
  const std::string& workflow() const noexcept;
  const std::string& task() const noexcept;
  int version() const noexcept;       // of the workflow's definition
  int attempt() const noexcept;       // 1 for the first
  int max_attempts() const noexcept;  // the last of them fails for good
  std::int64_t execution_id() const noexcept;
  // The same for every attempt at this task: a key for calls that must happen once.
  std::int64_t task_id() const noexcept;

  // The element that this run of a for_each task is about; null in other tasks.
  const Value& item() const noexcept;
  // The event or timeout that ended the wait_event of an earlier run, if one did.
  const std::optional<Event>& event() const noexcept;
  // When the task's time is up, by its timeout; nullopt: it has none.
  std::optional<std::chrono::steady_clock::time_point> deadline() const noexcept;

  // Keeps for the task's later runs how far a long handler has come: any value, replaced by the next.
  //
  //   void import(insula::TaskContext& ctx) {
  //     const auto rows = ctx.at<int>("rows");
  //     for (int row = ctx.last_checkpoint<int>().value_or(0); row < rows; ++row) {
  //       import_row(row);
  //       ctx.checkpoint(row + 1);
  //       ctx.progress(static_cast<double>(row + 1) / rows, "importing");
  //     }
  //   }
  //
  // A checkpoint that is not durable yet goes with a worker that dies.  With Durable::at_once throws insula::error, and
  // stopped if the lease is lost.
  void checkpoint(const Value& value, Durable when = Durable::with_heartbeat);
  // The last one of this run, or else of an earlier run, for which the first call asks the server; nullopt: there is
  // none, or it is no T.  Throws insula::error, and stopped if the lease is lost.
  template <class T>
  [[nodiscard]] std::optional<T> last_checkpoint() const {
    const Value* value = find_checkpoint();
    return value ? value->as<T>() : std::nullopt;
  }
  // How far it has come, from 0 to 1, and a word about it, for people: insula.result and the view task_executions show
  // them, after the next heartbeat.
  void progress(double reached, std::string_view note = {});

  // This attempt fails when the handler returns, as if it had thrown: for one task of a batch.
  void fail(std::string_view why, bool retryable = true);

  // Asked to stop: long handlers look at it now and then.  A handler that stops early
  // must throw (anything: throw_if_stopped is handy), since to return means "done".  What is tied to
  // the token (std::stop_callback) is called on a thread of the runtime's, one after the other: it may
  // ask the runner, but not wait for executions.  The token may be late by the time that callbacks of other
  // handlers take; the other three know at once.
  [[nodiscard]] std::stop_token stop_token() const noexcept;
  [[nodiscard]] bool stop_requested() const noexcept { return stop_reason() != StopReason::none; }
  [[nodiscard]] StopReason stop_reason() const noexcept;
  void throw_if_stopped() const;  // throws insula::stopped

  // A transaction that is tied to this task: whatever is done over this connection, and the
  // task's outcome, come in one commit, or not at all.  So it happens exactly once, however
  // many times the handler runs.
  //
  //   void charge(insula::TaskContext& ctx) {
  //     PGconn* conn = ctx.transaction();
  //     PGresult* result = PQexec(conn, "UPDATE account SET balance = balance - 10 WHERE id = 1");
  //     const bool done = PQresultStatus(result) == PGRES_COMMAND_OK;
  //     PQclear(result);
  //     if (!done) throw std::runtime_error{PQerrorMessage(conn)};
  //   }
  //
  // To return commits it; to throw, or to have lost the lease by then, rolls it back.
  // BEGIN was sent, COMMIT and ROLLBACK are not yours to send.  The connection is lent, one
  // for each handler at a time: as the user of the runner, or of the fleet.  insula::enqueue over it
  // starts executions of the task's own tenant, in the same commit, whatever other rights the user
  // has.  What is SET in it is undone.  Begin it late: it holds back the server's cleaning up as long as it is open.
  //
  // Waits for a free connection as long as RunnerConfig::call_timeout.  Throws
  // insula::error, and stopped if the lease is lost already or the handler is asked to stop.  A
  // handler that throws since it found no connection, or no server, is put off for a second, with no
  // attempt used.
  PGconn* transaction();

  // The former way to suspend: what these ask for is carried out when the handler returns, which it should do next;
  // of several calls the last counts.  A handler that forgets to return goes on, so return the Suspend of the
  // functions below instead.  They go with version 1.0; define INSULA_WARN_DEPRECATED to find them.
  INSULA_DEPRECATED("return insula::defer_until(when)") void defer_until(std::chrono::system_clock::time_point when);
  INSULA_DEPRECATED("return insula::defer_for(delay)") void defer_until(std::chrono::milliseconds from_now);
  INSULA_DEPRECATED("return insula::wait_event(event)")
  void wait_event(std::string_view event, std::optional<std::chrono::milliseconds> timeout = std::nullopt);
  INSULA_DEPRECATED("return insula::submit_child(workflow)")
  void submit_child(std::string_view workflow, Context context = {});

 private:
  friend class Suspend;
  const Value* find_checkpoint() const;  // nullptr: none

  detail::Attempt& attempt_;
};

// A handler that returns one of these, or a std::optional or std::variant that holds one, is not done: its task is
// put off.  Made by the functions below.  (A std::function<void(TaskContext&)> around that handler would drop it.)
class [[nodiscard, gnu::visibility("default")]] Suspend {
 public:
  // For the library: notes what is to be carried out when the handler has returned.
  void apply(TaskContext & task) const;

 private:
  friend Suspend defer_until(std::chrono::system_clock::time_point when);
  friend Suspend defer_for(std::chrono::milliseconds delay);
  friend Suspend wait_event(std::string_view event, std::optional<std::chrono::milliseconds> timeout);
  friend Suspend submit_child(std::string_view workflow, Context context);
  struct Request;
  explicit Suspend(Request request);

  std::shared_ptr<const Request> request_;
};

// The task starts again from its beginning at that time, on any worker, with what was
// set so far.  A delay is counted by the server's clock.
INSULA_EXPORT Suspend defer_until(std::chrono::system_clock::time_point when);
INSULA_EXPORT Suspend defer_for(std::chrono::milliseconds delay);

// The task starts again, with what was set so far and the event in event(), when its
// execution is sent an event of that name (Execution::send_event), or after the timeout;
// nullopt: it waits for ever.  An event that was sent before is there at once.
// Throws error{invalid} for a name that is none.
INSULA_EXPORT Suspend wait_event(std::string_view event,
                                 std::optional<std::chrono::milliseconds> timeout = std::nullopt);

// Starts an execution of another workflow of the tenant, in which this task goes on: when
// it completes, so does this task, and its final context is handed over under this task's
// id.  When it fails, so does this attempt.  What was set besides could not be kept, so a
// task that has set something fails for good.
INSULA_EXPORT Suspend submit_child(std::string_view workflow, Context context = {});

namespace detail {

// Stores the return value of a handler: each key of a Context is set, any other value is set
// under the task's own id.
INSULA_EXPORT void hand_over(TaskContext& task, const Context& changes);
INSULA_EXPORT void hand_over(TaskContext& task, Value value);

}  // namespace detail

}  // namespace insula
