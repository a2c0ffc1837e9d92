// What callers ask of the server, until they have their answers.
//
// New requests go out in their order, one statement at a time but for submits: those that are there
// together go out as one transaction, and so share its commit.  If that is refused, each is sent by itself.
// None may hold up what follows it: a statement that meets a lock gives up at once, and waits for
// the lock where it holds up nothing (see Aside), until its caller's time is over.  There those that
// have met no lock come first, and then one of each tenant in turn.
// The I/O thread's alone.
#pragma once

#include "runtime/settings.hpp"
#include "wire/link.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace insula::detail {

// How a request may be treated.
struct Manner {
  bool repeatable = true;    // doing it twice is the same as once
  bool together = false;     // may share a transaction with others
  bool stops = false;        // handlers may have to stop because of it
  std::int64_t reopens = 0;  // this execution, if the answer is yes
  bool reopens_all = false;  // the executions of the answer
  bool slow = false;         // the server may take its time: it goes aside
  std::string subject = {};  // what it is about, for the error of a caller that has waited in vain
  std::string tenant = {};   // by name or number, where the caller knows it
};

struct CallerRequest {
  wire::Statement statement;
  std::function<void(wire::Reply)> done;
  Manner manner;
  Clock::time_point asked_at{};
  int sendings = 0;
  std::optional<error> lock = {};  // it has met one
  Clock::time_point not_before{};
  std::chrono::milliseconds pause{0};
};

class Requests {
 public:
  // `on_stop`: handlers may have to stop.
  Requests(const Settings& settings, std::function<void()> on_stop)
      : settings_(settings), on_stop_(std::move(on_stop)) {}

  void add(CallerRequest request);
  std::size_t size() const noexcept {
    return new_.size() + waiting_.size() + in_flight_.size() + waiting_in_flight_.size();
  }
  void fail_all(const error& why);  // that are not in flight
  // The links are closed for good: no caller may wait any longer.
  void end(const error& why);
  void expire(Clock::time_point now, bool is_up);
  Clock::time_point wake_at(bool is_up) const noexcept;

  bool sendable() const noexcept { return in_flight_.empty() && !new_.empty(); }
  void send_next(wire::Link& link);

  // --- those that would hold up others
  bool has_waiting() const noexcept { return !waiting_in_flight_.empty() || !waiting_.empty(); }
  // `aside`: the link is theirs, so that one may wait there for its lock.
  bool waiting_sendable(Clock::time_point now, bool aside) const noexcept;
  void send_waiting(wire::Link& link, bool aside);

 private:
  // By which way requests go.
  enum class Way { straight, again, aside };

  std::vector<CallerRequest> take_next();
  std::deque<CallerRequest>::iterator next_waiting(Clock::time_point now, bool aside);
  static bool would_hold_up(const CallerRequest& request);
  void send(wire::Link& link, Way way);
  void on_reply(std::vector<CallerRequest> batch, wire::Reply reply, Way way);
  void on_single_reply(CallerRequest request, wire::Reply reply, Way way);
  void on_lost(CallerRequest request, wire::Reply reply);
  void on_lock(CallerRequest request, const error& why, Way way);
  void answer(const CallerRequest& request, wire::Rows rows);
  error give_up(const CallerRequest& request) const;
  Clock::time_point expires(const CallerRequest& request) const noexcept {
    return request.asked_at + settings_.config.call_timeout;
  }

  const Settings& settings_;
  const std::function<void()> on_stop_;
  std::deque<CallerRequest> new_;
  std::deque<CallerRequest> waiting_;
  std::vector<CallerRequest> in_flight_;
  std::vector<CallerRequest> waiting_in_flight_;
  std::string last_turn_;  // of a tenant
};

}  // namespace insula::detail
