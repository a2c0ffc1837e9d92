// insula.max_tenant_transaction ends the sessions of tenants' logins that hold a transaction for too long, and no
// others.
#include <array>

#include "support/session.hpp"

namespace insula_test {
namespace {

class PreloadedTransactionLimit : public ::testing::Test {
 protected:
  void SetUp() override {
    admin.query("SET client_min_messages = warning");
    admin.query("CREATE EXTENSION IF NOT EXISTS insula");
    admin.query("SELECT tenant FROM insula.create_tenant('holder')");
    admin.query(R"(SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => 'holder'))");
    admin.query("ALTER ROLE holder_user SET insula.max_tenant_transaction = '1 s'");
  }
  void TearDown() override { admin.query("SELECT insula.drop_tenant(tenant, '0 s') FROM insula.tenants"); }

  std::string pid_of(Session& session) { return session.query("SELECT pg_backend_pid()"); }
  bool ends(const std::string& pid) {
    return eventually([&] { return admin.query("SELECT count(*) FROM pg_stat_activity WHERE pid = " + pid) == "0"; });
  }

  Session admin;
};

TEST_F(PreloadedTransactionLimit, EndsOneThatIsIdle) {
  Session tenant("user=holder_user");
  const std::string pid = pid_of(tenant);
  tenant.query("BEGIN ISOLATION LEVEL REPEATABLE READ");
  tenant.query("SELECT count(*) FROM tenant_holder.workflow_executions");
  EXPECT_TRUE(ends(pid));
}

TEST_F(PreloadedTransactionLimit, EndsOneThatRunsAStatement) {
  Session tenant("user=holder_user");
  const std::string pid = pid_of(tenant);
  tenant.send("SELECT pg_sleep(3600)");
  EXPECT_TRUE(ends(pid));
}

TEST_F(PreloadedTransactionLimit, EndsOneThatBeganWithNothingButBegin) {
  Session tenant("user=holder_user");
  const std::string pid = pid_of(tenant);
  tenant.query("BEGIN");
  EXPECT_TRUE(ends(pid));
}

// No hook sees what follows the inner COMMIT.
TEST_F(PreloadedTransactionLimit, EndsOneThatBeganInsideOfABlock) {
  Session tenant("user=holder_user");
  const std::string pid = pid_of(tenant);
  tenant.send("DO $$ BEGIN COMMIT; IF pg_sleep(3600) IS NULL THEN NULL; END IF; END $$");
  EXPECT_TRUE(ends(pid));
}

TEST_F(PreloadedTransactionLimit, EndsOneOfTheFastPath) {
  const Connection tenant("user=holder_user");
  const std::string pid = std::to_string(tenant.pid());
  const int function = std::stoi(admin.query("SELECT 'pg_sleep'::regproc::oid"));
  std::array<unsigned char, 8> hour = {0x40, 0xAC, 0x20};  // 3600 as a float8
  PQArgBlock argument = {};
  argument.len = hour.size();
  argument.u.ptr = reinterpret_cast<int*>(hour.data());
  int answer = 0, length = 0;
  PQclear(PQfn(tenant, function, &answer, &length, 0, &argument, 1));
  EXPECT_EQ(PQstatus(tenant), CONNECTION_BAD);
  EXPECT_TRUE(ends(pid));
}

// What has been parsed holds its locks until the client sends the end of the message, which it never does.
TEST_F(PreloadedTransactionLimit, EndsOneThatIsOnlyParsed) {
  const Connection tenant("user=holder_user");
  const std::string pid = std::to_string(tenant.pid());
  ASSERT_EQ(PQenterPipelineMode(tenant), 1);
  ASSERT_EQ(PQsendPrepare(tenant, "s", "SELECT FROM tenant_holder.workflow_executions", 0, nullptr), 1);
  ASSERT_EQ(PQsendFlushRequest(tenant), 1);
  ASSERT_EQ(PQflush(tenant), 0);
  EXPECT_TRUE(ends(pid));
}

// Each error disables the timeouts that PostgreSQL keeps.
TEST_F(PreloadedTransactionLimit, ErrorsInSavepointsSaveNoTransaction) {
  Session tenant("user=holder_user");
  const std::string pid = pid_of(tenant);
  tenant.query("BEGIN");
  tenant.query("SELECT insula.submit('w')");
  tenant.query("SAVEPOINT s");
  EXPECT_EQ(tenant.error("SELECT 1 / 0"), "22012");
  EXPECT_EQ(tenant.error("SELECT 1"), "25P02");
  EXPECT_TRUE(ends(pid));
}

TEST_F(PreloadedTransactionLimit, IsNoTenantsToChange) {
  Session tenant("user=holder_user");
  EXPECT_EQ(tenant.query("SHOW insula.max_tenant_transaction"), "1s");
  EXPECT_EQ(tenant.error("SET insula.max_tenant_transaction = 0"), "42501");
  EXPECT_EQ(tenant.error("ALTER ROLE holder_user SET insula.max_tenant_transaction = 0"), "42501");
}

// Many short transactions, waits, and the transactions of others are not limited.
TEST_F(PreloadedTransactionLimit, SparesAllOthers) {
  Session tenant("user=holder_user"), waiting("user=holder_user");
  const std::string pid = pid_of(tenant), waiting_pid = pid_of(waiting);
  admin.query("BEGIN");
  admin.query("SELECT pg_current_xact_id()");
  waiting.send("CALL insula.wait_for_work('3 s')");
  const std::string began = tenant.query("SELECT clock_timestamp()");
  while (tenant.query("SELECT clock_timestamp() < timestamptz '" + began + "' + interval '2.5 s'") == "t")
    tenant.query("SELECT pg_sleep(0.01)");
  EXPECT_EQ(tenant.query("SELECT 1"), "1");
  ASSERT_TRUE(waiting.finished());
  EXPECT_EQ(waiting.answer(), "f");
  EXPECT_EQ(admin.query("SELECT 1"), "1");
  admin.query("COMMIT");
}

}  // namespace
}  // namespace insula_test
