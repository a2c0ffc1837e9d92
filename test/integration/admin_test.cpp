// Tenants by the C++ face: credentials that work, passwords that appear nowhere.
#include "client_test.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <future>
#include <sstream>
#include <string>

namespace {

using namespace insula_test;
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

TEST_F(Admin, ATenantWorksWherePgExtensionIsClosed) {
  const TenantCredentials c = admin_.create_tenant({.tenant = tenant_});
  sql_.rows("REVOKE SELECT ON pg_catalog.pg_extension FROM PUBLIC");
  Runner runner{c.connection_string, {.log = log_.hook()}};
  runner.add(one_task("hello", [](TaskContext& ctx) {
    ctx.set("here", true);
    EXPECT_EQ(PQtransactionStatus(ctx.transaction()), PQTRANS_INTRANS);
  }));
  EXPECT_TRUE(runner.execute("hello").final_context.at<bool>("here"));
  EXPECT_TRUE(runner.shutdown().clean());
  sql_.rows("GRANT SELECT ON pg_catalog.pg_extension TO PUBLIC");
}

TEST_F(Admin, FillsInDefaults) {
  const TenantCredentials c = admin_.create_tenant({.tenant = tenant_});
  EXPECT_EQ(c.schema_name, "tenant_" + tenant_);
  EXPECT_EQ(c.username, tenant_ + "_user");
  const auto found = admin_.find_tenant(tenant_);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->username, c.username);
  EXPECT_FALSE(admin_.find_tenant("no_such_tenant"));
  bool listed = false;
  for (const TenantInfo& info : admin_.tenants()) listed = listed || info.tenant == tenant_;
  EXPECT_TRUE(listed);
}

TEST_F(Admin, RefusesExistingAndImpossibleTenants) {
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
  EXPECT_EQ(error_of([&] { admin_.drop_tenant("no_such_tenant"); }).code(), errc::not_found);
  EXPECT_FALSE(admin_.find_tenant(tenant_ + "b"));
}

