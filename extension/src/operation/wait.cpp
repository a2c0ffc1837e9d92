// The waits as state machines; see wait.hpp.
//
//                      +-----------------+    nothing    +---------+
//  claims, one tenant  | claiming_unseen | ------------> | looking |  only looks, or all tenants
//  ------------------> +-----------------+               +---------+ <--------------------------
//                        ^         |                      |  |  ^  |
//                        |         |   ready, only looks  |  |  |  |  ready, claims  +---------------+
//                        | claimed |   +------------------+  |  |  +---------------> | claiming_seen |
//                        |         |   |                     |  |                     +---------------+
//                        |         v   v                     |  |     nothing             |       |
//                        |        done <--------+            |  +-------------------------+       |
//                        |                      |            |              claimed               |
//                        |                      +------------|------------------------------------+
//                        |                                   |
//                        |                                   | not ready, or two claims in a row got nothing
//                        |                                   v
//                        |                           +----------------+   kicked, or timeout   +----------+
//                        |                           | about_to_sleep | ---------------------> | given_up |
//                        |                           +----------------+                        +----------+
//                        |                                   |                                       ^
//                        |                                   v                                       |
//                        |     woken, claims,           +----------+      kicked, or timeout         |
//                        +------ one tenant ------------| sleeping | --------------------------------+
//                                                       +----------+
//                                                            |   woken, only looks, or all tenants
//                                                            +------------------------------------> looking
//
// A session that was woken mostly finds work, so a call for one tenant claims without a look before.  A claim
// from all tenants costs more than a look at them where there is nothing, so that call looks first.
//
// A sleep ends by a wake-up: a commit has made work ready; by a kick: the worker was nudged, or an execution
// that it watches has ended; by the time that the last look has named; by the timeout; or, where
// shared memory cannot tell the worker its news, after a second.
//
// A claim gets nothing after a look that was ready where other sessions were quicker or hold the rows.
// After two of these the session sleeps a little, so that waiters do not race without end.
//
// The wait for the end of an execution only looks and sleeps.
#include "operation/wait.hpp"

#include <algorithm>

#include "operation/look.hpp"
#include "shared/clock.hpp"
#include "shared/park.hpp"
#include "shared/shared.hpp"

namespace insula {

namespace {

enum class WaitState { claiming_unseen, looking, claiming_seen, about_to_sleep, sleeping, done, given_up };

constexpr int most_lost_claims = 2;
constexpr std::int64_t sleep_after_lost_claims = USECS_PER_SEC / 10;
// The longest sleep of a session that no other process can wake, or of a worker that none can tell its news.
constexpr std::int64_t blind_sleep = USECS_PER_SEC;

TimestampTz clock_time_of(std::int64_t passing) { return clock_now() + passing - passing_time(); }

void warn_once_without_shared_memory() {
  static bool warned = false;
  if (shared_memory_available() || warned) return;
  warned = true;
  ereport(WARNING, (errmsg("without shared memory, waiting calls look for work once a second"),
                    errhint("Add insula to shared_preload_libraries and restart the server.")));
}

// A wait for work: a function for each state, and the values that states hand on to each other.
class Waiter {
 public:
  // Without `claim`, the call does not claim.
  Waiter(const WorkWait &wait, WaitingClaim *claim)
      : wait_(wait), claim_(claim), is_blind_(!shared_memory_available()) {}

  // False: the wait was given up.
  bool run() {
    for (WaitState state = first_state();;) {
      switch (state) {
        case WaitState::claiming_unseen:
          state = claim_unseen();
          break;
        case WaitState::looking:
          state = look();
          break;
        case WaitState::claiming_seen:
          state = claim_seen();
          break;
        case WaitState::about_to_sleep:
          state = prepare_sleep();
          break;
        case WaitState::sleeping:
          state = sleep();
          break;
        case WaitState::done:
          return true;
        case WaitState::given_up:
          return false;
      }
    }
  }

 private:
  WaitState first_state() const {
    return claim_ && wait_.tenant != 0 ? WaitState::claiming_unseen : WaitState::looking;
  }

  WaitState claim_unseen() {
    if (!try_claim(wait_, ClaimAfter::wake_up, claim_)) return WaitState::looking;
    (void)take_kick_of_worker();
    return WaitState::done;
  }

  WaitState claim_seen() {
    if (!try_claim(wait_, ClaimAfter::look, claim_)) {
      ++lost_claims_;
      return WaitState::looking;
    }
    (void)take_kick_of_worker();
    return WaitState::done;
  }

