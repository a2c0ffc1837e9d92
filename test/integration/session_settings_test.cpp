// The client and the scheduler work under whatever a role or a database sets for its sessions.  A database of its own
// carries the settings, for the tenant and for the scheduler alike.
#include "client_test.hpp"

#include <postgresql/libpq-fe.h>

#include <poll.h>

#include <atomic>
#include <thread>

namespace {

using namespace insula_test;
using namespace insula;

class SessionSettings : public ::testing::Test {
 protected:
  void SetUp() override {
    admin_.rows("DROP DATABASE IF EXISTS with_settings WITH (FORCE)");
    admin_.rows("CREATE DATABASE with_settings");
    sql_.rows("SET client_min_messages = error");
    sql_.rows("CREATE EXTENSION insula");
  }
  void TearDown() override { admin_.rows("DROP DATABASE with_settings WITH (FORCE)"); }

  void set(const std::string& setting, const std::string& value) {
    admin_.rows("ALTER DATABASE with_settings SET " + setting + " = " + value);
  }
  Runner make_runner(RunnerConfig config = {}) {
    config.log = log_.hook();
    return Runner::with_schema(conninfo_, "somewhere", std::move(config));
  }
  // A column of pg_stat_activity for the session of that name.
  std::string session(const std::string& name, const std::string& column) {
    return sql_.value("SELECT " + column +
                          " FROM pg_catalog.pg_stat_activity WHERE application_name = $1 AND "
                          "datname = 'with_settings'",
                      {name});
  }
  bool parked() {
    return eventually([&] { return session("insula dispatch", "state || wait_event_type") == "activeExtension"; });
  }
  // The log, without the lines that each session writes if there is no shared memory.
  std::string complaints() {
    std::string log = log_.text();
    const std::string usual = "without shared memory, waiting calls look for work once a second\n";
    for (std::size_t at; (at = log.find(usual)) != std::string::npos;) log.erase(at, usual.size());
    return log;
  }
  void use_everything(Runner& runner);

