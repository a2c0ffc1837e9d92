// The dispatch connection: waits for work and claims it, with one call for both.
//
// Each call also makes the session the worker's life line, before any lease is held by it.
// It asks for no more tasks than there are free slots, so nothing that is claimed has to wait
// for a thread.  After one that was answered in full there is probably more, so the next does
// not wait in the server; while handlers that are quick come back, it is not even sent until
// half of the slots are free, but no longer than the last one took: many small claims
// would cost the server more than they win.  While no
// slot is free it parks without any task in its filter, only to be woken by the end of a
// watched execution; the control connection's nudge ends that when a slot is free again.
// Where a nudge turns out not to work (a server without shared memory, whose calls
// return once a second), it does not park without a slot for a while, and asks once a second itself.
// With the connection goes the life line, and the server gives our tasks away: so a heartbeat
// follows its end, and its replacement.
// The I/O thread's alone.
#pragma once

#include "runtime/leases.hpp"
#include "runtime/pool.hpp"
#include "runtime/settings.hpp"
#include "runtime/share.hpp"
#include "runtime/waits.hpp"
#include "wire/link.hpp"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace insula::detail {

class Dispatcher {
 public:
  using Handlers = std::map<std::string, std::shared_ptr<const Handler>, std::less<>>;  // by workflow.task

  struct Peers {
    Leases& leases;
    Waits& waits;
    Pool& pool;
    std::shared_ptr<const Workplace> workplace;
    // Ends our parked call, by the other connection; the argument is called once the server has been told to.
    std::function<void(std::function<void()>)> nudge;
    std::function<bool()> has_backlog;                  // too many outcomes wait: claim nothing more
    std::function<std::vector<std::string>()> crowded;  // the same of these tenants
  };

  Dispatcher(const Settings& settings, Peers peers);

  wire::Link& link() noexcept { return link_; }

  void add_handlers(const Handlers& handlers);  // replaces those of the same key
  void stop();                                  // claims no more
  Handlers release() { return std::exchange(handlers_, {}); }
  bool is_quiet() const noexcept { return !link_.busy(); }

  void drive(Clock::time_point now);
  Clock::time_point wake_at() const noexcept;

 private:
  enum class Parked { no, without_tasks, with_tasks };

  Share share(bool wide = false) const;  // what a claim may ask for now
  Share next_share(const Share& usual) const;
  void on_down(const error& why, bool was_up);
  void call(const Share& share);
  void on_answer(const wire::Reply& reply, const Share& share, Clock::time_point sent_at);
  bool was_cut(const Share& share, const std::vector<wire::Claimed>& tasks) const;
  bool gathers_slots(std::size_t slots, Clock::time_point now);
  void hand_out(std::vector<wire::Claimed> tasks, Clock::time_point claimed_at);
  bool may_park_without_slot(Clock::time_point now);
  void nudge();
  void on_nudged(Clock::time_point nudged_at);
  bool nudges_work(Clock::time_point now) const noexcept { return now >= nudges_fail_until_; }
  void pause();

  const Settings& settings_;
  const Peers peers_;
  wire::Link link_;
  Handlers handlers_;
  std::vector<std::string> keys_;

  bool stopped_ = false;
  bool outage_told_ = false;
  bool is_life_line_ = false;  // called at least once on this connection
  bool claim_next_ = false;    // there is probably more
  bool wide_next_ = false;     // of tenants that got less than they have room for
  Parked parked_ = Parked::no;
  wire::TenantChoice parked_choice_;
  Clock::time_point nudged_at_{};  // the parked call; zero: not nudged
  Clock::time_point told_at_{};    // the server has heard that nudge; zero: not yet
  Clock::time_point nudges_fail_until_{};
  Clock::time_point linger_until_ = Clock::time_point::max();
  Clock::time_point gather_until_{};  // zero: the next claim does not wait for more slots
  Clock::time_point pause_until_{};   // nothing is sent before; zero: no pause
  std::chrono::milliseconds pause_{0};
  std::string refused_for_;  // the last claim; empty: it was not
};

}  // namespace insula::detail
