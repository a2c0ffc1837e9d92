// The connections that handlers borrow for a transaction: made when they are wanted, kept
// for the next, and never more than RunnerConfig::max_connections leaves beside the two of
// the runtime.  Thread-safe; may outlive its engine with a handler that was left behind.
#pragma once

#include "runtime/settings.hpp"
#include "wire/session.hpp"

#include <condition_variable>
#include <memory>
#include <mutex>
#include <stop_token>
#include <vector>

namespace insula::detail {

class Lender {
 public:
  explicit Lender(const Settings& settings);

  // Waits for one that is free, no longer than a call may wait.  Throws insula::error, and
  // stopped when the handler is asked to stop during the wait.
  std::unique_ptr<wire::Session> borrow(std::stop_token stop);
  void give_back(std::unique_ptr<wire::Session> session) noexcept;
  // Counts one that the runtime makes for itself, unless handlers would have none left; false: not.
  // It is given back as nullptr.
  std::size_t most() const noexcept { return most_; }
  bool reserve() noexcept;
  void close() noexcept;  // lends no more

  std::chrono::milliseconds call_timeout() const noexcept { return call_timeout_; }

 private:
  std::unique_ptr<wire::Session> take_free(std::stop_token stop);

  const wire::ConnInfo conninfo_;
  const std::chrono::milliseconds connect_timeout_;
  const std::chrono::milliseconds call_timeout_;
  const std::size_t most_;

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<std::unique_ptr<wire::Session>> free_;  // under mutex_, as all below
  std::size_t lent_ = 0;
  bool closed_ = false;
};

}  // namespace insula::detail