  const std::string conninfo_ = "dbname=with_settings";
  Sql admin_;
  Sql sql_{conninfo_};
  Log log_;
};
using PreloadedSessionSettings = SessionSettings;

// One of each call that a handler or an application makes.
void SessionSettings::use_everything(Runner& runner) {
  std::atomic<int> runs{0};
  runner.add(Workflow::builder("child").task("only", [](TaskContext& ctx) { ctx.set("n", 1); }).build());
  runner.add(Workflow::builder("all")
                 .task("nothing", [](TaskContext&) {})
                 .task("something", [](TaskContext& ctx) { ctx.set("a", "b\\\"'c"); })
                 .task("defers",
                       [&](TaskContext& ctx) {
                         if (ctx.contains("deferred")) return;
                         ctx.set("deferred", true);
                         ctx.defer_until(1ms);
                       })
                 .task("waits",
                       [](TaskContext& ctx) {
                         if (!ctx.event()) ctx.wait_event("go", 60s);
                       })
                 .task("begets", [](TaskContext& ctx) { ctx.submit_child("child"); })
                 .task("commits",
                       [](TaskContext& ctx) {
                         PQclear(PQexec(ctx.transaction(), "SELECT 1"));
                         ctx.set("committed", true);
                       })
                 .task("fails",
                       [&](TaskContext&) {
                         if (runs++ == 0) throw std::runtime_error{"a \\ b ' c"};
                       },
                       {.retry = {.initial_delay = 1ms}})
                 .task("each", [](TaskContext& ctx) { return ctx.item(); }, {.for_each = ForEach{.items = "list"}})
                 .build());
  const Context input{{"list", std::vector<int>{1, 2, 3}}};
  const Execution execution = runner.execute_async("all", input);
  EXPECT_TRUE(execution.send_event("go", 1));
  const auto result = execution.wait_for(patience);
  ASSERT_TRUE(result) << log_.text();
  EXPECT_TRUE(result->status.is_success()) << result->error;
  EXPECT_EQ(result->final_context.at<std::string>("a"), "b\\\"'c");

  const auto later = std::chrono::system_clock::now() + 1ms;
  const std::vector<Context> inputs{Context{}, Context{{"n", 1}}};
  for (const Execution& one : runner.submit_many("child", inputs, {.run_at = later, .idempotency_keys = {"", "key"}}))
    EXPECT_TRUE(one.wait().status.is_success());
  runner.schedule("nightly", "child", "0 3 * * *", {.timezone = "Europe/Berlin", .jitter = 1min});
  EXPECT_EQ(runner.schedules().size(), 1U);
  EXPECT_EQ(runner.next_fires("0 3 * * *").size(), 5U);
  EXPECT_TRUE(runner.unschedule("nightly"));
}

TEST_F(SessionSettings, ThatChangeFormsChangeNothing) {
  for (const auto& [setting, value] :
       std::vector<std::pair<std::string, std::string>>{{"array_nulls", "off"},
                                                        {"backslash_quote", "off"},
                                                        {"bytea_output", "'escape'"},
                                                        {"\"DateStyle\"", "'SQL, DMY'"},
                                                        {"\"IntervalStyle\"", "'sql_standard'"},
                                                        {"\"TimeZone\"", "'Asia/Kathmandu'"},
                                                        {"extra_float_digits", "-15"},
                                                        {"client_encoding", "'LATIN1'"},
                                                        {"transform_null_equals", "on"},
                                                        {"quote_all_identifiers", "on"},
                                                        {"row_security", "off"},
                                                        {"xmloption", "'document'"},
                                                        {"client_min_messages", "'debug1'"},
                                                        {"lock_timeout", "'5 s'"},
                                                        {"insula.tenant", "'no_such_tenant'"}})
    set(setting, value);
  // PostgreSQL 19 has it no more.
  if (std::stoi(admin_.value("SHOW server_version_num")) < 190000) set("standard_conforming_strings", "off");
  Runner runner = make_runner();
  use_everything(runner);
  DatabaseAdmin admin{conninfo_};
  admin.set_tenant_limits("somewhere", {.rate_per_second = 1234.5678, .retain = std::chrono::hours{36}});
  const auto tenant = admin.find_tenant("somewhere");
  ASSERT_TRUE(tenant);
  EXPECT_EQ(tenant->limits.rate_per_second, 1234.5678);
  EXPECT_EQ(tenant->limits.retain, std::chrono::hours{36});
  EXPECT_TRUE(runner.shutdown().clean());
  EXPECT_EQ(complaints(), "");
}

// Every name is looked up where it belongs, wherever the session would look first.
TEST_F(SessionSettings, ASearchPathLeadsNowhere) {
  for (const char* statement :
       {"CREATE SCHEMA hostile",
        "CREATE FUNCTION hostile.fails(anyelement, anyelement) RETURNS boolean LANGUAGE plpgsql "
        "AS $$BEGIN RAISE 'a stranger''s operator'; END$$",
        "CREATE FUNCTION hostile.later(timestamptz, interval) RETURNS timestamptz LANGUAGE plpgsql "
        "AS $$BEGIN RAISE 'a stranger''s operator'; END$$",
        "CREATE FUNCTION hostile.times(numeric, integer) RETURNS numeric LANGUAGE plpgsql "
        "AS $$BEGIN RAISE 'a stranger''s operator'; END$$",
        "CREATE OPERATOR hostile.= (FUNCTION = hostile.fails, LEFTARG = anyelement, RIGHTARG = anyelement)",
        "CREATE OPERATOR hostile.+ (FUNCTION = hostile.later, LEFTARG = timestamptz, RIGHTARG = interval)",
        "CREATE OPERATOR hostile.* (FUNCTION = hostile.times, LEFTARG = numeric, RIGHTARG = integer)",
        "CREATE DOMAIN hostile.jsonb AS pg_catalog.text CHECK (false)",
        "CREATE DOMAIN hostile.text AS pg_catalog.text CHECK (false)",
        "CREATE DOMAIN hostile.timestamptz AS pg_catalog.timestamptz CHECK (false)",
        "CREATE DOMAIN hostile.int8 AS pg_catalog.int8 CHECK (false)"})
    sql_.rows(statement);
  set("search_path", "hostile, pg_catalog");
  Runner runner = make_runner();
  use_everything(runner);
  DatabaseAdmin admin{conninfo_};
  admin.set_tenant_limits("somewhere", {.retain = std::chrono::hours{1}});
  EXPECT_TRUE(admin.find_tenant("somewhere"));
  EXPECT_EQ(complaints(), "");
}

TEST_F(SessionSettings, ThatAskForSerializabilityAreNoObstacle) {
  for (const char* level : {"'serializable'", "'repeatable read'"}) {
    set("default_transaction_isolation", level);
    Runner runner = make_runner({.max_concurrent_tasks = 4});
    Runner second = make_runner({.max_concurrent_tasks = 4});
    use_everything(runner);
    second.add(one_task("w", [](TaskContext& ctx) { ctx.set("done", true); }));
    runner.add(one_task("w", [](TaskContext& ctx) { ctx.set("done", true); }));
    const std::vector<Context> inputs(200);
    for (const Execution& execution : runner.submit_many("w", inputs))
      EXPECT_TRUE(execution.wait().status.is_success());
  }
  EXPECT_EQ(complaints(), "");
}

TEST_F(PreloadedSessionSettings, AStatementTimeoutDoesNotCountAParkedCall) {
  set("statement_timeout", "'2 s'");
  Runner runner = make_runner();
  runner.add(one_task("w", [](TaskContext&) {}));
  EXPECT_TRUE(runner.execute("w").status.is_success());
  // The end of the execution may wake the first call that parks. One that the timeout ends lasts no 2.5 s, ever.
  bool lasts = false;
  for (int attempt = 0; attempt < 5 && !lasts; ++attempt) {
    ASSERT_TRUE(parked());
    const std::string since = session("insula dispatch", "query_start");
    std::this_thread::sleep_for(2500ms);
    lasts = session("insula dispatch", "query_start") == since;
  }
  EXPECT_TRUE(lasts) << "no call was parked for longer than the timeout";
  EXPECT_TRUE(runner.execute("w").status.is_success());
  EXPECT_TRUE(runner.shutdown().clean());
  EXPECT_EQ(complaints(), "");
}

// A word goes out halfway to the timeout; a machine may be too busy for a short one.
TEST_F(SessionSettings, AnIdleSessionTimeoutEndsNoConnectionOfARunner) {
  const auto outlives = [this](std::chrono::seconds timeout) {
    set("idle_session_timeout", std::to_string(timeout.count() * 1000));
    const std::string complaints_before = complaints();
    Runner runner = make_runner({.max_concurrent_tasks = 1});
    const Gate gate;
    runner.add(one_task("busy", [&](TaskContext&) { gate.wait(); }));
    const Execution execution = runner.execute_async("busy");
    gate.wait_for_arrivals(1);
    const auto connections = [this] { return session("insula control", "pid") + session("insula dispatch", "pid"); };
    const std::string before = connections();
    std::this_thread::sleep_for(timeout * 3 / 2);
    const bool same = connections() == before;
    gate.open();
    const Result result = execution.wait();
    EXPECT_TRUE(result.status.is_success());
    EXPECT_TRUE(runner.shutdown().clean());
    // The end of the dispatch connection gives the task to another worker.
    return same && result.tasks.at(0).attempt == 1 && complaints() == complaints_before;
  };
  EXPECT_TRUE(outlives(2s) || outlives(20s)) << log_.text();
}

TEST_F(SessionSettings, AnIdleTransactionsEndIsTold) {
  set("idle_in_transaction_session_timeout", "'100 ms'");
  Runner runner = make_runner();
  runner.add(Workflow::builder("slow")
                 .task("only",
                       [](TaskContext& ctx) {
                         const PGconn* conn = ctx.transaction();
                         pollfd gone{PQsocket(conn), POLLIN, 0};
                         poll(&gone, 1, 30'000);
                       },
                       {.retry = {.max_attempts = 1}})
                 .build());
  const auto result = runner.execute_async("slow").wait_for(patience);
  ASSERT_TRUE(result);
  EXPECT_NE(result->error.find("idle-in-transaction timeout"), std::string::npos) << result->error;
}

TEST_F(SessionSettings, AReadOnlyDefaultIsToldOnce) {
  Runner runner = make_runner();
  runner.add(one_task("w", [](TaskContext&) {}));
  EXPECT_TRUE(runner.execute("w").status.is_success());
  set("default_transaction_read_only", "on");
  sql_.rows(
      "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity "
      "WHERE application_name LIKE 'insula %' AND usename = current_user AND datname = 'with_settings'");
  EXPECT_TRUE(eventually([&] { return log_.holds("dispatch connection is back"); }));
  EXPECT_EQ(error_of([&] { runner.execute("w"); }).sqlstate(), "25006");
  sql_.rows("SELECT insula.submit('w', tenant => 'somewhere')");
  EXPECT_TRUE(eventually([&] { return log_.holds("cannot claim"); })) << log_.text();
  std::this_thread::sleep_for(1s);
  const std::string log = log_.text();
  EXPECT_EQ(log.find("cannot claim"), log.rfind("cannot claim")) << log;
}

}  // namespace
