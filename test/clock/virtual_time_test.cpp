// CALL insula.advance_clock makes years of fires quick, and everything else that time makes due.
#include "clock.hpp"

namespace clock_test {
namespace {

// A database whose clock only the test moves far.
class PreloadedVirtualTime : public ::testing::Test {
 protected:
  void SetUp() override { clock_.advance("'" + now_ + "'"); }
  void TearDown() override {
    clock_.disconnect();
    Session().query("DROP DATABASE virtual_time");
  }
  // On from where the clock is.
  void advance(const std::string& by) {
    now_ = clock_.query("SELECT timestamptz '" + now_ + "' + interval '" + by + "'");
    clock_.advance("'" + now_ + "'");
  }

  Clock clock_{"virtual_time"};
  Tenant tenant_{clock_};
  std::string now_ = clock_.query("SELECT date_trunc('hour', now()) + interval '1 hour'");
  std::size_t log_start_ = server_log().size();
};

TEST_F(PreloadedVirtualTime, AYearOfDaysInSeveralZones) {
  tenant_.query(
      "SELECT insula.schedule('s' || row_number() OVER (), 'w', cron, zone, tenant => '{t}') FROM unnest("
      "ARRAY['UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kathmandu']) zone, "
      "unnest(ARRAY['30 2 * * *', '0 0 L * ?']) cron");
  advance("366 days");
  EXPECT_EQ(tenant_.query("SELECT count(*) > 5 * 365 FROM {s}.workflow_executions"), "t");
  const std::string made =
      "SELECT context ->> 'schedule_id' AS id, (context ->> 'scheduled_time')::timestamptz AS at FROM "
      "{s}.workflow_executions";
  const std::string due =
      "SELECT s.schedule_id::text, f FROM {s}.schedules s, insula.next_fires(s.cron, s.timezone, "
      "1000, (SELECT at FROM {s}.record WHERE kind = 'd' AND name = s.name)) f WHERE f <= '" +
      now_ + "'";
  EXPECT_EQ(tenant_.query("SELECT count(*) FROM ((" + made + " EXCEPT ALL " + due + ") UNION ALL (" + due +
                          " EXCEPT ALL " + made + ")) d"),
            "0")
      << "every fire once, and nothing else";
}

TEST_F(PreloadedVirtualTime, LapsesTimeoutsRetriesAndDelaysComeDue) {
  tenant_.query(R"(SELECT insula.register_workflow('{"name": "timed", "timeout": "1 h", "tasks": [{"id": "a"}]}',
    tenant => '{t}'))");
  tenant_.query(R"(SELECT insula.register_workflow('{"name": "tried", "tasks": [{"id": "a", "retry":
    {"max_attempts": 3, "initial_delay": "1 h"}}]}', tenant => '{t}'))");
  const std::string timed = tenant_.query("SELECT insula.submit('timed', tenant => '{t}')");
  const std::string tried = tenant_.query("SELECT insula.submit('tried', tenant => '{t}')");
  const std::string leased = tenant_.query("SELECT insula.submit('w', tenant => '{t}')");
  tenant_.query("SELECT insula.submit('w', run_at => now() + interval '1 day', tenant => '{t}')");
  tenant_.query(
      "SELECT insula.fail(task_id, lease, 'not yet') FROM insula.claim('x', ARRAY['tried.a'], tenant => '{t}')");
  tenant_.query("SELECT insula.claim('x', ARRAY['w.a'], lease_for => '10 min', tenant => '{t}')");
  const auto status = [&](const std::string& id) {
    return tenant_.query("SELECT status FROM {s}.task_executions WHERE execution_id = " + id);
  };
  EXPECT_EQ(status(leased), "running");
  advance("11 min");
  EXPECT_EQ(status(leased), "ready") << "the lease has lapsed";
  EXPECT_EQ(status(timed), "ready");
  advance("1 hour");
  EXPECT_EQ(tenant_.query("SELECT status FROM {s}.workflow_executions WHERE execution_id = " + timed), "failed");
  advance("2 hours");
  EXPECT_EQ(tenant_.query("SELECT count(*) FROM insula.claim('x', ARRAY['tried.a'], tenant => '{t}')"), "1") << tried;
  EXPECT_EQ(tenant_.query("SELECT count(*) FROM insula.claim('x', ARRAY['w.a'], max_tasks => 9, tenant => '{t}')"),
            "1");
  advance("1 day");
  EXPECT_EQ(tenant_.query("SELECT count(*) FROM insula.claim('x', ARRAY['w.a'], max_tasks => 9, tenant => '{t}')"),
            "2");
}

