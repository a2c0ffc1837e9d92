// Choosing and sending what is next on the control connection.
#include "runtime/control.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace insula::detail {

namespace {

// Of any statement: what meets a lock goes aside.
constexpr std::chrono::milliseconds longest_lock_wait{200};

}  // namespace

Control::Control(const Settings& settings, Leases& leases, Waits& waits, const Workplace& workplace)
    : settings_(settings),
      leases_(leases),
      waits_(waits),
      metrics_(*workplace.metrics),
      outcomes_(
          settings, *workplace.metrics,
          // Its execution may end with it; to look is quicker than to be told.
          [this](const Attempt& attempt) { waits_.suspect(attempt.info.execution_id); },
          [this](const Attempt& attempt) { leases_.remove(attempt); },
          [this](const Attempt& attempt) { watch_failing(attempt.info); }),
      // The next heartbeat brings the server's word for each.
      requests_(settings, [this] { leases_.hurry_heartbeat(); }),
      link_(settings.conninfo, "insula control", settings.config.connect_timeout,
            {[this] { on_up(); }, [this](const error& why, bool was_up) { on_down(why, was_up); },
             [this](std::string_view text) { settings_.log(LogLevel::warning, text); }},
            settings.lock_wait(longest_lock_wait)),
      aside_(settings, workplace.lender) {}

void Control::on_up() {
  if (outage_told_) settings_.log(LogLevel::info, "the control connection is back");
  settings_.tell([](Observer& observer) { observer.connection_up("control"); });
  ever_up_ = true;
  outage_told_ = false;
  // Leases ran on while the connection was down; and the server may have forgotten what this
  // session watches.
  leases_.hurry_heartbeat();
  waits_.suspect_all();
}

void Control::on_down(const error& why, bool was_up) {
  if (was_up) {
    ++metrics_.connections_lost;
    settings_.tell([&](Observer& observer) { observer.connection_lost("control", why); });
  }
  // The callers learn why the first connection failed; nor do they wait for a password to
  // become right by itself.
  if (!ever_up_ || !why.retryable()) requests_.fail_all(why);
  if (!outage_told_ && ever_up_)
    settings_.log(LogLevel::warning, fmt::format("lost the control connection, connecting again: {}", why.what()));
  outage_told_ = true;
}

void Control::save_progress(const std::shared_ptr<Attempt>& attempt) {
  if (link_.is_up()) send_progress(link_, settings_, attempt);
}

// The task's failure need not be the execution's, nor come last in it.
void Control::watch_failing(const wire::Claimed& task) {
  if (!settings_.config.observer) return;
  const auto [place, is_new] = failing_.try_emplace(task.execution_id);
  if (!is_new) return;
  place->second = std::make_shared<WaitState>();
  place->second->on_end = [this, tenant = task.tenant, id = task.execution_id](const wire::ResultRow* ended) {
    const auto kept = failing_.extract(id);
    if (!ended || ended->status != Status::failed) return;
    settings_.tell([&](Observer& observer) { observer.execution_failed({tenant, ended->workflow, id, ended->error}); });
  };
  waits_.add(task.execution_id, place->second);
}

void Control::request(CallerRequest request) {
  requests_.add(std::move(request));
  link_.open();
}

void Control::end(const error& why) {
  link_.close();
  aside_.close();
  requests_.end(why);
}

void Control::leave(std::function<void()> done) { leave_done_ = std::move(done); }

void Control::drive(Clock::time_point now) {
  requests_.expire(now, link_.is_up());
  drive_aside(now);
  if (leave_done_ && !link_.is_up()) std::exchange(leave_done_, {})();
  if (!link_.is_up()) return;
  if (now >= leases_.heartbeat_at() && !heartbeat_in_flight_) send_heartbeat(now);
  if (nudge_ && now >= nudge_at_ && link_.is_up()) send_nudge();
  tell_progress();
  if (outcomes_.sendable(now) && link_.is_up()) outcomes_.send_next(link_);
  if (requests_.sendable() && link_.is_up()) requests_.send_next(link_);
  if (now >= waits_.ask_at() && !watch_in_flight_ && link_.is_up()) send_watch();
  if (leave_done_ && link_.idle())
    send(wire::leave(settings_.worker), [done = std::exchange(leave_done_, {})](const wire::Reply&) { done(); });
}

