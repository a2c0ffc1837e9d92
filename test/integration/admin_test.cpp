// Tenants by the C++ face: credentials that work, passwords that appear nowhere.
#include "support.hpp"

#include <fstream>
#include <sstream>
#include <string>

namespace {

using namespace support;
using namespace insula;

class Admin : public ClientTest {
 protected:
  DatabaseAdmin admin_{""};
};

TEST_F(Admin, MakesATenantThatCanWork) {
  const TenantCredentials c =
      admin_.create_tenant({.schema_name = "s_" + tenant_, .username = "u_" + tenant_, .password = ""});
  EXPECT_EQ(c.tenant, "s_" + tenant_) << "no tenant given: the schema's name";
  EXPECT_EQ(c.schema_name, "s_" + tenant_);
  EXPECT_EQ(c.username, "u_" + tenant_);
  EXPECT_EQ(c.password.size(), 32U);
  Runner runner{c.connection_string, {.log = log_.hook()}};
  runner.add(one_task("hello", [](TaskContext& ctx) { ctx.set("tenant", ctx.tenant()); }));
  EXPECT_EQ(runner.execute("hello").final_context.at<std::string>("tenant"), c.tenant);
  EXPECT_TRUE(runner.shutdown().clean());
}

TEST_F(Admin, FillsInDefaults) {
  const TenantCredentials c = admin_.create_tenant({.tenant = tenant_});
  EXPECT_EQ(c.schema_name, "tenant_" + tenant_);
  EXPECT_EQ(c.username, tenant_ + "_user");
  const auto found = admin_.find_tenant(tenant_);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->username, c.username);
  EXPECT_FALSE(admin_.find_tenant("nobody_at_all"));
  bool listed = false;
  for (const TenantInfo& info : admin_.tenants()) listed = listed || info.tenant == tenant_;
  EXPECT_TRUE(listed);
}

TEST_F(Admin, RefusesWhatIsThereOrCannotBe) {
  admin_.create_tenant({.tenant = tenant_});
  EXPECT_EQ(error_of([&] { admin_.create_tenant({.tenant = tenant_}); }).code(), errc::already_exists);
  EXPECT_EQ(
      error_of([&] { admin_.create_tenant({.tenant = tenant_ + "b", .schema_name = "tenant_" + tenant_}); }).sqlstate(),
      "42P06");
  EXPECT_EQ(
      error_of([&] { admin_.create_tenant({.tenant = tenant_ + "c", .username = tenant_ + "_user"}); }).sqlstate(),
      "42710");
  EXPECT_EQ(error_of([&] { admin_.create_tenant({.tenant = "Not An Id"}); }).code(), errc::invalid);
  EXPECT_EQ(error_of([&] { admin_.create_tenant({}); }).code(), errc::invalid);
  EXPECT_EQ(error_of([&] { admin_.drop_tenant("nobody_at_all"); }).code(), errc::not_found);
  EXPECT_FALSE(admin_.find_tenant(tenant_ + "b"));
}

TEST_F(Admin, PasswordsWorkWhateverIsInThem) {
  // Over TCP, where the server asks for them.
  DatabaseAdmin tcp{"host=127.0.0.1 port=" + env("INSULA_TCP_PORT") + " password=postgres"};
  sql_.rows("ALTER ROLE postgres PASSWORD 'postgres'");
  auto c = tcp.create_tenant({.tenant = tenant_, .password = "q'u\\o te=\" %40@:/ü"});
  EXPECT_NE(c.connection_string.find("127.0.0.1"), std::string::npos);
  EXPECT_EQ(Sql{c.connection_string}.value("SELECT current_user"), tenant_ + "_user");
  const std::string old = c.connection_string;
  c = tcp.rotate_password(tenant_);
  EXPECT_EQ(Sql{c.connection_string}.value("SELECT current_user"), tenant_ + "_user");
  EXPECT_THROW(Sql{old}.value("SELECT 1"), std::runtime_error);
  c = tcp.rotate_password(tenant_, "chosen");
  EXPECT_EQ(c.password, "chosen");
  EXPECT_EQ(Sql{c.connection_string}.value("SELECT insula.current_tenant()"), tenant_);
}

TEST_F(Admin, NoPasswordReachesTheServersLog) {
  sql_.rows("ALTER SYSTEM SET log_statement = 'all'");
  sql_.rows("ALTER SYSTEM SET log_parameter_max_length = -1");
  sql_.rows("SELECT pg_reload_conf()");
  ASSERT_TRUE(eventually([&] { return sql_.value("SHOW log_statement") == "all"; }));
  DatabaseAdmin admin{"application_name=logged"};
  const TenantCredentials first = admin.create_tenant({.tenant = tenant_});
  const TenantCredentials second = admin.rotate_password(tenant_);
  sql_.rows("ALTER SYSTEM RESET log_statement");
  sql_.rows("ALTER SYSTEM RESET log_parameter_max_length");
  sql_.rows("SELECT pg_reload_conf()");
  std::ostringstream log;
  log << std::ifstream{env("INSULA_SERVER_LOG")}.rdbuf();
  EXPECT_NE(log.str().find("insula.rotate_password("), std::string::npos) << "the calls are in the log";
  EXPECT_EQ(log.str().find(first.password), std::string::npos);
  EXPECT_EQ(log.str().find(second.password), std::string::npos);
}

TEST_F(Admin, DropsATenantWithAllThatIsIts) {
  const TenantCredentials c = admin_.create_tenant({.tenant = tenant_});
  {
    Runner runner{c.connection_string, {.log = log_.hook()}};
    runner.add(one_task("hello", [](TaskContext&) {}));
    runner.execute("hello");
  }
  admin_.drop_tenant(tenant_, 0s);
  EXPECT_FALSE(admin_.find_tenant(tenant_));
  EXPECT_EQ(sql_.value("SELECT count(*) FROM pg_roles WHERE rolname = $1", {c.username}), "0");
  EXPECT_EQ(sql_.value("SELECT count(*) FROM pg_namespace WHERE nspname = $1", {c.schema_name}), "0");
}

TEST_F(Admin, OutlivesARestart) {
  admin_.tenants();
  pg_ctl("restart");
  EXPECT_NO_THROW(admin_.tenants());
}

TEST_F(Admin, OneTenantsLoginIsNoOthers) {
  const TenantCredentials a = admin_.create_tenant({.tenant = tenant_ + "a"});
  const TenantCredentials b = admin_.create_tenant({.tenant = tenant_ + "b"});
  const error e = error_of([&] { Runner::with_schema(a.connection_string, tenant_ + "b"); });
  EXPECT_EQ(e.code(), errc::permission);
  EXPECT_EQ(e.sqlstate(), "42501");
}

}  // namespace
