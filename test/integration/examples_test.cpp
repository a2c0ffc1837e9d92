// The examples of the public headers' comments, as they stand there: scripts/test/
// header-examples.sh sees to that.  They compile, and do what they say.
#include <insula/insula.hpp>
#include <insula/nlohmann.hpp>
#include <insula/testing.hpp>

#include <libpq-fe.h>

#include <atomic>
#include <iostream>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

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
  // clang-format off
  in.set("sizes", {1, 2, 3}).set("paid_at", std::chrono::system_clock::now());
  for (const auto& [key, value] : in) std::cout << key << '=' << value.to_json() << '\n';
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

// In place of libpqxx, which may not be installed.
namespace pqxx {
struct params {
  std::vector<std::optional<std::string>> values;
  void append(const std::optional<std::string>& value) { values.push_back(value); }
};
using row = std::vector<std::string>;
struct work {
  row exec_params1(const std::string& sql, const params& params) const {
    std::vector<std::string> given;
    for (const auto& value : params.values) given.push_back(value.value_or(""));
    given[3] = "0 s";
    given[5] = "from pqxx";
    given[6] = "shop";
    return Sql{"dbname=mydb"}.rows(sql, given).at(0);
  }
};
}  // namespace pqxx

TEST_F(Examples, EnqueueByAnotherLibrary) {
  auto runner = insula::Runner::with_schema(url, "shop");
  runner.add(named("ship"));
  const pqxx::work transaction;
  insula::SqlStatement submit = insula::enqueue_statement("ship", {{"order", 42}});
  pqxx::params params;
  for (const auto& parameter : submit.parameters) params.append(parameter);
  pqxx::row answer = transaction.exec_params1(submit.sql, params);
  EXPECT_EQ(answer.at(1), "t");
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
    // clang-format off
    if (!execution.send_event("paid", 30, {.idempotency_key = "payment-7"})) std::cout << "it has ended\n";
    // clang-format on
  }
  struct Pool {
    void post(std::function<void()> job) { threads.emplace_back(std::move(job)); }
    std::vector<std::jthread> threads;
  } pool;
  insula::RunnerConfig config{.label = "gpu-3"};
  config.executor = [&](std::function<void()> job) { pool.post(std::move(job)); };
  auto labelled = insula::Runner::with_schema(database_url, "acme_corp", config);
  labelled.add(workflow);
  EXPECT_TRUE(labelled.execute("orders").status.is_success());
  labelled.shutdown();
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

std::atomic<int> alarms{0};
void alarm(const std::string& workflow, std::int64_t, const std::string& error) {
  EXPECT_EQ(workflow + ", " + error, "bad, task \"only\" failed: never");
  ++alarms;
}

TEST_F(Examples, Observer) {
  struct Spans : insula::Observer {
    void task_started(const insula::TaskContext& task) override {
      begin_span(task.task(), task.get<std::string>(insula::traceparent_key));
    }
    void task_ended(const insula::TaskContext&, const insula::TaskEnd& end) override {
      end_span(name(end.outcome), end.error);
    }
    // clang-format off
    void execution_failed(const insula::FailedExecution& failed) override {
      alarm(failed.workflow, failed.execution_id, failed.error);
    }
    // clang-format on
  };
  {
    const std::string url = insula::DatabaseAdmin{admin_url}.create_tenant({.tenant = "traced"}).connection_string;
    insula::Runner runner{url, {.observer = std::make_shared<Spans>()}};
    runner.add(named("w"));
    runner.execute("w");
    EXPECT_EQ(story, "begin only, end completed");
    runner.add(insula_test::one_task("bad", [](insula::TaskContext&) { throw insula::permanent_error{"never"}; }));
    runner.execute("bad");
    EXPECT_TRUE(insula_test::eventually([] { return alarms == 1; }));
    runner.shutdown();
  }
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
std::optional<insula::Suspend> charge(insula::TaskContext& ctx) {
  if (!ctx.event()) return insula::wait_event("approved", std::chrono::hours{24});
  if (ctx.event()->timed_out) throw insula::permanent_error{"no approval in time"};
  ctx.set("charged", ctx.at<int>("amount"));
  return std::nullopt;
}
}  // namespace event

