// The examples of client/README.md, as they stand there: scripts/test/header-examples.sh sees to that.  They compile,
// and do what they say.
#include <insula/insula.hpp>
#include <insula/nlohmann.hpp>
#include <insula/testing.hpp>

#include <libpq-fe.h>

#include <atomic>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "client_test.hpp"

struct Point {
  int x;
  int y;
};

// clang-format off
template <>
struct insula::Codec<Point> {
  static Value to_value(const Point& point) { return Context{{"x", point.x}, {"y", point.y}}; }
  static std::optional<Point> from_value(const Value& value) {
    const Context in = value.as<Context>().value_or(Context{});
    const auto x = in.get<int>("x"), y = in.get<int>("y");
    return x && y ? std::optional{Point{*x, *y}} : std::nullopt;
  }
};
// clang-format on

// The examples of the headers have names in common with them.
namespace readme {
namespace {

using insula_test::ClientTest;
using insula_test::eventually;
using namespace std::chrono_literals;

// What the tasks and hooks of one test leave.
std::atomic<int> told{0};
std::atomic<int> alarms{0};
std::atomic<bool> broken{false};

// The names that the examples take for granted.
class Readme : public ClientTest {
 protected:
  void SetUp() override {
    ClientTest::SetUp();
    told = alarms = 0;
    broken = false;
    runner.emplace(make_runner());
  }

  std::optional<insula::Runner> runner;
};

namespace tasks {

void charge(insula::TaskContext& ctx) { ctx.set("charged", ctx.at<int>("amount")); }
void ship(insula::TaskContext& ctx) {
  if (ctx.at<int>("amount") < 0) throw insula::permanent_error{"nothing to ship"};
}
void tell(insula::TaskContext&) { ++told; }

}  // namespace tasks

TEST_F(Readme, Tasks) {
  using tasks::charge, tasks::ship, tasks::tell;
  auto& runner = *this->runner;
  // clang-format off
  runner.add(insula::Workflow::builder("orders")
                 .param("amount", insula::ParamType::integer, {.required = true})
                 .task("charge", charge, {.retry = {.max_attempts = 5, .initial_delay = 2s}, .timeout = 1min})
                 .task("ship", ship, {.depends_on = {"charge"}})
                 .task("tell", tell, {.on_failure = true})
                 .build());
  runner.schedule("nightly", "orders", "0 3 * * *", {.timezone = "Europe/Rome", .context = {{"amount", 1}}});
  // clang-format on
  EXPECT_EQ(runner.execute("orders", {{"amount", 3}}).final_context.at<int>("charged"), 3);
  EXPECT_EQ(told, 0);
  EXPECT_FALSE(runner.execute("orders", {{"amount", -1}}).status.is_success());
  EXPECT_EQ(told, 1);
}

TEST_F(Readme, LookAndSteer) {
  auto& runner = *this->runner;
  runner.add(
      insula_test::one_task("orders", [](insula::TaskContext&) { throw insula::permanent_error{"the bank is down"}; }));
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(runner.execute("orders").status.is_success());
  // clang-format off
  const insula::Executions all = runner.executions();
  for (const insula::FailureGroup& group : all.failures())
    std::cout << group.failed << " times: " << group.error << '\n';
  insula::ExecutionPage page = all.list({.workflow = "orders", .status = insula::Status::failed});
  EXPECT_EQ(page.executions.size(), 3U);
  while (page.next != 0) page = all.list({.workflow = "orders", .status = insula::Status::failed}, page.next);
  all.retry({.workflow = "orders"}, {.reason = "the bank is back"});
  // clang-format on
}

void import_row(int row) {
  if (row == 2 && !broken.exchange(true)) throw std::runtime_error{"a bad connection"};
}

void import_rows(insula::TaskContext& ctx) {
  const int rows = 4;
  for (int row = ctx.last_checkpoint<int>().value_or(0); row < rows; ++row) {
    import_row(row);
    ctx.checkpoint(row + 1);
    ctx.progress(static_cast<double>(row + 1) / rows, "importing");
  }
}

TEST_F(Readme, Progress) {
  runner->add(insula::Workflow::builder("import").task("only", import_rows, {.retry = {.initial_delay = 1ms}}).build());
  EXPECT_EQ(runner->execute("import").tasks.at(0).attempt, 2);
}

namespace approval {
std::optional<insula::Suspend> charge(insula::TaskContext& ctx) {
  if (!ctx.event()) return insula::wait_event("approved", std::chrono::hours{24});
  ctx.set("charged", ctx.at<int>("amount"));
  return std::nullopt;
}
}  // namespace approval

TEST_F(Readme, Waiting) {
  runner->add(insula::Workflow::builder("orders").task("charge", approval::charge).build());
  const insula::Execution execution = runner->execute_async("orders", {{"amount", 3}});
  // clang-format off
  if (!execution.send_event("approved", "by Ada", {.idempotency_key = "approval-7"}))
    std::cout << "the execution has ended\n";
  // clang-format on
  EXPECT_EQ(execution.wait().final_context.at<int>("charged"), 3);
}

namespace typed {
// clang-format off
struct Order { std::string id; int amount; };
struct Charged { std::string receipt; };
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Order, id, amount)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Charged, receipt)
// clang-format on
Charged charge(const Order& order) { return {"receipt for " + order.id}; }
}  // namespace typed