TEST_F(Admin, PasswordsWorkWhateverIsInThem) {
  // Over TCP, where the server asks for them.
  DatabaseAdmin tcp{"host=127.0.0.1 port=" + environment("INSULA_TCP_PORT") + " password=postgres"};
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

// Everything the server keeps of what it was told: its log with all statements and
// parameters, its statistics, its sessions' last statements, its WAL.
TEST_F(Admin, NoPasswordStaysAnywhereOnTheServer) {
  const std::pair<const char*, const char*> settings[] = {{"log_statement", "all"},
                                                          {"log_parameter_max_length", "-1"},
                                                          {"log_parameter_max_length_on_error", "-1"},
                                                          {"log_min_duration_statement", "0"}};
  for (const auto& [name, value] : settings) sql_.rows(std::string("ALTER SYSTEM SET ") + name + " = '" + value + "'");
  sql_.rows("ALTER SYSTEM SET shared_preload_libraries = " +
            std::string(preloaded() ? "insula, pg_stat_statements" : "pg_stat_statements"));
  EXPECT_TRUE(pg_ctl("restart"));
  sql_.rows("CREATE EXTENSION pg_stat_statements");
  sql_.rows("ALTER DATABASE postgres SET pg_stat_statements.track = 'all'");

  DatabaseAdmin admin{"application_name=logged"};
  const std::string given = "given-by-hand-4711";
  const std::string passwords[] = {
      admin.create_tenant({.tenant = tenant_}).password,
      admin.rotate_password(tenant_).password,
      sql_.value("SELECT password FROM insula.create_tenant($1)", {tenant_ + "_two"}),
      sql_.value("SELECT password FROM insula.rotate_password($1)", {tenant_ + "_two"}),
      admin.create_tenant({.tenant = tenant_ + "_three", .password = given}).password,
  };
  std::ostringstream kept;
  kept << std::ifstream{environment("INSULA_SERVER_LOG")}.rdbuf();
  ASSERT_NE(kept.str().find("insula.rotate_password("), std::string::npos) << "the calls are in the log";
  for (const auto& row : sql_.rows("SELECT query FROM pg_stat_statements UNION ALL SELECT query FROM pg_stat_activity"))
    kept << row[0] << '\n';
  sql_.rows("SELECT pg_switch_wal()");
  for (const auto& file : std::filesystem::directory_iterator(environment("INSULA_PGDATA") + "/pg_wal"))
    if (file.is_regular_file()) kept << std::ifstream{file.path(), std::ios::binary}.rdbuf();
  for (const std::string& password : passwords) {
    ASSERT_GE(password.size(), given.size());
    EXPECT_EQ(kept.str().find(password), std::string::npos) << "a password is kept by the server";
  }
  EXPECT_NE(kept.str().find("SCRAM-SHA-256$"), std::string::npos) << "the verifiers are in the WAL";

  for (const char* more : {"_two", "_three"}) sql_.rows("SELECT insula.drop_tenant($1)", {tenant_ + more});
  sql_.rows("DROP EXTENSION pg_stat_statements");
  sql_.rows("ALTER DATABASE postgres RESET pg_stat_statements.track");
  sql_.rows("ALTER SYSTEM RESET ALL");
  EXPECT_TRUE(pg_ctl("restart"));
}

TEST_F(Admin, DropsATenantWithAllThatIsIts) {
  const TenantCredentials c = admin_.create_tenant({.tenant = tenant_});
  {
    Runner runner{c.connection_string, {.log = log_.hook()}};
    runner.add(one_task("hello", [](TaskContext&) {}));
    runner.execute("hello");
  }
  // Objects of other roles are dropped only if the caller says so.
  sql_.rows("CREATE VIEW of_others AS SELECT * FROM " + c.schema_name + ".task_executions");
  EXPECT_EQ(error_of([&] { admin_.drop_tenant(tenant_, 0s); }).sqlstate(), "2BP01");
  EXPECT_TRUE(admin_.find_tenant(tenant_));
  admin_.drop_tenant(tenant_, 0s, true);
  EXPECT_EQ(sql_.value("SELECT to_regclass('of_others') IS NULL"), "t");
  EXPECT_FALSE(admin_.find_tenant(tenant_));
  EXPECT_EQ(sql_.value("SELECT count(*) FROM pg_roles WHERE rolname = $1", {c.username}), "0");
  EXPECT_EQ(sql_.value("SELECT count(*) FROM pg_namespace WHERE nspname = $1", {c.schema_name}), "0");
}

TEST_F(Admin, LimitsATenant) {
  admin_.create_tenant({.tenant = tenant_});
  admin_.set_tenant_limits(tenant_, {.max_running = 7, .rate_per_second = 2.5, .retain = 90s});
  admin_.set_tenant_limits(tenant_, {.max_queued = 100, .weight = 3, .retain_count = 0});
  TenantLimits limits = admin_.find_tenant(tenant_)->limits;
  EXPECT_EQ(limits.max_running, 7);
  EXPECT_EQ(limits.max_queued, 100);
  EXPECT_FALSE(limits.max_connections);
  EXPECT_EQ(limits.weight, 3);
  EXPECT_EQ(limits.rate_per_second, 2.5);
  EXPECT_EQ(limits.retain, 90s);
  EXPECT_EQ(limits.retain_count, 0);
  admin_.set_tenant_limits(tenant_, {.max_running = no_limit, .retain = -1s, .retain_count = no_limit});
  limits = admin_.find_tenant(tenant_)->limits;
  EXPECT_FALSE(limits.max_running || limits.retain || limits.retain_count);
  EXPECT_EQ(error_of([&] { admin_.set_tenant_limits(tenant_, {.weight = 0}); }).code(), errc::invalid);
  EXPECT_EQ(error_of([&] { admin_.set_tenant_limits("no_such_tenant", {}); }).code(), errc::not_found);
}

TEST_F(Admin, SuspendsATenant) {
  const TenantCredentials c = admin_.create_tenant({.tenant = tenant_});
  Runner runner{c.connection_string, {.log = log_.hook()}};
  runner.add(one_task("hello", [](TaskContext&) {}));
  admin_.suspend_tenant(tenant_);
  EXPECT_TRUE(admin_.find_tenant(tenant_)->suspended);
  EXPECT_THROW(runner.execute("hello"), error);
  const std::string other = "s_" + tenant_;
  auto as_admin = Runner::with_schema("", other, {.log = log_.hook()});
  as_admin.add(one_task("hello", [](TaskContext&) {}));
  admin_.suspend_tenant(other);
  EXPECT_EQ(error_of([&] { as_admin.execute_async("hello"); }).code(), errc::suspended);
  admin_.resume_tenant(tenant_);
  EXPECT_FALSE(admin_.find_tenant(tenant_)->suspended);
  EXPECT_TRUE(eventually([&] {
    try {
      return Runner{c.connection_string, {.log = log_.hook()}}.execute_async("hello").id() > 0;
    } catch (const error&) {
      return false;
    }
  }));
}

TEST_F(Admin, LooksAfterTheWhole) {
  admin_.create_tenant({.tenant = tenant_});
  const auto find = [](const auto& list, const auto& is_it) { return std::find_if(list.begin(), list.end(), is_it); };
  const auto status = admin_.status();
  const auto version = find(status, [](const StatusItem& i) { return i.item == "version"; });
  ASSERT_NE(version, status.end());
  EXPECT_FALSE(version->value.empty());
  const auto activity = admin_.activity();
  const auto mine = find(activity, [&](const TenantActivity& a) { return a.tenant == tenant_; });
  ASSERT_NE(mine, activity.end());
  EXPECT_EQ(mine->ready + mine->running, 0);
  const auto capacity = admin_.capacity();
  const auto connections = find(capacity, [](const Capacity& c) { return c.item == "connections"; });
  ASSERT_NE(connections, capacity.end());
  EXPECT_GT(connections->used.value(), 0);
  EXPECT_GT(connections->available.value(), connections->used.value());
  EXPECT_NO_THROW(admin_.health());

  sql_.rows("GRANT SELECT ON tenant_" + tenant_ + ".work TO PUBLIC");
  const auto mine_is_found = [&](const Finding& f) {
    return f.tenant == tenant_ && f.object.find("work") != std::string::npos;
  };
  auto findings = admin_.audit();
  EXPECT_NE(find(findings, mine_is_found), findings.end());
  const auto mends = [&](const Action& a) {
    return a.tenant == tenant_ && a.action.find("REVOKE") == 0 && a.error.empty();
  };
  for (const bool dry_run : {true, false}) {
    const auto actions = admin_.reconcile(dry_run);
    EXPECT_NE(find(actions, mends), actions.end());
  }
  findings = admin_.audit();
  EXPECT_EQ(find(findings, mine_is_found), findings.end());

  const auto hardening = admin_.harden(true, {"temporary"});
  EXPECT_FALSE(hardening.empty());
  for (const Action& action : hardening) EXPECT_EQ(action.action.find("TEMPORARY"), std::string::npos);
  EXPECT_EQ(error_of([&] { admin_.harden(true, {"nonsense"}); }).code(), errc::invalid);
  for (const Action& action : admin_.upgrade_tenants(10)) EXPECT_EQ(action.error, "");
  EXPECT_NO_THROW(admin_.adopt());
}

TEST_F(Admin, OutlivesARestart) {
  admin_.tenants();
  EXPECT_TRUE(pg_ctl("restart"));
  EXPECT_NO_THROW(admin_.tenants());
}

TEST_F(Admin, OneTenantsLoginIsNoOthers) {
  const TenantCredentials a = admin_.create_tenant({.tenant = tenant_ + "a"});
  const TenantCredentials b = admin_.create_tenant({.tenant = tenant_ + "b"});
  const error e = error_of([&] { Runner::with_schema(a.connection_string, tenant_ + "b"); });
  EXPECT_EQ(e.code(), errc::permission);
  EXPECT_EQ(e.sqlstate(), "42501");
}

// Another session makes the schema at the same moment, and what becomes of that decides.
TEST_F(Admin, WithSchemaWaitsForAnotherThatMakesTheSchema) {
  const auto with_schema_during = [&](const std::string& making, const std::string& end) {
    Sql other;
    other.rows("BEGIN");
    other.rows(making);
    auto made = std::async(std::launch::async, [&] {
      return Runner::with_schema("application_name=late_" + tenant_, tenant_, {.log = log_.hook()});
    });
    EXPECT_TRUE(eventually([&] {
      return sql_.value("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%late_" + tenant_ +
                        "' AND wait_event_type = 'Lock'") == "1";
    }));
    other.rows(end);
    return made.get();
  };
  const std::string tenant = "SELECT insula.create_tenant('" + tenant_ + "', '" + tenant_ + "', login => false)";
  for (const auto& [making, end] : {std::pair<std::string, std::string>{tenant, "COMMIT"},
                                    {tenant, "ROLLBACK"},
                                    {"CREATE SCHEMA " + tenant_, "ROLLBACK"}}) {
    Runner runner = with_schema_during(making, end);
    runner.add(one_task("hello", [](TaskContext& ctx) { ctx.set("tenant", ctx.tenant()); }));
    EXPECT_EQ(runner.execute("hello").final_context.at<std::string>("tenant"), tenant_);
    EXPECT_TRUE(runner.shutdown().clean());
    admin_.drop_tenant(tenant_);
  }
  // A schema that is none of Insula's stays as it is. PostgreSQL says so itself to the later of two that make one.
  EXPECT_EQ(error_of([&] { with_schema_during("CREATE SCHEMA " + tenant_, "COMMIT"); }).sqlstate(), "23505");
  EXPECT_EQ(error_of([&] { Runner::with_schema("", tenant_); }).code(), errc::already_exists);
  EXPECT_EQ(sql_.value("SELECT count(*) FROM pg_class WHERE relnamespace = '" + tenant_ + "'::regnamespace"), "0");
  sql_.rows("DROP SCHEMA " + tenant_);
}

TEST_F(Admin, ATenantOfAnotherSchemaIsNamedToAdministratorsAlone) {
  admin_.create_tenant({.tenant = tenant_});
  const std::string schema = "tenant_" + tenant_;
  const error e = error_of([&] { Runner::with_schema("", tenant_); });
  EXPECT_EQ(e.code(), errc::already_exists);
  EXPECT_EQ(e.sqlstate(), "42710");
  const std::string said = e.what();
  EXPECT_NE(said.find("Its schema is \"" + schema + "\""), std::string::npos) << said;
  EXPECT_NE(said.find("options=-cinsula.tenant=" + tenant_ + " "), std::string::npos) << said;
  EXPECT_EQ(said.find("schema_name"), std::string::npos) << "what SQL is told to do: " << said;
  // It can be done.
  Runner runner{"options=-cinsula.tenant=" + tenant_, {.log = log_.hook()}};
  runner.add(one_task("hello", [](TaskContext& ctx) { ctx.set("tenant", ctx.tenant()); }));
  EXPECT_EQ(runner.execute("hello").final_context.at<std::string>("tenant"), tenant_);
  EXPECT_TRUE(runner.shutdown().clean());
  // Another tenant is told the same of one that exists as of one that does not.
  const TenantCredentials other = admin_.create_tenant({.tenant = tenant_ + "b"});
  const auto answer = [&](const std::string& tenant) {
    const error refusal = error_of([&] { Runner::with_schema(other.connection_string, tenant); });
    EXPECT_EQ(refusal.code(), errc::permission);
    return std::string(refusal.what());
  };
  EXPECT_EQ(answer(tenant_), answer("no_such_tenant"));
  EXPECT_EQ(answer(tenant_).find(schema), std::string::npos);
}

}  // namespace