namespace progress {
void import_row(int row) {
  static bool broken = false;
  if (row == 2 && !std::exchange(broken, true)) throw std::runtime_error{"a bad connection"};
}

void import(insula::TaskContext& ctx) {
  const auto rows = ctx.at<int>("rows");
  for (int row = ctx.last_checkpoint<int>().value_or(0); row < rows; ++row) {
    import_row(row);
    ctx.checkpoint(row + 1);
    ctx.progress(static_cast<double>(row + 1) / rows, "importing");
  }
}
}  // namespace progress

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
  runner.add(insula::Workflow::builder("by_event").task("only", event::charge).build());
  const auto execution = runner.execute_async("by_event", {{"amount", 7}});
  EXPECT_TRUE(execution.send_event("approved"));
  EXPECT_EQ(execution.wait().final_context.at<int>("charged"), 7);
  runner.add(insula_test::one_task("booked", transaction::charge));
  EXPECT_TRUE(runner.execute("booked").status.is_success());
  EXPECT_EQ(Sql{"dbname=mydb"}.value("SELECT balance FROM account"), "90");
  runner.add(
      insula::Workflow::builder("import").task("only", progress::import, {.retry = {.initial_delay = 1ms}}).build());
  EXPECT_EQ(runner.execute("import", {{"rows", 4}}).tasks.at(0).attempt, 2);
  runner.add(insula_test::one_task("limited", [](insula::TaskContext&) {
    throw insula::retry_after{std::chrono::minutes{1}, "too many requests"};
  }));
  runner.add(insula_test::one_task("patient", [](insula::TaskContext&) {
    // On a line of its own, as in the header.
    throw insula::retry_after::without_attempt(std::chrono::minutes{1});
  }));
  for (const char* workflow : {"limited", "patient"}) {
    const auto put_off = runner.execute_async(workflow);
    EXPECT_TRUE(insula_test::eventually([&] {
      return Sql{"dbname=mydb"}.value("SELECT run_at > now() FROM charging.task_executions WHERE execution_id = $1",
                                      {std::to_string(put_off.id())}) == "t" ||
             put_off.result().tasks.at(0).status == insula::Status::waiting;
    }));
    EXPECT_TRUE(put_off.cancel());
  }
}

namespace typed {
// clang-format off
struct Order { std::string id; int amount; };
struct Charged { std::string receipt; };
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Order, id, amount)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Charged, receipt)
// clang-format on
}  // namespace typed

TEST_F(Examples, Typed) {
  using typed::Charged, typed::Order;
  auto runner = insula::Runner::with_schema(url, "typed");
  // clang-format off
  runner.add(insula::Workflow::builder("orders")
                 .task("charge", insula::task<Order, Charged>([](const Order& order) {
                   return Charged{"receipt for " + order.id};
                 }))
                 .build());
  const insula::Typed<Order, Charged> orders{"orders"};
  Charged charged = orders.execute(runner, {"o-1", 30});
  std::vector<insula::Execution> many = orders.submit_many(runner, std::vector<Order>{{"o-2", 5}, {"o-3", 7}});
  Charged second = orders.output(many[0].wait());
  // clang-format on
  EXPECT_EQ(charged.receipt, "receipt for o-1");
  EXPECT_EQ(second.receipt, "receipt for o-2");
  EXPECT_EQ(orders.output(orders.submit(runner, {"o-4", 1}).wait()).receipt, "receipt for o-4");
}