// The look for what no process takes up visits others each minute, if there are more tenants than it may visit.
TEST_F(PreloadedVirtualTime, EachTenantHasItsTurnToBeLookedAt) {
  const Tenant others[] = {Tenant(clock_), Tenant(clock_)};
  clock_.query("SELECT insula.submit('w', tenant => tenant) FROM insula.tenants");
  std::string seen;
  for (int minutes = 0; minutes < 3; ++minutes) {
    advance("1 min");
    seen += clock_.query("SELECT string_agg(tenant_name, '+') FROM insula.read_overdue('0 s', '1 day', 1)") + " ";
  }
  for (const std::string& name : {tenant_.name(), others[0].name(), others[1].name()})
    EXPECT_NE(seen.find(name + " "), std::string::npos) << seen;
}

// Workers of all tenants visit only those that may have claimable tasks: time brings a tenant back.
TEST_F(PreloadedVirtualTime, AWorkerOfAllTenantsFindsWhatTimeMakesClaimable) {
  // The first claim that finds nothing takes the tenant out.
  const auto expect_nothing_to_claim = [this] {
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(clock_.query("SELECT count(*) FROM insula.claim('x', max_tasks => 9, lease_for => '1 h')"), "0");
      EXPECT_EQ(clock_.query("CALL insula.wait_for_work('0 s')"), "f");
    }
  };
  const auto claims_one_after = [this](const std::string& time) {
    advance(time);
    EXPECT_EQ(clock_.query("CALL insula.wait_for_work('10 s')"), "t") << time;
    EXPECT_EQ(clock_.query("SELECT count(*) FROM insula.claim('x', max_tasks => 9, lease_for => '1 h')"), "1") << time;
  };
  tenant_.query("SELECT insula.submit('w', run_at => now() + interval '1 day', tenant => '{t}')");
  expect_nothing_to_claim();
  claims_one_after("1 day");  // the delay ends
  expect_nothing_to_claim();
  claims_one_after("2 hours");  // the lease lapses
  tenant_.query("SELECT insula.set_tenant_limits('{t}', rate_per_second => 0.001)");
  tenant_.query("SELECT insula.submit_many('w', ARRAY['{}', '{}']::jsonb[], tenant => '{t}')");
  EXPECT_EQ(clock_.query("SELECT count(*) FROM insula.claim('x', max_tasks => 9, lease_for => '1 day')"), "1");
  EXPECT_EQ(clock_.query("SELECT count(*) FROM insula.claim('x', max_tasks => 9)"), "0");
  EXPECT_EQ(clock_.query("CALL insula.wait_for_work('0 s')"), "f");
  claims_one_after("20 min");  // the rate allows another start
}

TEST_F(PreloadedVirtualTime, AWaitingWorkerIsWokenByTheClock) {
  Session worker("dbname=virtual_time");
  tenant_.query("SELECT insula.submit('w', run_at => now() + interval '1 day', tenant => '{t}')");
  worker.send(tenant_.filled("CALL insula.wait_for_work('7 days', tenant => '{t}')"));
  EXPECT_FALSE(worker.finished(100ms));
  advance("2 days");
  EXPECT_TRUE(worker.finished());
  EXPECT_EQ(worker.answer(), "t");
}

