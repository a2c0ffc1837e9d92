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
// Most locks are those of another worker's call, which is about to commit.
constexpr std::chrono::milliseconds first_pause{10};
constexpr std::chrono::milliseconds longest_pause{2'000};
// Where probes hold up new outcomes, the share of the time that is kept free of them.
constexpr int free_times = 3;
constexpr std::size_t crowd = 1'000;

std::string label(const Outcome& outcome) {
  const auto& info = outcome.attempt->info;
  return fmt::format("{}.{} (task {}, attempt {})", info.workflow, info.task, info.task_id, info.attempt);
}

LostTask named(const Outcome& outcome) {
  const auto& info = outcome.attempt->info;
  return {info.tenant, info.workflow, info.task, info.execution_id, info.task_id, info.attempt};
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
    return wire::fail(info.task_id, info.lease,
                      {outcome.error, outcome.retryable, outcome.retry_in, outcome.free_retries});
  return std::visit(RequestCall{outcome}, outcome.attempt->request);
}

bool send_progress(wire::Link& link, const Settings& settings, const std::shared_ptr<Attempt>& attempt,
                   std::function<void()> on_answer) {
  const auto progress = attempt->take_progress();
  if (!progress) return false;
  const auto& info = attempt->info;
  const auto on_reply = [&settings, attempt, progress = *progress,
                         answered = std::move(on_answer)](const wire::Reply& reply) {
    answered();
    // Held by another transaction, or the connection broke: with the next heartbeat.
    if (reply.lost || (reply.ok() && !wire::read_saved(reply.rows))) return attempt->put_back_progress(progress);
    if (!reply.ok())
      settings.log(LogLevel::warning,
                   fmt::format("{}.{} (task {}): its progress was refused: {}", attempt->info.workflow,
                               attempt->info.task, attempt->info.task_id, reply.failure->what()));
  };
  link.send(wire::save_progress(info.task_id, info.lease, *progress), on_reply, settings.patience());
  return true;
}

void Outcomes::add(Outcome outcome) {
  if (outcome.kind == Outcome::Kind::given_back && outcome.attempt->reason == StopReason::lease_lost)
    ++metrics_.leases_lost;
  if (outcome.kind == Outcome::Kind::settled || outcome.kind == Outcome::Kind::given_back) {
    on_told_(*outcome.attempt);
    return on_settled_(*outcome.attempt);
  }
  enqueue(std::move(outcome));
}

void Outcomes::enqueue(Outcome outcome) {
  const auto waits = put_off_.find(outcome.attempt->info.tenant);
  if (waits == put_off_.end()) return queue_.push_back(std::move(outcome));
  waits->second.outcomes.push_back(std::move(outcome));
  ++put_off_count_;
}

void Outcomes::send_next(wire::Link& link) {
  gather_until_ = {};
  std::vector<Outcome> batch = take_call(queue_);
  in_flight_ = batch.size();
  send(link, std::move(batch), std::nullopt);
}

Clock::time_point Outcomes::probe_at() const noexcept {
  auto at = Clock::time_point::max();
  if (probing_ > 0) return at;
  for (const auto& [tenant, waits] : put_off_) at = std::min(at, waits.at);
  return at == Clock::time_point::max() ? at : std::max(at, no_probe_before_);
}

std::vector<std::string> Outcomes::crowded() const {
  std::vector<std::string> tenants;
  for (const auto& [tenant, waits] : put_off_)
    if (waits.outcomes.size() >= crowd) tenants.push_back(tenant);
  return tenants;
}

void Outcomes::send_probe(wire::Link& link, bool aside) {
  const auto next = std::ranges::min_element(put_off_, {}, [](const auto& waits) { return waits.second.at; });
  std::vector<Outcome> batch = take_call(next->second.outcomes);
  probing_ = batch.size();
  put_off_count_ -= batch.size();
  send(link, std::move(batch), Probe{next->first, aside, Clock::now()});
}

void Outcomes::drop_all() {
  queue_.clear();
  put_off_.clear();
  put_off_count_ = in_flight_ = probing_ = 0;
}

void Outcomes::end_probe(const Probe& probe, bool progress) {
  const auto now = Clock::now();
  if (!probe.aside) no_probe_before_ = now + free_times * (now - probe.began);
  const auto it = put_off_.find(probe.tenant);
  PutOff& waits = it->second;
  if (waits.outcomes.empty()) {
    put_off_.erase(it);
  } else if (progress) {
    waits.pause = first_pause;
    waits.at = now;
  } else {
    waits.at = now + waits.pause;
    waits.pause = std::min(waits.pause * 2, longest_pause);
  }
}

std::vector<Outcome> Outcomes::take_call(std::deque<Outcome>& from) {
  if (in_batch(from.front())) return take_completions(from);
  std::vector<Outcome> one;
  one.push_back(std::move(from.front()));
  from.pop_front();
  return one;
}

std::vector<Outcome> Outcomes::take_completions(std::deque<Outcome>& from) {
  std::vector<Outcome> batch;
  std::size_t bytes = 0;
  std::size_t most = from.front().together;
  std::deque<Outcome> rest;
  for (Outcome& outcome : from) {
    const bool fits = in_batch(outcome) && batch.size() < std::min(most, outcome.together) && bytes < batch_bytes;
    bytes += fits ? outcome.patch.size() : 0;
    most = fits ? std::min(most, outcome.together) : most;
    if (fits)
      batch.push_back(std::move(outcome));
    else
      rest.push_back(std::move(outcome));
  }
  from.swap(rest);
  return batch;
}

void Outcomes::send(wire::Link& link, std::vector<Outcome> batch, std::optional<Probe> probe) {
  const bool one = !in_batch(batch.front());
  std::vector<wire::Completion> completions;
  for (const Outcome& outcome : batch) {
    if (!one) completions.push_back({outcome.attempt->info.task_id, outcome.attempt->info.lease, outcome.patch});
    on_told_(*outcome.attempt);
  }
  if (one && batch.front().kind != Outcome::Kind::completed) send_progress(link, settings_, batch.front().attempt);
  // It may have been what showed that the connection is broken.
  if (!link.is_up()) return keep_unsent(batch, probe);
  const wire::Statement statement = one ? statement_for(batch.front()) : wire::complete_batch(completions);
  auto kept = std::make_shared<std::vector<Outcome>>(std::move(batch));
  const auto on_reply = [this, kept, one, probe](const wire::Reply& reply) {
    (probe ? probing_ : in_flight_) = 0;
    const std::size_t before = settled_;
    narrowed_ = false;
    if (one)
      on_one(std::move(kept->front()), reply);
    else
      on_completed(*kept, reply);
    if (probe) end_probe(*probe, settled_ != before || narrowed_);
  };
  link.send(statement, on_reply, settings_.patience());
}

void Outcomes::on_completed(std::vector<Outcome>& batch, const wire::Reply& reply) {
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
      put_off(std::move(batch[i]));
    } else {
      log_refusal(batch[i], left[i]->error, left[i]->sqlstate);
      if (left[i]->for_good) tell_failed(batch[i], left[i]->error);
      end(batch[i]);
    }
  }
}

