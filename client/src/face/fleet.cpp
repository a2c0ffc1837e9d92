// Fleet: an Engine whose tenant is nobody in particular.
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
                     .observer = std::move(config.observer)};
  detail::Settings settings = detail::make_settings(connection_string, {}, std::move(usual));
  settings.max_concurrent_per_tenant = config.max_concurrent_per_tenant;
  settings.max_tenants = config.max_tenants;
  return settings;
}

}  // namespace

Fleet::Fleet(std::string_view connection_string, FleetConfig config)
    : handle_(std::make_shared<detail::RunnerHandle>(settings_of(connection_string, std::move(config)))) {}

void Fleet::add(const Workflow& workflow) {
  if (!wire::read_boolean(handle_->engine->call(wire::serves_all(), true)))
    throw error{errc::permission, "to work for all tenants takes the rights of insula_runner"};
  handle_->engine->add_handlers(*workflow.state_);
}

Fleet::Tenant Fleet::tenant(std::string_view id) const { return Tenant{handle_, id}; }

ShutdownReport Fleet::shutdown(ShutdownOptions options) { return handle_->shutdown(options); }

ShutdownReport Fleet::run_until_signal(ShutdownOptions options) { return handle_->run_until_signal(options); }

std::string Fleet::metrics() const { return handle_->engine->metrics(); }

const std::string& Fleet::worker() const noexcept { return handle_->engine->settings().worker; }

int Fleet::Tenant::register_workflow(const Workflow& workflow) const {
  const auto rows = handle_->engine->call(wire::register_workflow(workflow.definition_json(), id_), true);
  return static_cast<int>(wire::read_number(rows));
}

Result Fleet::Tenant::execute(std::string_view workflow, Context context, SubmitOptions options) const {
  handle_->refuse_in_handler("execute()");
  return execute_async(workflow, std::move(context), std::move(options)).wait();
}

Execution Fleet::Tenant::execute_async(std::string_view workflow, Context context, SubmitOptions options) const {
  return Execution{handle_, handle_->submit(workflow, context, options, id_), std::make_shared<detail::WaitState>()};
}

Execution Fleet::Tenant::execution(std::int64_t id) const {
  return Execution{handle_, id, std::make_shared<detail::WaitState>()};
}

}  // namespace insula
