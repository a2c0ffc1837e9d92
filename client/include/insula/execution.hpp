// SPDX-License-Identifier: PostgreSQL
// Execution: the handle of a started execution, to wait for it, look at it, control it.
//
//   insula::Execution execution = runner.execute_async("orders", {{"n", 4}});
//   if (auto result = execution.wait_for(std::chrono::seconds{10}))
//     std::cout << result->status << '\n';
//   else
//     execution.cancel("took too long");
//   if (!execution.send_event("paid", 30, {.idempotency_key = "payment-7"})) std::cout << "it has ended\n";
#pragma once

#include <insula/context.hpp>
#include <insula/error.hpp>
#include <insula/export.hpp>
#include <insula/result.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace insula {

namespace detail {
struct RunnerHandle;
struct WaitState;
}  // namespace detail

struct EventOptions {
  // The first of the execution's events with the same key counts, and sending another changes nothing: so the call is
  // safe to repeat, and is repeated where a connection breaks.  Up to 255 bytes.
  std::string idempotency_key = {};
};

// A started execution.  A cheap shared handle, usable from any thread; it keeps its
// runner's runtime alive.
class INSULA_EXPORT Execution {
 public:
  std::int64_t id() const noexcept { return id_; }

  // Waits for its end: completed, failed or cancelled, which is in the result and not
  // thrown.  Throws error{shut_down} when the runner is, error{would_deadlock} in a
  // handler of the same runner.
  Result wait() const;
  // nullopt: not ended after that long.  No slot of the server is held by the wait.
  std::optional<Result> wait_for(std::chrono::milliseconds timeout) const;

  // All of these ask the server, and throw error{not_found} once the execution is gone
  // by its tenant's retention.
  Status status() const;
  [[nodiscard]] Result result() const;  // as it stands: tasks and all
  [[nodiscard]] std::vector<TaskExplanation> explain() const;

  // false: it had ended already.  Running handlers are asked to stop: those of this runner at once,
  // others at their runner's next heartbeat, a third of the lease away at most.
  bool cancel(std::string_view reason = {}) const;
  // No further task of it starts; running handlers are asked to stop as by cancel, and may
  // end all the same.  false: it was paused, or has ended.
  bool pause(std::string_view reason = {}) const;
  bool resume(std::string_view reason = {}) const;  // false: it was not paused
  // Opens one that failed or was cancelled again: what failed runs again, with all its
  // attempts; what was completed stays.  false: it was neither.  wait() waits anew, in every
  // handle of this runner.
  bool retry(std::string_view reason = {}) const;
  // For the task of it that waits for the event, or will (TaskContext::wait_event).
  // false: it has ended.
  [[nodiscard]] bool send_event(std::string_view event, const Value& payload = {},
                                const EventOptions& options = {}) const;

 private:
  friend class Fleet;
  friend class Runner;
  Execution(std::shared_ptr<detail::RunnerHandle> runner, std::int64_t id, std::shared_ptr<detail::WaitState> state);

  std::shared_ptr<detail::RunnerHandle> runner_;
  std::int64_t id_;
  std::shared_ptr<detail::WaitState> state_;
};

// Waits for all of them; results in the same order.
INSULA_EXPORT std::vector<Result> wait_all(std::span<const Execution> executions);

}  // namespace insula
