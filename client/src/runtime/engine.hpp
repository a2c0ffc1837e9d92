// A runner's runtime: one I/O thread that owns both connections and all bookkeeping, and
// the pool of handler threads.
//
//   face (any thread) --call/await--> Inbox --> I/O thread: Control, Dispatcher, Leases, Waits
//                                       ^                        |  claimed tasks
//                                       +---- outcomes ---- Pool <+
//
// Everything below "the I/O thread's" is touched by that thread only, so none of it is
// locked.  The engine is started by the first call that needs the server, and ends in
// shutdown(), which its owner must call before it destroys it.
#pragma once

#include "runtime/control.hpp"
#include "runtime/dispatcher.hpp"
#include "runtime/inbox.hpp"
#include "runtime/leases.hpp"
#include "runtime/metrics.hpp"
#include "runtime/pool.hpp"
#include "runtime/settings.hpp"
#include "runtime/stopper.hpp"
#include "runtime/waits.hpp"
#include "runtime/workflow_state.hpp"

#include <insula/runner.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

namespace insula::detail {

class Engine {
 public:
  explicit Engine(Settings settings);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const Settings& settings() const noexcept { return settings_; }
  bool is_own_thread() const noexcept { return inbox_->is_own_thread(); }

  // --- from any thread
  // Sends, waits for the answer.  Throws insula::error: would_deadlock on the I/O thread.  If `wait`
  // is set, the answer is an execution's id, whose end it waits for from then on.
  wire::Rows call(wire::Statement statement, Manner manner = {}, std::shared_ptr<WaitState> wait = nullptr);
  void await(std::int64_t execution, const std::shared_ptr<WaitState>& state);
  // Makes the handlers' threads, unless there are some.  Throws error{limit} where not all can be made.
  void start_handlers();
  void add_handlers(const WorkflowState& workflow, const std::vector<std::string>& only);  // empty: all its tasks
  std::string metrics() const { return metrics_->text(settings_.config.max_concurrent_tasks); }
  ShutdownReport shutdown(const ShutdownOptions& options);
  void hasten_shutdown();  // ends the present wait for handlers

 private:
  enum class Phase { running, draining, stopping, flushing, leaving, ended };

  void start();
  void require_other_thread() const;
  void post(Inbox::Job job);

  // --- the I/O thread's
  void run();
  void turn();
  void wait_for_events();
  void measure();
  void collect(Clock::time_point now);  // what handlers have left
  void begin_shutdown(const ShutdownOptions& options);
  void drive_shutdown(Clock::time_point now);
  void enter(Phase phase, std::chrono::milliseconds at_most);
  bool has_backlog() const noexcept;
  bool has_flushed() const;
  void end();

  const Settings settings_;
  const std::shared_ptr<Inbox> inbox_;

  std::mutex lifecycle_;  // starting and ending
  std::atomic<bool> started_{false};
  std::atomic<bool> has_handlers_{false};  // threads
  std::optional<ShutdownReport> report_;   // under lifecycle_: set when all is over
  std::thread thread_;                     // under lifecycle_

  const std::shared_ptr<Metrics> metrics_;
  const std::shared_ptr<const Workplace> workplace_;
  Stopper stopper_;
  Leases leases_;
  Waits waits_;
  Pool pool_;
  Control control_;
  Dispatcher dispatcher_;
  Phase phase_ = Phase::running;
  Clock::time_point phase_ends_ = Clock::time_point::max();
  Clock::time_point look_at_ = Clock::time_point::max();  // for changes that no call announces
  std::chrono::milliseconds cancel_{0};
  bool stop_requested_ = false;  // handlers were asked to stop by the shutdown
  bool left_ = false;
  ShutdownReport tally_;
};

}  // namespace insula::detail
