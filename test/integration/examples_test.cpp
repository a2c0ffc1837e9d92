// The examples of the public headers' comments, as they stand there: scripts/test/
// header-examples.sh sees to that.  They compile, and do what they say.
#include <insula/insula.hpp>
#include <insula/nlohmann.hpp>
#include <insula/testing.hpp>

#include <libpq-fe.h>

#include <iostream>
#include <stdexcept>

#include "client_test.hpp"

namespace {

using insula_test::Sql;
using namespace std::chrono_literals;

// The names that the examples take for granted.
class Examples : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    Sql sql;
    sql.rows("SET client_min_messages = warning");
    sql.rows("CREATE DATABASE mydb");
    sql.rows("CREATE ROLE fleet LOGIN");
    Sql mydb{"dbname=mydb"};
    mydb.rows("CREATE EXTENSION insula");
    mydb.rows("GRANT insula_runner TO fleet");
    mydb.rows("CREATE TABLE orders (id int)");
    mydb.rows("CREATE TABLE account (id int, balance int)");
    mydb.rows("INSERT INTO account VALUES (1, 100)");
  }
  static void TearDownTestSuite() {
    Sql{"dbname=mydb"}.rows("SELECT insula.drop_tenant(tenant, '0 s') FROM insula.tenants");
    Sql sql;
    sql.rows("DROP DATABASE mydb WITH (FORCE)");
    sql.rows("DROP ROLE fleet");
  }

  const std::string database_url = "dbname=mydb";
  const std::string admin_url = database_url;
  const std::string url = database_url;
};

insula::Workflow named(const char* name) {
  return insula_test::one_task(name, [](insula::TaskContext&) {});
}

TEST_F(Examples, Admin) {
  insula::DatabaseAdmin admin{admin_url};
  auto c = admin.create_tenant({.schema_name = "tenant_acme", .username = "acme_user"});
  admin.set_tenant_limits(c.tenant, {.max_running = 20, .weight = 2});
  insula::Runner runner{c.connection_string};
  runner.add(named("w"));
  EXPECT_TRUE(runner.execute("w").status.is_success());
}

// clang-format off
struct Address { std::string city; int number; };
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Address, city, number)
// clang-format on

TEST(ExamplesOfJson, Nlohmann) {
  insula::Context ctx{{"home", Address{"Rome", 3}}};
  auto home = ctx.at<Address>("home");
  auto trips = ctx.get<std::vector<Address>>("trips");
  auto any = ctx.at<nlohmann::json>("home");
  EXPECT_EQ(home.city, "Rome");
  EXPECT_FALSE(trips);
  EXPECT_EQ(any["number"], 3);
}

TEST_F(Examples, Context) {
  // clang-format off
  insula::Context in{{"tenant_id", "acme_corp"}, {"n", 3}, {"tags", std::vector<std::string>{"a", "b"}}};
  in.set("address", insula::Context{{"city", "Rome"}});
  int n = in.get<int>("n").value_or(0);
  auto city = in.at<insula::Context>("address").at<std::string>("city");
  // clang-format on
  EXPECT_EQ(n, 3);
  EXPECT_EQ(city, "Rome");
}

TEST_F(Examples, Enqueue) {
  auto runner = insula::Runner::with_schema(url, "shop");
  runner.add(named("ship"));
  Sql{"dbname=mydb"}.rows("ALTER DATABASE mydb SET insula.tenant = 'shop'");
  PGconn* conn = PQconnectdb("dbname=mydb");
  PQclear(PQexec(conn, "BEGIN"));
  PQclear(PQexec(conn, "INSERT INTO orders VALUES (42)"));
  insula::enqueue(conn, "ship", {{"order", 42}});
  PQclear(PQexec(conn, "COMMIT"));
  const std::vector<insula::Context> contexts(2);
  insula::enqueue_many(conn, "ship", contexts, {.idempotency_keys = {"a", "b"}});
  PQfinish(conn);
  Sql sql{"dbname=mydb"};
  EXPECT_EQ(sql.value("SELECT count(*) FROM orders"), "1");
  EXPECT_EQ(sql.value("SELECT count(*) FROM shop.workflow_executions"), "3");
  sql.rows("ALTER DATABASE mydb RESET insula.tenant");
}

