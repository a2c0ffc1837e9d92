// SPDX-License-Identifier: PostgreSQL
// DatabaseAdmin: makes, limits, suspends and drops tenants, and looks after them, for a user
// with the rights of insula_admin.
//
//   insula::DatabaseAdmin admin{admin_url};
//   auto c = admin.create_tenant({.schema_name = "tenant_acme", .username = "acme_user"});
//   admin.set_tenant_limits(c.tenant, {.max_running = 20, .weight = 2});
//   insula::Runner runner{c.connection_string};
//
// Passwords: an empty one is replaced by 32 random characters.  Either way it is turned
// into a SCRAM verifier here, and only the verifier is sent: the clear text reaches
// neither the server nor its logs.
#pragma once

#include <insula/error.hpp>
#include <insula/export.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace insula {

// 3 to 30 characters of [a-z0-9_], the first a letter, and no word that means something
// else in a database (public, postgres, pg_*, insula* and the like).
[[nodiscard]] INSULA_EXPORT bool is_valid_tenant_id(std::string_view id) noexcept;

struct TenantConfig {
  std::string tenant = {};       // the id; empty: the schema's name, verbatim
  std::string schema_name = {};  // empty: tenant_<tenant>
  std::string username = {};     // the login role; empty: <tenant>_user
  std::string password = {};     // empty: a random one
};

struct TenantCredentials {
  std::string tenant;
  std::string schema_name;
  std::string username;
  std::string password;           // in clear: shown here once, kept nowhere
  std::string connection_string;  // the admin's server and database, this user and password
};

// The limits of a tenant; enforced by the server, however many workers there are.  In a call
// that sets them, nullopt keeps a limit and no_limit lifts it; in an answer, nullopt is no limit.
inline constexpr int no_limit = -1;

struct TenantLimits {
  std::optional<int> max_running = {};                   // tasks at the same time
  std::optional<std::int64_t> max_queued = {};           // tasks not finished; more are refused (errc::limit)
  std::optional<int> max_connections = {};               // sessions of its login
  std::optional<int> weight = {};                        // 1 to 1000: its share of a Fleet; always there
  std::optional<double> rate_per_second = {};            // task starts a second
  std::optional<std::chrono::milliseconds> retain = {};  // how long finished executions are kept;
                                                         // a negative one lifts
  std::optional<std::int64_t> retain_count = {};         // and how many
};

struct TenantInfo {
  std::string tenant;
  std::string schema_name;
  std::string username;  // empty: no login of its own
  bool suspended = false;
  TenantLimits limits = {};
};

// The numbers of tasks in a tenant's queue now.
struct TenantActivity {
  std::string tenant;
  std::int64_t ready = 0;
  std::int64_t delayed = 0;  // a start or a retry to come
  std::int64_t running = 0;
  std::int64_t waiting = 0;  // put off, or for an event
  std::int64_t sessions = 0;
};

// One thing that audit or health found.
struct Finding {
  std::string level;   // "warning" or "error"
  std::string tenant;  // empty: of no one tenant
  std::string object;
  std::string finding;
};

// One thing that harden, reconcile or upgrade_tenants did, or with dry_run would do.
struct Action {
  std::string tenant;  // empty: of no one tenant
  std::string object;
  std::string action;
  std::string error = {};  // empty: it went well
};

// How much of what is used.
struct Capacity {
  std::string item;
  std::optional<std::int64_t> used = {};  // nullopt: unknown without shared memory
  std::optional<std::int64_t> available = {};
  std::string advice = {};  // empty: there is room enough
};

struct StatusItem {
  std::string item;
  std::string value;
};

// Thread-safe; one connection, made at the first call and again when it broke.  Every
// call is one transaction.  All throw insula::error.
class INSULA_EXPORT DatabaseAdmin {
 public:
  explicit DatabaseAdmin(std::string_view connection_string);
  DatabaseAdmin(DatabaseAdmin&&) noexcept;
  DatabaseAdmin& operator=(DatabaseAdmin&&) noexcept;
  ~DatabaseAdmin();

  // error{already_exists} if the tenant, its schema or its role is there already.
  TenantCredentials create_tenant(const TenantConfig& config);
  // Waits up to `drain` for its running tasks, then everything of the tenant goes.  Where objects of
  // others depend on it (SQLSTATE 2BP01) nothing does, unless `force` drops them too.
  void drop_tenant(std::string_view tenant, std::chrono::milliseconds drain = std::chrono::seconds{30},
                   bool force = false);
  // A new password, random if empty.
  [[nodiscard]] TenantCredentials rotate_password(std::string_view tenant, std::string_view password = {});

  // No submission, claim or log-in, and its sessions end; running tasks may finish.  Both
  // do nothing to a tenant that is so already.
  void suspend_tenant(std::string_view tenant);
  void resume_tenant(std::string_view tenant);

  // error{invalid} if one is out of range; then none is set.
  void set_tenant_limits(std::string_view tenant, const TenantLimits& limits);

  std::vector<TenantInfo> tenants();  // ordered by id
  [[nodiscard]] std::optional<TenantInfo> find_tenant(std::string_view tenant);
  [[nodiscard]] std::vector<TenantActivity> activity();  // ordered by id

  // --- looking after the whole
  [[nodiscard]] std::vector<StatusItem> status();  // version, shared memory, numbers of things
  std::vector<Finding> health();                   // processes that hold others back; none is good
  [[nodiscard]] std::vector<Capacity> capacity();  // sizes against settings
  [[nodiscard]] std::vector<Finding> audit();      // owners, grants, triggers that are not as Insula made them
  // Mends what a restore leaves undone: roles, grants, owners.
  [[nodiscard]] std::vector<Action> reconcile(bool dry_run = true);
  // Revokes what PostgreSQL leaves open to every role; `skip` names kinds to leave alone
  // (temporary, connect, schema, advisory_lock, large_object).  Other applications of the
  // cluster may need grants of their own afterwards: read the dry run first.
  std::vector<Action> harden(bool dry_run = true, const std::vector<std::string>& skip = {});
  // After ALTER EXTENSION insula UPDATE: brings tenants' schemas to its layout, each with a
  // line.  One that fails or cannot be locked in time is left as it was, with the error.
  [[nodiscard]] std::vector<Action> upgrade_tenants(std::optional<int> max_tenants = std::nullopt,
                                                    std::chrono::milliseconds lock_timeout = std::chrono::seconds{1});
  // Says that the tenants of this copy of a database shall work here; until then every
  // call that does work ends in errc::suspended.
  void adopt();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace insula
