// What insula.explain_tenant tells from shared memory: waits, shares, what limits hold back, use and failures.
#include "support/session.hpp"

#include <fstream>
#include <string>

namespace insula_test {
namespace {

class PreloadedExplainTenant : public ::testing::Test {
 protected:
  void SetUp() override {
    sql.query("SET client_min_messages = warning");
    sql.query("CREATE EXTENSION IF NOT EXISTS insula");
    drop_all();  // shares are those of all tenants
    for (const char* name : {"one", "two"}) {
      const std::string tenant = name;
      sql.query("SELECT tenant FROM insula.create_tenant('" + tenant + "')");
      for (const char* workflow : {R"({"name": "w", "tasks": [{"id": "a"}]})",
                                   R"({"name": "few", "limit": {"max": 1}, "tasks": [{"id": "a"}]})"})
        sql.query("SELECT insula.register_workflow('" + std::string(workflow) + "', tenant => '" + tenant + "')");
    }
  }
  void TearDown() override { drop_all(); }
  void drop_all() { sql.query("SELECT insula.drop_tenant(tenant, '0 s') FROM insula.tenants"); }

  void submit(const std::string& tenant, int count, const std::string& workflow = "w") {
    sql.query("SELECT insula.submit_many('" + workflow + "', array_fill('{}'::jsonb, ARRAY[" + std::to_string(count) +
              "]), tenant => '" + tenant + "')");
  }
  double value(const std::string& question, const std::string& item, const std::string& tenant = "one") {
    const std::string text = sql.query("SELECT value FROM insula.explain_tenant('" + tenant + "') WHERE question = '" +
                                       question + "' AND item = '" + item + "'");
    return text.empty() ? -1 : std::stod(text);
  }

