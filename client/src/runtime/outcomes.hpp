// The outcomes of handlers on their way to the server: a queue that becomes one array call for all
// completions that are there, and single calls for the rest.
//
// A batch goes out when none is under way, so it is as small as the load is light and grows
// by itself; where more is to come at once, it waits for that, a millisecond at most.  What is
// sent stays here until the server has taken it; after a broken connection it is sent again,
// which the lease makes harmless.
// The I/O thread's alone.
#pragma once

#include "runtime/attempt.hpp"
#include "wire/calls.hpp"
#include "wire/link.hpp"

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

namespace insula::detail {

// The call that tells the server of it.
wire::Statement statement_for(const Outcome& outcome);

class Outcomes {
 public:
  using On = std::function<void(const Attempt&)>;

  // `on_told`: its outcome is being sent, so that what is sent after it finds it told; `on_settled`:
  // the server has, or never will have, the outcome.
  Outcomes(const Settings& settings, Metrics& metrics, On on_told, On on_settled)
      : settings_(settings), metrics_(metrics), on_told_(std::move(on_told)), on_settled_(std::move(on_settled)) {}

  void add(Outcome outcome);
  // More is to come soon, for which what is there waits, but no longer than until then.
  void gather(bool more_soon, Clock::time_point until) noexcept {
    if (!more_soon || queue_.empty())
      gather_until_ = {};
    else if (gather_until_ == Clock::time_point{})
      gather_until_ = until;
  }
  std::size_t size() const noexcept { return queue_.size() + later_.size() + in_flight_; }
  bool sendable(Clock::time_point now) const noexcept {
    return in_flight_ == 0 && ((!queue_.empty() && now >= gather_until_) || (!later_.empty() && now >= later_at_));
  }
  // When to look again, though nothing comes in.
  Clock::time_point wake_at() const noexcept {
    if (in_flight_ > 0) return Clock::time_point::max();
    return !queue_.empty() ? gather_until_ : later_.empty() ? Clock::time_point::max() : later_at_;
  }

  // Sends the next call; only when sendable and the link is up.
  void send_next(wire::Link& link);

 private:
  std::vector<Outcome> take_completions();
  void send_one(wire::Link& link, Outcome outcome);
  void on_completed(std::vector<Outcome>& batch, const wire::Reply& reply);
  void on_one(Outcome outcome, const wire::Reply& reply);
  void settle(const Outcome& outcome, bool accepted);
  void put_back(std::vector<Outcome>& batch);
  void put_later(Outcome outcome);
  void on_refused(std::vector<Outcome>& batch, const error& why);
  void log_refusal(const Outcome& outcome, std::string_view why, std::string_view sqlstate);

  const Settings& settings_;
  Metrics& metrics_;
  const On on_told_;
  const On on_settled_;
  std::deque<Outcome> queue_;
  // Outcomes that the server could not take just now, because another session holds a lock: they
  // must not hold up the others, which may be of another tenant.
  std::deque<Outcome> later_;
  Clock::time_point later_at_{};  // when it is tried again
  std::size_t in_flight_ = 0;
  Clock::time_point gather_until_{};  // zero: nothing to wait for
};

}  // namespace insula::detail
