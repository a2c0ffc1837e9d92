// Telling the server what became of its tasks.
#include "runtime/outcomes.hpp"

#include "wire/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace insula::detail {

namespace {

constexpr std::size_t batch_bytes = 4U << 20U;
constexpr std::chrono::milliseconds pause_after_refusal{100};

std::string label(const Outcome& outcome) {
  const auto& info = outcome.attempt->info;
  return fmt::format("{}.{} (task {}, attempt {})", info.workflow, info.task, info.task_id, info.attempt);
}

bool in_batch(const Outcome& outcome) { return outcome.kind == Outcome::Kind::completed && outcome.together > 1; }

// The request of a handler, as a call.
struct RequestCall {
  const Outcome& outcome;
  const wire::Claimed& info = outcome.attempt->info;

  wire::Statement operator()(std::monostate) const { return wire::complete({info.task_id, info.lease, outcome.patch}); }
  wire::Statement operator()(std::chrono::system_clock::time_point when) const {
    return wire::defer_to(info.task_id, info.lease, when, outcome.patch);
  }
  wire::Statement operator()(std::chrono::milliseconds delay) const {
    return wire::defer_by(info.task_id, info.lease, delay, outcome.patch);
  }
  wire::Statement operator()(const EventWait& wait) const {
    return wire::wait_event(info.task_id, info.lease, wait.event, wait.timeout, outcome.patch);
  }
  wire::Statement operator()(const Child& child) const {
    return wire::submit_child(info.task_id, info.lease, child.workflow, child.context);
  }
};

}  // namespace

wire::Statement statement_for(const Outcome& outcome) {
  const auto& info = outcome.attempt->info;
  if (outcome.kind == Outcome::Kind::failed)
    return wire::fail(info.task_id, info.lease, outcome.error, outcome.retryable);
  return std::visit(RequestCall{outcome}, outcome.attempt->request);
}

void Outcomes::add(Outcome outcome) {
  if (outcome.kind == Outcome::Kind::given_back && outcome.attempt->reason == StopReason::lease_lost)
    ++metrics_.leases_lost;
  if (outcome.kind == Outcome::Kind::settled || outcome.kind == Outcome::Kind::given_back) {
    on_told_(*outcome.attempt);
    return on_settled_(*outcome.attempt);
  }
  queue_.push_back(std::move(outcome));
}

void Outcomes::send_next(wire::Link& link) {
  gather_until_ = {};
  if (queue_.empty()) queue_.swap(later_);
  if (!in_batch(queue_.front())) {
    Outcome outcome = std::move(queue_.front());
    queue_.pop_front();
    return send_one(link, std::move(outcome));
  }
  auto batch = std::make_shared<std::vector<Outcome>>(take_completions());
  std::vector<wire::Completion> completions;
  for (const Outcome& outcome : *batch) {
    completions.push_back({outcome.attempt->info.task_id, outcome.attempt->info.lease, outcome.patch});
    on_told_(*outcome.attempt);
  }
  in_flight_ = batch->size();
  link.send(
      wire::complete_batch(completions), [this, batch](wire::Reply reply) { on_completed(*batch, reply); },
      settings_.patience());
}

std::vector<Outcome> Outcomes::take_completions() {
  std::vector<Outcome> batch;
  std::size_t bytes = 0;
  std::size_t most = queue_.front().together;
  std::deque<Outcome> rest;
  for (Outcome& outcome : queue_) {
    const bool fits = in_batch(outcome) && batch.size() < std::min(most, outcome.together) && bytes < batch_bytes;
    bytes += fits ? outcome.patch.size() : 0;
    most = fits ? std::min(most, outcome.together) : most;
    if (fits)
      batch.push_back(std::move(outcome));
    else
      rest.push_back(std::move(outcome));
  }
  queue_.swap(rest);
  return batch;
}

void Outcomes::send_one(wire::Link& link, Outcome outcome) {
  in_flight_ = 1;
  const wire::Statement statement = statement_for(outcome);
  auto kept = std::make_shared<Outcome>(std::move(outcome));
  on_told_(*kept->attempt);
  link.send(
      statement, [this, kept](wire::Reply reply) { on_one(std::move(*kept), reply); }, settings_.patience());
}

