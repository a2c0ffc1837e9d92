// Fleet: an Engine without a tenant of its own.
#include "face/handle.hpp"

#include <insula/fleet.hpp>

namespace insula {

namespace {

detail::Settings settings_of(std::string_view connection_string, FleetConfig config) {
  if (config.max_concurrent_per_tenant < 0 || config.max_tenants < 0)
    throw error{errc::invalid, "FleetConfig: max_concurrent_per_tenant and max_tenants must not be negative"};
  RunnerConfig usual{.max_concurrent_tasks = config.max_concurrent_tasks,
                     .max_connections = config.max_connections,
                     .lease = config.lease,
                     .connect_timeout = config.connect_timeout,
                     .call_timeout = config.call_timeout,
                     .log = std::move(config.log),
                     .observer = std::move(config.observer),
                     .middleware = std::move(config.middleware),
                     .label = std::move(config.label),
                     .executor = std::move(config.executor)};
  detail::Settings settings = detail::make_settings(connection_string, {}, std::move(usual));
  settings.serves_all = true;
  settings.max_concurrent_per_tenant = config.max_concurrent_per_tenant;
  settings.max_tenants = config.max_tenants;
  return settings;
}

}  // namespace

Fleet::Fleet(std::string_view connection_string, FleetConfig config)
    : handle_(std::make_shared<detail::RunnerHandle>(settings_of(connection_string, std::move(config)))) {}

void Fleet::add(const Workflow& workflow, const AddOptions& options) {
  detail::require_tasks(*workflow.state_, options.only);
  handle_->engine->start_handlers();
  if (!wire::read_boolean(handle_->engine->call(wire::serves_all())))
    throw error{errc::permission, "to work for all tenants takes the rights of insula_runner"};
  handle_->engine->add_handlers(*workflow.state_, options.only);
}

Fleet::Tenant Fleet::tenant(std::string_view id) const { return Tenant{handle_, id}; }

ShutdownReport Fleet::shutdown(ShutdownOptions options) { return handle_->shutdown(options); }

ShutdownReport Fleet::run_until_signal(ShutdownOptions options) { return handle_->run_until_signal(options); }

std::string Fleet::metrics() const { return handle_->engine->metrics(); }

const std::string& Fleet::worker() const noexcept { return handle_->engine->settings().worker; }

int Fleet::Tenant::register_workflow(const Workflow& workflow) const {
  return static_cast<int>(handle_->ask_number(wire::register_workflow(workflow.definition_json(), id_), id_));
}

Result Fleet::Tenant::execute(std::string_view workflow, const Context& context, SubmitOptions options) const {
  handle_->refuse_in_handler("execute()");
  return execute_async(workflow, context, std::move(options)).wait();
}

Execution Fleet::Tenant::execute_async(std::string_view workflow, const Context& context, SubmitOptions options) const {
  return execution(handle_->submit(workflow, context, options, id_));
}

std::vector<Execution> Fleet::Tenant::submit_many(std::string_view workflow, std::span<const Context> contexts,
                                                  const SubmitManyOptions& options) const {
  std::vector<Execution> executions;
  executions.reserve(contexts.size());
  for (const std::int64_t id : handle_->submit_many(workflow, contexts, options, id_))
    executions.push_back(execution(id));
  return executions;
}

Execution Fleet::Tenant::execution(std::int64_t id) const {
  return Execution{handle_, id, std::make_shared<detail::WaitState>(id_)};
}

Executions Fleet::Tenant::executions() const { return Executions{handle_, id_}; }

bool Fleet::Tenant::pause_workflow(std::string_view workflow) const {
  return handle_->ask(wire::pause_workflow(workflow, id_), id_);
}

bool Fleet::Tenant::resume_workflow(std::string_view workflow) const {
  return handle_->ask(wire::resume_workflow(workflow, id_), id_);
}

std::int64_t Fleet::Tenant::schedule(std::string_view name, std::string_view workflow, std::string_view cron,
                                     const ScheduleOptions& options) const {
  return handle_->ask_number(wire::schedule(name, workflow, cron, handle_->prepared(options, id_), id_), id_);
}

bool Fleet::Tenant::unschedule(std::string_view name) const { return handle_->ask(wire::unschedule(name, id_), id_); }

bool Fleet::Tenant::pause_schedule(std::string_view name) const {
  return handle_->ask(wire::pause_schedule(name, id_), id_);
}

bool Fleet::Tenant::resume_schedule(std::string_view name) const {
  return handle_->ask(wire::resume_schedule(name, id_), id_);
}

std::vector<ScheduleInfo> Fleet::Tenant::schedules() const {
  return wire::read_schedules(handle_->engine->call(wire::schedules(id_)));
}

std::vector<std::chrono::system_clock::time_point> Fleet::Tenant::next_fires(std::string_view cron,
                                                                             std::string_view timezone, int n) const {
  return wire::read_times(handle_->engine->call(wire::next_fires(cron, timezone, n)));
}

}  // namespace insula
