// Choosing and sending what is next on the control connection.
#include "runtime/control.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace insula::detail {

namespace {

// A statement that breaks the connection each time must not do so for ever.
constexpr int sendings_limit = 5;

}  // namespace

Control::Control(const Settings& settings, Leases& leases, Waits& waits, Metrics& metrics)
    : settings_(settings),
      leases_(leases),
      waits_(waits),
      metrics_(metrics),
      outcomes_(
          settings, metrics,
          // Its execution may end with it; to look is quicker than to be told.
          [this](const Attempt& attempt) { waits_.suspect(attempt.info.execution_id); },
          [this](const Attempt& attempt) { leases_.remove(attempt); }),
      link_(settings.conninfo, "insula control", settings.config.connect_timeout,
            {[this] { on_up(); }, [this](const error& why, bool was_up) { on_down(why, was_up); },
             [this](std::string_view text) { settings_.log(LogLevel::warning, text); }}) {}

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
  if (!ever_up_ || !why.retryable()) fail_requests(why);
  if (!outage_told_ && ever_up_)
    settings_.log(LogLevel::warning, fmt::format("lost the control connection, connecting again: {}", why.what()));
  outage_told_ = true;
}

void Control::request(Request request) {
  request.expires = Clock::now() + settings_.config.call_timeout;
  requests_.push_back(std::move(request));
  link_.open();
}

void Control::fail_requests(const error& why) {
  for (Request& request : std::exchange(requests_, {})) request.done({{}, why, false});
}

void Control::leave(std::function<void()> done) { leave_done_ = std::move(done); }

void Control::drive(Clock::time_point now) {
  expire_requests(now);
  if (leave_done_ && !link_.is_up()) std::exchange(leave_done_, {})();
  if (!link_.is_up()) return;
  if (now >= leases_.heartbeat_at() && !heartbeat_in_flight_) send_heartbeat(now);
  if (nudge_wanted_ && link_.is_up()) send_nudge();
  if (outcomes_.sendable(now) && link_.is_up()) outcomes_.send_next(link_);
  if (!requests_.empty() && !request_in_flight_ && link_.is_up()) send_request();
  if (waits_.wants_to_ask() && !watch_in_flight_ && link_.is_up()) send_watch();
  if (leave_done_ && link_.idle())
    send(wire::leave(settings_.worker), [done = std::exchange(leave_done_, {})](const wire::Reply&) { done(); });
}

Clock::time_point Control::wake_at() const noexcept {
  Clock::time_point at = Clock::time_point::max();
  for (const Request& request : requests_) at = std::min(at, request.expires);
  if (link_.is_up() && !heartbeat_in_flight_) at = std::min(at, leases_.heartbeat_at());
  if (link_.is_up()) at = std::min(at, outcomes_.wake_at());
  return at;
}

void Control::send(const wire::Statement& statement, wire::Link::OnReply on_reply) {
  link_.send(statement, std::move(on_reply), settings_.patience());
}

void Control::send_heartbeat(Clock::time_point now) {
  auto leases = std::make_shared<std::vector<std::int64_t>>();
  const wire::Statement statement = leases_.heartbeat(now, *leases);
  if (leases->empty()) return;
  heartbeat_in_flight_ = true;
  send(statement, [this, leases, now](const wire::Reply& reply) {
    heartbeat_in_flight_ = false;
    if (reply.ok())
      leases_.on_heartbeat(*leases, now, wire::read_stops(reply.rows));
    else if (!reply.lost)
      settings_.log(LogLevel::error, fmt::format("heartbeat refused: {}", reply.failure->what()));
  });
}

void Control::send_nudge() {
  nudge_wanted_ = false;
  send(wire::nudge(settings_.worker), [this](const wire::Reply& reply) {
    if (reply.lost) nudge_wanted_ = true;
  });
}

void Control::send_request() {
  Request request = std::move(requests_.front());
  requests_.pop_front();
  ++request.sendings;
  request_in_flight_ = true;
  auto kept = std::make_shared<Request>(std::move(request));
  send(kept->statement, [this, kept](wire::Reply reply) { on_request_reply(std::move(*kept), std::move(reply)); });
}

void Control::on_request_reply(Request request, wire::Reply reply) {
  request_in_flight_ = false;
  // After a serialization failure or a deadlock nothing of it was done, so it may be sent again.
  const bool outdone = !reply.lost && reply.failure && reply.failure->sqlstate().starts_with("40");
  if (outdone && request.sendings < sendings_limit) return requests_.push_front(std::move(request));
  if (!reply.lost) return request.done(std::move(reply));
  if (request.repeatable && request.sendings < sendings_limit) return requests_.push_front(std::move(request));
  const error& why = *reply.failure;
  reply.failure = error{errc::unreachable, why.what(), why.sqlstate(), true, true};
  request.done(std::move(reply));
}

void Control::send_watch() {
  const wire::Ids asked = waits_.take_batch();
  if (asked.empty()) return;
  watch_in_flight_ = true;
  send(wire::watch(settings_.worker, asked), [this, asked](const wire::Reply& reply) {
    watch_in_flight_ = false;
    if (reply.lost) return waits_.on_lost(asked);
    if (reply.failure) return waits_.on_refused(asked, *reply.failure);
    try {
      waits_.on_answer(wire::read_results(reply.rows));
    } catch (const error& unreadable) {
      waits_.on_refused(asked, unreadable);
    }
  });
}

void Control::expire_requests(Clock::time_point now) {
  const error why{errc::unreachable, "no connection to the server within the time a call may wait", {}, true};
  while (!requests_.empty() && requests_.front().expires <= now && (request_in_flight_ || !link_.is_up())) {
    Request request = std::move(requests_.front());
    requests_.pop_front();
    request.done({{}, why, false});
  }
}

}  // namespace insula::detail
