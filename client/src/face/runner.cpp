// Runner: a thin handle over an Engine.
#include "core/names.hpp"
#include "face/handle.hpp"
#include "wire/calls.hpp"

#include <insula/runner.hpp>

#include <fmt/format.h>

#include <memory>
#include <string_view>
#include <utility>

namespace insula {

namespace {

std::shared_ptr<detail::RunnerHandle> make_handle(std::string_view conninfo, std::string_view tenant,
                                                  RunnerConfig config) {
  return std::make_shared<detail::RunnerHandle>(detail::make_settings(conninfo, tenant, std::move(config)));
}

// The server has said which schema the tenant has, to an administrator alone: any other user may not even ask.
[[noreturn]] void refuse_other_schema(const error& refusal, std::string_view tenant) {
  const std::string_view said = refusal.what();
  throw error{refusal.code(),
              fmt::format("{}\nHint: with_schema() is for a tenant whose schema has its id for a name. For another one "
                          "connect as the tenant's own login, or, as an administrator, with options=-cinsula.tenant={} "
                          "in the connection string.",
                          said.substr(0, said.find("\nHint: ")), tenant),
              refusal.sqlstate(), refusal.retryable(), refusal.outcome_unknown()};
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
  try {
    runner.handle_->engine->call(wire::ensure_tenant(schema));
  } catch (const error& refusal) {
    const bool has_other_schema = std::string_view{refusal.what()}.find("\nIts schema is \"") != std::string_view::npos;
    if (refusal.sqlstate() == "42710" && has_other_schema) refuse_other_schema(refusal, schema);
    throw;
  }
  return runner;
}

int Runner::add(const Workflow& workflow, const AddOptions& options) {
  detail::Engine& engine = *handle_->engine;
  detail::require_tasks(*workflow.state_, options.only);
  engine.start_handlers();
  const wire::Rows rows = engine.call(wire::register_workflow(workflow.definition_json(), engine.settings().tenant));
  engine.add_handlers(*workflow.state_, options.only);
  return static_cast<int>(wire::read_number(rows));
}

Result Runner::execute(std::string_view workflow, const Context& context, SubmitOptions options) const {
  handle_->refuse_in_handler("execute()");
  // Watched from the moment the server answers, without another way through the inbox.
  const auto state = std::make_shared<detail::WaitState>(handle_->tenant());
  return Execution{handle_, handle_->submit(workflow, context, options, handle_->tenant(), state), state}.wait();
}

Execution Runner::execute_async(std::string_view workflow, const Context& context, SubmitOptions options) const {
  return execution(handle_->submit(workflow, context, options, handle_->tenant()));
}

std::vector<Execution> Runner::submit_many(std::string_view workflow, std::span<const Context> contexts,
                                           const SubmitManyOptions& options) const {
  std::vector<Execution> executions;
  executions.reserve(contexts.size());
  for (const std::int64_t id : handle_->submit_many(workflow, contexts, options, handle_->tenant()))
    executions.push_back(execution(id));
  return executions;
}

Execution Runner::execution(std::int64_t id) const {
  return Execution{handle_, id, std::make_shared<detail::WaitState>(handle_->tenant())};
}

Executions Runner::executions() const { return Executions{handle_, handle_->tenant()}; }

bool Runner::pause_workflow(std::string_view workflow) const {
  return handle_->ask(wire::pause_workflow(workflow, handle_->tenant()));
}

bool Runner::resume_workflow(std::string_view workflow) const {
  return handle_->ask(wire::resume_workflow(workflow, handle_->tenant()));
}

std::int64_t Runner::schedule(std::string_view name, std::string_view workflow, std::string_view cron,
                              const ScheduleOptions& options) const {
  return handle_->ask_number(
      wire::schedule(name, workflow, cron, handle_->prepared(options, handle_->tenant()), handle_->tenant()));
}

bool Runner::unschedule(std::string_view name) const { return handle_->ask(wire::unschedule(name, handle_->tenant())); }

bool Runner::pause_schedule(std::string_view name) const {
  return handle_->ask(wire::pause_schedule(name, handle_->tenant()));
}

bool Runner::resume_schedule(std::string_view name) const {
  return handle_->ask(wire::resume_schedule(name, handle_->tenant()));
}

std::vector<ScheduleInfo> Runner::schedules() const {
  return wire::read_schedules(handle_->engine->call(wire::schedules(handle_->tenant())));
}

std::vector<std::chrono::system_clock::time_point> Runner::next_fires(std::string_view cron, std::string_view timezone,
                                                                      int n) const {
  return wire::read_times(handle_->engine->call(wire::next_fires(cron, timezone, n)));
}

ShutdownReport Runner::shutdown(ShutdownOptions options) { return handle_->shutdown(options); }

ShutdownReport Runner::run_until_signal(ShutdownOptions options) { return handle_->run_until_signal(options); }

std::string Runner::metrics() const { return handle_->engine->metrics(); }

const std::string& Runner::worker() const noexcept { return handle_->engine->settings().worker; }

}  // namespace insula