TEST_F(PreloadedVirtualTime, IsRefusedToOthersAndWithoutAScheduler) {
  EXPECT_EQ(clock_.error("CALL insula.advance_clock(now() - interval '1 s')"), "22023");
  EXPECT_EQ(clock_.error("CALL insula.advance_clock('infinity')"), "22008");
  EXPECT_EQ(clock_.error("CALL insula.advance_clock(NULL)"), "22004");
  clock_.query("BEGIN");
  EXPECT_EQ(clock_.error("CALL insula.advance_clock(now() + interval '1 s')"), "IS010");
  clock_.query("ROLLBACK");
  clock_.query("SET ROLE insula_admin");
  EXPECT_EQ(clock_.error("CALL insula.advance_clock(now() + interval '1 day')"), "42501");
  clock_.query("RESET ROLE");
  // No scheduler would ever answer.
  clock_.query("SELECT insula.stop_scheduler()");
  EXPECT_EQ(clock_.error("CALL insula.advance_clock(now() + interval '1 day')"), "55000");
  clock_.query("SELECT insula.start_scheduler()");
  advance("1 hour");
}

// ---- what takes long otherwise ----

TEST_F(PreloadedVirtualTime, OldFiresAreRemovedHoweverShortASchedulerLives) {
  tenant_.schedule("s", "* * * * *", "overlap => 'skip'");
  for (int i = 0; i < 30; ++i) {
    advance("50 min");
    // As a new process would, this reads the schedules again.
    tenant_.schedule("another", "0 0 1 1 *");
  }
  EXPECT_GE(tenant_.fires(), 100) << "those that are needed are kept";
  EXPECT_LT(tenant_.fires(), 1000);
}

TEST_F(PreloadedVirtualTime, QueuedFiresOutlastTheGrace) {
  tenant_.schedule("s", "*/10 * * * *", "overlap => 'queue', max_catch_up => 2");
  tenant_.schedule("visits", "* * * * *", "overlap => 'skip'");
  const std::string mine = "context ->> 'schedule_expression' = '*/10 * * * *'";
  // The first runs for an hour while the tenant is visited each minute.
  advance("1 hour");
  EXPECT_EQ(tenant_.executions(mine), 1);
  const std::string last = now_;
  tenant_.query("SELECT insula.cancel(execution_id) FROM {s}.workflow_executions WHERE " + mine);
  ASSERT_TRUE(tenant_.soon(2, mine)) << "the end of the first lets the next go on";
  tenant_.query("SELECT insula.cancel(execution_id) FROM {s}.workflow_executions WHERE status = 'pending' AND " + mine);
  ASSERT_TRUE(tenant_.soon(3, mine));
  EXPECT_EQ(tenant_.query("SELECT max((context ->> 'scheduled_time')::timestamptz) = '" + last +
                          "' FROM {s}.workflow_executions WHERE " + mine),
            "t")
      << "the newest two waited";
}

// A fire that waits for an execution is looked at when one has ended, not at each visit of the tenant.
TEST_F(PreloadedVirtualTime, WaitingFiresCostNothing) {
  tenant_.query(
      "SELECT count(insula.schedule('q' || g, 'w', '@hourly', overlap => 'queue', tenant => '{t}')) FROM "
      "generate_series(1, 300) g");
  advance("2 hours");
  EXPECT_EQ(tenant_.executions(), 300);
  tenant_.schedule("visits", "* * * * *");
  const auto lookups = [&] {
    clock_.query("SELECT pg_stat_clear_snapshot()");
    return std::stol(
        tenant_.query("SELECT idx_scan FROM pg_stat_user_tables WHERE schemaname = '{s}' AND relname = "
                      "'record'"));
  };
  const auto settled = [&] {
    // A process reports when it ends, if not earlier.
    EXPECT_TRUE(eventually([&] { return clock_.scheduler().empty(); }));
    return lookups();
  };
  const long before = settled();
  advance("50 min");
  EXPECT_LT(settled() - before, 300 * 20) << "looked at once or twice, not with each of fifty fires";
  tenant_.work();
  ASSERT_TRUE(tenant_.soon_at_least(550, "context ->> 'schedule_expression' = '@hourly'")) << "their ends were heard";
}