TEST_F(Examples, RunnerAndExecution) {
  const insula::Workflow workflow = named("orders");
  auto runner = insula::Runner::with_schema(database_url, "acme_corp");
  runner.add(workflow);
  insula::Result r = runner.execute("orders", {{"n", 3}});
  auto handle = runner.execute_async("orders", {{"n", 4}});
  const std::vector<insula::Context> contexts(2);
  auto many = runner.submit_many("orders", contexts);
  EXPECT_EQ(many.size(), 2U);
  EXPECT_TRUE(r.status.is_success());
  EXPECT_TRUE(handle.wait().status.is_success());
  {
    insula::Execution execution = runner.execute_async("orders", {{"n", 4}});
    if (auto result = execution.wait_for(std::chrono::seconds{10}))
      std::cout << result->status << '\n';
    else
      execution.cancel("took too long");
  }
  runner.shutdown();
}

TEST_F(Examples, Fleet) {
  insula::DatabaseAdmin{admin_url}.create_tenant({.tenant = "fleet_one"});
  const insula::Workflow workflow = named("w");
  insula::Fleet fleet{"dbname=mydb user=fleet"};
  fleet.add(workflow);
  auto other = insula::Runner::with_schema(url, "fleet_two");
  Sql sql{"dbname=mydb"};
  sql.rows("SELECT insula.register_workflow($1::jsonb, tenant => 'fleet_one')", {workflow.definition_json()});
  const std::string id = sql.value("SELECT insula.submit('w', tenant => 'fleet_one')");
  EXPECT_TRUE(
      insula_test::eventually([&] { return sql.value("SELECT (insula.result($1)).status", {id}) == "completed"; }));
  fleet.shutdown();
}

std::string story;
void begin_span(const std::string& task, const std::optional<std::string>& parent) {
  story += "begin " + task + (parent ? " with a parent" : "");
}
void end_span(std::string_view outcome, std::string_view error) {
  story += ", end " + std::string{outcome} + std::string{error};
}

TEST_F(Examples, Observer) {
  struct Spans : insula::Observer {
    void task_started(const insula::TaskContext& task) override {
      begin_span(task.task(), task.get<std::string>(insula::traceparent_key));
    }
    void task_ended(const insula::TaskContext&, const insula::TaskEnd& end) override {
      end_span(name(end.outcome), end.error);
    }
  };
  {
    const std::string url = insula::DatabaseAdmin{admin_url}.create_tenant({.tenant = "traced"}).connection_string;
    insula::Runner runner{url, {.observer = std::make_shared<Spans>()}};
    runner.add(named("w"));
    runner.execute("w");
    runner.shutdown();
  }
  EXPECT_EQ(story, "begin only, end completed");
}

TEST_F(Examples, Schedule) {
  auto runner = insula::Runner::with_schema(url, "scheduled");
  runner.add(named("report"));
  runner.schedule("nightly", "report", "0 3 * * *", {.timezone = "Europe/Rome"});
  runner.schedule("hourly", "report", "@hourly", {.catch_up = insula::CatchUp::run_once});
  // clang-format off
  for (const insula::ScheduleInfo& schedule : runner.schedules())
    std::cout << schedule.name << ' ' << name(schedule.status) << '\n';
  // clang-format on
  EXPECT_TRUE(runner.unschedule("nightly"));
}

namespace event {
void charge(insula::TaskContext& ctx) {
  if (!ctx.event()) return ctx.wait_event("approved", std::chrono::hours{24});
  if (ctx.event()->timed_out) throw insula::permanent_error{"no approval in time"};
  ctx.set("charged", ctx.at<int>("amount"));
}
}  // namespace event

namespace transaction {
void charge(insula::TaskContext& ctx) {
  PGconn* conn = ctx.transaction();
  PGresult* result = PQexec(conn, "UPDATE account SET balance = balance - 10 WHERE id = 1");
  const bool done = PQresultStatus(result) == PGRES_COMMAND_OK;
  PQclear(result);
  if (!done) throw std::runtime_error{PQerrorMessage(conn)};
}
}  // namespace transaction