void Control::drive_aside(Clock::time_point now) {
  aside_.drive(requests_.has_waiting() || outcomes_.has_put_off(), now);
  if (aside_.is_there() && !aside_.is_free()) return;
  const bool aside = aside_.is_there();
  wire::Link& link = aside ? aside_.link() : link_;
  if (!link.is_up()) return;
  const bool probe = outcomes_.probe_at() <= now && (aside || !outcomes_.has_new());
  const bool ask = requests_.waiting_sendable(now, aside);
  if (probe && (!aside || !ask || !probed_last_)) {
    outcomes_.send_probe(link, aside);
    probed_last_ = true;
  } else if (ask) {
    requests_.send_waiting(link, aside);
    probed_last_ = false;
  }
}

Clock::time_point Control::wake_at() const noexcept {
  Clock::time_point at = std::min(requests_.wake_at(link_.is_up()), aside_.wake_at());
  if (link_.is_up() && !heartbeat_in_flight_) at = std::min(at, leases_.heartbeat_at());
  if (link_.is_up()) at = std::min(at, outcomes_.wake_at());
  if (link_.is_up() && nudge_) at = std::min(at, nudge_at_);
  if (link_.is_up() && !watch_in_flight_) at = std::min(at, waits_.ask_at());
  if (aside_.is_there() ? aside_.is_free() : link_.is_up() && !outcomes_.has_new())
    at = std::min(at, outcomes_.probe_at());
  return at;
}

void Control::send(const wire::Statement& statement, wire::Link::OnReply on_reply) {
  link_.send(statement, std::move(on_reply), settings_.patience());
}

void Control::send_heartbeat(Clock::time_point now) {
  auto leases = std::make_shared<std::vector<std::int64_t>>();
  const wire::Statement statement = leases_.heartbeat(now, *leases);
  if (leases->empty()) return;
  to_tell_.clear();
  for (const auto& [lease, attempt] : leases_.attempts())
    if (attempt->has_progress()) to_tell_.push_back(attempt);
  heartbeat_in_flight_ = true;
  send(statement, [this, leases, now](const wire::Reply& reply) {
    heartbeat_in_flight_ = false;
    if (reply.ok())
      leases_.on_heartbeat(*leases, now, wire::read_stops(reply.rows));
    else if (!reply.lost)
      settings_.log(LogLevel::error, fmt::format("heartbeat refused: {}", reply.failure->what()));
  });
}

// Each is a commit of its own, so that few go at a time: whatever else is to be said comes in between.
void Control::tell_progress() {
  constexpr int most = 20;
  while (!to_tell_.empty() && telling_ < most && link_.is_up()) {
    const auto attempt = to_tell_.back().lock();
    to_tell_.pop_back();
    if (!attempt) continue;
    ++telling_;
    if (!send_progress(link_, settings_, attempt, [this] { --telling_; })) --telling_;
  }
}

void Control::send_nudge() {
  send(wire::nudge(settings_.worker),
       [this, heard = std::exchange(nudge_, {})](const wire::Reply& reply) { on_nudge(heard, reply); });
}

void Control::on_nudge(std::function<void()> heard, const wire::Reply& reply) {
  if (reply.ok()) {
    nudge_pauses_.reset();
    return heard();
  }
  if (!nudge_) nudge_ = std::move(heard);
  if (reply.lost) return;
  nudge_at_ = Clock::now() + nudge_pauses_.next();
  settings_.log(LogLevel::error, fmt::format("nudge refused: {}", reply.failure->what()));
}

void Control::send_watch() {
  const wire::Ids asked = waits_.take_batch();
  if (asked.empty()) return;
  watch_in_flight_ = true;
  send(wire::watch(settings_.worker, asked), [this, asked](const wire::Reply& reply) {
    watch_in_flight_ = false;
    if (reply.lost) return waits_.on_lost(asked);
    if (reply.failure) return waits_.on_refused(asked, *reply.failure);
    waits_.on_answer(wire::read_result_rows(reply.rows));
  });
}

}  // namespace insula::detail
