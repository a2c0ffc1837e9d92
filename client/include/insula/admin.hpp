// DatabaseAdmin: makes and drops tenants, for a user with the rights of insula_admin.
//
//   insula::DatabaseAdmin admin{admin_url};
//   auto c = admin.create_tenant({.schema_name = "tenant_acme", .username = "acme_user"});
//   insula::Runner runner{c.connection_string};
//
// Passwords: an empty one is replaced by 32 random characters.  Either way it is turned
// into a SCRAM verifier here, and only the verifier is sent: the clear text reaches
// neither the server nor its logs.
#pragma once

#include <insula/error.hpp>
#include <insula/export.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace insula {

// 3 to 30 characters of [a-z0-9_], the first a letter, and no word that means something
// else in a database (public, postgres, pg_*, insula* and the like).
INSULA_EXPORT bool is_valid_tenant_id(std::string_view id) noexcept;

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

struct TenantInfo {
  std::string tenant;
  std::string schema_name;
  std::string username;  // empty: no login of its own
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
  // Waits up to `drain` for its running tasks, then everything of the tenant goes.
  void drop_tenant(std::string_view tenant, std::chrono::milliseconds drain = std::chrono::seconds{30});
  // A new password, random if empty.
  TenantCredentials rotate_password(std::string_view tenant, std::string_view password = {});

  std::vector<TenantInfo> tenants();  // ordered by id
  std::optional<TenantInfo> find_tenant(std::string_view tenant);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace insula
