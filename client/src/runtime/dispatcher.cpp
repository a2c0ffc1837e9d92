// Waiting for work and claiming it.
#include "runtime/dispatcher.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace insula::detail {

namespace {

using std::chrono::milliseconds;

// Only a bound: the server ends the call when there is something to do.
constexpr milliseconds park_timeout{300'000};
// How long to wait in here for a slot before parking without one: short tasks are over by
// then, and a nudge is saved.
constexpr milliseconds linger{10};
// The same where nudges do not work.
constexpr milliseconds linger_unheard{1'000};
// A call that lasts longer than this once the server knows of the nudge was not ended by it.
constexpr milliseconds nudge_time{250};
// It may have been slow for another reason.
constexpr std::chrono::minutes unheard_time{1};
constexpr milliseconds first_pause_after_error{10};
constexpr milliseconds longest_pause_after_error{2'000};

}  // namespace

Dispatcher::Dispatcher(const Settings& settings, Peers peers)
    : settings_(settings),
      peers_(std::move(peers)),
      link_(settings.conninfo, "insula dispatch", settings.config.connect_timeout,
            {[this] {
               if (outage_told_) settings_.log(LogLevel::info, "the dispatch connection is back");
               outage_told_ = false;
               settings_.tell([](Observer& observer) { observer.connection_up("dispatch"); });
               peers_.waits.suspect_all();  // no session watched for these ends
             },
             [this](const error& why, bool was_up) { on_down(why, was_up); },
             [this](std::string_view text) { settings_.log(LogLevel::warning, text); }}) {}

void Dispatcher::add_handlers(const Handlers& handlers) {
  for (const auto& [key, handler] : handlers) handlers_.insert_or_assign(key, handler);
  keys_.clear();
  for (const auto& [key, handler] : handlers_) keys_.push_back(key);
  if (parked_ != Parked::no) nudge();  // its filter is out of date
}

void Dispatcher::stop() {
  stopped_ = true;
  if (parked_ != Parked::no) nudge();
}

Share Dispatcher::share(bool wide) const {
  if (keys_.empty() || peers_.has_backlog()) return {};
  const auto slots = static_cast<std::size_t>(settings_.config.max_concurrent_tasks);
  Caps caps{settings_.max_concurrent_per_tenant, settings_.max_tenants};
  if (settings_.serves_all) caps.crowded = peers_.crowded();
  return share_of(peers_.leases.running_by_tenant(), slots - std::min(slots, peers_.leases.running()), caps, wide);
}

Share Dispatcher::next_share(const Share& usual) const {
  if (!wide_next_) return usual;
  Share wide = share(true);
  return wide.max_tasks > 0 ? wide : usual;
}

// Whether a tenant got all that it was allowed, and may be allowed more.
bool Dispatcher::was_cut(const Share& share, const std::vector<wire::Claimed>& tasks) const {
  if (share.choice.max_per_tenant >= settings_.max_concurrent_per_tenant) return false;
  std::map<std::string_view, int> of_tenant;
  return std::ranges::any_of(
      tasks, [&](const wire::Claimed& task) { return ++of_tenant[task.tenant] >= share.choice.max_per_tenant; });
}

void Dispatcher::on_down(const error& why, bool was_up) {
  if (was_up) {
    peers_.leases.hurry_heartbeat();
    ++peers_.workplace->metrics->connections_lost;
    settings_.tell([&](Observer& observer) { observer.connection_lost("dispatch", why); });
  }
  parked_ = Parked::no;
  is_life_line_ = false;
  claim_next_ = false;
  wide_next_ = false;
  nudges_fail_until_ = {};
  if (!outage_told_)
    settings_.log(LogLevel::warning, fmt::format("lost the dispatch connection, connecting again: {}", why.what()));
  outage_told_ = true;
}

void Dispatcher::drive(Clock::time_point now) {
  if (stopped_) return;
  if (now >= pause_until_) pause_until_ = {};
  const bool has_tasks = !keys_.empty();
  if (!has_tasks && peers_.waits.empty()) return;
  link_.open();
  const Share share = this->share();
  if (share.max_tasks > 0 &&
      (parked_ == Parked::without_tasks || (parked_ == Parked::with_tasks && is_wider(share.choice, parked_choice_)))) {
    parked_ = Parked::with_tasks;  // so that one nudge is enough
    parked_choice_ = share.choice;
    nudge();
  }
  if (!link_.idle() || pause_until_ != Clock::time_point{}) return;
  if (share.max_tasks > 0) {
    linger_until_ = Clock::time_point::max();
    if (wide_next_ || !claim_next_ || !gathers_slots(share.max_tasks, now)) call(next_share(share));
    return;
  }
  if (!has_tasks || !is_life_line_ || may_park_without_slot(now)) call({});
}

bool Dispatcher::gathers_slots(std::size_t slots, Clock::time_point now) {
  return now < gather_until_ && peers_.leases.running() > 0 &&
         slots * 2 < static_cast<std::size_t>(settings_.config.max_concurrent_tasks);
}

bool Dispatcher::may_park_without_slot(Clock::time_point now) {
  if (peers_.waits.empty()) {  // nothing to be told until a slot is free
    linger_until_ = Clock::time_point::max();
    return false;
  }
  if (linger_until_ == Clock::time_point::max()) linger_until_ = now + (nudges_work(now) ? linger : linger_unheard);
  if (now < linger_until_) return false;
  if (nudges_work(now)) return true;
  peers_.waits.suspect_all();
  linger_until_ = now + linger_unheard;
  return false;
}

void Dispatcher::nudge() {
  nudged_at_ = Clock::now();
  told_at_ = {};
  peers_.nudge([this, nudged_at = nudged_at_] { on_nudged(nudged_at); });
}

void Dispatcher::on_nudged(Clock::time_point nudged_at) {
  if (nudged_at != nudged_at_) return;  // that call has ended, or is nudged again
  told_at_ = Clock::now();
  link_.expect_answer(settings_.patience());
}

Clock::time_point Dispatcher::wake_at() const noexcept {
  if (stopped_ || !link_.idle()) return Clock::time_point::max();
  if (pause_until_ != Clock::time_point{}) return pause_until_;
  return claim_next_ && share().max_tasks > 0 ? gather_until_ : linger_until_;
}

void Dispatcher::call(const Share& share) {
  const bool has_slots = share.max_tasks > 0;
  // The first on a connection returns at once where tasks hang on it: see on_answer.
  const bool returns = (has_slots && (claim_next_ || wide_next_)) || (!is_life_line_ && peers_.leases.running() > 0);
  const milliseconds timeout = returns ? milliseconds{0} : park_timeout;
  if (timeout.count() > 0) parked_ = has_slots ? Parked::with_tasks : Parked::without_tasks;
  parked_choice_ = share.choice;
  nudged_at_ = told_at_ = {};
  linger_until_ = Clock::time_point::max();
  static const std::vector<std::string> none;
  const auto now = Clock::now();
  link_.send(
      wire::claim_when_ready(timeout, settings_.worker, has_slots ? keys_ : none,
                             std::max<std::size_t>(share.max_tasks, 1), settings_.config.lease, settings_.tenant,
                             share.choice),
      [this, share, now](const wire::Reply& reply) { on_answer(reply, share, now); }, timeout + settings_.patience());
}

void Dispatcher::on_answer(const wire::Reply& reply, const Share& share, Clock::time_point sent_at) {
  parked_ = Parked::no;
  claim_next_ = false;
  const bool was_wide = std::exchange(wide_next_, false);
  if (reply.lost) return;
  wire::Claims claims;
  try {
    if (reply.failure) throw error{*reply.failure};
    claims = wire::read_claims(reply.rows);
  } catch (const error& why) {
    // Told once, not each time that it is tried again.
    if (std::exchange(refused_for_, why.what()) != why.what())
      settings_.log(LogLevel::error, fmt::format("cannot claim: {} (SQLSTATE {})", why.what(), why.sqlstate()));
    peers_.waits.suspect_all();  // the news may have gone with the answer
    return pause();
  }
  const auto now = Clock::now();
  // What the server has given away until now it gives away no more.
  if (!std::exchange(is_life_line_, true)) peers_.leases.hurry_heartbeat();
  pause_ = milliseconds{0};
  refused_for_.clear();
  if (told_at_ != Clock::time_point{} && now - told_at_ > nudge_time) nudges_fail_until_ = now + unheard_time;
  if (claims.news) peers_.waits.suspect_all();  // it does not say which watched execution ended, if any
  ++peers_.workplace->metrics->claims;
  peers_.workplace->metrics->claimed += claims.tasks.size();
  claim_next_ = share.max_tasks > 0 && claims.tasks.size() == share.max_tasks;
  wide_next_ = !was_wide && was_cut(share, claims.tasks);
  // The server took so long from the call's coming to the claim; both clocks count alike.
  const auto claimed_at = std::clamp(sent_at + claims.waited, sent_at, now);
  gather_until_ = claim_next_ ? now + (now - claimed_at) : Clock::time_point{};
  // After a stop they are not begun: the good-bye gives them back.
  if (!stopped_) hand_out(std::move(claims.tasks), claimed_at);
}

void Dispatcher::hand_out(std::vector<wire::Claimed> tasks, Clock::time_point claimed_at) {
  std::vector<std::shared_ptr<Attempt>> attempts;
  attempts.reserve(tasks.size());
  for (wire::Claimed& task : tasks) {
    const auto it = handlers_.find(task.workflow + '.' + task.task);
    if (it == handlers_.end()) {
      settings_.log(LogLevel::error,
                    fmt::format("the server gave us {}.{}, which we did not ask for", task.workflow, task.task));
      continue;
    }
    auto attempt = std::make_shared<Attempt>(std::move(task), it->second);
    attempt->workplace = peers_.workplace;
    // From the answer on: the server's own clock runs out no later.
    if (const auto& left = attempt->info.time_left) attempt->deadline_at = Clock::now() + *left;
    peers_.leases.add(attempt, claimed_at);
    attempts.push_back(std::move(attempt));
  }
  peers_.pool.run(std::move(attempts));
}

void Dispatcher::pause() {
  // The first is free: to come second once is no sign of anything.
  if (pause_.count() > 0) pause_until_ = Clock::now() + pause_;
  pause_ = std::clamp(pause_ * 2, first_pause_after_error, longest_pause_after_error);
}

}  // namespace insula::detail
