// The drop of a tenant that resists, and the objects that are left after it.
#include <atomic>
#include <thread>

#include "support/session.hpp"

namespace insula_test {
namespace {

class Tenants : public ::testing::Test {
 protected:
  void SetUp() override {
    admin.query("SET client_min_messages = error");
    admin.query("CREATE EXTENSION IF NOT EXISTS insula");
  }
  void TearDown() override { admin.query("SELECT insula.drop_tenant(tenant, '0 s') FROM insula.tenants"); }
  void create(const std::string& name) {
    admin.query("SELECT tenant FROM insula.create_tenant('" + name + "')");
    admin.query("SELECT insula.register_workflow('{\"name\": \"w\", \"tasks\": [{\"id\": \"a\"}]}', tenant => '" +
                name + "')");
  }
  std::string count(const std::string& table) { return admin.query("SELECT count(*) FROM pg_catalog." + table); }

  Session admin;
};

TEST_F(Tenants, OneThatOwnsSomethingElsewhereIsDroppedAllTheSame) {
  create("owner");
  admin.query("CREATE DATABASE elsewhere");
  {
    Session other("dbname=elsewhere user=owner_user");
    EXPECT_NE(other.query("SELECT lo_create(0)"), "");
  }
  EXPECT_EQ(admin.query("SELECT insula.drop_tenant('owner')"), "");
  EXPECT_EQ(admin.query("SELECT count(*) FROM pg_namespace WHERE nspname = 'tenant_owner'"), "0");
  EXPECT_EQ(admin.query("SELECT count(*) FROM pg_roles WHERE rolname = 'owner_user'"), "0");
  EXPECT_EQ(admin.query("SELECT count(*) FROM insula.leftover_role l JOIN pg_roles r ON r.oid = l.role_oid "
                        "WHERE NOT r.rolcanlogin AND r.rolname = l.role_name"),
            "1");
  create("owner");
  admin.query("DROP DATABASE elsewhere");
  admin.query("DO $$ BEGIN EXECUTE (SELECT format('DROP ROLE %I', role_name) FROM insula.leftover_role); END $$");
  admin.query("DELETE FROM insula.leftover_role");
}

TEST_F(Tenants, OneThatIsGrantedSomethingElsewhereIsDroppedAllTheSame) {
  create("victim");
  create("attacker");
  admin.query("CREATE DATABASE elsewhere");
  {
    Session other("dbname=elsewhere user=attacker_user");
    const std::string object = other.query("SELECT lo_create(0)");
    other.query("GRANT SELECT ON LARGE OBJECT " + object + " TO victim_user");
  }
  EXPECT_EQ(admin.query("SELECT insula.drop_tenant('victim')"), "");
  create("victim");
  admin.query("DROP DATABASE elsewhere");
  admin.query("DO $$ BEGIN EXECUTE (SELECT format('DROP ROLE %I', role_name) FROM insula.leftover_role); END $$");
  admin.query("DELETE FROM insula.leftover_role");
}

TEST_F(Tenants, OneThatComesBackAllTheTimeCannotStopItsDrop) {
  create("stubborn");
  std::atomic<bool> over{false};
  std::vector<std::thread> sessions;
  for (int i = 0; i < 4; ++i)
    sessions.emplace_back([&over] {
      while (!over) {
        PGconn* conn = PQconnectdb("user=stubborn_user");
        PQclear(PQexec(conn, "SELECT count(*), pg_sleep(100) FROM tenant_stubborn.workflow_executions"));
        PQfinish(conn);
      }
    });
  admin.query(
      "DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM pg_locks WHERE relation = "
      "'tenant_stubborn.work'::regclass) LOOP PERFORM pg_sleep(0.01); END LOOP; END $$");
  EXPECT_EQ(admin.error("SELECT insula.drop_tenant('stubborn', '100 ms')"), "none");
  over = true;
  for (std::thread& session : sessions) session.join();
  EXPECT_EQ(admin.query("SELECT count(*) FROM pg_namespace WHERE nspname = 'tenant_stubborn'"), "0");
  EXPECT_EQ(admin.query("SELECT count(*) FROM pg_stat_activity WHERE usename = 'stubborn_user'"), "0");
}

TEST_F(Tenants, SessionsThatComeBackEndWhenASuspensionCommits) {
  create("sleepless");
  admin.query("BEGIN");
  admin.query("SELECT insula.suspend_tenant('sleepless')");
  Session tenant("user=sleepless_user");
  EXPECT_EQ(tenant.query("SELECT 1"), "1");
  admin.query("COMMIT");
  EXPECT_EQ(admin.query("DO $$ BEGIN WHILE EXISTS (SELECT FROM pg_stat_activity WHERE usename = 'sleepless_user') "
                        "LOOP PERFORM pg_sleep(0.01); PERFORM pg_stat_clear_snapshot(); END LOOP; END $$"),
            "");
}

TEST_F(Tenants, ADropThatIsRefusedEndsNoSession) {
  create("wanted");
  admin.query("CREATE VIEW report AS SELECT * FROM tenant_wanted.task_executions");
  Session tenant("user=wanted_user");
  const std::string pid = tenant.query("SELECT pg_backend_pid()");
  EXPECT_EQ(admin.error("SELECT insula.drop_tenant('wanted', '0 s')"), "2BP01");
  EXPECT_EQ(tenant.query("SELECT pg_backend_pid()"), pid);
  // Nor does one that waits for a transaction of another session: it has looked before.
  Session other;
  other.query("BEGIN");
  other.query("SELECT insula.submit('w', tenant => 'wanted')");
  EXPECT_EQ(admin.error("SELECT insula.drop_tenant('wanted', '1 h')"), "2BP01");
  other.query("COMMIT");
  EXPECT_EQ(tenant.query("SELECT insula.submit('w') > 0"), "t");
  // Objects made while it waits are seen in the end, also with a snapshot of before.
  admin.query("DROP VIEW report");
  admin.query("BEGIN ISOLATION LEVEL REPEATABLE READ");
  admin.query("SELECT 1");
  other.query("CREATE VIEW report AS SELECT * FROM tenant_wanted.task_executions");
  EXPECT_EQ(admin.error("SELECT insula.drop_tenant('wanted', '0 s')"), "2BP01");
  admin.query("ROLLBACK");
  EXPECT_EQ(tenant.query("SELECT pg_backend_pid()"), pid);
  // A role that cannot be dropped ends none either.
  admin.query("DROP VIEW report");
  admin.query("ALTER ROLE wanted_user CREATEDB");
  EXPECT_EQ(admin.error("SELECT insula.drop_tenant('wanted', '0 s')"), "55000");
  EXPECT_EQ(tenant.query("SELECT pg_backend_pid()"), pid);
  admin.query("ALTER ROLE wanted_user NOCREATEDB");
}

TEST_F(Tenants, TwoSessionsCreateTheSameTenant) {
  Session other;
  other.query("SET client_min_messages = error");
  admin.query("BEGIN");
  admin.query("SELECT insula.create_tenant('twin')");
  other.send("SELECT insula.create_tenant('twin')");
  EXPECT_FALSE(other.finished(100ms));
  admin.query("COMMIT");
  ASSERT_TRUE(other.finished());
  EXPECT_EQ(other.answer(), "42710");
}

TEST_F(Tenants, ManyLeaveNothingBehind) {
  const int rounds = soak() ? 20 : 4;
  const std::vector<std::string> catalogs = {
      "pg_class",           "pg_authid", "pg_shdepend",   "pg_auth_members", "pg_namespace",  "pg_default_acl",
      "pg_db_role_setting", "pg_depend", "pg_init_privs", "pg_type",         "pg_constraint", "pg_shdescription"};
  std::vector<std::string> before;
  for (const std::string& catalog : catalogs) before.push_back(count(catalog));
  // A few at a time: one transaction that makes a thousand needs more locks than most servers have.
  for (int round = 0; round < rounds; ++round)
    admin.query("SELECT count(insula.create_tenant('many_' || g)) FROM generate_series(" + std::to_string(round * 50) +
                ", " + std::to_string(round * 50 + 49) + ") g");
  EXPECT_EQ(admin.query("SELECT count(*) FROM insula.tenants WHERE tenant ~ '^many_'"), std::to_string(rounds * 50));
  EXPECT_EQ(admin.query("SELECT count(*) FROM insula.audit() WHERE level <> 'advice'"), "0");
  for (int round = 0; round < rounds; ++round)
    admin.query("SELECT count(*) FROM (SELECT insula.drop_tenant('many_' || g) FROM generate_series(" +
                std::to_string(round * 50) + ", " + std::to_string(round * 50 + 49) + ") g OFFSET 0) d");
  for (std::size_t i = 0; i < catalogs.size(); ++i) EXPECT_EQ(count(catalogs[i]), before[i]) << catalogs[i];
}

}  // namespace
}  // namespace insula_test
