// Runner and Execution: thin handles over an Engine.
//
// A RunnerHandle is what the handles share; the runtime's threads never hold one, so the
// last handle's end is the runtime's.
#include "core/names.hpp"
#include "runtime/engine.hpp"
#include "wire/calls.hpp"

#include <insula/runner.hpp>

#include <fmt/format.h>

#include <memory>
#include <thread>
#include <utility>

namespace insula {

namespace detail {

struct RunnerHandle {
  explicit RunnerHandle(Settings settings) : engine(std::make_unique<Engine>(std::move(settings))) {}
  RunnerHandle(const RunnerHandle&) = delete;
  RunnerHandle& operator=(const RunnerHandle&) = delete;

  ~RunnerHandle() {
    const auto end = [](Engine& ending) { ending.shutdown(std::chrono::seconds{30}, std::chrono::seconds{10}); };
    if (!engine->is_own_thread())
      end(*engine);
    else  // the last handle went in a handler, which cannot wait for itself
      std::thread{[end, ending = std::move(engine)] { end(*ending); }}.detach();
  }

  void refuse_in_handler(std::string_view what) const {
    if (engine->is_own_thread())
      throw error{errc::would_deadlock, fmt::format("{} in a handler of the same runner would wait for itself", what)};
  }

  std::unique_ptr<Engine> engine;
};

}  // namespace detail

namespace {

std::shared_ptr<detail::RunnerHandle> make_handle(std::string_view conninfo, std::string_view tenant,
                                                  RunnerConfig config) {
  detail::check_config(config);
  return std::make_shared<detail::RunnerHandle>(
      detail::Settings{wire::ConnInfo{conninfo}, std::move(config), std::string{tenant}, detail::make_worker_name()});
}

std::int64_t submit(detail::Engine& engine, std::string_view workflow, const Context& context,
                    const SubmitOptions& options, std::shared_ptr<detail::WaitState> wait) {
  return wire::read_number(engine.call(wire::submit(workflow, context, options, engine.settings().tenant),
                                       !options.idempotency_key.empty(), std::move(wait)));
}

// The result, once it is there; throws what ended the wait without one.
std::optional<Result> settled(const detail::WaitState& state) {
  if (state.failure) throw *state.failure;
  return state.result;
}

}  // namespace

Runner::Runner(std::string_view connection_string, RunnerConfig config)
    : handle_(make_handle(connection_string, {}, std::move(config))) {}

Runner Runner::with_config(std::string_view connection_string, RunnerConfig config) {
  return Runner{connection_string, std::move(config)};
}

Runner Runner::with_schema(std::string_view connection_string, std::string_view schema, RunnerConfig config) {
  if (!core::is_valid_tenant_id(schema))
    throw error{errc::invalid,
                fmt::format("\"{}\" is no tenant id: 3 to 30 characters of [a-z0-9_], the first a letter, "
                            "and no word with a meaning of its own",
                            schema)};
  Runner runner{make_handle(connection_string, schema, std::move(config))};
  runner.handle_->engine->call(wire::ensure_tenant(schema), true);
  return runner;
}

int Runner::add(const Workflow& workflow) {
  detail::Engine& engine = *handle_->engine;
  const wire::Rows rows =
      engine.call(wire::register_workflow(workflow.definition_json(), engine.settings().tenant), true);
  engine.add_handlers(*workflow.state_);
  return static_cast<int>(wire::read_number(rows));
}

Result Runner::execute(std::string_view workflow, Context context, SubmitOptions options) const {
  handle_->refuse_in_handler("execute()");
  // Watched from the moment the server answers, without another way through the inbox.
  const auto state = std::make_shared<detail::WaitState>();
  return Execution{handle_, submit(*handle_->engine, workflow, context, options, state), state}.wait();
}

Execution Runner::execute_async(std::string_view workflow, Context context, SubmitOptions options) const {
  return Execution{handle_, submit(*handle_->engine, workflow, context, options, nullptr),
                   std::make_shared<detail::WaitState>()};
}

Execution Runner::execution(std::int64_t id) const {
  return Execution{handle_, id, std::make_shared<detail::WaitState>()};
}

bool Runner::pause_workflow(std::string_view workflow) const {
  detail::Engine& engine = *handle_->engine;
  return wire::read_boolean(engine.call(wire::pause_workflow(workflow, engine.settings().tenant), true));
}

bool Runner::resume_workflow(std::string_view workflow) const {
  detail::Engine& engine = *handle_->engine;
  return wire::read_boolean(engine.call(wire::resume_workflow(workflow, engine.settings().tenant), true));
}

ShutdownReport Runner::shutdown(std::chrono::milliseconds drain, std::chrono::milliseconds cancel) {
  handle_->refuse_in_handler("shutdown()");
  return handle_->engine->shutdown(drain, cancel);
}

const std::string& Runner::worker() const noexcept { return handle_->engine->settings().worker; }

Execution::Execution(std::shared_ptr<detail::RunnerHandle> runner, std::int64_t id,
                     std::shared_ptr<detail::WaitState> state)
    : runner_(std::move(runner)), id_(id), state_(std::move(state)) {}

Result Execution::wait() const {
  runner_->refuse_in_handler("wait()");
  runner_->engine->await(id_, state_);
  std::unique_lock lock{state_->mutex};
  state_->changed.wait(lock, [&] { return state_->result || state_->failure; });
  return *settled(*state_);
}

std::optional<Result> Execution::wait_for(std::chrono::milliseconds timeout) const {
  runner_->engine->await(id_, state_);
  std::unique_lock lock{state_->mutex};
  state_->changed.wait_for(lock, timeout, [&] { return state_->result || state_->failure; });
  return settled(*state_);
}

Status Execution::status() const { return result().status; }

Result Execution::result() const { return wire::read_results(runner_->engine->call(wire::result(id_), true)).at(0); }

std::vector<TaskExplanation> Execution::explain() const {
  return wire::read_explanations(runner_->engine->call(wire::explain(id_), true));
}

bool Execution::cancel(std::string_view reason) const {
  return wire::read_boolean(runner_->engine->call(wire::cancel(id_, reason), true));
}

bool Execution::pause(std::string_view reason) const {
  return wire::read_boolean(runner_->engine->call(wire::pause(id_, reason), true));
}

bool Execution::resume(std::string_view reason) const {
  return wire::read_boolean(runner_->engine->call(wire::resume(id_, reason), true));
}

bool Execution::retry(std::string_view reason) const {
  const bool opened = wire::read_boolean(runner_->engine->call(wire::retry(id_, reason), true));
  if (opened) state_->reopen();
  return opened;
}

bool Execution::send_event(std::string_view event, const Value& payload) const {
  // Twice would be two events.
  return wire::read_boolean(runner_->engine->call(wire::send_event(id_, event, payload), false));
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
