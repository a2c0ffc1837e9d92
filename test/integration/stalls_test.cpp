// What one tenant, caller or handler has to wait for holds up no other.
#include "client_test.hpp"

#include <algorithm>
#include <atomic>
#include <future>
#include <regex>
#include <thread>

namespace {

using namespace insula_test;
using namespace insula;

// A process for all tenants, which may also submit for them.
class Stalls : public ClientTest {
 protected:
  void SetUp() override {
    ClientTest::SetUp();
    user_ = "stalled_" + tenant_;
    sql_.rows("CREATE ROLE " + user_ + " LOGIN");
    sql_.rows("GRANT insula_runner TO " + user_);
    for (const char* suffix : {"_a", "_b"}) {
      tenants_.push_back(tenant_ + suffix);
      sql_.rows("SELECT insula.create_tenant($1)", {tenants_.back()});
      sql_.rows("GRANT " + tenants_.back() + "_user TO " + user_);
      sql_.rows("SELECT insula.register_workflow($1::jsonb, tenant => $2)",
                {one_task("w", [](TaskContext&) {}).definition_json(), tenants_.back()});
    }
  }
  void TearDown() override {
    for (const std::string& tenant : tenants_) sql_.rows("SELECT insula.drop_tenant($1, '0 s')", {tenant});
    sql_.rows("DROP ROLE " + user_);
  }

  Fleet make_fleet(FleetConfig config = {}) {
    config.log = log_.hook();
    return Fleet{"user=" + user_, std::move(config)};
  }
  std::vector<std::string> submit(const std::string& tenant, int count) {
    std::vector<std::string> ids;
    for (const auto& row :
         sql_.rows("SELECT unnest(insula.submit_many('w', array_fill('{}'::jsonb, ARRAY[$2::int]), tenant => $1))",
                   {tenant, std::to_string(count)}))
      ids.push_back(row[0]);
    return ids;
  }
  int sessions() { return std::stoi(sql_.value("SELECT count(*) FROM pg_stat_activity WHERE usename = $1", {user_})); }
  static int counter(const std::string& metrics, const std::string& name) {
    std::smatch found;
    return std::regex_search(metrics, found, std::regex{"\n" + name + " (\\d+)"}) ? std::stoi(found[1]) : 0;
  }

