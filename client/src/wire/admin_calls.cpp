// The statements of DatabaseAdmin.
#include "wire/admin_calls.hpp"

#include "wire/params.hpp"

#include <fmt/format.h>

#include <charconv>

namespace insula::wire {

namespace {

using std::chrono::milliseconds;

const char* boolean(bool value) { return value ? "true" : "false"; }

template <class T>
Param number_or_null(const std::optional<T>& value) {
  return value ? Param{fmt::format("{}", *value)} : Param{};
}

template <class T = std::int64_t>
std::optional<T> read_number(const Rows& rows, int row, int column) {
  if (rows.is_null(row, column)) return std::nullopt;
  const std::string_view text = rows.text(row, column);
  T value{};
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

Statement create_tenant(const TenantConfig& config, const std::string& verifier) {
  const std::string& tenant = config.tenant.empty() ? config.schema_name : config.tenant;
  return {"SELECT tenant, schema_name, username FROM insula.create_tenant($1, $2, $3, $4)",
          {tenant, text_or_null(config.schema_name), text_or_null(config.username), verifier}};
}

Statement drop_tenant(std::string_view tenant, milliseconds drain, bool force) {
  return {"SELECT insula.drop_tenant($1, $2::interval, $3)", {std::string{tenant}, interval(drain), boolean(force)}};
}

Statement suspend_tenant(std::string_view tenant) {
  return {"SELECT insula.suspend_tenant($1)", {std::string{tenant}}};
}

Statement resume_tenant(std::string_view tenant) { return {"SELECT insula.resume_tenant($1)", {std::string{tenant}}}; }

Statement set_tenant_limits(std::string_view tenant, const TenantLimits& limits) {
  Param retain;
  if (limits.retain) retain = limits.retain->count() < 0 ? "-1" : interval(*limits.retain);
  return {"SELECT insula.set_tenant_limits($1, $2, $3, $4, $5, $6, $7::interval, $8)",
          {std::string{tenant}, number_or_null(limits.max_running), number_or_null(limits.max_queued),
           number_or_null(limits.max_connections), number_or_null(limits.weight),
           number_or_null(limits.rate_per_second), retain, number_or_null(limits.retain_count)}};
}

Statement rotate_password(std::string_view tenant, const std::string& verifier) {
  return {"SELECT tenant, schema_name, username FROM insula.rotate_password($1, $2)", {std::string{tenant}, verifier}};
}

TenantCredentials read_credentials(const Rows& rows) {
  return {rows.string(0, 0), rows.string(0, 1), rows.string(0, 2), {}, {}};
}

Statement tenants(std::optional<std::string_view> only) {
  return {
      "SELECT tenant, schema_name, username, status OPERATOR(pg_catalog.=) 'suspended', max_running, max_queued, "
      "max_connections, weight, "
      // The digits of a double would follow extra_float_digits.
      "rate_per_second::pg_catalog.numeric, (pg_catalog.date_part('epoch', retain) OPERATOR(pg_catalog.*) "
      "1000)::bigint, retain_count "
      "FROM insula.tenants WHERE tenant OPERATOR(pg_catalog.=) $1 OR $1 IS NULL ORDER BY tenant COLLATE \"C\"",
      {only ? Param{std::string{*only}} : Param{}}};
}

std::vector<TenantInfo> read_tenants(const Rows& rows) {
  std::vector<TenantInfo> tenants;
  tenants.reserve(static_cast<std::size_t>(rows.size()));
  for (int row = 0; row < rows.size(); ++row) {
    TenantInfo& info = tenants.emplace_back(TenantInfo{rows.string(row, 0), rows.string(row, 1), rows.string(row, 2)});
    info.suspended = rows.boolean(row, 3);
    info.limits.max_running = read_number<int>(rows, row, 4);
    info.limits.max_queued = read_number(rows, row, 5);
    info.limits.max_connections = read_number<int>(rows, row, 6);
    info.limits.weight = read_number<int>(rows, row, 7);
    info.limits.rate_per_second = read_number<double>(rows, row, 8);
    if (const auto retain = read_number(rows, row, 9)) info.limits.retain = milliseconds{*retain};
    info.limits.retain_count = read_number(rows, row, 10);
  }
  return tenants;
}

Statement activity() {
  return {
      "SELECT tenant, ready, delayed, running, waiting, sessions "
      "FROM insula.tenant_activity ORDER BY tenant COLLATE \"C\""};
}

std::vector<TenantActivity> read_activity(const Rows& rows) {
  std::vector<TenantActivity> tenants;
  tenants.reserve(static_cast<std::size_t>(rows.size()));
  for (int row = 0; row < rows.size(); ++row)
    tenants.push_back({rows.string(row, 0), rows.integer(row, 1), rows.integer(row, 2), rows.integer(row, 3),
                       rows.integer(row, 4), rows.integer(row, 5)});
  return tenants;
}

Statement status() { return {"SELECT item, value FROM insula.status()"}; }

std::vector<StatusItem> read_status(const Rows& rows) {
  std::vector<StatusItem> items;
  items.reserve(static_cast<std::size_t>(rows.size()));
  for (int row = 0; row < rows.size(); ++row) items.push_back({rows.string(row, 0), rows.string(row, 1)});
  return items;
}

Statement health() { return {"SELECT level, tenant, object, finding FROM insula.health()"}; }
Statement audit() { return {"SELECT level, tenant, object, finding FROM insula.audit()"}; }

std::vector<Finding> read_findings(const Rows& rows) {
  std::vector<Finding> findings;
  findings.reserve(static_cast<std::size_t>(rows.size()));
  for (int row = 0; row < rows.size(); ++row)
    findings.push_back({rows.string(row, 0), rows.string(row, 1), rows.string(row, 2), rows.string(row, 3)});
  return findings;
}

Statement capacity() { return {"SELECT item, used, available, advice FROM insula.capacity()"}; }

std::vector<Capacity> read_capacity(const Rows& rows) {
  std::vector<Capacity> items;
  items.reserve(static_cast<std::size_t>(rows.size()));
  for (int row = 0; row < rows.size(); ++row)
    items.push_back({rows.string(row, 0), read_number(rows, row, 1), read_number(rows, row, 2), rows.string(row, 3)});
  return items;
}

Statement reconcile(bool dry_run) {
  return {"SELECT tenant, object, action, error FROM insula.reconcile($1)", {boolean(dry_run)}};
}

Statement harden(bool dry_run, const std::vector<std::string>& skip) {
  return {"SELECT NULL, object, action, NULL FROM insula.harden($1, $2::pg_catalog.text[])",
          {boolean(dry_run), array_of(skip)}};
}

Statement upgrade_tenants(std::optional<int> max_tenants, milliseconds lock_timeout) {
  return {
      "SELECT tenant, 'layout', pg_catalog.format('from %s to %s', from_version, to_version), error "
      "FROM insula.upgrade_tenants($1, $2::interval)",
      {number_or_null(max_tenants), interval(lock_timeout)}};
}

std::vector<Action> read_actions(const Rows& rows) {
  std::vector<Action> actions;
  actions.reserve(static_cast<std::size_t>(rows.size()));
  for (int row = 0; row < rows.size(); ++row)
    actions.push_back({rows.string(row, 0), rows.string(row, 1), rows.string(row, 2), rows.string(row, 3)});
  return actions;
}

Statement adopt() { return {"SELECT insula.adopt()"}; }

}  // namespace insula::wire