TEST_F(Readme, Types) {
  using typed::charge, typed::Charged, typed::Order;
  auto& runner = *this->runner;
  // clang-format off
  runner.add(insula::Workflow::builder("orders").task("charge", insula::task<Order, Charged>(charge)).build());
  const insula::Typed<Order, Charged> orders{"orders"};
  Charged charged = orders.execute(runner, {"o-1", 30});
  // clang-format on
  EXPECT_EQ(charged.receipt, "receipt for o-1");
  const insula::Context context{{"from", Point{1, 2}}};
  EXPECT_EQ(context.at<Point>("from").y, 2);
  EXPECT_FALSE(context.get<Point>("to"));
}

struct Stopwatch {
  Stopwatch(const std::string& workflow, const std::string& task) {
    std::cout << workflow << '.' << task << " begins\n";
  }
};
void alarm(const std::string&, std::int64_t, const std::string&) { ++alarms; }

TEST_F(Readme, Hooks) {
  const std::string url = "options=-cinsula.tenant=" + tenant_;
  // clang-format off
  struct Timing : insula::Middleware {
    void around_task(insula::TaskContext& task, const std::function<void()>& run) override {
      const Stopwatch watch{task.workflow(), task.task()};
      run();
    }
  };
  struct Alarms : insula::Observer {
    void execution_failed(const insula::FailedExecution& failed) override {
      alarm(failed.workflow, failed.execution_id, failed.error);
    }
  };
  insula::Runner runner{url, {.observer = std::make_shared<Alarms>(), .middleware = {std::make_shared<Timing>()}}};
  // clang-format on
  runner.add(insula_test::one_task("bad", [](insula::TaskContext&) { throw insula::permanent_error{"never"}; }));
  EXPECT_FALSE(runner.execute("bad").status.is_success());
  EXPECT_TRUE(eventually([] { return alarms == 1; }));
  EXPECT_TRUE(runner.shutdown().clean());
}

struct Library {
  std::vector<std::string> query(const std::string& sql, const std::vector<std::optional<std::string>>& given) const {
    const insula_test::Connection conn{"options=-cinsula.tenant=" + tenant};
    std::vector<const char*> values;
    for (const auto& value : given) values.push_back(value ? value->c_str() : nullptr);
    PGresult* answer =
        PQexecParams(conn, sql.c_str(), static_cast<int>(values.size()), nullptr, values.data(), nullptr, nullptr, 0);
    return insula_test::rows_of(insula_test::checked(conn, answer)).at(0);
  }
  std::string tenant;
};

TEST_F(Readme, AnyLibrary) {
  runner->add(insula_test::one_task("orders", [](insula::TaskContext&) {}));
  const Library my_library{tenant_};
  for (const char* is_new : {"t", "f"}) {
    // clang-format off
    insula::SqlStatement submit = insula::enqueue_statement("orders", {{"amount", 3}}, {.idempotency_key = "order-7"});
    auto row = my_library.query(submit.sql, submit.parameters);
    // clang-format on
    EXPECT_EQ(row.at(1), is_new);
  }
}

TEST(PreloadedReadme, Testing) {
  const insula::Workflow workflow = insula::Workflow::builder("orders").task("charge", tasks::charge).build();
  // clang-format off
  auto run = insula::testing::run_task(workflow, "charge", {.context = {{"amount", 3}}});
  if (run.outcome == insula::TaskOutcome::completed) std::cout << run.changes.at<int>("charged") << '\n';
  insula::testing::Cluster cluster;
  auto runner = insula::Runner::with_schema(cluster.connection_string(), "acme");
  // clang-format on
  EXPECT_EQ(run.changes.at<int>("charged"), 3);
  runner.add(workflow);
  EXPECT_TRUE(runner.execute("orders", {{"amount", 1}}).status.is_success());
}

}  // namespace
}  // namespace readme
