// Execution: its runtime's handle, an id, and what its copies know of its end.
#include "face/handle.hpp"
#include "wire/forever.hpp"

#include <insula/execution.hpp>

namespace insula {

namespace {

// The result, once it is there; throws what ended the wait without one.
std::optional<Result> settled(std::unique_lock<std::mutex> lock, const detail::WaitState& state) {
  if (state.failure) throw *state.failure;
  const auto row = state.result;
  lock.unlock();
  return row ? std::optional{wire::read_result(*row)} : std::nullopt;
}

}  // namespace

Execution::Execution(std::shared_ptr<detail::RunnerHandle> runner, std::int64_t id,
                     std::shared_ptr<detail::WaitState> state)
    : runner_(std::move(runner)), id_(id), state_(std::move(state)) {}

Result Execution::wait() const {
  runner_->refuse_in_handler("wait()");
  runner_->engine->await(id_, state_);
  std::unique_lock lock{state_->mutex};
  state_->changed.wait(lock, [&] { return state_->result || state_->failure; });
  return *settled(std::move(lock), *state_);
}

std::optional<Result> Execution::wait_for(std::chrono::milliseconds timeout) const {
  runner_->engine->await(id_, state_);
  std::unique_lock lock{state_->mutex};
  state_->changed.wait_for(lock, wire::bounded(timeout), [&] { return state_->result || state_->failure; });
  return settled(std::move(lock), *state_);
}

Status Execution::status() const { return wire::read_status_of(runner_->engine->call(wire::status_of(id_))); }

Result Execution::result() const { return wire::read_results(runner_->engine->call(wire::result(id_))).at(0); }

std::vector<TaskExplanation> Execution::explain() const {
  return wire::read_explanations(runner_->engine->call(wire::explain(id_)));
}

bool Execution::cancel(std::string_view reason) const {
  return wire::read_boolean(runner_->engine->call(wire::cancel(id_, reason), {.stops = true}));
}

bool Execution::pause(std::string_view reason) const {
  return wire::read_boolean(runner_->engine->call(wire::pause(id_, reason), {.stops = true}));
}

bool Execution::resume(std::string_view reason) const {
  return wire::read_boolean(runner_->engine->call(wire::resume(id_, reason)));
}

bool Execution::retry(std::string_view reason) const {
  // Those that have waited for its first end will wait for the next.
  return wire::read_boolean(runner_->engine->call(wire::retry(id_, reason), {.reopens = id_}));
}

bool Execution::send_event(std::string_view event, const Value& payload) const {
  // Twice would be two events.
  return wire::read_boolean(runner_->engine->call(wire::send_event(id_, event, payload), {.repeatable = false}));
}

std::vector<Result> wait_all(std::span<const Execution> executions) {
  // All are watched before the first is waited for.
  for (const Execution& execution : executions) execution.wait_for(std::chrono::milliseconds{0});
  std::vector<Result> results;
  results.reserve(executions.size());
  for (const Execution& execution : executions) results.push_back(execution.wait());
  return results;
}

}  // namespace insula
