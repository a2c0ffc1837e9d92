// SPDX-License-Identifier: PostgreSQL
// Runner: starts workflows, and runs their tasks, for one tenant.
//
//   auto runner = insula::Runner::with_schema(database_url, "acme_corp");
//   runner.add(workflow);                                     // from here on its tasks run here
//   insula::Result r = runner.execute("orders", {{"n", 3}});  // start and wait
//   auto handle = runner.execute_async("orders", {{"n", 4}}); // start only
//   auto many = runner.submit_many("orders", contexts);       // start one for each
//   runner.shutdown();
//
// A Runner is a handle: copies are cheap, share one runtime, and may be used from any
// thread.  The runtime is one I/O thread, max_concurrent_tasks handler threads and two
// connections, however many workflows, executions and handles there are; a third one is made
// for what would hold up the rest: a call that has met a lock, or that sends a megabyte.  Its
// threads hold no handle: when the last Runner and Execution go, it is shut down as by
// shutdown().  (A handler that captures a Runner keeps it alive: call shutdown().)
//
// It outlives its connections: they are made anew, with growing and jittered pauses, for
// as long as it takes; outcomes of handlers are kept and sent then.
//
// libpq looks up a host's name while it waits: where the resolver is slow when a connection has broken, the
// I/O thread, and so all heartbeats, wait for it.  `hostaddr` in the connection string, beside `host`, does
// without a look-up.
//
// fork(): make runners after it, never before.
#pragma once

#include <insula/context.hpp>
#include <insula/enqueue.hpp>
#include <insula/error.hpp>
#include <insula/execution.hpp>
#include <insula/executions.hpp>
#include <insula/export.hpp>
#include <insula/middleware.hpp>
#include <insula/observer.hpp>
#include <insula/result.hpp>
#include <insula/schedule.hpp>
#include <insula/workflow.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace insula {

namespace detail {
struct RunnerHandle;
}

enum class LogLevel { debug, info, warning, error };

