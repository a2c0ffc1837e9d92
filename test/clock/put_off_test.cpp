// Work that waits because shared processes have spent too much on its tenant is done as soon as the clock says so, by
// nothing but the clock.
#include "clock.hpp"

namespace clock_test {
namespace {

class PreloadedPutOff : public ::testing::Test {
 protected:
  void SetUp() override {
    clock_.advance("'" + now_ + "'");
    allow("1e-06");
  }
  void TearDown() override {
    clock_.query("ALTER SYSTEM RESET insula.max_overhead");
    clock_.query("SELECT pg_reload_conf()");
    clock_.disconnect();
    Session().query("DROP DATABASE put_off");
  }
  // By 1e-06 one visit is too much, and so is one claim that takes longer than claims do.  None after it is, once more
  // is allowed; what has been put off stays so.
  void allow(const std::string& overhead) {
    clock_.query("ALTER SYSTEM SET insula.max_overhead = '" + overhead + "'");
    clock_.query("SELECT pg_reload_conf()");
    EXPECT_TRUE(eventually([&] { return Session().query("SHOW insula.max_overhead") == overhead; }));
  }
  void advance(const std::string& by) {
    now_ = clock_.query("SELECT timestamptz '" + now_ + "' + interval '" + by + "'");
    clock_.advance("'" + now_ + "'");
  }
  // Registers a workflow whose `last` tasks take long to claim, since each merges 30 MB; they follow 30 others.
  void register_great(int last) {
    tenant_.query(
        "SELECT insula.register_workflow(jsonb_build_object('name', 'big', 'tasks', (SELECT jsonb_agg("
        "jsonb_build_object('id', 'a' || g)) FROM generate_series(1, 30) g) || (SELECT jsonb_agg(jsonb_build_object("
        "'id', 'b' || g, 'depends_on', (SELECT jsonb_agg('a' || g) FROM generate_series(1, 30) g))) FROM "
        "generate_series(1, " +
        std::to_string(last) + ") g)), tenant => '{t}')");
  }
  // Until when it is put off, half a minute at most; empty: it is not.
  std::string until(const std::string& item) {
    return tenant_.query("SELECT says FROM insula.explain_tenant('{t}') WHERE item = 'put off by " + item +
                         "' AND says LIKE '%is put off until%'");
  }
  std::string explained(const std::string& item) {
    return tenant_.query("SELECT count(*) FROM insula.explain_tenant('{t}') WHERE item = 'put off by " + item +
                         "' AND value > 0 AND says LIKE '%is put off until%'");
  }

  Clock clock_{"put_off"};
  Tenant tenant_{clock_};
  std::string now_ = clock_.query("SELECT date_trunc('hour', now()) + interval '1 hour'");
  std::size_t log_start_ = server_log().size();
};

TEST_F(PreloadedPutOff, WhatTimeMakesDueIsDoneAfterwards) {
  tenant_.schedule("s", every_second, "starts_at => '" + now_ + "'");
  EXPECT_TRUE(eventually([&] { return explained("schedulers") == "1"; }));
  EXPECT_EQ(clock_.query("SELECT value LIKE '" + tenant_.name() +
                         " (schedulers until %' FROM insula.status() WHERE item = 'tenants put off'"),
            "t");
  EXPECT_EQ(clock_.query("SELECT finding LIKE '" + tenant_.name() +
                         " (schedulers until %' FROM insula.health() WHERE object = 'tenants put off'"),
            "t");
  Tenant other(clock_);
  other.schedule("s", every_second);
  for (bool in_time = false; !in_time;) {
    allow("1e-06");
    EXPECT_TRUE(eventually([&] { return explained("schedulers") == "1"; }));
    allow("0.5");
    const std::string said = until("schedulers");
    const int before = tenant_.executions();
    // Neither a commit nor a look at all tenants ends it.
    tenant_.query("SELECT insula.submit('w', tenant => '{t}')");
    clock_.query("SELECT insula.start_scheduler()");
    // Another tenant has its turns.
    EXPECT_TRUE(other.soon_at_least(other.executions() + 3));
    const int after = tenant_.executions();
    in_time = !said.empty() && until("schedulers") == said;
    EXPECT_TRUE(!in_time || after == before + 1) << after << " after " << before;
  }
  // Its ready task can be claimed.
  EXPECT_EQ(clock_.query("SELECT count(*) > 0 FROM insula.claim('x')"), "t");
  advance("2 min");
  EXPECT_EQ(tenant_.query("SELECT count(*) > 100 AND count(*) = extract(epoch FROM max(at) - min(at)) + 1 AND count(*) "
                          "= count(DISTINCT at) FROM (SELECT (context ->> 'scheduled_time')::timestamptz FROM "
                          "{s}.workflow_executions WHERE context ? 'schedule_id') f(at)"),
            "t")
      << "every fire once";
  EXPECT_EQ(count_in(server_log().substr(log_start_), "tenant \"" + tenant_.name() + "\" is put off until "), 1);
}

TEST_F(PreloadedPutOff, ClaimsOfOthersComeBack) {
  register_great(9);
  tenant_.query("SELECT insula.submit('big', tenant => '{t}')");
  EXPECT_EQ(
      tenant_.query("SELECT count(insula.complete(task_id, lease, jsonb_build_object('x', repeat('x', 1000000)))) "
                    "FROM insula.claim('x', max_tasks => 30, tenant => '{t}')"),
      "30");
  // A claim of the tenant's own is nothing to others.
  EXPECT_EQ(tenant_.query("SELECT count(*) FROM insula.claim('x', tenant => '{t}')"), "1");
  EXPECT_EQ(explained("calls for all tenants"), "0");
  EXPECT_EQ(clock_.query("SELECT count(*) FROM insula.claim('x')"), "1");
  EXPECT_EQ(explained("calls for all tenants"), "1");
  allow("0.5");
  const std::string said = until("calls for all tenants");
  const auto is_over = [&] { return said.empty() || until("calls for all tenants") != said; };
  EXPECT_TRUE(clock_.query("SELECT count(*) FROM insula.claim('x')") == "0" || is_over());
  EXPECT_TRUE(clock_.query("CALL insula.wait_for_work('0 s')") == "f" || is_over());
  EXPECT_EQ(tenant_.query("SELECT count(*) FROM insula.claim('x', tenant => '{t}')"), "1");
  // A commit ends it as little.
  tenant_.query("SELECT insula.submit('w', tenant => '{t}')");
  EXPECT_TRUE(clock_.query("SELECT count(*) FROM insula.claim('x')") == "0" || is_over());
  Session worker("dbname=put_off");
  worker.send("CALL insula.wait_for_work('7 days')");
  EXPECT_TRUE(!worker.finished(100ms) || is_over());
  advance("2 min");
  EXPECT_TRUE(worker.finished());
  EXPECT_EQ(worker.answer(), "t");
  EXPECT_EQ(clock_.query("SELECT count(*) FROM insula.claim('x')"), "1");
}

}  // namespace
}  // namespace clock_test
