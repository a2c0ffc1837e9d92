// Every call of DatabaseAdmin to the extension: what is sent, and how the answer reads.
#pragma once

#include "wire/pq.hpp"

#include <insula/admin.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace insula::wire {

Statement create_tenant(const TenantConfig& config, const std::string& verifier);
Statement drop_tenant(std::string_view tenant, std::chrono::milliseconds drain, bool force);
Statement suspend_tenant(std::string_view tenant);
Statement resume_tenant(std::string_view tenant);
Statement set_tenant_limits(std::string_view tenant, const TenantLimits& limits);
Statement rotate_password(std::string_view tenant, const std::string& verifier);
TenantCredentials read_credentials(const Rows& rows);  // without password and connection string
Statement tenants(std::optional<std::string_view> only);
std::vector<TenantInfo> read_tenants(const Rows& rows);
Statement activity();
std::vector<TenantActivity> read_activity(const Rows& rows);

Statement status();
std::vector<StatusItem> read_status(const Rows& rows);
Statement health();
Statement audit();
std::vector<Finding> read_findings(const Rows& rows);
Statement capacity();
std::vector<Capacity> read_capacity(const Rows& rows);
Statement reconcile(bool dry_run);
Statement harden(bool dry_run, const std::vector<std::string>& skip);
Statement upgrade_tenants(std::optional<int> max_tenants, std::chrono::milliseconds lock_timeout);
std::vector<Action> read_actions(const Rows& rows);
Statement adopt();

}  // namespace insula::wire
