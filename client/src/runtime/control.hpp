// The control connection: everything a runner says to the server but waiting for work.
//
// One statement of each kind is under way at a time: heartbeats and nudges, outcomes, callers'
// requests, questions about awaited executions.  What is to be said is sent at once, behind
// what is under way, so that no kind starves another, and that a question which follows
// outcomes is answered together with them.
// The I/O thread's alone.
#pragma once

#include "runtime/leases.hpp"
#include "runtime/outcomes.hpp"
#include "runtime/settings.hpp"
#include "runtime/waits.hpp"
#include "wire/link.hpp"

#include <cstddef>
#include <deque>
#include <functional>

namespace insula::detail {

class Control {
 public:
  // A call whose caller waits.
  struct Request {
    wire::Statement statement;
    std::function<void(wire::Reply)> done;
    bool repeatable = true;  // doing it twice is the same as once
    Clock::time_point expires = Clock::time_point::max();
    int sendings = 0;
  };

  Control(const Settings& settings, Leases& leases, Waits& waits, Metrics& metrics);

  wire::Link& link() noexcept { return link_; }
  const wire::Link& link() const noexcept { return link_; }
  Outcomes& outcomes() noexcept { return outcomes_; }
  const Outcomes& outcomes() const noexcept { return outcomes_; }

  void request(Request request);
  std::size_t requests() const noexcept { return requests_.size() + (request_in_flight_ ? 1 : 0); }
  void fail_requests(const error& why);
  void nudge() noexcept { nudge_wanted_ = true; }
  // Good-bye; `done` once the server has heard it, or the connection broke.
  void leave(std::function<void()> done);

  void drive(Clock::time_point now);
  Clock::time_point wake_at() const noexcept;

 private:
  void on_up();
  void on_down(const error& why, bool was_up);
  void send(const wire::Statement& statement, wire::Link::OnReply on_reply);
  void send_heartbeat(Clock::time_point now);
  void send_nudge();
  void send_request();
  void on_request_reply(Request request, wire::Reply reply);
  void send_watch();
  void expire_requests(Clock::time_point now);

  const Settings& settings_;
  Leases& leases_;
  Waits& waits_;
  Metrics& metrics_;
  Outcomes outcomes_;
  wire::Link link_;
  bool ever_up_ = false;
  bool outage_told_ = false;

  std::deque<Request> requests_;
  bool request_in_flight_ = false;
  bool heartbeat_in_flight_ = false;
  bool watch_in_flight_ = false;
  bool nudge_wanted_ = false;
  std::function<void()> leave_done_;  // set: good-bye is wanted
};

}  // namespace insula::detail