  WaitState look() {
    const Look found = look_for_work(wait_);
    next_look_ = found.next;
    if (!found.ready) return WaitState::about_to_sleep;
    // This session goes to claim and looks no more; the plan passes the next look on to the other waiters.
    (void)plan_look(found.next);
    if (!claim_) return WaitState::done;
    if (lost_claims_ < most_lost_claims) return WaitState::claiming_seen;
    next_look_ = std::min(found.next, clock_now() + sleep_after_lost_claims);
    return WaitState::about_to_sleep;
  }

  WaitState prepare_sleep() {
    pass_wake_up_on();
    was_kicked_ = take_kick_of_worker() || was_kicked_;
    if (was_kicked_) return WaitState::given_up;
    const TimestampTz now = clock_now();
    deadline_ = clock_time_of(wait_.end);
    if (now >= deadline_ || blind_sleep_is_over()) return WaitState::given_up;
    // At the deadline the call returns without a look, so a look after it is not planned.
    const TimestampTz planned = plan_look(next_look_ <= deadline_ ? next_look_ : DT_NOEND);
    until_ = std::max(now, std::min(planned, deadline_));
    if (is_blind_) {
      // The latch may be set for other reasons before the second is over: then the sleep goes on.
      if (passing_time() >= blind_until_) blind_until_ = passing_time() + blind_sleep;
      until_ = std::min(until_, clock_time_of(blind_until_));
    }
    return WaitState::sleeping;
  }

  WaitState sleep() {
    // A call that claims is a worker's idle time, which statement_timeout is not meant for.
    if (!has_wake_up()) park(until_, "InsulaWaitForWork", claim_ ? Timed::no : Timed::yes);
    was_kicked_ = take_kick_of_worker();
    const bool woken = take_wake_up();
    lost_claims_ = 0;
    // A wake-up promises work: the kick's news can return with the claim.
    if (was_kicked_ && !(claim_ && woken)) return WaitState::given_up;
    if (!is_blind_ && !woken && passing_time() >= wait_.end && next_look_ > deadline_) return WaitState::given_up;
    return first_state();
  }

  // True if the worker was kicked since the last call.  Learns as well whether others can tell the worker.
  bool take_kick_of_worker() {
    const bool kicked = wait_.worker && take_kick(wait_.worker, &is_blind_);
    if (claim_ && (kicked || is_blind_)) claim_->news = true;
    return kicked;
  }

  // A worker that others cannot tell its news returns once a second, and then asks for them itself.
  bool blind_sleep_is_over() const {
    return is_blind_ && wait_.worker && blind_until_ != 0 && passing_time() >= blind_until_;
  }

  const WorkWait &wait_;
  WaitingClaim *claim_;
  bool is_blind_;                 // shared memory has no place to tell this worker its news
  int lost_claims_ = 0;           // since the last sleep: claims after a look that got nothing
  bool was_kicked_ = false;       // the news waits for the claim that a wake-up has promised
  TimestampTz next_look_ = 0;     // when time itself changes the last look's answer
  TimestampTz deadline_ = 0;      // the timeout's end
  TimestampTz until_ = 0;         // the end of the coming sleep
  std::int64_t blind_until_ = 0;  // in passing time; 0: no blind sleep has begun
};

}  // namespace

bool wait_for_work(const WorkWait &wait) {
  warn_once_without_shared_memory();
  begin_looks();
  if (wait.worker) take_life_line(wait.worker, wait.tenant);
  const bool ready = Waiter(wait, nullptr).run();
  end_wait();
  if (ready)
    expect_claim();
  else
    pass_wake_up_on();
  SPI_finish();
  return ready;
}

bool wait_and_claim(const WorkWait &wait, WaitingClaim *claim) {
  warn_once_without_shared_memory();
  begin_looks();
  take_life_line(wait.worker, wait.tenant);
  const bool claimed = Waiter(wait, claim).run();
  end_wait();
  if (!claimed) pass_wake_up_on();
  SPI_finish();
  return claimed;
}

void wait_for_end(const EndedTest &test, std::int64_t end) {
  warn_once_without_shared_memory();
  begin_looks();
  for (;;) {
    begin_look();
    const bool ended = test.ended(test.self);
    end_look();
    const TimestampTz now = clock_now();
    if (ended || passing_time() >= end) break;
    const TimestampTz deadline = clock_time_of(end);
    const TimestampTz until = shared_memory_available() ? deadline : std::min(deadline, now + blind_sleep);
    if (!has_wake_up()) park(until, "InsulaAwait");
    (void)take_wake_up();
  }
  end_wait();
  SPI_finish();
}

}  // namespace insula
