// Behind PgBouncer in transaction mode, two server connections a user: no session state is
// needed, and none leaks from one client to the next.
#include <insula/insula.hpp>

#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "support/session.hpp"

namespace insula_test {
namespace {

class Pooler : public ::testing::Test {
 protected:
  void SetUp() override {
    admin.query("SET client_min_messages = error");
    admin.query("CREATE EXTENSION IF NOT EXISTS insula");
    for (const char* name : {"first", "second", "third"}) {
      const std::string tenant = name;
      passwords[tenant + "_user"] = admin.query("SELECT password FROM insula.create_tenant('" + tenant + "')");
      admin.query("SELECT insula.register_workflow('{\"name\": \"w\", \"tasks\": [{\"id\": \"a\"}]}', tenant => '" +
                  tenant + "')");
    }
    passwords["application"] = "secret";
    admin.query("CREATE ROLE application LOGIN PASSWORD 'secret'");
    admin.query("GRANT first_user, second_user TO application");
    port = output_of("\"$INSULA_POOLER_CTL\" start");
  }
  void TearDown() override {
    (void)output_of("\"$INSULA_POOLER_CTL\" stop");
    admin.query("SELECT insula.drop_tenant(tenant, '0 s') FROM insula.tenants");
    admin.query("DROP ROLE application");
  }

  std::string conninfo(const std::string& user) {
    return "host=127.0.0.1 port=" + port + " dbname=postgres user=" + user + " password=" + passwords[user];
  }
  std::string executions(const std::string& tenant) {
    return admin.query("SELECT count(*) FROM tenant_" + tenant + ".workflow_executions");
  }