TEST_F(Examples, TaskContext) {
  auto runner = insula::Runner::with_schema(url, "charging");
  runner.add(insula_test::one_task("by_event", event::charge));
  const auto execution = runner.execute_async("by_event", {{"amount", 7}});
  EXPECT_TRUE(execution.send_event("approved"));
  EXPECT_EQ(execution.wait().final_context.at<int>("charged"), 7);
  runner.add(insula_test::one_task("booked", transaction::charge));
  EXPECT_TRUE(runner.execute("booked").status.is_success());
  EXPECT_EQ(Sql{"dbname=mydb"}.value("SELECT balance FROM account"), "90");
}

void count(insula::TaskContext& ctx) {
  auto words = ctx.at<std::vector<std::string>>("words");
  ctx.set("word_count", words.size());
}

void extract(insula::TaskContext& ctx) { ctx.set("words", std::vector<std::string>{"a", "b"}); }
void clean(insula::TaskContext&) {}
void load(insula::TaskContext&) {}

TEST_F(Examples, Workflow) {
  // clang-format off
  auto etl = insula::Workflow::builder("etl")
                 .task("extract", extract)
                 .task("clean", clean, {.depends_on = {"extract"}})
                 .task("count", count, {.depends_on = {"extract"}})
                 .task("load", load, {.depends_on = {"clean", "count"}})
                 .build();
  // clang-format on
  auto runner = insula::Runner::with_schema(url, "loading");
  runner.add(etl);
  EXPECT_EQ(runner.execute("etl").final_context.at<int>("word_count"), 2);
}

void charge(insula::TaskContext&) { throw insula::permanent_error{"no money"}; }
void refund(insula::TaskContext&) {}
void report(insula::TaskContext& ctx) { ctx.set("reported", true); }

struct Busy : std::runtime_error {
  using std::runtime_error::runtime_error;
};

TEST_F(Examples, RetryIf) {
  // clang-format off
  const auto is_busy = [](const std::exception& e) { return dynamic_cast<const Busy*>(&e) != nullptr; };
  // clang-format on
  int runs = 0;
  const auto fetch = [&](insula::TaskContext&) {
    if (++runs == 1) throw Busy{"later"};
    throw std::runtime_error{"never"};
  };
  auto runner = insula::Runner::with_schema(url, "fetching");
  runner.add(insula::Workflow::builder("fetch")
                 .task("fetch", fetch, {.retry = {.initial_delay = 1ms}, .retry_if = is_busy})
                 .build());
  EXPECT_EQ(runner.execute("fetch").error, "task \"fetch\" failed: never");
  EXPECT_EQ(runs, 2);
}

TEST_F(Examples, TriggerRule) {
  using insula::Comparison, insula::TriggerRule;
  // clang-format off
  const auto workflow =
  insula::Workflow::builder("order")
      .task("charge", charge)
      .task("refund", refund, {.depends_on = {"charge"}, .trigger_rule = TriggerRule::task_failed("charge")})
      .task("report", report, {.depends_on = {"charge", "refund"},
                               .trigger_rule = TriggerRule::any({
                                   TriggerRule::task_success("refund"),
                                   TriggerRule::all({
                                       TriggerRule::task_success("charge"),
                                       TriggerRule::context_value("$.total", Comparison::greater_than, 100)})})})
      .build();
  // clang-format on
  auto runner = insula::Runner::with_schema(url, "ordering");
  runner.add(workflow);
  EXPECT_TRUE(runner.execute("order").final_context.at<bool>("reported"));
}

TEST(PreloadedExamples, Testing) {
  const insula::Workflow workflow = insula::Workflow::builder("w").task("count", count).build();
  const insula::Context input{{"words", std::vector<std::string>{"a", "b"}}};
  auto run = insula::testing::run_task(workflow, "count", {.context = input});
  EXPECT_EQ(run.changes.at<int>("word_count"), 2);
  insula::testing::Cluster cluster;
  auto runner = insula::Runner::with_schema(cluster.connection_string(), "acme");
  runner.add(workflow);
  const auto place_order = [&] { runner.execute_async("w", {{"order", 42}, {"words", std::vector<std::string>{}}}); };
  place_order();
  cluster.require_enqueued("acme", "w", {{"order", 42}});
  cluster.drain();
  cluster.advance_clock(std::chrono::hours{24});
}

}  // namespace