void Outcomes::on_completed(std::vector<Outcome>& batch, const wire::Reply& reply) {
  in_flight_ = 0;
  if (reply.lost) return put_back(batch);
  if (reply.failure) return on_refused(batch, *reply.failure);
  std::vector<wire::NotCompleted> not_completed;
  try {
    not_completed = wire::read_not_completed(reply.rows, batch.size());
  } catch (const error& unreadable) {
    return on_refused(batch, unreadable);
  }
  std::vector<const wire::NotCompleted*> left(batch.size());
  for (const wire::NotCompleted& one : not_completed) left[one.place] = &one;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    if (!left[i] || left[i]->reason == wire::NotCompleted::lost) {
      settle(batch[i], !left[i]);
    } else if (left[i]->reason == wire::NotCompleted::later) {
      put_later(std::move(batch[i]));
    } else {
      log_refusal(batch[i], left[i]->error, left[i]->sqlstate);
      on_settled_(*batch[i].attempt);
    }
  }
}

void Outcomes::on_one(Outcome outcome, const wire::Reply& reply) {
  in_flight_ = 0;
  if (reply.ok()) return settle(outcome, wire::read_accepted(reply.rows));
  std::vector<Outcome> batch;
  batch.push_back(std::move(outcome));
  if (reply.lost) return put_back(batch);
  on_refused(batch, *reply.failure);
}

void Outcomes::settle(const Outcome& outcome, bool accepted) {
  if (!accepted) {
    if (!outcome.sent_before) ++metrics_.leases_lost;
    // After a broken connection the first sending may have been the one that counted.
    const LogLevel level = outcome.sent_before ? LogLevel::debug : LogLevel::warning;
    settings_.log(level,
                  fmt::format("{}: its handler came late, the lease was lost; nothing was written", label(outcome)));
  }
  on_settled_(*outcome.attempt);
}

void Outcomes::put_back(std::vector<Outcome>& batch) {
  for (Outcome& outcome : batch) outcome.sent_before = true;
  queue_.insert(queue_.begin(), std::make_move_iterator(batch.begin()), std::make_move_iterator(batch.end()));
}

void Outcomes::put_later(Outcome outcome) {
  later_at_ = Clock::now() + pause_after_refusal;
  later_.push_back(std::move(outcome));
}

void Outcomes::on_refused(std::vector<Outcome>& batch, const error& why) {
  const Outcome& first = batch.front();
  // A child that finds no room now is one for the task's retries: what would make room may
  // be waiting behind it.
  const bool no_room = first.kind == Outcome::Kind::put_off && std::holds_alternative<Child>(first.attempt->request) &&
                       (why.code() == errc::limit || why.code() == errc::suspended);
  const bool again = why.retryable() && !no_room;
  // Something in it is not to the server's taste, or it takes longer than a statement may: half of
  // it shows which, or is quick enough.
  const bool halve = batch.size() > 1 && (!again || why.sqlstate() == "57014");
  if (again || halve) {
    for (Outcome& outcome : batch) {
      if (halve) outcome.together = batch.size() / 2;
      if (again)
        put_later(std::move(outcome));
      else
        queue_.push_back(std::move(outcome));
    }
    return;
  }
  Outcome& outcome = batch.front();
  if (outcome.kind == Outcome::Kind::failed && !wire::is_ascii(outcome.error)) {
    // The database's encoding may lack a character of it.
    outcome.error = wire::escaped(outcome.error);
    return queue_.push_back(std::move(outcome));
  }
  log_refusal(outcome, why.what(), why.sqlstate());
  if (outcome.kind == Outcome::Kind::failed) return on_settled_(*outcome.attempt);
  outcome.kind = Outcome::Kind::failed;
  outcome.error = wire::storable(fmt::format("the server refused the task's outcome: {}", why.what()));
  outcome.retryable = true;
  queue_.push_back(std::move(outcome));
}

void Outcomes::log_refusal(const Outcome& outcome, std::string_view why, std::string_view sqlstate) {
  settings_.log(LogLevel::error,
                fmt::format("{}: the server refused its outcome: {} (SQLSTATE {})", label(outcome), why, sqlstate));
}

}  // namespace insula::detail