  Session admin;
  std::map<std::string, std::string> passwords;
  std::string port;
};

TEST_F(Pooler, AnApplicationActsForManyTenants) {
  std::vector<std::unique_ptr<Session>> clients;
  for (int i = 0; i < 20; ++i) clients.push_back(std::make_unique<Session>(conninfo("application")));
  for (int i = 0; i < 20; ++i) {
    Session& client = *clients[static_cast<std::size_t>(i)];
    const std::string tenant = i % 2 ? "first" : "second";
    EXPECT_NE(client.query("SELECT insula.submit('w', tenant => '" + tenant + "')"), "");
    client.query("BEGIN");
    client.query("SET LOCAL insula.tenant = '" + tenant + "'");
    EXPECT_EQ(client.query("SELECT insula.current_tenant()"), tenant);
    EXPECT_NE(client.query("SELECT insula.submit('w')"), "");
    client.query("COMMIT");
    // The next client of this server connection acts for no tenant, and may not act for a third tenant.
    Session& next = *clients[static_cast<std::size_t>((i + 1) % 20)];
    EXPECT_EQ(next.query("SELECT insula.current_tenant()"), "");
    EXPECT_EQ(next.error("SELECT insula.submit('w', tenant => 'third')"), "42501");
  }
  EXPECT_EQ(executions("first"), "20");
  EXPECT_EQ(executions("second"), "20");
  EXPECT_LE(std::stoi(admin.query("SELECT count(*) FROM pg_stat_activity WHERE usename = 'application'")), 2);
}

TEST_F(Pooler, AClientThatGoesInTheMiddleLeavesNothing) {
  {
    Session client(conninfo("application"));
    client.query("BEGIN");
    client.query("SET LOCAL insula.tenant = 'first'");
    client.query("SELECT insula.submit('w')");
    client.error("SELECT insula.submit('no such workflow')");
  }
  Session next(conninfo("application"));
  EXPECT_EQ(next.query("SELECT insula.current_tenant()"), "");
  EXPECT_EQ(executions("first"), "0");
}

TEST_F(Pooler, TenantsWorkWithTheirOwnLogins) {
  Session submitter(conninfo("first_user")), worker(conninfo("first_user")), other(conninfo("second_user"));
  worker.send("CALL insula.wait_for_work('1 h', worker => 'pooled')");
  EXPECT_FALSE(worker.finished(100ms));
  const std::string id = submitter.query("SELECT insula.submit('w')");
  ASSERT_TRUE(worker.finished());
  EXPECT_EQ(worker.answer(), "t");
  submitter.send("CALL insula.await(" + id + ", '1 h')");
  EXPECT_FALSE(submitter.finished(100ms));
  EXPECT_EQ(worker.query("SELECT insula.complete(task_id, lease) FROM insula.claim('pooled')"), "t");
  ASSERT_TRUE(submitter.finished());
  EXPECT_NE(submitter.answer().find("completed"), std::string::npos);
  EXPECT_EQ(other.query("SELECT count(*) FROM insula.claim('other')"), "0");
  EXPECT_EQ(other.error("SELECT insula.result(" + id + ")"), "IS003");
}

TEST_F(Pooler, TheClientNeedsNoSession) {
  auto runner = insula::Runner::with_config(conninfo("first_user"), {.lease = 5s});
  runner.add(insula::Workflow::builder("greet")
                 .task("hello", [](insula::TaskContext& ctx) { ctx.set("greeting", "hello"); })
                 .task("world", [](insula::TaskContext& ctx) { ctx.set("to", "world"); }, {.depends_on = {"hello"}})
                 .build());
  EXPECT_TRUE(runner.execute("greet").status.is_success());
  std::vector<insula::Execution> handles;
  for (int i = 0; i < 100; ++i) handles.push_back(runner.execute_async("greet"));
  (void)output_of("\"$INSULA_POOLER_CTL\" restart");
  for (insula::Execution& handle : handles) EXPECT_TRUE(handle.wait().status.is_success());
  EXPECT_LE(std::stoi(admin.query("SELECT count(*) FROM pg_stat_activity WHERE usename = 'first_user'")), 2);
  EXPECT_TRUE(runner.shutdown().clean());
  EXPECT_EQ(admin.query("SELECT count(*) FROM tenant_first.workflow_executions WHERE status <> 'completed'"), "0");
}

// How long it waits for locks is set for its own transactions alone.
TEST_F(Pooler, TheClientGivesUpOnALockAndLeavesNoSetting) {
  auto runner = insula::Runner::with_config(conninfo("first_user"), {.call_timeout = 3s});
  runner.add(insula::Workflow::builder("greet").task("hello", [](insula::TaskContext&) {}).build());
  admin.query("BEGIN");
  admin.query("SELECT insula.submit('greet', idempotency_key => 'k', tenant => 'first')");
  try {
    runner.execute_async("greet", {}, {.idempotency_key = "k"});
    ADD_FAILURE() << "it waits for another transaction's key";
  } catch (const insula::error& e) {
    EXPECT_EQ(e.sqlstate(), "55P03") << e.what();
  }
  admin.query("ROLLBACK");
  EXPECT_TRUE(runner.execute("greet", {}, {.idempotency_key = "k"}).status.is_success());
  EXPECT_TRUE(runner.shutdown().clean());
  std::vector<std::unique_ptr<Session>> clients;
  for (int i = 0; i < 2; ++i) {  // as many as there are servers
    Session& client = *clients.emplace_back(std::make_unique<Session>(conninfo("first_user")));
    client.query("BEGIN");
    EXPECT_EQ(client.query("SHOW lock_timeout"), "0");
  }
}

// A session's own settings cannot be had here: the client works under those that the role has.
TEST_F(Pooler, TheClientWorksUnderTheRolesSettings) {
  std::vector<std::string> settings = {"statement_timeout = '3 s'", "array_nulls = off", "idle_session_timeout = '3 s'",
                                       "default_transaction_isolation = 'serializable'"};
  // PostgreSQL 19 has it no more.
  if (std::stoi(admin.query("SHOW server_version_num")) < 190000)
    settings.emplace_back("standard_conforming_strings = off");
  for (const std::string& setting : settings) admin.query("ALTER ROLE first_user SET " + setting);
  std::vector<std::string> log;
  std::mutex mutex;
  const auto remember = [&](insula::LogLevel, std::string_view line) {
    const std::lock_guard lock{mutex};
    if (!line.starts_with("without shared memory")) log.emplace_back(line);
  };
  auto runner = insula::Runner::with_config(conninfo("first_user"), {.log = remember});
  runner.add(insula::Workflow::builder("greet").task("hello", [](insula::TaskContext&) {}).build());
  EXPECT_TRUE(runner.execute("greet").status.is_success());
  std::this_thread::sleep_for(3500ms);  // longer than either may last
  EXPECT_TRUE(runner.execute("greet").status.is_success());
  EXPECT_TRUE(runner.shutdown().clean());
  EXPECT_EQ(log, std::vector<std::string>{});
}

}  // namespace
}  // namespace insula_test
