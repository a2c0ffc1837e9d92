// The outcomes of handlers on their way to the server: a queue that becomes one array call for all
// completions that are there, and single calls for the rest.
//
// A batch goes out when none is under way, so it is as small as the load is light and grows
// by itself; where more is to come at once, it waits for that, a millisecond at most.  What is
// sent stays here until the server has taken it; after a broken connection it is sent again,
// which the lease makes harmless.
//
// What the server cannot take now, because another session holds a lock, is put off by tenant: with
// it wait all outcomes of that tenant, and none of any other.  Of what is put off one call at a time asks
// whether it can be taken now: over a connection where it holds up nothing, if there is one, else when
// nothing new waits.
// The I/O thread's alone.
#pragma once

#include "runtime/attempt.hpp"
#include "wire/calls.hpp"
#include "wire/link.hpp"

#include <algorithm>
#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace insula::detail {

// The call that tells the server of it.
wire::Statement statement_for(const Outcome& outcome);

// Tells what a handler has said of its progress since the last time; only when the link is up.  false: that was
// nothing. `on_answer`: whatever the answer is.
bool send_progress(
    wire::Link& link, const Settings& settings, const std::shared_ptr<Attempt>& attempt,
    std::function<void()> on_answer = [] {});

class Outcomes {
 public:
  using On = std::function<void(const Attempt&)>;

  // `on_told`: its outcome is being sent, so that what is sent after it finds it told; `on_settled`:
  // the server has, or never will have, the outcome; `on_failed`: it has it as the task's last.
  Outcomes(
      const Settings& settings, Metrics& metrics, On on_told, On on_settled, On on_failed = [](const Attempt&) {})
      : settings_(settings),
        metrics_(metrics),
        on_told_(std::move(on_told)),
        on_settled_(std::move(on_settled)),
        on_failed_(std::move(on_failed)) {}

  void add(Outcome outcome);
  // More is to come soon, for which what is there waits, but no longer than until then.
  void gather(bool more_soon, Clock::time_point until) noexcept {
    if (!more_soon || queue_.empty())
      gather_until_ = {};
    else if (gather_until_ == Clock::time_point{})
      gather_until_ = until;
  }
  std::size_t size() const noexcept { return new_size() + put_off_count_ + probing_; }
  std::size_t new_size() const noexcept { return queue_.size() + in_flight_; }  // that are not put off
  bool sendable(Clock::time_point now) const noexcept {
    return in_flight_ == 0 && !queue_.empty() && now >= gather_until_;
  }
  // When to look again, though nothing comes in.
  Clock::time_point wake_at() const noexcept {
    return in_flight_ > 0 || queue_.empty() ? Clock::time_point::max() : gather_until_;
  }
  bool has_new() const noexcept { return new_size() > 0; }

  // Sends the next call; only when sendable and the link is up.
  void send_next(wire::Link& link);

  // --- what is put off
  bool has_put_off() const noexcept { return put_off_count_ > 0 || probing_ > 0; }
  Clock::time_point probe_at() const noexcept;
  // Tenants of which nothing more is to be claimed until outcomes that were put off have been told; sorted.
  std::vector<std::string> crowded() const;
  // Only when due and the link is up.  `aside`: the link is not that of new outcomes.
  void send_probe(wire::Link& link, bool aside);

  void drop_all();  // the link is closed for good

 private:
  struct PutOff {
    std::deque<Outcome> outcomes;
    Clock::time_point at;  // when it is tried again
    std::chrono::milliseconds pause;
  };
  // A call with what is put off of a tenant.
  struct Probe {
    std::string tenant;
    bool aside;
    Clock::time_point began;
  };

  static std::vector<Outcome> take_call(std::deque<Outcome>& from);
  static std::vector<Outcome> take_completions(std::deque<Outcome>& from);
  void send(wire::Link& link, std::vector<Outcome> batch, std::optional<Probe> probe);
  void end_probe(const Probe& probe, bool progress);
  void on_completed(std::vector<Outcome>& batch, const wire::Reply& reply);
  void on_one(Outcome outcome, const wire::Reply& reply);
  void tell_failed(const Outcome& outcome, const std::string& why);  // for good
  void settle(const Outcome& outcome, bool accepted);
  void end(const Outcome& outcome);  // nothing more is to be told of it
  void keep_unsent(std::vector<Outcome>& batch, const std::optional<Probe>& probe);
  void put_back(std::vector<Outcome>& batch);  // that may have reached the server
  void put_in_front(std::vector<Outcome>& batch);
  void enqueue(Outcome outcome);  // behind what waits already
  void put_off(Outcome outcome);
  void on_refused(std::vector<Outcome>& batch, const error& why);
  void log_refusal(const Outcome& outcome, std::string_view why, std::string_view sqlstate);

  const Settings& settings_;
  Metrics& metrics_;
  const On on_told_;
  const On on_settled_;
  const On on_failed_;
  std::deque<Outcome> queue_;
  std::size_t in_flight_ = 0;
  std::map<std::string, PutOff> put_off_;  // by tenant
  std::size_t put_off_count_ = 0;
  std::size_t probing_ = 0;              // outcomes of the probe that is under way
  std::size_t settled_ = 0;              // so far
  bool narrowed_ = false;                // by the last reply: what is refused is known more closely
  Clock::time_point no_probe_before_{};  // where they hold up new outcomes
  Clock::time_point gather_until_{};     // zero: nothing to wait for
};

}  // namespace insula::detail
