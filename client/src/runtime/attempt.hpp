// One attempt at one task: what was claimed, how it is stopped, and what came of it.
//
// Shared by the I/O thread, which holds its lease, and by the handler thread that runs
// it.  Each member says whose it is.
#pragma once

#include "runtime/metrics.hpp"
#include "runtime/settings.hpp"
#include "runtime/transaction.hpp"
#include "runtime/workflow_state.hpp"
#include "wire/calls.hpp"

#include <insula/context.hpp>
#include <insula/middleware.hpp>
#include <insula/workflow.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <variant>
#include <vector>

namespace insula::detail {

struct EventWait {
  std::string event;
  std::optional<std::chrono::milliseconds> timeout;
};
struct Child {
  std::string workflow;
  std::string context;  // JSON
};
using Request =
    std::variant<std::monostate, std::chrono::system_clock::time_point, std::chrono::milliseconds, EventWait, Child>;

// The objects that the handlers of one runtime share.
struct Workplace {
  std::shared_ptr<Lender> lender;
  std::string acts_for;  // Settings::tenant
  std::shared_ptr<Observer> observer;
  std::shared_ptr<Metrics> metrics;
  std::vector<std::shared_ptr<Middleware>> middleware = {};
  // Asks the server about a task, over the control connection, and waits.  Throws insula::error.
  std::function<wire::Rows(wire::Statement, std::int64_t task_id)> ask = {};

  void to_server(const std::string& tenant, Context& context) const;
  void from_server(const std::string& tenant, Context& context) const;
};

struct Attempt {
  Attempt(wire::Claimed claimed, std::shared_ptr<const Handler> run)
      : info(std::move(claimed)), handler(std::move(run)) {}

  // Any thread.  The first reason counts; false: there is one already.
  bool note_stop(StopReason why) noexcept {
    StopReason none = StopReason::none;
    return reason.compare_exchange_strong(none, why);
  }
  // The handler's own thread: what it has tied to its stop token is called on this one.
  void request_stop(StopReason why) {
    note_stop(why);
    stop.request_stop();
  }
  bool is_stopping() const noexcept { return reason != StopReason::none; }

  // The connection of this attempt's transaction, which begins with the first call.
  // Throws insula::error, or stopped.
  PGconn* begin_transaction();
  // How many of its handler's tasks may run in a batch with it.  Any thread, before it is run.
  std::size_t most_together() const noexcept;

  // All that the handler has said of its progress and the server has not been told; nullopt: nothing.
  struct Said : wire::Progress {
    std::uint64_t serial = 0;
  };
  std::optional<Said> take_progress();
  bool has_progress();
  void add_progress(wire::Progress later);
  // It could not be told: what has been said since then counts, told or not.
  void put_back_progress(const Said& earlier);
  // Saves it with all that was said before, and waits for that.  Throws insula::error, or stopped.  The handler
  // thread's.
  void save_checkpoint(const std::string& json);
  // What an earlier run has saved.  Throws as save_checkpoint does.
  std::optional<Value> read_checkpoint();
  // Asks the server about this task.  Throws insula::error.  The handler thread's.
  wire::Rows ask(wire::Statement statement);

  // Immutable once the handler has started.
  const wire::Claimed info;
  const std::shared_ptr<const Handler> handler;
  std::shared_ptr<const Workplace> workplace = {};  // nullptr: in a test, without a runtime

  // Any thread.
  std::stop_source stop;
  std::atomic<StopReason> reason{StopReason::none};

 private:
  std::mutex progress_mutex_;
  std::optional<wire::Progress> progress_;  // under progress_mutex_, as the next
  std::uint64_t serial_ = 0;
  struct {
    std::uint64_t checkpoint = 0, reached = 0, note = 0;
  } last_said_;  // serials

 public:
  // The handler thread's.
  Context& context();           // what the handler sees; see TaskContext::context
  std::optional<Context> seen;  // once it was asked for: not every handler does
  Context changes;
  bool replaced_object = false;  // changes alone do not say all: see Context::append_patch
  std::unique_ptr<Transaction> transaction;
  bool lacked_connection = false;  // for its transaction or a question: what it throws then is no verdict
  std::shared_ptr<Loan> loan;        // its batch's; nullptr: it is in none
  PGconn* test_connection = nullptr;  // in a test: for its transaction
  bool used_test_connection = false;
  bool began = false;                              // its transaction, here
  std::optional<std::optional<Value>> checkpoint;  // once it was asked for, or saved
  struct Verdict {
    std::string why;
    bool retryable;
  };
  std::optional<Verdict> verdict;  // its own, in place of an exception
  Value item;
  std::optional<Event> event;
  Request request;  // what the handler wants in place of being done; also the I/O thread's, later

  // The I/O thread's; deadline_at is set before the handler starts.
  Clock::time_point fence_at;  // no sign from the server until then: the lease counts as lost
  Clock::time_point deadline_at = Clock::time_point::max();
  bool finished = false;  // the handler has returned
};

inline std::size_t Attempt::most_together() const noexcept {
  if (!workplace || !*handler->uses_transactions) return handler->most;
  return std::min(handler->most, std::max<std::size_t>(workplace->lender->most_at_once(), 1));
}

// The outcome of an attempt.
struct Outcome {
  enum class Kind {
    completed,
    failed,
    put_off,     // by the attempt's request
    settled,     // the server has it: it was told in the handler's own transaction
    given_back,  // nothing to report: the server gives the task to any worker
  };

  std::shared_ptr<Attempt> attempt;
  Kind kind = Kind::completed;
  std::string patch = {};                                  // completed, put off: JSON; empty: no change
  std::string error = {};                                  // failed
  bool retryable = true;                                   // failed
  std::optional<std::chrono::milliseconds> retry_in = {};  // failed: the handler's own choice
  int free_retries = 0;                                    // with that: see retry_after
  bool sent_before = false;
  // The most outcomes of a batch that it goes in: fewer each time that such a batch was refused.
  std::size_t together = 5'000;
};

// The outcome of one that no thread runs: where it is not stopped, it comes again a little later.
Outcome refuse_attempt(const std::shared_ptr<Attempt>& attempt);
// Calls the handler, on the calling thread.  Does not throw.
Outcome run_attempt(const std::shared_ptr<Attempt>& attempt) noexcept;
// The same for attempts of one handler, that are several only if it takes batches.
std::vector<Outcome> run_attempts(const std::vector<std::shared_ptr<Attempt>>& attempts) noexcept;

}  // namespace insula::detail
