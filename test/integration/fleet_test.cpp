// One process for all tenants: over two connections, and no tenant's lock blocks another tenant.
#include "client_test.hpp"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <thread>

namespace {

using namespace insula_test;
using namespace insula;

class Fleets : public ClientTest {
 protected:
  void SetUp() override {
    ClientTest::SetUp();
    user_ = "fleet_" + tenant_;
    sql_.rows("CREATE ROLE " + user_ + " LOGIN");
    sql_.rows("GRANT insula_runner TO " + user_);
  }
  void TearDown() override {
    for (const std::string& tenant : tenants_) sql_.rows("SELECT insula.drop_tenant($1, '0 s')", {tenant});
    sql_.rows("DROP ROLE " + user_);
  }

  std::string add_tenant() {
    const std::string tenant = tenant_ + "_" + std::to_string(tenants_.size());
    sql_.rows("SELECT insula.create_tenant($1, login => false)", {tenant});
    sql_.rows("SELECT insula.register_workflow($1::jsonb, tenant => $2)", {workflow().definition_json(), tenant});
    return tenants_.emplace_back(tenant);
  }
  Workflow workflow(std::function<void(TaskContext&)> handler = [](TaskContext&) {}) {
    return one_task("w", std::move(handler));
  }
  std::int64_t submit(const std::string& tenant, int n = 0) {
    return std::stoll(sql_.value("SELECT insula.submit('w', jsonb_build_object('n', $2::int), tenant => $1)",
                                 {tenant, std::to_string(n)}));
  }
  Fleet make_fleet(FleetConfig config = {}) {
    if (!config.log) config.log = log_.hook();
    return Fleet{"user=" + user_, std::move(config)};
  }
  std::string sessions() { return sql_.value("SELECT count(*) FROM pg_stat_activity WHERE usename = $1", {user_}); }