TEST_F(Examples, Executions) {
  auto runner = insula::Runner::with_schema(url, "steered");
  runner.add(
      insula_test::one_task("orders", [](insula::TaskContext&) { throw insula::permanent_error{"the bank is down"}; }));
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(runner.execute("orders").status.is_success());
  // clang-format off
  const insula::Executions all = runner.executions();
  insula::ExecutionFilter failed{.workflow = "orders", .status = insula::Status::failed};
  for (insula::ExecutionPage page = all.list(failed);; page = all.list(failed, page.next)) {
    for (const insula::ExecutionInfo& one : page.executions) std::cout << one.id << ": " << one.error << '\n';
    if (page.next == 0) break;
  }
  for (const insula::FailureGroup& group : all.failures())
    std::cout << group.failed << " times: " << group.error << '\n';
  std::vector<std::int64_t> retried = all.retry({.workflow = "orders"}, {.reason = "the bank is back"});
  // clang-format on
  EXPECT_EQ(retried.size(), 3U);
}

std::string user_name() { return "ada"; }

struct Stopwatch {
  Stopwatch(const std::string& workflow, const std::string& task) {
    std::cout << workflow << '.' << task << " begins\n";
  }
};

TEST_F(Examples, Middleware) {
  struct Timing : insula::Middleware {
    // clang-format off
    void around_task(insula::TaskContext& task, const std::function<void()>& run) override {
      const Stopwatch watch{task.workflow(), task.task()};
      run();
    }
    void before_submit(insula::Submission& submission) override {
      submission.context.set("submitted_by", user_name());
    }
    // clang-format on
  };
  const std::string url = insula::DatabaseAdmin{admin_url}.create_tenant({.tenant = "timed"}).connection_string;
  insula::Runner runner{url, {.middleware = {std::make_shared<Timing>()}}};
  runner.add(named("w"));
  EXPECT_EQ(runner.execute("w").final_context.at<std::string>("submitted_by"), "ada");
  const auto video = insula::Workflow::builder("video").task("transcode", [](insula::TaskContext&) {}).build();
  runner.add(video, {.only = {"transcode"}});
  EXPECT_TRUE(runner.execute("video").status.is_success());
}

bool index(const std::string& document) { return document != "lost"; }

TEST_F(Examples, Batch) {
  // clang-format off
  const auto workflow = insula::Workflow::builder("indexing")
  .batch("index", [](std::span<insula::TaskContext* const> tasks) {
    for (insula::TaskContext* task : tasks)
      if (!index(task->at<std::string>("document"))) task->fail("no such document");
  })
                            // clang-format on
                            .build();
  auto runner = insula::Runner::with_schema(url, "indexed");
  runner.add(workflow);
  EXPECT_TRUE(runner.execute("indexing", {{"document", "found"}}).status.is_success());
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

void book(insula::TaskContext& ctx) {
  const std::string sql = "INSERT INTO booked VALUES (" + std::to_string(ctx.at<int>("amount")) + ")";
  PQclear(PQexec(ctx.transaction(), sql.c_str()));
}

TEST(PreloadedExamples, Testing) {
  const insula::Workflow workflow = insula::Workflow::builder("w").task("count", count).build();
  const insula::Context input{{"words", std::vector<std::string>{"a", "b"}}};
  auto run = insula::testing::run_task(workflow, "count", {.context = input});
  EXPECT_EQ(run.changes.at<int>("word_count"), 2);
  const insula_test::Connection conn;
  const insula::Workflow booking = insula::Workflow::builder("booking").task("book", book).build();
  PQclear(PQexec(conn, "CREATE TEMPORARY TABLE booked (amount int)"));
  PQclear(PQexec(conn, "BEGIN"));
  auto booked = insula::testing::run_task(booking, "book", {.context = {{"amount", 5}}, .connection = conn});
  EXPECT_EQ(booked.outcome, insula::TaskOutcome::completed);
  EXPECT_EQ(conn.value("SELECT amount FROM booked"), "5");
  PQclear(PQexec(conn, "ROLLBACK"));
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