void Outcomes::on_one(Outcome outcome, const wire::Reply& reply) {
  if (reply.ok()) {
    // Also where an earlier sending was the one that counted.
    if (outcome.kind == Outcome::Kind::failed && wire::read_failed_for_good(reply.rows))
      tell_failed(outcome, outcome.error);
    return settle(outcome, wire::read_accepted(reply.rows));
  }
  std::vector<Outcome> batch;
  batch.push_back(std::move(outcome));
  if (reply.lost) return put_back(batch);
  on_refused(batch, *reply.failure);
}

void Outcomes::tell_failed(const Outcome& outcome, const std::string& why) {
  settings_.tell([&](Observer& observer) { observer.task_failed(named(outcome), why); });
  on_failed_(*outcome.attempt);
}

void Outcomes::settle(const Outcome& outcome, bool accepted) {
  if (!accepted) {
    if (!outcome.sent_before) {
      ++metrics_.leases_lost;
      settings_.tell([&](Observer& observer) { observer.outcome_refused(named(outcome)); });
    }
    // After a broken connection the first sending may have been the one that counted.
    const LogLevel level = outcome.sent_before ? LogLevel::debug : LogLevel::warning;
    settings_.log(level,
                  fmt::format("{}: its handler came late, the lease was lost; nothing was written", label(outcome)));
  }
  end(outcome);
}

