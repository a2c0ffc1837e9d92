// The control connection: everything a runner says to the server but waiting for work.
//
// One statement of each kind is under way at a time: heartbeats and nudges, outcomes, callers'
// requests, questions about awaited executions.  What is to be said is sent at once, behind
// what is under way, so that no kind starves another, and that a question which follows
// outcomes is answered together with them.  What would hold up the rest, since it waits for a lock,
// goes aside.
// The I/O thread's alone.
#pragma once

#include "runtime/aside.hpp"
#include "runtime/leases.hpp"
#include "runtime/outcomes.hpp"
#include "runtime/requests.hpp"
#include "runtime/settings.hpp"
#include "runtime/waits.hpp"
#include "wire/link.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

namespace insula::detail {

class Control {
 public:
  Control(const Settings& settings, Leases& leases, Waits& waits, const Workplace& workplace);

  wire::Link& link() noexcept { return link_; }
  const wire::Link& link() const noexcept { return link_; }
  Outcomes& outcomes() noexcept { return outcomes_; }
  const Outcomes& outcomes() const noexcept { return outcomes_; }

  void save_progress(const std::shared_ptr<Attempt>& attempt);  // now, if the link is up
  Aside& aside() noexcept { return aside_; }
  void request(CallerRequest request);
  std::size_t requests() const noexcept { return requests_.size(); }
  void end(const error& why);  // for good: closes both links
  // Ends the worker's parked call; `heard` once the server has been told to.
  void nudge(std::function<void()> heard) { nudge_ = std::move(heard); }
  // Good-bye; `done` once the server has heard it, or the connection broke.
  void leave(std::function<void()> done);

  void drive(Clock::time_point now);
  Clock::time_point wake_at() const noexcept;

 private:
  void on_up();
  void on_down(const error& why, bool was_up);
  void send(const wire::Statement& statement, wire::Link::OnReply on_reply);
  void send_heartbeat(Clock::time_point now);
  void tell_progress();
  void send_nudge();
  void on_nudge(std::function<void()> heard, const wire::Reply& reply);
  void send_watch();
  void drive_aside(Clock::time_point now);
  void watch_failing(const wire::Claimed& task);

  const Settings& settings_;
  Leases& leases_;
  Waits& waits_;
  Metrics& metrics_;
  Outcomes outcomes_;
  Requests requests_;
  wire::Link link_;
  Aside aside_;
  bool probed_last_ = false;  // aside: outcomes and requests take turns
  bool ever_up_ = false;
  bool outage_told_ = false;

  std::unordered_map<std::int64_t, std::shared_ptr<WaitState>> failing_;  // executions, for the observer

  std::vector<std::weak_ptr<Attempt>> to_tell_;  // whose progress goes with this heartbeat
  int telling_ = 0;                              // of it is under way

  bool heartbeat_in_flight_ = false;
  bool watch_in_flight_ = false;
  std::function<void()> nudge_;  // set: one is wanted
  Clock::time_point nudge_at_{};
  wire::Backoff nudge_pauses_{std::chrono::milliseconds{100}, std::chrono::milliseconds{2'000}};
  std::function<void()> leave_done_;  // set: good-bye is wanted
};

}  // namespace insula::detail
