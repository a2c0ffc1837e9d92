// Making, changing and dropping tenants: joins roles, passwords and schemas.
#pragma once

#include "provision/provision.hpp"

namespace insula {

struct NewTenant {
  const char *tenant;
  const char *schema;
  const char *username;  // nullptr: none
  const char *password;  // nullptr or empty: generate; clear text; or a SCRAM verifier
  bool login;
};

struct Credentials {
  const char *tenant;
  const char *schema;
  const char *username;           // nullptr: none
  const char *password;           // nullptr: none, or only the verifier is known
  const char *connection_string;  // nullptr: none
};

// An interval as the log has it, whatever the session's IntervalStyle is.
const char *period_text(Datum interval);
// Inserts a row into insula.admin_log, in a session; returns its number.
std::int64_t log_act(const char *act, const char *tenant, const char *detail);
// The same for executions that were emptied; those of one act in one transaction share a row.
std::int64_t log_emptied(const char *act, const char *tenant, std::int64_t executions, std::int64_t rows,
                         std::int64_t open);

Credentials create_tenant(const NewTenant &request);
Credentials existing_tenant(const Tenant &tenant);
// `force`: objects of others that depend on the schema are dropped, too.
void drop_tenant(std::int32_t number, std::int64_t drain, bool force);
void set_suspended(const Tenant &tenant, bool suspended);

// NULL keeps a limit, a negative value lifts it.
struct NewLimits {
  Datum values[7];  // max_running, max_queued, max_connections, weight, rate_per_second, retain, retain_count
  bool nulls[7];
};
void set_tenant_limits(const Tenant &tenant, const NewLimits &limits);

// One rule; nullptr: any workflow, any status.
struct NewRetention {
  const char *workflow;
  const char *status;
  bool forget;  // the rule goes
  bool forever;
  Datum retain;
};
void set_retention(const Tenant &tenant, const NewRetention &rule);

Credentials rotate_password(const Tenant &tenant, const char *password);

}  // namespace insula