void Outcomes::end(const Outcome& outcome) {
  ++settled_;
  on_settled_(*outcome.attempt);
}

void Outcomes::keep_unsent(std::vector<Outcome>& batch, const std::optional<Probe>& probe) {
  (probe ? probing_ : in_flight_) = 0;
  put_in_front(batch);
  if (probe) end_probe(*probe, false);
}

void Outcomes::put_back(std::vector<Outcome>& batch) {
  for (Outcome& outcome : batch) {
    outcome.sent_before = true;
    // It may have been the batch that broke the connection.
    if (batch.size() > 1) outcome.together = batch.size() / 2;
  }
  put_in_front(batch);
}

void Outcomes::put_in_front(std::vector<Outcome>& batch) {
  for (auto outcome = batch.rbegin(); outcome != batch.rend(); ++outcome) {
    const auto waits = put_off_.find(outcome->attempt->info.tenant);
    if (waits != put_off_.end()) ++put_off_count_;
    (waits == put_off_.end() ? queue_ : waits->second.outcomes).push_front(std::move(*outcome));
  }
}

void Outcomes::put_off(Outcome outcome) {
  const std::string tenant = outcome.attempt->info.tenant;
  const auto [waits, is_new] = put_off_.try_emplace(tenant);
  waits->second.outcomes.push_back(std::move(outcome));
  ++put_off_count_;
  if (!is_new) return;
  waits->second.at = Clock::now() + first_pause;
  waits->second.pause = first_pause * 2;
  // What the tenant has in the queue would probably meet the same lock.
  const auto mine = std::stable_partition(queue_.begin(), queue_.end(),
                                          [&](const Outcome& queued) { return queued.attempt->info.tenant != tenant; });
  put_off_count_ += static_cast<std::size_t>(queue_.end() - mine);
  std::move(mine, queue_.end(), std::back_inserter(waits->second.outcomes));
  queue_.erase(mine, queue_.end());
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
  const bool halve = batch.size() > 1;
  if (again || halve) {
    for (Outcome& outcome : batch) {
      if (halve) outcome.together = batch.size() / 2;
      if (again)
        put_off(std::move(outcome));
      else
        enqueue(std::move(outcome));
    }
    narrowed_ = halve;
    return;
  }
  Outcome& outcome = batch.front();
  if (outcome.kind == Outcome::Kind::failed && !wire::is_ascii(outcome.error)) {
    // The database's encoding may lack a character of it.
    outcome.error = wire::escaped(outcome.error);
    return enqueue(std::move(outcome));
  }
  log_refusal(outcome, why.what(), why.sqlstate());
  if (outcome.kind == Outcome::Kind::failed) return end(outcome);
  outcome.kind = Outcome::Kind::failed;
  outcome.error = wire::storable(fmt::format("the server refused the task's outcome: {}", why.what()));
  outcome.retryable = true;
  narrowed_ = true;
  enqueue(std::move(outcome));
}

void Outcomes::log_refusal(const Outcome& outcome, std::string_view why, std::string_view sqlstate) {
  settings_.log(LogLevel::error,
                fmt::format("{}: the server refused its outcome: {} (SQLSTATE {})", label(outcome), why, sqlstate));
}

}  // namespace insula::detail
