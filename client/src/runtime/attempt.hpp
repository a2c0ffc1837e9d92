// One attempt at one task: what was claimed, how it is stopped, and what came of it.
//
// Shared by the I/O thread, which holds its lease, and by the handler thread that runs
// it.  Each member says whose it is.
#pragma once

#include "face/workflow_state.hpp"
#include "runtime/settings.hpp"
#include "wire/calls.hpp"

#include <insula/context.hpp>
#include <insula/workflow.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <variant>

namespace insula::detail {

struct Attempt {
  Attempt(wire::Claimed claimed, std::shared_ptr<const Handler> run)
      : info(std::move(claimed)), handler(std::move(run)) {}

  // Any thread.  The first reason counts.
  void request_stop(StopReason why) {
    StopReason none = StopReason::none;
    reason.compare_exchange_strong(none, why);
    stop.request_stop();
  }

  // Immutable.
  const wire::Claimed info;
  const std::shared_ptr<const Handler> handler;

  // Any thread.
  std::stop_source stop;
  std::atomic<StopReason> reason{StopReason::none};

  // The handler thread's.
  Context context;
  Context changes;
  bool replaced_object = false;  // changes alone do not say all: see Context::append_patch
  using Deferral = std::variant<std::chrono::system_clock::time_point, std::chrono::milliseconds>;
  std::optional<Deferral> deferral;

  // The I/O thread's.
  Clock::time_point fence_at;  // no sign from the server until then: the lease counts as lost
  bool finished = false;       // the handler has returned
};

// What came of an attempt.
struct Outcome {
  enum class Kind {
    completed,
    failed,
    deferred,
    given_back,  // nothing to tell: the server gives the task to whom it likes
  };

  std::shared_ptr<Attempt> attempt;
  Kind kind = Kind::completed;
  std::string patch = {};  // completed, deferred: JSON; empty: no change
  std::string error = {};  // failed
  bool retryable = true;   // failed
  bool alone = false;      // refused in a batch: sent by itself
  bool sent_before = false;
};

// Calls the handler, on the calling thread.  Does not throw.
Outcome run_attempt(const std::shared_ptr<Attempt>& attempt) noexcept;

}  // namespace insula::detail