  Session sql;
};

TEST_F(PreloadedExplainTenant, WaitsAndShares) {
  sql.query("SELECT insula.set_tenant_limits('two', weight => 3)");
  for (const char* tenant : {"one", "two"}) submit(tenant, 400);
  EXPECT_EQ(value("waiting", "ready"), 400);
  EXPECT_EQ(value("waiting", "wait p50"), -1);
  for (int i = 0; i < 40; ++i) sql.query("SELECT count(*) FROM insula.claim('w', max_tasks => 10)");
  EXPECT_NEAR(value("share", "share of claims"), 0.25, 0.05);
  EXPECT_DOUBLE_EQ(value("share", "share of weights"), 0.25);
  EXPECT_DOUBLE_EQ(value("share", "share of weights", "two"), 0.75);
  EXPECT_NEAR(value("share", "claimed"), 100, 20);
  EXPECT_GT(value("waiting", "wait p50"), 0);
  EXPECT_LE(value("waiting", "wait p50"), value("waiting", "wait p99"));
  EXPECT_NEAR(value("waiting", "running"), 100, 20);
}

TEST_F(PreloadedExplainTenant, ATenantSeesNothingOfOthers) {
  submit("two", 10);
  sql.query("SELECT count(*) FROM insula.claim('w', max_tasks => 10)");
  Session tenant("user=one_user");
  EXPECT_EQ(tenant.query("SELECT string_agg(item, ',') FROM insula.explain_tenant() WHERE question = 'share'"),
            "weight,claimed");
  EXPECT_EQ(tenant.error("SELECT * FROM insula.explain_tenant('two')"), "42501");
}

// A session's greatest size tells what it has taken memory for, used or not: the counters of all tenants would be
// megabytes, copied under the lock that commits need.
TEST_F(PreloadedExplainTenant, ATenantsLookTakesNoMemoryForAll) {
  submit("one", 10);
  Session tenant("user=one_user");
  const auto kilobytes = [&](const std::string& item) {
    std::ifstream status("/proc/" + std::to_string(tenant.pid()) + "/status");
    for (std::string line; std::getline(status, line);)
      if (line.rfind(item + ":", 0) == 0) return std::stol(line.substr(item.size() + 1));
    return -1L;
  };
  tenant.query("SET jit = off");
  tenant.query("SELECT count(*) FROM insula.executions()");
  tenant.query("SELECT count(*) FROM insula.failures()");
  const long before = kilobytes("VmPeak");
  ASSERT_GT(before, 0);
  EXPECT_EQ(tenant.query("SELECT value FROM insula.explain_tenant() WHERE item = 'executions'"), "10");
  const long for_all = std::stol(sql.query("SHOW insula.max_counted_workflows")) * 2 * 8 * 30 / 1024;
  EXPECT_LT(kilobytes("VmPeak") - before, for_all / 2);
}

TEST_F(PreloadedExplainTenant, SecondsThatLimitsHoldBack) {
  sql.query("SELECT insula.set_tenant_limits('one', max_running => 1)");
  submit("one", 2);
  sql.query("CREATE TEMP TABLE mine AS SELECT task_id, lease FROM insula.claim('w', max_tasks => 1, tenant => 'one')");
  EXPECT_EQ(sql.query("SELECT count(*) FROM insula.claim('w', tenant => 'one')"), "0");
  sql.query("SELECT pg_sleep(1)");
  EXPECT_GE(value("held back", "max_running"), 1);
  sql.query("SELECT insula.complete(task_id, lease) FROM mine");
  EXPECT_EQ(sql.query("SELECT count(*) FROM insula.claim('w', tenant => 'one')"), "1");
  const double held = value("held back", "max_running");
  EXPECT_GE(held, 1);
  sql.query("SELECT pg_sleep(0.2)");
  EXPECT_DOUBLE_EQ(value("held back", "max_running"), held);

  sql.query("SELECT insula.set_tenant_limits('two', rate_per_second => 0.1)");
  submit("two", 2);
  EXPECT_EQ(sql.query("SELECT count(*) FROM insula.claim('w', max_tasks => 2, tenant => 'two')"), "1");
  EXPECT_EQ(sql.query("SELECT count(*) FROM insula.claim('w', tenant => 'two')"), "0");
  sql.query("SELECT pg_sleep(0.5)");
  EXPECT_GE(value("held back", "rate_per_second", "two"), 0.5);
}

TEST_F(PreloadedExplainTenant, SecondsThatAWorkflowsLimitHoldsBack) {
  submit("one", 2, "few");
  EXPECT_EQ(sql.query("SELECT count(*) FROM insula.claim('w', max_tasks => 2, tenant => 'one')"), "1");
  EXPECT_EQ(sql.query("SELECT count(*) FROM insula.claim('w', tenant => 'one')"), "0");
  sql.query("CALL insula.wait_for_work('100 ms', tenant => 'one')");
  sql.query("SELECT pg_sleep(0.5)");
  EXPECT_GE(value("held back", "limits of workflows"), 0.5);
}

TEST_F(PreloadedExplainTenant, MetricsTellReadyTasksThatASuspensionHolds) {
  submit("one", 1);
  const auto series = [this] {
    return sql.query(
        "SELECT string_agg(substring(l FROM 'state=\"(ready|suspended)\"') || substring(l FROM ' [0-9]+$'), ', ' ORDER "
        "BY l) FROM regexp_split_to_table(insula.metrics(), E'\\n') l WHERE l ~ "
        "'^insula_tasks.*tenant=\"one\",state=\"(ready|suspended)\"'");
  };
  sql.query("SELECT count(*) FROM insula.tenant_activity");
  EXPECT_EQ(series(), "ready 1");
  sql.query("SELECT insula.suspend_tenant('one')");
  EXPECT_EQ(series(), "ready 0, suspended 1");
}

TEST_F(PreloadedExplainTenant, UseAndFailures) {
  submit("one", 3);
  sql.query("CREATE TEMP TABLE mine AS SELECT task_id, lease FROM insula.claim('w', max_tasks => 3, tenant => 'one')");
  sql.query("UPDATE tenant_one.work SET started_at = started_at - interval '10 s' WHERE state = 2");
  sql.query("SELECT insula.fail(task_id, lease, 'it is broken', false) FROM mine LIMIT 2");
  sql.query("SELECT insula.complete(task_id, lease) FROM mine");
  EXPECT_EQ(value("used", "executions"), 3);
  EXPECT_EQ(value("used", "runs of tasks"), 3);
  EXPECT_NEAR(value("used", "running time"), 30, 5);
  EXPECT_EQ(value("failing", "executions failed"), 2);
  EXPECT_EQ(sql.query("SELECT value || ' ' || says FROM insula.explain_tenant('one') WHERE item = 'w'"),
            "2 of the newest tasks: it is broken");
}

}  // namespace
}  // namespace insula_test