// Every field has a default; give those you want by name, or use builder().
struct INSULA_EXPORT RunnerConfig {
  // Handlers that run at the same time, each on a thread of its own.
  int max_concurrent_tasks = 8;
  // The most connections this runner may open: at least 2.  More are only made for handlers
  // that use TaskContext::transaction, one for each of them at a time, and, from 4 on, one for what
  // waits for locks.
  int max_connections = 5;
  // How long the server waits for a sign of life before it gives a task to another
  // worker.  Renewed every third of it.  (A process that dies loses its tasks at once,
  // where the server has shared memory; this is for one that hangs.)  At least 1 s.
  std::chrono::milliseconds lease{60'000};
  // For one attempt to connect.
  std::chrono::milliseconds connect_timeout{10'000};
  // How long a call waits for a connection that broke to come back, or for a lock that another
  // transaction holds: of an idempotency key that it has used, say.  Then it throws, and says for what
  // it has waited.  milliseconds::max() is for ever, here as in every other time.
  std::chrono::milliseconds call_timeout{30'000};
  // Receives messages about events outside of any call: lost connections, late handlers, refused
  // completions.  Called on the runtime's threads, must be quick, must not call the
  // runner (error{would_deadlock}).  Default: warnings and errors go to stderr.
  std::function<void(LogLevel, std::string_view)> log = {};
  // See observer.hpp; shared by as many runners as you like.
  std::shared_ptr<Observer> observer = {};
  // See middleware.hpp.
  std::vector<std::shared_ptr<Middleware>> middleware = {};
  // In front of the worker's name, as `label@host:pid:number`, so that people find this process among others: 1 to
  // 32 printable characters without spaces.
  //
  //   insula::RunnerConfig config{.label = "gpu-3"};
  //   config.executor = [&](std::function<void()> job) { pool.post(std::move(job)); };
  std::string label = {};
  // Runs the handlers in place of threads of the library's own: it is given a job for each, and calls it later on
  // some thread, never within the call.  Called on a thread of the runtime's; must be quick.  What it drops, or refuses
  // by an exception, is put off for a second.  max_concurrent_tasks holds all the same, and a task's timeout runs
  // while its job waits.
  std::function<void(std::function<void()>)> executor = {};

  class Builder;
  [[nodiscard]] static Builder builder();
};

class RunnerConfig::Builder {
 public:
  Builder& max_concurrent_tasks(int n) { return config_.max_concurrent_tasks = n, *this; }
  Builder& max_connections(int n) { return config_.max_connections = n, *this; }
  Builder& lease(std::chrono::milliseconds d) { return config_.lease = d, *this; }
  Builder& connect_timeout(std::chrono::milliseconds d) { return config_.connect_timeout = d, *this; }
  Builder& call_timeout(std::chrono::milliseconds d) { return config_.call_timeout = d, *this; }
  Builder& log(std::function<void(LogLevel, std::string_view)> f) { return config_.log = std::move(f), *this; }
  Builder& observer(std::shared_ptr<Observer> o) { return config_.observer = std::move(o), *this; }
  Builder& middleware(std::shared_ptr<Middleware> m) { return config_.middleware.push_back(std::move(m)), *this; }
  Builder& label(std::string s) { return config_.label = std::move(s), *this; }
  Builder& executor(std::function<void(std::function<void()>)> f) { return config_.executor = std::move(f), *this; }
  [[nodiscard]] RunnerConfig build() const { return config_; }

 private:
  RunnerConfig config_;
};

inline RunnerConfig::Builder RunnerConfig::builder() { return {}; }

struct AddOptions {
  // The tasks of the workflow that this runtime runs; empty: all.  Others leave theirs to other runtimes.
  std::vector<std::string> only = {};
};

struct ShutdownOptions {
  std::chrono::milliseconds drain{30'000};   // how long running handlers may go on
  std::chrono::milliseconds cancel{10'000};  // and how long once they are asked to stop
};

// The result of a shutdown.
struct ShutdownReport {
  std::size_t finished = 0;   // handlers that were running and returned by themselves
  std::size_t stopped = 0;    // that returned after they were asked to stop
  std::size_t abandoned = 0;  // that still run: their tasks are given to other workers
  std::size_t unsent = 0;     // outcomes the server could not be told: those tasks run again
  [[nodiscard]] bool clean() const noexcept { return abandoned == 0 && unsent == 0; }
};

class INSULA_EXPORT Runner {
 public:
  // Connects with any libpq connection string, keywords or URI; the PG* environment, the
  // service file and the password file count as usual.  The tenant is the one whose
  // login this is.  Nothing is sent yet: the first call that needs the server connects,
  // and throws if it cannot.  Throws error{invalid} for a string or config that is none.
  explicit Runner(std::string_view connection_string, RunnerConfig config = {});
  [[nodiscard]] static Runner with_config(std::string_view connection_string, RunnerConfig config);

  // Acts, as the user of the connection string (an admin), for the tenant whose id and
  // schema are `schema`; makes it, without a login of its own, if there is none.  Throws error{already_exists},
  // which names its schema, for a tenant that has another.
  static Runner with_schema(std::string_view connection_string, std::string_view schema, RunnerConfig config = {});

  // Registers the definition with the server (a new one becomes the current version) and
  // begins to run its tasks.  Returns the version.  Adding it again replaces the handlers.
  // Throws error{limit} where not all of max_concurrent_tasks threads can be made.
  //   runner.add(video, {.only = {"transcode"}});   // on the machines that can
  // Throws error{invalid} for an id that is none of its tasks.
  int add(const Workflow& workflow, const AddOptions& options = {});

  // Start, and wait for the end.  Any runner of the tenant may run the tasks.
  // Throws error{not_found} for a workflow that is not registered, error{would_deadlock} in a
  // handler of this runner, and as Execution::wait does.
  Result execute(std::string_view workflow, const Context& context = {}, SubmitOptions options = {}) const;
  // Start; returns when the server has it for good.  Those that several threads start at a time
  // share a commit.
  Execution execute_async(std::string_view workflow, const Context& context = {}, SubmitOptions options = {}) const;

  // Starts one for each of the contexts, all or none, in one statement: the way to start
  // thousands.  In their order.  Throws as execute_async does, error{invalid} where the number of
  // idempotency keys is another; without contexts nothing is sent.
  std::vector<Execution> submit_many(std::string_view workflow, std::span<const Context> contexts,
                                     const SubmitManyOptions& options = {}) const;

  // A handle of an execution that was started before, or by another process.
  [[nodiscard]] Execution execution(std::int64_t id) const;
  // All executions of the tenant: lists of them, and verbs for many; see executions.hpp.
  [[nodiscard]] Executions executions() const;

  // No worker claims tasks of the workflow any more; running tasks may end, and submissions
  // wait.  false: it was so already.  Throws error{not_found} for a workflow that is not
  // registered.
  bool pause_workflow(std::string_view workflow) const;
  bool resume_workflow(std::string_view workflow) const;

  // --- schedules; see schedule.hpp
  // Makes one, or gives that of this name a new meaning; returns its id.
  // Throws error{not_found} for a workflow that is not registered, error{invalid} for the rest.
  std::int64_t schedule(std::string_view name, std::string_view workflow, std::string_view cron,
                        const ScheduleOptions& options = {}) const;
  bool unschedule(std::string_view name) const;  // its executions stay; false: there is none
  // error{not_found}: there is none; false: it was so already.
  bool pause_schedule(std::string_view name) const;
  bool resume_schedule(std::string_view name) const;  // fires during the pause do not count as missed
  std::vector<ScheduleInfo> schedules() const;        // by name
  // When an expression fires next.  Up to a thousand times.
  [[nodiscard]] std::vector<std::chrono::system_clock::time_point> next_fires(std::string_view cron,
                                                                              std::string_view timezone = "UTC",
                                                                              int n = 5) const;

  // Stops claiming; waits for running handlers; asks the rest to stop and waits again; tells
  // the server all outcomes, gives back what is left, and closes.  Takes no longer than the
  // options say and a few seconds.  Repeated calls return the first one's report.
  // Throws error{would_deadlock} in a handler of this runner.
  ShutdownReport shutdown(ShutdownOptions options = {});

  // Waits for SIGINT or SIGTERM, then shuts down; another signal cuts the wait for handlers
  // short.  For a worker's main():  return runner.run_until_signal().clean() ? 0 : 1;
  // The handlers of both signals are its own until it returns, so one call at a time in a process:
  // another throws error{invalid}.
  ShutdownReport run_until_signal(ShutdownOptions options = {});

  // The counters and gauges of this process, as text for Prometheus (format 0.0.4): serve
  // it as `Content-Type: text/plain; version=0.0.4`.  Asks no server.
  [[nodiscard]] std::string metrics() const;

  // This runner's name towards the server, as in the `worker` column of task_executions.
  const std::string& worker() const noexcept;

 private:
  explicit Runner(std::shared_ptr<detail::RunnerHandle> handle) : handle_(std::move(handle)) {}

  std::shared_ptr<detail::RunnerHandle> handle_;
};

}  // namespace insula