  std::string user_;
  std::vector<std::string> tenants_;
};
// Without shared memory each execution waits for a look of its worker's, once a second.
using PreloadedStalls = Stalls;

// Each time that such an outcome is tried again it takes the server a moment, with whatever rights.
TEST_F(PreloadedStalls, WhatIsPutOffOfOneTenantIsNotInFrontOfWhatIsNewOfAnother) {
  const Gate gate;
  auto fleet = make_fleet();
  fleet.add(one_task("w", [gate, blocked = tenants_[0]](TaskContext& ctx) {
    if (ctx.tenant() != blocked) return;
    gate.wait();
    throw permanent_error{"put off"};
  }));
  const auto twenty = [&] {
    for (int n = 0; n < 20; ++n) {
      const std::string id = submit(tenants_[1], 1).at(0);
      ASSERT_TRUE(eventually([&] { return status_of(std::stoll(id)) == "completed"; }));
    }
  };
  const auto alone = time_of(twenty);
  const auto held = submit(tenants_[0], 30);
  gate.wait_for_arrivals(30);
  Sql holder;
  holder.rows("BEGIN");
  for (const std::string& id : held) holder.rows("SELECT insula.cancel($1)", {id});
  gate.open();
  EXPECT_LT(time_of(twenty), 10s + 3 * alone) << "half a second for each";
  holder.rows("ROLLBACK");
  for (const std::string& id : held)
    EXPECT_TRUE(eventually([&] { return status_of(std::stoll(id)) == "failed"; })) << log_.text();
  EXPECT_TRUE(fleet.shutdown().clean());
}

// With the rights that Fleet::tenant() asks for: a batch of completions, and heartbeats, over a tenant's open
// transaction that outlasts the lease.
TEST_F(PreloadedStalls, ATransactionOfOneTenantKeepsNoLeaseOfAnotherFromBeingExtended) {
  const Gate gate;
  auto fleet = make_fleet({.lease = 2s});
  fleet.add(one_task("w", [gate](TaskContext&) { gate.wait(); }));
  const auto held = submit(tenants_[0], 3);
  const auto others = submit(tenants_[1], 3);
  gate.wait_for_arrivals(6);
  Sql holder;
  holder.rows("BEGIN");
  for (const std::string& id : held) holder.rows("SELECT insula.pause($1)", {id});
  std::this_thread::sleep_for(3s);
  gate.open();
  for (const std::string& id : others)
    EXPECT_TRUE(eventually([&] { return status_of(std::stoll(id)) == "completed"; })) << log_.text();
  EXPECT_EQ(sql_.value("SELECT max(attempt) FROM tenant_" + tenants_[1] + ".task_executions"), "1") << log_.text();
  holder.rows("ROLLBACK");
  for (const std::string& id : held)
    EXPECT_TRUE(eventually([&] { return status_of(std::stoll(id)) == "completed"; })) << log_.text();
  EXPECT_TRUE(fleet.shutdown().clean());
}

// A lock that ends each call with it, for one task of a batch: the rest of the batch goes on.
TEST_F(ClientTest, WhatMeetsALockIsHalvedOutOfItsBatch) {
  make_runner();
  Sql owner;
  owner.rows("ALTER ROLE CURRENT_USER SET lock_timeout = '200 ms'");
  Runner runner = make_runner({.max_concurrent_tasks = 8});
  owner.rows("ALTER ROLE CURRENT_USER RESET lock_timeout");
  const Gate gate;
  runner.add(one_task("w", [&](TaskContext&) { gate.wait(); }));
  const std::vector<Execution> executions = runner.submit_many("w", std::vector<Context>(8));
  gate.wait_for_arrivals(8);
  Sql other;
  other.rows("BEGIN");
  other.rows("SELECT FROM " + tenant_ + ".work WHERE id = $1::bigint & ((1::bigint << 36) - 1) FOR UPDATE",
             {std::to_string(executions[3].id())});
  gate.open();
  for (std::size_t n = 0; n < 8; ++n) {
    if (n == 3) continue;
    ASSERT_TRUE(executions[n].wait_for(patience)) << n << log_.text();
  }
  other.rows("ROLLBACK");
  EXPECT_TRUE(executions[3].wait().status.is_success());
}

TEST_F(PreloadedStalls, ABlockedSubmitHoldsUpItsCallerAlone) {
  auto fleet = make_fleet({.lease = 6s});
  fleet.add(one_task("w", [](TaskContext&) {}));
  const auto twenty = [other = fleet.tenant(tenants_[1])] {
    for (int n = 0; n < 20; ++n) EXPECT_TRUE(other.execute("w").status.is_success());
  };
  const auto alone = time_of(twenty);
  Sql holder;
  holder.rows("BEGIN");
  const std::string first =
      holder.value("SELECT insula.submit('w', idempotency_key => 'k', tenant => $1)", {tenants_[0]});
  auto blocked = std::async(std::launch::async, [&] {
    return fleet.tenant(tenants_[0]).execute_async("w", {}, {.idempotency_key = "k"}).id();
  });
  Sql registering;
  registering.rows("BEGIN");
  registering.rows("SELECT insula.register_workflow('{\"name\": \"v\", \"tasks\": [{\"id\": \"a\"}]}', tenant => $1)",
                   {tenants_[0]});
  auto registers = std::async(std::launch::async, [&] {
    return fleet.tenant(tenants_[0]).register_workflow(one_task("u", [](TaskContext&) {}));
  });
  EXPECT_LT(time_of(twenty), 10s + 3 * alone);
  EXPECT_EQ(blocked.wait_for(3s), std::future_status::timeout);
  EXPECT_LE(sessions(), 3) << "two, and one to wait at";
  holder.rows("COMMIT");
  EXPECT_EQ(std::to_string(blocked.get()), first);
  registering.rows("COMMIT");
  EXPECT_EQ(registers.get(), 1);
  EXPECT_FALSE(log_.holds("lost")) << log_.text();
  EXPECT_TRUE(fleet.shutdown().clean());
}

TEST_F(Stalls, ACallerThatHasWaitedInVainIsToldForWhat) {
  for (const int connections : {2, 5}) {
    const std::string key = "taken" + std::to_string(connections);
    auto fleet = make_fleet({.max_connections = connections, .call_timeout = 2s});
    fleet.add(one_task("w", [](TaskContext&) {}));
    Sql holder;
    holder.rows("BEGIN");
    holder.rows("SELECT insula.submit('w', idempotency_key => $2, tenant => $1)", {tenants_[0], key});
    const error e = error_of([&] { fleet.tenant(tenants_[0]).execute_async("w", {}, {.idempotency_key = key}); });
    EXPECT_EQ(e.sqlstate(), "55P03") << e.what();
    EXPECT_TRUE(e.retryable());
    EXPECT_FALSE(e.outcome_unknown());
    for (const char* part : {"insula.submit()", "lock that another transaction holds", "idempotency key \"taken"})
      EXPECT_NE(std::string{e.what()}.find(part), std::string::npos) << e.what();
    holder.rows("ROLLBACK");
    EXPECT_GT(fleet.tenant(tenants_[0]).execute_async("w", {}, {.idempotency_key = key}).id(), 0);
    EXPECT_LE(sessions(), connections);
    EXPECT_TRUE(fleet.shutdown().clean());
  }
}

// The claims, and so the time, that a tenant's tasks take do not depend on how full another one is.
TEST_F(Stalls, ATenantThatIsNearlyFullNarrowsNoOther) {
  const Gate gate;
  auto fleet = make_fleet({.max_concurrent_tasks = 64, .max_concurrent_per_tenant = 16});
  fleet.add(one_task("w", [gate, slow = tenants_[0]](TaskContext& ctx) {
    if (ctx.tenant() == slow) gate.wait();
  }));
  submit(tenants_[0], 15);
  gate.wait_for_arrivals(15);
  const int before = counter(fleet.metrics(), "insula_claims_total");
  const auto quick = submit(tenants_[1], 800);
  EXPECT_TRUE(eventually([&] { return status_of(std::stoll(quick.back())) == "completed"; }));
  EXPECT_TRUE(eventually([&] { return counter(fleet.metrics(), "insula_tasks_running") == 15; }));
  EXPECT_LT(counter(fleet.metrics(), "insula_claims_total") - before, 200) << "one after the other they would be 800";
  gate.open();
  EXPECT_TRUE(fleet.shutdown().clean());
}

// One connection to lend, and more handlers than it can serve in the time that a call waits.
TEST_F(ClientTest, ToWaitForAConnectionUsesNoAttempt) {
  auto runner = make_runner({.max_concurrent_tasks = 3, .max_connections = 3, .call_timeout = 1500ms});
  runner.add(Workflow::builder("w")
                 .task("only",
                       [](TaskContext& ctx) {
                         ctx.transaction();
                         std::this_thread::sleep_for(1700ms);
                       },
                       {.retry = {.max_attempts = 1}})
                 .build());
  const std::vector<Execution> executions = runner.submit_many("w", std::vector<Context>(3));
  for (const Execution& execution : executions) {
    const auto result = execution.wait_for(patience);
    ASSERT_TRUE(result);
    EXPECT_TRUE(result->status.is_success()) << result->error;
  }
  EXPECT_TRUE(runner.shutdown().clean());
}

TEST_F(Stalls, ACheckpointThatFindsNoServerUsesNoAttempt) {
  const Gate gate;
  auto fleet = make_fleet({.call_timeout = 2s});
  std::atomic<int> refused{0};
  fleet.add(one_task("once", [&, gate](TaskContext& ctx) {
    gate.arrive();
    gate.wait();
    try {
      ctx.set("from", ctx.last_checkpoint<int>().value_or(7));
      ctx.checkpoint(8, Durable::at_once);
    } catch (const error&) {
      ++refused;
      throw;
    }
    ctx.set("attempt", ctx.attempt());
  }));
  sql_.rows(
      "SELECT insula.register_workflow("
      "'{\"name\": \"once\", \"tasks\": [{\"id\": \"only\", \"retry\": {\"max_attempts\": 1}}]}', tenant => $1)",
      {tenants_[0]});
  const std::string id = sql_.value("SELECT insula.submit('once', tenant => $1)", {tenants_[0]});
  gate.wait_for_arrivals(1);
  sql_.rows("ALTER ROLE " + user_ + " CONNECTION LIMIT 0");
  sql_.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1 AND application_name = $2",
            {user_, "insula control"});
  EXPECT_TRUE(eventually([&] { return log_.holds("lost the control connection"); }));
  gate.open();
  EXPECT_TRUE(eventually([&] { return refused > 0; }));
  sql_.rows("ALTER ROLE " + user_ + " CONNECTION LIMIT -1");
  EXPECT_TRUE(eventually([&] { return status_of(std::stoll(id)) == "completed"; }));
  EXPECT_EQ(sql_.value("SELECT final_context FROM insula.result($1)", {id}), "{\"from\": 7, \"attempt\": 1}");
  EXPECT_TRUE(fleet.shutdown().clean());
}

TEST_F(Stalls, AHandlerThatFindsNoServerUsesNoAttempt) {
  sql_.rows("ALTER ROLE " + user_ + " CONNECTION LIMIT 2");
  auto fleet = make_fleet();
  std::atomic<int> runs{0};
  fleet.add(one_task("once", [&](TaskContext& ctx) {
    ++runs;
    ctx.transaction();
    ctx.set("attempt", ctx.attempt());
  }));
  sql_.rows(
      "SELECT insula.register_workflow("
      "'{\"name\": \"once\", \"tasks\": [{\"id\": \"only\", \"retry\": {\"max_attempts\": 1}}]}', tenant => $1)",
      {tenants_[0]});
  const Execution execution = fleet.tenant(tenants_[0]).execute_async("once");
  EXPECT_TRUE(eventually([&] { return runs > 0; }));
  EXPECT_FALSE(execution.wait_for(300ms));
  sql_.rows("ALTER ROLE " + user_ + " CONNECTION LIMIT -1");
  const Result result = execution.wait();
  EXPECT_TRUE(result.status.is_success()) << result.error;
  EXPECT_EQ(result.final_context.get<int>("attempt"), 1);
  EXPECT_TRUE(fleet.shutdown().clean());
}

}  // namespace
