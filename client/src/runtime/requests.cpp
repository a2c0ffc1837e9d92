// Sending what callers ask, and what becomes of it.
#include "runtime/requests.hpp"

#include "wire/calls.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>

namespace insula::detail {

namespace {

using std::chrono::milliseconds;

// A statement that breaks the connection each time must not do so for ever.
constexpr int sendings_limit = 5;

// How many share a transaction, at most, and how large they may be.
constexpr std::size_t most_together = 100;
constexpr std::size_t bytes_together = 256U << 10U;

// Larger ones may take their time in the server.
constexpr std::size_t heavy = 1U << 20U;

// Of a statement that is sent aside, since it has met a lock or may take its time.
constexpr milliseconds least_patience{30'000};

// Between two tries where there is no connection to wait at.
constexpr milliseconds first_try_pause{250};
constexpr milliseconds longest_try_pause{2'000};

std::size_t size_of(const wire::Statement& statement) {
  std::size_t size = 0;
  for (const wire::Param& param : statement.params) size += param ? param->size() : 0;
  return size;
}

}  // namespace

void Requests::add(CallerRequest request) {
  request.asked_at = Clock::now();
  (would_hold_up(request) ? waiting_ : new_).push_back(std::move(request));
}

bool Requests::would_hold_up(const CallerRequest& request) {
  return request.lock || request.manner.slow || size_of(request.statement) > heavy;
}

void Requests::fail_all(const error& why) {
  for (auto* requests : {&new_, &waiting_})
    for (CallerRequest& request : std::exchange(*requests, {})) request.done({{}, why, false});
}

void Requests::end(const error& why) {
  fail_all(why);
  // The server may do these all the same.
  const error unknown{why.code(), why.what(), why.sqlstate(), why.retryable(), true};
  for (auto* requests : {&in_flight_, &waiting_in_flight_})
    for (CallerRequest& request : std::exchange(*requests, {}))
      request.done({{}, request.manner.repeatable ? why : unknown, true});
}

bool Requests::waiting_sendable(Clock::time_point now, bool aside) const noexcept {
  return waiting_in_flight_.empty() && std::ranges::any_of(waiting_, [&](const CallerRequest& request) {
           return aside || request.not_before <= now;
         });
}

Clock::time_point Requests::wake_at(bool is_up) const noexcept {
  Clock::time_point at = Clock::time_point::max();
  if (!is_up && !new_.empty()) at = expires(new_.front());
  const auto now = Clock::now();
  for (const CallerRequest& request : waiting_) {
    if (request.lock || !is_up) at = std::min(at, expires(request));
    if (request.not_before > now) at = std::min(at, request.not_before);
  }
  return at;
}

std::vector<CallerRequest> Requests::take_next() {
  std::vector<CallerRequest> batch;
  std::size_t bytes = 0;
  while (!new_.empty() && batch.size() < most_together && bytes < bytes_together) {
    if (!batch.empty() && !(batch.front().manner.together && new_.front().manner.together)) break;
    bytes += size_of(new_.front().statement);
    batch.push_back(std::move(new_.front()));
    new_.pop_front();
  }
  return batch;
}

void Requests::send_next(wire::Link& link) {
  in_flight_ = take_next();
  send(link, Way::straight);
}

std::deque<CallerRequest>::iterator Requests::next_waiting(Clock::time_point now, bool aside) {
  // The tenants in the order of their names, beginning after the last one.
  const auto turn = [this](const CallerRequest& request) {
    return std::pair<bool, std::string_view>{request.manner.tenant <= last_turn_, request.manner.tenant};
  };
  auto next = waiting_.end();
  for (auto it = waiting_.begin(); it != waiting_.end(); ++it) {
    if (!aside && it->not_before > now) continue;
    if (!it->lock) return it;
    if (next == waiting_.end() || turn(*it) < turn(*next)) next = it;
  }
  return next;
}

void Requests::send_waiting(wire::Link& link, bool aside) {
  const auto next = next_waiting(Clock::now(), aside);
  if (next->lock) last_turn_ = next->manner.tenant;
  waiting_in_flight_.push_back(std::move(*next));
  waiting_.erase(next);
  send(link, aside ? Way::aside : Way::again);
}

void Requests::send(wire::Link& link, Way way) {
  auto& batch = way == Way::straight ? in_flight_ : waiting_in_flight_;
  std::vector<const wire::Statement*> statements;
  for (CallerRequest& request : batch) {
    ++request.sendings;
    statements.push_back(&request.statement);
  }
  // No lease hangs on what is aside: a long statement may take its time there.
  const milliseconds patience =
      way == Way::aside ? std::max(settings_.config.call_timeout, least_patience) : settings_.patience();
  const auto on_reply = [this, way](wire::Reply reply) {
    auto& batch = way == Way::straight ? in_flight_ : waiting_in_flight_;
    this->on_reply(std::exchange(batch, {}), std::move(reply), way);
  };
  link.send(statements, on_reply, patience);
}

void Requests::on_reply(std::vector<CallerRequest> batch, wire::Reply reply, Way way) {
  if (batch.size() == 1) return on_single_reply(std::move(batch.front()), std::move(reply), way);
  if (reply.ok()) {
    for (std::size_t i = 0; i + 1 < batch.size(); ++i) answer(batch[i], std::move(reply.earlier.at(i)));
    return answer(batch.back(), std::move(reply.rows));
  }
  if (reply.lost) {
    // The last first: each goes in front of the queue.
    for (auto request = batch.rbegin(); request != batch.rend(); ++request)
      on_lost(std::move(*request), {{}, reply.failure, true});
    return;
  }
  // One of them is refused, and all were undone.
  for (CallerRequest& request : batch) request.manner.together = false;
  new_.insert(new_.begin(), std::make_move_iterator(batch.begin()), std::make_move_iterator(batch.end()));
}

void Requests::on_single_reply(CallerRequest request, wire::Reply reply, Way way) {
  if (reply.ok()) return answer(request, std::move(reply.rows));
  if (reply.lost) return on_lost(std::move(request), std::move(reply));
  const error& why = *reply.failure;
  if (why.sqlstate() == "55P03") return on_lock(std::move(request), why, way);
  // After a serialization failure or a deadlock nothing of it was done, so it may be sent again.
  if (why.sqlstate().starts_with("40") && request.sendings < sendings_limit)
    return (way == Way::straight ? new_ : waiting_).push_front(std::move(request));
  request.done(std::move(reply));
}

void Requests::answer(const CallerRequest& request, wire::Rows rows) {
  if (request.manner.stops) on_stop_();
  request.done({std::move(rows), std::nullopt, false});
}

void Requests::on_lost(CallerRequest request, wire::Reply reply) {
  if (request.manner.repeatable && request.sendings < sendings_limit) {
    return (would_hold_up(request) ? waiting_ : new_).push_front(std::move(request));
  }
  if (request.manner.stops) on_stop_();
  const error& why = *reply.failure;
  reply.failure = error{errc::unreachable, why.what(), why.sqlstate(), true, true};
  request.done(std::move(reply));
}

void Requests::on_lock(CallerRequest request, const error& why, Way way) {
  const auto now = Clock::now();
  --request.sendings;  // it was undone, whole
  request.lock = why;
  if (way == Way::again) {
    request.pause = std::clamp(request.pause * 2, first_try_pause, longest_try_pause);
    request.not_before = now + request.pause;
  } else if (way == Way::straight) {
    request.not_before = now + first_try_pause;  // unless there is a connection to wait at
  }
  waiting_.push_back(std::move(request));
}

error Requests::give_up(const CallerRequest& request) const {
  if (request.lock)
    return {request.lock->code(),
            fmt::format("{} has waited {} ms for a lock that another transaction holds{}{}: {}",
                        wire::function_of(request.statement), settings_.config.call_timeout.count(),
                        request.manner.subject.empty() ? "" : ", ", request.manner.subject, request.lock->what()),
            request.lock->sqlstate(), true};
  return {errc::unreachable, "no connection to the server within the time a call may wait", {}, true};
}

void Requests::expire(Clock::time_point now, bool is_up) {
  // What has a connection, and nothing before it, is about to be sent.
  while (!new_.empty() && expires(new_.front()) <= now && !is_up) {
    CallerRequest request = std::move(new_.front());
    new_.pop_front();
    request.done({{}, give_up(request), false});
  }
  for (bool found = true; found;) {
    const auto late = std::ranges::find_if(
        waiting_, [&](const CallerRequest& request) { return (request.lock || !is_up) && expires(request) <= now; });
    found = late != waiting_.end();
    if (!found) break;
    CallerRequest request = std::move(*late);
    waiting_.erase(late);
    request.done({{}, give_up(request), false});
  }
}

}  // namespace insula::detail
