// The register of waits.
#include "runtime/waits.hpp"

#include <algorithm>
#include <utility>

namespace insula::detail {

namespace {

// A batch of results is as large as fits a few megabytes, by the size of the last ones.
constexpr std::size_t most_in_batch = 1'000;
constexpr std::size_t little = 1U << 20U;
constexpr std::size_t much = 4U << 20U;

}  // namespace

void WaitState::settle(const std::shared_ptr<const wire::ResultRow>& ended) {
  {
    const std::lock_guard lock{mutex};
    if (!failure && !result) result = ended;
  }
  changed.notify_all();
  if (on_end) std::exchange(on_end, {})(ended.get());
}

void WaitState::settle(const error& why) {
  {
    const std::lock_guard lock{mutex};
    if (!failure && !result) failure = why;
  }
  changed.notify_all();
  if (on_end) std::exchange(on_end, {})(nullptr);
}

void WaitState::reopen() {
  {
    const std::lock_guard lock{mutex};
    if (!result) return;  // still waited for
    result.reset();
    registered = false;
  }
  changed.notify_all();
}

void Waits::add(std::int64_t execution, const std::shared_ptr<WaitState>& state) {
  waiting_[execution].push_back(state);
  to_ask_.insert(execution);  // the first question also begins the server's watch
}

void Waits::suspect(std::int64_t execution) {
  if (waiting_.contains(execution)) to_ask_.insert(execution);
}

void Waits::suspect_all() {
  for (const auto& [execution, states] : waiting_) to_ask_.insert(execution);
}

wire::Ids Waits::take_batch() {
  wire::Ids batch;
  const auto is_awaited = [&](std::int64_t execution) {
    const auto it = waiting_.find(execution);
    if (it == waiting_.end()) return false;
    std::erase_if(it->second, [](const auto& state) { return state.expired(); });
    if (!it->second.empty()) return true;
    waiting_.erase(it);
    return false;
  };
  while (!to_ask_alone_.empty() && batch.empty()) {
    if (is_awaited(to_ask_alone_.back())) batch.push_back(to_ask_alone_.back());
    to_ask_alone_.pop_back();
  }
  if (!batch.empty()) return batch;
  while (!to_ask_.empty() && batch.size() < batch_limit_) {
    const std::int64_t execution = to_ask_.extract(to_ask_.begin()).value();
    if (is_awaited(execution)) batch.push_back(execution);
  }
  return batch;
}

template <class Answer>
void Waits::settle(std::int64_t execution, const Answer& answer) {
  const auto node = waiting_.extract(execution);
  if (node.empty()) return;
  for (const auto& weak : node.mapped())
    if (const auto state = weak.lock()) state->settle(answer);
  remember(execution, std::move(node.mapped()));
}

void Waits::remember(std::int64_t execution, std::vector<std::weak_ptr<WaitState>> settled) {
  const auto is_gone = [](const std::weak_ptr<WaitState>& state) { return state.expired(); };
  auto& states = settled_[execution];
  states.insert(states.end(), settled.begin(), settled.end());
  if (settled_.size() < sweep_at_) return;
  std::erase_if(settled_, [&](const auto& entry) { return std::ranges::all_of(entry.second, is_gone); });
  sweep_at_ = std::max<std::size_t>(1'000, settled_.size() * 2);
}

void Waits::reopen(std::int64_t execution) {
  const auto node = settled_.extract(execution);
  if (node.empty()) return;
  for (const auto& weak : node.mapped())
    if (const auto state = weak.lock()) state->reopen();
}

void Waits::on_answer(std::vector<wire::ResultRow> results) {
  std::size_t bytes = 0;
  for (wire::ResultRow& result : results) {
    bytes += result.size();
    const std::int64_t execution = result.execution_id;
    if (result.status.is_final())
      settle(execution, std::make_shared<const wire::ResultRow>(std::move(result)));
    else
      suspect(execution);  // ended while the question was under way
  }
  pauses_.reset();
  if (bytes > much)
    batch_limit_ = std::max<std::size_t>(1, results.size() * much / bytes);
  else if (bytes < little)
    batch_limit_ = std::min(most_in_batch, batch_limit_ * 2);
}

void Waits::on_lost(const wire::Ids& asked) {
  // Their results may have been more than the connection carries in time.
  if (asked.size() > 1) batch_limit_ = std::min(batch_limit_, asked.size()) / 2;
  for (const std::int64_t execution : asked) suspect(execution);
}

void Waits::on_refused(const wire::Ids& asked, const error& why) {
  if (why.retryable()) {
    not_before_ = Clock::now() + pauses_.next();
    return on_lost(asked);
  }
  if (asked.size() == 1) return settle(asked.front(), why);
  to_ask_alone_.insert(to_ask_alone_.end(), asked.begin(), asked.end());
}

void Waits::fail_all(const error& why) {
  while (!waiting_.empty()) settle(waiting_.begin()->first, why);
}

}  // namespace insula::detail
