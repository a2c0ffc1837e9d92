// The connections that handlers borrow for a transaction: made when they are wanted, kept
// for the next, and never more than RunnerConfig::max_connections leaves beside the two of
// the runtime.  Thread-safe; may outlive its engine with a handler that was left behind.
#pragma once

#include "runtime/settings.hpp"
#include "wire/session.hpp"

#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <stop_token>
#include <vector>

namespace insula::detail {

class Lender {
 public:
  explicit Lender(const Settings& settings);

  // Waits until `count` may be lent, in the order of asking and no longer than a call may wait: all or none, since two
  // that hold some and wait for more would wait for each other.  Throws insula::error, and stopped when the handler is
  // asked to stop during the wait.
  void take(std::size_t count, std::stop_token stop);
  // One in place of one that was taken and given back, before all others: they may wait for those that the caller
  // still has.
  void take_again(std::stop_token stop);
  // The most that may be taken at once: one is left to what the runtime makes for itself.
  std::size_t most_at_once() const noexcept { return most_ < 2 ? most_ : most_ - 1; }
  // One of those that were taken.  Throws insula::error; it is taken still.
  std::unique_ptr<wire::Session> connect();
  // nullptr: it was not used, or is no longer fit for use.
  void give_back(std::unique_ptr<wire::Session> session) noexcept;
  // Takes one that the runtime makes for itself, unless handlers would have none left; false: not.
  bool reserve() noexcept;
  void close() noexcept;  // lends no more

  std::chrono::milliseconds call_timeout() const noexcept { return call_timeout_; }

 private:
  using Asked = std::list<std::size_t>;
  void wait_for(Asked::iterator place, std::unique_lock<std::mutex>& lock, std::stop_token stop);

  const wire::ConnInfo conninfo_;
  const std::chrono::milliseconds connect_timeout_;
  const std::chrono::milliseconds call_timeout_;
  const std::size_t most_;

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<std::unique_ptr<wire::Session>> free_;  // under mutex_, as all below
  std::size_t lent_ = 0;
  Asked asked_;          // how many each wants that waits
  int asked_again_ = 0;  // those of take_again()
  bool closed_ = false;
};

}  // namespace insula::detail
