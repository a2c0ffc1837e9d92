// The attempts in hand: from their claim until the server has taken their outcome.
//
// Kept by lease, since after a lost connection the same task may be claimed again while
// its first handler still runs.  The I/O thread's alone.
//
// Time is counted on our own steady clock, from before a claim or heartbeat was sent: the
// server's lease began later, so ours never ends after it.
#pragma once

#include "runtime/attempt.hpp"
#include "runtime/settings.hpp"
#include "runtime/stopper.hpp"

#include <algorithm>
#include <cstddef>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace insula::detail {

class Leases {
 public:
  using Attempts = std::map<std::int64_t, std::shared_ptr<Attempt>>;  // by lease

  Leases(const Settings& settings, Stopper& stopper) : settings_(settings), stopper_(stopper) {}

  void add(std::shared_ptr<Attempt> attempt, Clock::time_point claimed_at);
  void finish(Attempt& attempt);        // its handler has returned
  void remove(const Attempt& attempt);  // nothing more is to be told about it
  Attempts release() { return std::exchange(attempts_, {}); }

  std::size_t running() const noexcept { return running_; }  // handlers that have not returned
  // The same by tenant; a tenant without any is not in it.
  const std::map<std::string, int>& running_by_tenant() const noexcept { return running_by_tenant_; }
  void stop_running(StopReason why);

  Clock::time_point fence_at() const noexcept { return fence_at_; }
  Clock::time_point heartbeat_at() const noexcept {
    return attempts_.empty() ? Clock::time_point::max() : std::min(heartbeat_at_, late_at_);
  }
  void hurry_heartbeat() noexcept { heartbeat_at_ = {}; }
  // The statement, and whose leases are in it: nothing to send if there are none.  Between two heartbeats for all it is
  // for those that the server could not extend.
  wire::Statement heartbeat(Clock::time_point now, std::vector<std::int64_t>& leases);
  const Attempts& attempts() const noexcept { return attempts_; }
  // The answer to a heartbeat sent at `sent_at`: some handlers are asked to stop, all others
  // have their leases extended, but those that another session's lock keeps from it.
  void on_heartbeat(const std::vector<std::int64_t>& leases, Clock::time_point sent_at,
                    const std::vector<std::pair<std::int64_t, std::string>>& stops);
  // Stops those whose time is up, or whose lease may end before we hear of the server again.
  void fence(Clock::time_point now);

 private:
  Clock::time_point fence_after(Clock::time_point start) const noexcept;

  const Settings& settings_;
  Stopper& stopper_;
  Attempts attempts_;
  std::unordered_map<std::int64_t, std::int64_t> lease_of_task_;  // the latest of each
  std::size_t running_ = 0;
  std::map<std::string, int> running_by_tenant_;
  Clock::time_point heartbeat_at_{};
  std::set<std::int64_t> late_;  // leases that were not extended; asked again soon
  Clock::time_point late_at_ = Clock::time_point::max();
  Clock::time_point fence_at_ = Clock::time_point::max();  // the earliest of all
};

}  // namespace insula::detail
