// Heartbeats, and what they bring back.
#include "runtime/leases.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace insula::detail {

namespace {

constexpr std::chrono::milliseconds longest_answer{1'000};

StopReason reason_of(std::string_view word) {
  if (word == "cancelled") return StopReason::cancelled;
  if (word == "paused") return StopReason::paused;
  if (word == "timeout") return StopReason::timeout;
  if (word == "draining") return StopReason::draining;
  return StopReason::lease_lost;
}

}  // namespace

Clock::time_point Leases::fence_after(Clock::time_point start) const noexcept {
  // A tenth is left for the handler to notice.
  return start + settings_.config.lease - settings_.config.lease / 10;
}

void Leases::add(std::shared_ptr<Attempt> attempt, Clock::time_point claimed_at) {
  // The server gave this task out anew: the earlier attempt in this process has lost it.
  const auto [latest, first] = lease_of_task_.try_emplace(attempt->info.task_id, attempt->info.lease);
  if (!first) {
    const auto before = attempts_.find(latest->second);
    if (before != attempts_.end()) stopper_.ask(before->second, StopReason::lease_lost);
    latest->second = attempt->info.lease;
  }
  if (attempts_.empty()) heartbeat_at_ = claimed_at + settings_.config.lease / 3;
  attempt->fence_at = fence_after(claimed_at);
  fence_at_ = std::min({fence_at_, attempt->fence_at, attempt->deadline_at});
  ++running_;
  ++running_by_tenant_[attempt->info.tenant];
  const std::int64_t lease = attempt->info.lease;
  attempts_.insert_or_assign(lease, std::move(attempt));
}

void Leases::finish(Attempt& attempt) {
  if (std::exchange(attempt.finished, true)) return;
  --running_;
  const auto tenant = running_by_tenant_.find(attempt.info.tenant);
  if (--tenant->second == 0) running_by_tenant_.erase(tenant);
}

void Leases::remove(const Attempt& attempt) {
  attempts_.erase(attempt.info.lease);
  late_.erase(attempt.info.lease);
  const auto held = lease_of_task_.find(attempt.info.task_id);
  if (held != lease_of_task_.end() && held->second == attempt.info.lease) lease_of_task_.erase(held);
}

void Leases::stop_running(StopReason why) {
  for (auto& [lease, attempt] : attempts_)
    if (!attempt->finished) stopper_.ask(attempt, why);
}

wire::Statement Leases::heartbeat(Clock::time_point now, std::vector<std::int64_t>& leases) {
  wire::Ids tasks;
  leases.clear();
  const bool all = late_.empty() || now >= heartbeat_at_;
  for (const auto& [lease, attempt] : attempts_) {
    if (!all && !late_.contains(lease)) continue;
    // One that lost its task to a younger attempt of this same process has nothing to
    // ask, and the answer is by task.
    if (attempt->reason == StopReason::lease_lost) continue;
    tasks.push_back(attempt->info.task_id);
    leases.push_back(lease);
  }
  if (all) heartbeat_at_ = now + settings_.config.lease / 3;
  late_.clear();
  late_at_ = Clock::time_point::max();
  return wire::heartbeat(tasks, leases, settings_.config.lease);
}

void Leases::on_heartbeat(const std::vector<std::int64_t>& leases, Clock::time_point sent_at,
                          const std::vector<std::pair<std::int64_t, std::string>>& stops) {
  for (const std::int64_t lease : leases) {
    const auto it = attempts_.find(lease);
    if (it == attempts_.end()) continue;
    Attempt& attempt = *it->second;
    const auto stop =
        std::find_if(stops.begin(), stops.end(), [&](const auto& s) { return s.first == attempt.info.task_id; });
    if (stop != stops.end() && stop->second == "later") {
      late_.insert(lease);
      late_at_ = sent_at + std::min(settings_.config.lease / 10, longest_answer);
      continue;
    }
    attempt.fence_at = fence_after(sent_at);
    if (stop != stops.end() && !attempt.finished) stopper_.ask(it->second, reason_of(stop->second));
  }
}

void Leases::fence(Clock::time_point now) {
  if (now < fence_at_) return;
  fence_at_ = Clock::time_point::max();
  for (auto& [lease, attempt] : attempts_) {
    if (attempt->finished || attempt->is_stopping()) continue;
    if (attempt->deadline_at <= now) {
      stopper_.ask(attempt, StopReason::timeout);
      continue;
    }
    if (attempt->fence_at > now) {
      fence_at_ = std::min({fence_at_, attempt->fence_at, attempt->deadline_at});
      continue;
    }
    settings_.log(LogLevel::warning, fmt::format("{}.{} (task {}): no word from the server for most of its lease, so "
                                                 "its handler is asked to stop",
                                                 attempt->info.workflow, attempt->info.task, attempt->info.task_id));
    stopper_.ask(attempt, StopReason::lease_lost);
  }
}

}  // namespace insula::detail
