// Execution: its runtime's handle, an id, and what its copies know of its end.
#include "core/ids.hpp"
#include "face/handle.hpp"
#include "wire/forever.hpp"

#include <insula/execution.hpp>

namespace insula {

namespace {

std::string tenant_of(std::int64_t id) { return std::to_string(core::tenant_of(id)); }

// The result; nullopt: it has not ended by then.  Throws what ended the wait without one.
std::optional<Result> wait_until(detail::Engine& engine, std::int64_t id,
                                 const std::shared_ptr<detail::WaitState>& state, detail::Clock::time_point deadline) {
  for (;;) {
    engine.await(id, state);
    std::unique_lock lock{state->mutex};
    // It may have been opened again in between.
    state->changed.wait_until(lock, deadline, [&] { return state->result || state->failure || !state->registered; });
    if (state->failure) throw *state->failure;
    if (const auto row = state->result) {
      lock.unlock();
      return wire::read_result(*row);
    }
    if (state->registered) return std::nullopt;
  }
}

}  // namespace

Execution::Execution(std::shared_ptr<detail::RunnerHandle> runner, std::int64_t id,
                     std::shared_ptr<detail::WaitState> state)
    : runner_(std::move(runner)), id_(id), state_(std::move(state)) {}

Result Execution::wait() const {
  runner_->refuse_in_handler("wait()");
  return runner_->shown(*wait_until(*runner_->engine, id_, state_, detail::Clock::time_point::max()), state_->tenant);
}

std::optional<Result> Execution::wait_for(std::chrono::milliseconds timeout) const {
  auto result = wait_until(*runner_->engine, id_, state_, detail::Clock::now() + wire::bounded(timeout));
  return result ? std::optional{runner_->shown(*std::move(result), state_->tenant)} : std::nullopt;
}

Status Execution::status() const { return wire::read_status_of(runner_->engine->call(wire::status_of(id_))); }

Result Execution::result() const {
  return runner_->shown(wire::read_results(runner_->engine->call(wire::result(id_))).at(0), state_->tenant);
}

std::vector<TaskExplanation> Execution::explain() const {
  return wire::read_explanations(runner_->engine->call(wire::explain(id_)));
}

bool Execution::cancel(std::string_view reason) const {
  return wire::read_boolean(
      runner_->engine->call(wire::cancel(id_, reason), {.stops = true, .tenant = tenant_of(id_)}));
}

bool Execution::pause(std::string_view reason) const {
  return wire::read_boolean(runner_->engine->call(wire::pause(id_, reason), {.stops = true, .tenant = tenant_of(id_)}));
}

bool Execution::resume(std::string_view reason) const {
  return wire::read_boolean(runner_->engine->call(wire::resume(id_, reason), {.tenant = tenant_of(id_)}));
}

bool Execution::retry(std::string_view reason) const {
  // Those that have waited for its first end will wait for the next.
  return wire::read_boolean(
      runner_->engine->call(wire::retry(id_, reason), {.reopens = id_, .tenant = tenant_of(id_)}));
}

bool Execution::send_event(std::string_view event, const Value& payload, const EventOptions& options) const {
  const std::string& key = options.idempotency_key;
  // Without a key twice would be two events.
  return wire::read_boolean(runner_->engine->call(wire::send_event(id_, event, payload, key),
                                                  {.repeatable = !key.empty(), .tenant = tenant_of(id_)}));
}

std::vector<Result> wait_all(std::span<const Execution> executions) {
  // All are watched before the first is waited for.
  for (const Execution& execution : executions) (void)execution.wait_for(std::chrono::milliseconds{0});
  std::vector<Result> results;
  results.reserve(executions.size());
  for (const Execution& execution : executions) results.push_back(execution.wait());
  return results;
}

}  // namespace insula