TEST_F(PreloadedVirtualTime, AFailureIsToldOnce) {
  tenant_.query(R"(SELECT insula.register_workflow('{"name": "strict", "params": {"n": {"type": "integer",
    "required": true}}, "tasks": [{"id": "a"}]}', tenant => '{t}'))");
  tenant_.query("SELECT insula.schedule('bad', 'strict', '*/5 * * * *', tenant => '{t}')");
  tenant_.schedule("good", "* * * * *");
  advance("3 hours");
  EXPECT_EQ(tenant_.executions("workflow = 'w'"), 180);
  EXPECT_EQ(tenant_.trouble(), "schedule \"bad\": invalid input for workflow \"strict\"");
  const std::string log = server_log().substr(log_start_);
  EXPECT_EQ(count_in(log, tenant_.filled(R"(tenant "{t}" is set aside)")), 1) << log;
  EXPECT_EQ(count_in(log, "is served again"), 0) << log;
  tenant_.query("SELECT insula.unschedule('bad', '{t}')");
  EXPECT_TRUE(eventually([&] { return tenant_.trouble().empty(); }));
  EXPECT_EQ(count_in(server_log().substr(log_start_), tenant_.filled(R"(tenant "{t}" is served again)")), 1);
}

TEST_F(PreloadedVirtualTime, ATaskThatNoWorkerTakesUpIsNamed) {
  Tenant other(clock_);
  const std::string id = tenant_.query("SELECT insula.submit('w', tenant => '{t}')");
  const auto named = [&] {
    return clock_.query(
        "SELECT tenant || ' ' || object || ' ' || finding FROM insula.health() WHERE object LIKE 'execution %'");
  };
  advance("4 min");
  other.query("SELECT insula.submit('w', tenant => '{t}')");
  EXPECT_EQ(named(), "");
  advance("2 min");
  EXPECT_EQ(named().find(tenant_.name() + " execution " + id + " its task has been ready since "), 0U) << named();
  EXPECT_EQ(named().find("more tenants"), std::string::npos);
  advance("4 min");
  EXPECT_EQ(named().find(tenant_.name() + " execution " + id), 0U) << "the oldest";
  EXPECT_NE(named().find("; at least 1 more tenants have such a task"), std::string::npos);
  tenant_.work();
  EXPECT_EQ(named().find(other.name()), 0U);
  other.work();
  EXPECT_EQ(named(), "");
  // One of a tenant whose tasks are claimed.
  const std::string behind = tenant_.query("SELECT insula.submit('w', tenant => '{t}')");
  advance("6 min");
  EXPECT_EQ(named().find(tenant_.name() + " execution " + behind), 0U) << named();
  EXPECT_NE(named().find(", while others of its tenant are claimed: workers are behind, "), std::string::npos)
      << named();
  tenant_.work();
}

TEST_F(PreloadedVirtualTime, ABadRowStaysNamed) {
  tenant_.schedule("bad", "* * * * *");
  tenant_.schedule("good", "* * * * *");
  clock_.while_stopped([&] {
    tenant_.query("UPDATE {s}.record SET body = jsonb_set(body, '{cron}', '\"99 * * * *\"') WHERE name = 'bad'");
  });
  advance("1 hour");
  EXPECT_EQ(tenant_.trouble(), "schedule \"bad\": invalid cron expression \"99 * * * *\"");
}

TEST_F(PreloadedVirtualTime, ManySchedulesOfOneTenantTakeTurns) {
  Tenant other(clock_);
  tenant_.query(
      "SELECT count(insula.schedule('s' || i, 'w', '* * * * *', tenant => '{t}')) FROM generate_series(1, "
      "2500) i");
  other.schedule("s", "* * * * *");
  advance("2 min");
  // Each minute has one fire, although no turn makes them all.
  EXPECT_EQ(other.executions(), other.fires());
  EXPECT_EQ(tenant_.query("SELECT count(DISTINCT context ->> 'schedule_id') FROM {s}.workflow_executions"), "2500");
  EXPECT_EQ(tenant_.query("SELECT count(*) - count(DISTINCT (context ->> 'schedule_id', context ->> "
                          "'scheduled_time')) FROM {s}.workflow_executions"),
            "0");
  EXPECT_EQ(tenant_.query("SELECT count(*) FROM {s}.workflow_executions"), "5000");
}

}  // namespace
}  // namespace clock_test
