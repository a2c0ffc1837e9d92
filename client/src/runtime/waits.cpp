// The register of waits.
#include "runtime/waits.hpp"

#include <algorithm>

namespace insula::detail {

namespace {

constexpr std::size_t batch_limit = 1'000;

}  // namespace

void WaitState::settle(const Result& ended) {
  {
    const std::lock_guard lock{mutex};
    if (!failure && !result) result = ended;
  }
  changed.notify_all();
}

void WaitState::settle(const error& why) {
  {
    const std::lock_guard lock{mutex};
    if (!failure && !result) failure = why;
  }
  changed.notify_all();
}

void WaitState::reopen() {
  const std::lock_guard lock{mutex};
  if (!result) return;  // still waited for
  result.reset();
  registered = false;
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
  while (!to_ask_.empty() && batch.size() < batch_limit) {
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
}

void Waits::on_answer(const std::vector<Result>& results) {
  for (const Result& result : results) {
    if (result.status.is_final())
      settle(result.execution_id, result);
    else
      suspect(result.execution_id);  // ended while the question was under way
  }
}

void Waits::on_lost(const wire::Ids& asked) {
  for (const std::int64_t execution : asked) suspect(execution);
}

void Waits::on_refused(const wire::Ids& asked, const error& why) {
  if (why.retryable()) return on_lost(asked);
  if (asked.size() == 1) return settle(asked.front(), why);
  to_ask_alone_.insert(to_ask_alone_.end(), asked.begin(), asked.end());
}

void Waits::fail_all(const error& why) {
  while (!waiting_.empty()) settle(waiting_.begin()->first, why);
}

}  // namespace insula::detail
