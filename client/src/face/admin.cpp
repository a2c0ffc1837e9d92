// DatabaseAdmin: the tenant calls, over one blocking connection behind a mutex.
#include "core/names.hpp"
#include "wire/admin_calls.hpp"
#include "wire/secrets.hpp"
#include "wire/session.hpp"

#include <insula/admin.hpp>

#include <mutex>
#include <utility>

namespace insula {

bool is_valid_tenant_id(std::string_view id) noexcept { return core::is_valid_tenant_id(id); }

struct DatabaseAdmin::Impl {
  explicit Impl(std::string_view connection_string)
      : session(wire::ConnInfo{connection_string}, "insula admin", std::chrono::seconds{10}) {}

  wire::Rows call(const wire::Statement& statement) {
    const std::lock_guard lock{mutex};
    return session.call(statement);
  }

  // Both with the lock held.  `username` is only salt for hashes we do not use.
  std::string verifier(const std::string& username, const std::string& password) {
    return wire::scram_verifier(session.connection(), username, password);
  }
  TenantCredentials credentials(const wire::Rows& rows, const std::string& password) {
    TenantCredentials c = wire::read_credentials(rows);
    c.password = password;
    c.connection_string = wire::connection_string_for(session.connection(), c.username, password);
    return c;
  }

  std::mutex mutex;
  wire::Session session;
};

DatabaseAdmin::DatabaseAdmin(std::string_view connection_string) : impl_(std::make_unique<Impl>(connection_string)) {}
DatabaseAdmin::DatabaseAdmin(DatabaseAdmin&&) noexcept = default;
DatabaseAdmin& DatabaseAdmin::operator=(DatabaseAdmin&&) noexcept = default;
DatabaseAdmin::~DatabaseAdmin() = default;

TenantCredentials DatabaseAdmin::create_tenant(const TenantConfig& config) {
  if (config.tenant.empty() && config.schema_name.empty())
    throw error{errc::invalid, "TenantConfig: neither tenant nor schema_name is given"};
  const std::string password = config.password.empty() ? wire::random_password() : config.password;
  const std::lock_guard lock{impl_->mutex};
  const std::string verifier = impl_->verifier(config.username, password);
  return impl_->credentials(impl_->session.call(wire::create_tenant(config, verifier)), password);
}

void DatabaseAdmin::drop_tenant(std::string_view tenant, std::chrono::milliseconds drain, bool force) {
  impl_->call(wire::drop_tenant(tenant, drain, force));
}

TenantCredentials DatabaseAdmin::rotate_password(std::string_view tenant, std::string_view password) {
  const std::string chosen = password.empty() ? wire::random_password() : std::string{password};
  const std::lock_guard lock{impl_->mutex};
  const std::string verifier = impl_->verifier({}, chosen);
  return impl_->credentials(impl_->session.call(wire::rotate_password(tenant, verifier)), chosen);
}

void DatabaseAdmin::suspend_tenant(std::string_view tenant) { impl_->call(wire::suspend_tenant(tenant)); }

void DatabaseAdmin::resume_tenant(std::string_view tenant) { impl_->call(wire::resume_tenant(tenant)); }

void DatabaseAdmin::set_tenant_limits(std::string_view tenant, const TenantLimits& limits) {
  impl_->call(wire::set_tenant_limits(tenant, limits));
}

std::vector<TenantInfo> DatabaseAdmin::tenants() {
  return wire::read_tenants(impl_->call(wire::tenants(std::nullopt)));
}

std::optional<TenantInfo> DatabaseAdmin::find_tenant(std::string_view tenant) {
  const auto found = wire::read_tenants(impl_->call(wire::tenants(tenant)));
  return found.empty() ? std::nullopt : std::optional{found.front()};
}

std::vector<TenantActivity> DatabaseAdmin::activity() { return wire::read_activity(impl_->call(wire::activity())); }

std::vector<StatusItem> DatabaseAdmin::status() { return wire::read_status(impl_->call(wire::status())); }

std::vector<Finding> DatabaseAdmin::health() { return wire::read_findings(impl_->call(wire::health())); }

std::vector<Capacity> DatabaseAdmin::capacity() { return wire::read_capacity(impl_->call(wire::capacity())); }

std::vector<Finding> DatabaseAdmin::audit() { return wire::read_findings(impl_->call(wire::audit())); }

std::vector<Action> DatabaseAdmin::reconcile(bool dry_run) {
  return wire::read_actions(impl_->call(wire::reconcile(dry_run)));
}

std::vector<Action> DatabaseAdmin::harden(bool dry_run, const std::vector<std::string>& skip) {
  return wire::read_actions(impl_->call(wire::harden(dry_run, skip)));
}

std::vector<Action> DatabaseAdmin::upgrade_tenants(std::optional<int> max_tenants,
                                                   std::chrono::milliseconds lock_timeout) {
  return wire::read_actions(impl_->call(wire::upgrade_tenants(max_tenants, lock_timeout)));
}

void DatabaseAdmin::adopt() { impl_->call(wire::adopt()); }

}  // namespace insula