  std::string user_;
  std::vector<std::string> tenants_;
};
using PreloadedFleets = Fleets;

TEST_F(Fleets, ServesEveryTenantOverTwoConnections) {
  auto fleet = make_fleet();
  std::mutex mutex;
  std::map<std::string, int> runs;
  fleet.add(workflow([&](TaskContext& ctx) {
    const std::lock_guard lock{mutex};
    ++runs[ctx.tenant()];
  }));
  std::vector<std::int64_t> executions;
  for (int i = 0; i < 20; ++i) {
    const std::string tenant = add_tenant();  // served from its first task on
    for (int n = 0; n < 5; ++n) executions.push_back(submit(tenant));
  }
  for (const std::int64_t id : executions) EXPECT_TRUE(eventually([&] { return status_of(id) == "completed"; }));
  EXPECT_EQ(sessions(), "2");
  EXPECT_TRUE(fleet.shutdown().clean());
  // It may have found work that other tests have left.
  EXPECT_EQ(tenants_.size(), 20U);
  for (const std::string& tenant : tenants_) EXPECT_EQ(runs[tenant], 5) << tenant;
  EXPECT_TRUE(eventually([&] { return sessions() == "0"; }));
}

TEST_F(Fleets, ATenantsHandlersAreCapped) {
  std::mutex mutex;
  std::map<std::string, int> running;
  int most_of_one = 0;
  std::size_t most_tenants = 0;
  const auto handler = [&](TaskContext& ctx) {
    {
      const std::lock_guard lock{mutex};
      most_of_one = std::max(most_of_one, ++running[ctx.tenant()]);
      most_tenants = std::max(most_tenants, running.size());
    }
    std::this_thread::sleep_for(1ms);
    const std::lock_guard lock{mutex};
    if (--running[ctx.tenant()] == 0) running.erase(ctx.tenant());
  };
  std::vector<std::int64_t> executions;
  for (int i = 0; i < 5; ++i) {
    const std::string tenant = add_tenant();
    for (int n = 0; n < 20; ++n) executions.push_back(submit(tenant));
  }
  auto fleet = make_fleet({.max_concurrent_tasks = 16, .max_concurrent_per_tenant = 2, .max_tenants = 3});
  fleet.add(workflow(handler));
  for (const std::int64_t id : executions) EXPECT_TRUE(eventually([&] { return status_of(id) == "completed"; }));
  EXPECT_EQ(most_of_one, 2);
  EXPECT_LE(most_tenants, 3U);
  EXPECT_TRUE(fleet.shutdown().clean());
}

TEST_F(Fleets, ALockOfOneBlocksNoOther) {
  const std::string first = add_tenant();
  const std::string second = add_tenant();
  const Gate gate;
  auto fleet = make_fleet();
  fleet.add(workflow([gate](TaskContext& ctx) {
    gate.wait();
    if (ctx.at<int>("n") == 13) throw permanent_error{"unlucky"};
  }));
  const std::int64_t held = submit(first);
  const std::int64_t failing = submit(first, 13);
  const std::int64_t free = submit(second);
  gate.wait_for_arrivals(3);
  Sql holder;
  holder.rows("BEGIN");
  holder.rows("SELECT insula.cancel($1), insula.cancel($2)", {std::to_string(held), std::to_string(failing)});
  gate.open();
  EXPECT_TRUE(eventually([&] { return status_of(free) == "completed"; }));
  for (int n = 0; n < 5; ++n) {
    const std::int64_t more = submit(second);
    EXPECT_TRUE(eventually([&] { return status_of(more) == "completed"; }));
  }
  EXPECT_EQ(status_of(held), "running");
  holder.rows("ROLLBACK");
  EXPECT_TRUE(eventually([&] { return status_of(held) == "completed" && status_of(failing) == "failed"; }));
  EXPECT_TRUE(fleet.shutdown().clean());
}

TEST_F(Fleets, MayStartExecutionsWhereItHasTheRight) {
  DatabaseAdmin admin{""};
  const auto c = admin.create_tenant({.tenant = tenant_ + "_x"});
  tenants_.push_back(c.tenant);
  const std::string other = add_tenant();
  sql_.rows("GRANT " + c.username + " TO " + user_);
  auto fleet = make_fleet();
  const Workflow mine = workflow([](TaskContext& ctx) { ctx.set("tenant", ctx.tenant()); });
  fleet.add(mine);
  const Fleet::Tenant tenant = fleet.tenant(c.tenant);
  EXPECT_EQ(tenant.register_workflow(mine), 1);
  EXPECT_EQ(tenant.execute("w").final_context.at<std::string>("tenant"), c.tenant);
  const Execution execution = tenant.execute_async("w");
  EXPECT_TRUE(tenant.execution(execution.id()).wait().status.is_success());
  EXPECT_EQ(error_of([&] { fleet.tenant(other).execute("w"); }).code(), errc::permission);
  EXPECT_EQ(sessions(), "2");
}

TEST_F(Fleets, SeesToSchedulesWhereItHasTheRight) {
  DatabaseAdmin admin{""};
  const auto c = admin.create_tenant({.tenant = tenant_ + "_x"});
  tenants_.push_back(c.tenant);
  const std::string other = add_tenant();
  sql_.rows("GRANT " + c.username + " TO " + user_);
  auto fleet = make_fleet();
  fleet.add(workflow());
  const Fleet::Tenant tenant = fleet.tenant(c.tenant);
  tenant.register_workflow(workflow());

  EXPECT_TRUE(tenant.schedules().empty());
  EXPECT_GT(tenant.schedule("yearly", "w", "@yearly"), 0);
  ASSERT_EQ(tenant.schedules().size(), 1U);
  EXPECT_EQ(tenant.schedules()[0].next_fire, tenant.next_fires("@yearly", "UTC", 1)[0]);
  EXPECT_TRUE(tenant.pause_schedule("yearly"));
  EXPECT_EQ(tenant.schedules()[0].status, ScheduleStatus::paused);
  EXPECT_TRUE(tenant.resume_schedule("yearly"));
  EXPECT_TRUE(tenant.unschedule("yearly"));

  EXPECT_TRUE(tenant.pause_workflow("w"));
  const auto executions = tenant.submit_many("w", std::vector<Context>(3));
  EXPECT_FALSE(executions[2].wait_for(100ms)) << "it is paused";
  EXPECT_TRUE(tenant.resume_workflow("w"));
  for (const Result& result : wait_all(executions)) EXPECT_TRUE(result.status.is_success());

  const Fleet::Tenant foreign = fleet.tenant(other);
  EXPECT_EQ(error_of([&] { foreign.schedules(); }).code(), errc::permission);
  EXPECT_EQ(error_of([&] { foreign.schedule("yearly", "w", "@yearly"); }).code(), errc::permission);
  EXPECT_EQ(error_of([&] { foreign.pause_workflow("w"); }).code(), errc::permission);
  EXPECT_EQ(error_of([&] { foreign.submit_many("w", std::vector<Context>(3)); }).code(), errc::permission);
}

TEST_F(Fleets, TransactionsAreItsOwn) {
  const std::string tenant = add_tenant();
  sql_.rows("CREATE TABLE fleet_effects (tenant text)");
  sql_.rows("GRANT INSERT ON fleet_effects TO " + user_);
  auto fleet = make_fleet();
  fleet.add(workflow([](TaskContext& ctx) {
    const char* value = ctx.tenant().c_str();
    PQclear(PQexecParams(ctx.transaction(), "INSERT INTO fleet_effects VALUES ($1)", 1, nullptr, &value, nullptr,
                         nullptr, 0));
  }));
  const std::int64_t id = submit(tenant);
  EXPECT_TRUE(eventually([&] { return status_of(id) == "completed"; }));
  EXPECT_EQ(sql_.value("SELECT string_agg(tenant, ',') FROM fleet_effects"), tenant);
  EXPECT_TRUE(fleet.shutdown().clean());
  sql_.rows("DROP TABLE fleet_effects");
}

// A handler is the same under a Runner and under a Fleet, which has no rights on any tenant.
TEST_F(Fleets, TransactionsStartExecutionsOfTheTasksTenant) {
  const std::string first = add_tenant();
  const std::string second = add_tenant();
  auto fleet = make_fleet();
  fleet.add(workflow([](TaskContext& ctx) {
    if (ctx.at<int>("n") == 0) return;
    const std::int64_t next = enqueue(ctx.transaction(), "w", {{"n", ctx.at<int>("n") - 1}});
    const std::vector<Context> others(2, Context{{"n", 0}});
    enqueue_many(ctx.transaction(), "w", others);
    const Submitted last = enqueue_once(ctx.transaction(), "w", {{"n", 0}}, {.idempotency_key = std::to_string(next)});
    EXPECT_TRUE(last.is_new);
    ctx.set("next", next);
  }));
  const std::int64_t id = submit(first, 2);
  EXPECT_TRUE(eventually([&] { return status_of(id) == "completed"; })) << log_.text();
  const std::string count = "SELECT count(*) FROM tenant_";
  const std::string completed = ".workflow_executions WHERE status = 'completed'";
  EXPECT_TRUE(eventually([&] { return sql_.value(count + first + completed) == "9"; }));
  EXPECT_EQ(sql_.value(count + second + ".workflow_executions"), "0");
  EXPECT_TRUE(fleet.shutdown().clean());
}

// Counted, not timed: what has been claimed of the others before a task's turn.
TEST_F(PreloadedFleets, ServeOthersWhileATenantMakesClaimsCostMuch) {
  constexpr int handlers = 4;
  constexpr int great_tasks = 60;
  constexpr int submissions = 100;
  const std::string greedy = add_tenant();
  const std::string bystander = add_tenant();
  sql_.rows("ALTER SYSTEM SET insula.max_overhead = 0.01");
  sql_.rows("SELECT pg_reload_conf()");
  EXPECT_TRUE(eventually([] { return Sql{}.value("SHOW insula.max_overhead") == "0.01"; }));
  // Tasks whose contexts take a while to merge.
  sql_.rows(
      "SELECT insula.register_workflow(jsonb_build_object('name', 'great', 'tasks', (SELECT jsonb_agg("
      "jsonb_build_object('id', 'a' || g)) FROM generate_series(1, 30) g) || jsonb_build_object('id', 'only', "
      "'for_each', '{\"items\": \"$.list\"}'::jsonb, 'depends_on', (SELECT jsonb_agg('a' || g) FROM "
      "generate_series(1, 30) g))), tenant => $1)",
      {greedy});
  sql_.rows(
      "SELECT insula.submit('great', jsonb_build_object('list', (SELECT jsonb_agg(n) FROM generate_series(1, "
      "$2::int) n)), tenant => $1)",
      {greedy, std::to_string(great_tasks)});
  sql_.rows(
      "SELECT insula.complete(task_id, lease, jsonb_build_object('x', repeat('x', 1000000))) FROM insula.claim('w', "
      "max_tasks => 30, tenant => $1)",
      {greedy});
  const std::string open = "SELECT count(*) FROM tenant_" + greedy + ".work WHERE element >= 0 AND state IN (1, 2)";
  EXPECT_TRUE(eventually([&] { return sql_.value(open) == std::to_string(great_tasks); }));

  std::atomic<int> great{0};
  std::atomic<int> served{0};
  std::vector<int> before_turn;
  auto fleet = make_fleet({.max_concurrent_tasks = handlers});
  fleet.add(one_task("great", [&](TaskContext&) { ++great; }));
  fleet.add(workflow([&](TaskContext&) { ++served; }));
  for (int i = 0; i < submissions; ++i) {
    const int before = great;
    submit(bystander, i);
    EXPECT_TRUE(eventually([&] { return served > i; }));
    before_turn.push_back(great - before);
  }
  std::sort(before_turn.begin(), before_turn.end());
  // Alone it waits for none: three rounds of all handlers are the most that the 99th of a hundred waits for.
  EXPECT_LE(before_turn[submissions - 2], 3 * handlers);
  EXPECT_LT(great, great_tasks) << "the other was never put off";
  EXPECT_EQ(sql_.value("SELECT count(*) FROM insula.explain_tenant($1) WHERE item = 'put off by calls for all tenants'",
                       {greedy}),
            "1");
  // Nothing of it is lost.
  sql_.rows("ALTER SYSTEM RESET insula.max_overhead");
  sql_.rows("SELECT pg_reload_conf()");
  EXPECT_TRUE(eventually([&] { return sql_.value(open) == "0"; }, 180s)) << sql_.value(open);
  EXPECT_TRUE(fleet.shutdown().clean());
}

TEST_F(Fleets, NeedsTheRole) {
  sql_.rows("REVOKE insula_runner FROM " + user_);
  sql_.rows("GRANT insula_tenant TO " + user_);
  EXPECT_EQ(error_of([&] { make_fleet().add(workflow()); }).code(), errc::permission);
}

}  // namespace
