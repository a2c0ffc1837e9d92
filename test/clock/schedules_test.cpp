// The promises of schedules, each tried with a past that the test chooses.
#include "clock.hpp"

namespace clock_test {
namespace {

class Schedules : public ::testing::Test {
 protected:
  Clock clock_;
  Tenant tenant_{clock_};
};

// Daily at an hour that is half a day away, so that nothing fires by itself during the test.
std::string daily(Clock& clock) {
  return clock.query("SELECT format('0 %s * * *', extract(hour FROM now() AT TIME ZONE 'UTC' + interval '12 hours'))");
}

TEST_F(Schedules, FireWithTheirContext) {
  const std::string id = tenant_.schedule("s", "* * * * * *", R"(context => '{"mine": 1, "schedule_id": "not mine"}')");
  ASSERT_TRUE(eventually([&] { return tenant_.executions() >= 2; }));
  clock_.query("SELECT 1");
  EXPECT_EQ(tenant_.query("SELECT bool_and(context ->> 'schedule_id' = '" + id +
                          "' AND context ->> 'schedule_timezone' = 'UTC' AND context ->> 'schedule_expression' = "
                          "'* * * * * *' AND context -> 'mine' = '1' AND workflow = 'w' AND "
                          "(context ->> 'scheduled_time')::timestamptz <= created_at) FROM {s}.workflow_executions"),
            "t");
  // One for each second, and none for the same.
  EXPECT_EQ(
      tenant_.query("SELECT count(*) = extract(epoch FROM max(at) - min(at)) + 1 AND count(*) = count(DISTINCT at) "
                    "FROM (SELECT (context ->> 'scheduled_time')::timestamptz AS at FROM "
                    "{s}.workflow_executions) e"),
      "t");
  EXPECT_EQ(tenant_.query("SELECT insula.unschedule('s', '{t}')"), "t");
}

TEST_F(Schedules, SkipWhatWasMissed) {
  clock_.while_stopped([&] {
    tenant_.schedule("s", daily(clock_));
    tenant_.move_back("s", "10 days");
  });
  ASSERT_TRUE(eventually([&] { return tenant_.fires() == 1; })) << "passed over";
  EXPECT_EQ(tenant_.executions(), 0);
}

TEST_F(Schedules, RunOnceForAllThatWasMissed) {
  clock_.while_stopped([&] {
    tenant_.schedule("s", daily(clock_), "catch_up => 'run_once'");
    tenant_.move_back("s", "10 days");
  });
  ASSERT_TRUE(tenant_.soon(1));
  EXPECT_EQ(tenant_.query("SELECT now() - (context ->> 'scheduled_time')::timestamptz < '1 day' FROM "
                          "{s}.workflow_executions"),
            "t");
  EXPECT_EQ(tenant_.query("SELECT last_fire_at < now() AND next_fire_at > now() AND status = 'active' "
                          "FROM {s}.schedules"),
            "t");
}

TEST_F(Schedules, RunAllThatWasMissed) {
  clock_.while_stopped([&] {
    tenant_.schedule("s", daily(clock_), "catch_up => 'run_all'");
    tenant_.move_back("s", "10 days");
  });
  ASSERT_TRUE(tenant_.soon(10));
  EXPECT_EQ(tenant_.query("SELECT count(DISTINCT context ->> 'scheduled_time') FROM {s}.workflow_executions"), "10");
  EXPECT_EQ(tenant_.query("SELECT bool_and(o) FROM (SELECT (context ->> 'scheduled_time')::timestamptz > "
                          "lag((context ->> 'scheduled_time')::timestamptz) OVER (ORDER BY execution_id) AS o "
                          "FROM {s}.workflow_executions) x"),
            "t")
      << "oldest first";
}

TEST_F(Schedules, RunAllUpToMaxCatchUp) {
  clock_.while_stopped([&] {
    tenant_.schedule("s", daily(clock_), "catch_up => 'run_all', max_catch_up => 3");
    tenant_.move_back("s", "10 days");
  });
  ASSERT_TRUE(tenant_.soon(3));
  EXPECT_EQ(tenant_.query("SELECT max(now() - (context ->> 'scheduled_time')::timestamptz) < '3 days' FROM "
                          "{s}.workflow_executions"),
            "t")
      << "the newest";
}

TEST_F(Schedules, AGreatManyMissedAreMadeInTurns) {
  clock_.while_stopped([&] {
    for (const char* name : {"a", "b", "c"}) {
      tenant_.schedule(name, "*/2 * * * *", "catch_up => 'run_all', max_catch_up => 1000");
      tenant_.move_back(name, "10 days");
    }
  });
  const std::string of_each =
      " FROM (SELECT count(*) AS n FROM {s}.workflow_executions GROUP BY context ->> 'schedule_id') x";
  ASSERT_TRUE(eventually([&] { return tenant_.query("SELECT count(*) = 3 AND min(n) >= 1000" + of_each) == "t"; }));
  // Beside the missed fires there may be one that is on time, and one that came since.
  EXPECT_EQ(tenant_.query("SELECT max(n) <= 1002" + of_each), "t");
  EXPECT_EQ(tenant_.query("SELECT count(*) = count(DISTINCT (context ->> 'schedule_id', context ->> 'scheduled_time')) "
                          "FROM {s}.workflow_executions"),
            "t");
}

TEST_F(Schedules, KeepTheirIdAndPastWhenPutAgain) {
  std::string first;
  std::string second;
  clock_.while_stopped([&] {
    first = tenant_.schedule("s", daily(clock_), "catch_up => 'run_all'");
    tenant_.move_back("s", "3 days");
  });
  ASSERT_TRUE(tenant_.soon(3));
  clock_.while_stopped(
      [&] { second = tenant_.schedule("s", daily(clock_), "catch_up => 'run_all', max_catch_up => 50"); });
  EXPECT_EQ(first, second);
  // Another schedule's fire shows that the scheduler has looked since.
  clock_.while_stopped([&] {
    tenant_.schedule("marker", daily(clock_), "catch_up => 'run_once'");
    tenant_.move_back("marker", "1 day");
  });
  ASSERT_TRUE(tenant_.soon(4));
  EXPECT_EQ(tenant_.query("SELECT max_catch_up FROM {s}.schedules WHERE name = 's'"), "50");
}

TEST_F(Schedules, OtherTimesStartAfresh) {
  clock_.while_stopped([&] {
    tenant_.schedule("s", "0 0 1 1 *", "catch_up => 'run_all'");
    tenant_.move_back("s", "3 days");
    tenant_.schedule("s", daily(clock_), "catch_up => 'run_all'");
    tenant_.schedule("marker", daily(clock_), "catch_up => 'run_once'");
    tenant_.move_back("marker", "1 day");
  });
  ASSERT_TRUE(tenant_.soon(1, "context ->> 'schedule_id' <> ''"));
  EXPECT_EQ(tenant_.query("SELECT last_fire_at IS NULL FROM {s}.schedules WHERE name = 's'"), "t");
}

TEST_F(Schedules, DoNotFireWhilePausedNorForThatTimeLater) {
  clock_.while_stopped([&] {
    tenant_.schedule("s", daily(clock_), "catch_up => 'run_all'");
    EXPECT_EQ(tenant_.query("SELECT insula.pause_schedule('s', '{t}')"), "t");
    EXPECT_EQ(tenant_.query("SELECT insula.pause_schedule('s', '{t}')"), "f");
    tenant_.move_back("s", "3 days");
    tenant_.schedule("marker", daily(clock_), "catch_up => 'run_once'");
    tenant_.move_back("marker", "1 day");
  });
  ASSERT_TRUE(tenant_.soon(1));
  EXPECT_EQ(tenant_.query("SELECT status || coalesce(next_fire_at::text, '') FROM {s}.schedules WHERE name = 's'"),
            "paused");
  tenant_.schedule("s", daily(clock_), "catch_up => 'run_all'");
  EXPECT_EQ(tenant_.query("SELECT status FROM {s}.schedules WHERE name = 's'"), "paused") << "put again";
  EXPECT_EQ(tenant_.query("SELECT insula.resume_schedule('s', '{t}')"), "t");
  EXPECT_EQ(tenant_.query("SELECT insula.resume_schedule('s', '{t}')"), "f");
  EXPECT_EQ(tenant_.query("SELECT status FROM {s}.schedules WHERE name = 's' AND next_fire_at > now()"), "active");
  clock_.while_stopped([&] {
    tenant_.query("DELETE FROM {s}.record WHERE kind = 'f'");
    tenant_.move_back("marker", "1 day");
  });
  ASSERT_TRUE(tenant_.soon(2));
}

TEST_F(Schedules, AreRemovedAndLeaveTheirExecutions) {
  clock_.while_stopped([&] {
    tenant_.schedule("s", daily(clock_), "catch_up => 'run_all'");
    tenant_.move_back("s", "3 days");
  });
  ASSERT_TRUE(tenant_.soon(3));
  EXPECT_EQ(tenant_.query("SELECT insula.unschedule('s', '{t}')"), "t");
  EXPECT_EQ(tenant_.query("SELECT insula.unschedule('s', '{t}')"), "f");
  EXPECT_EQ(tenant_.query("SELECT count(*) FROM {s}.schedules"), "0");
  EXPECT_EQ(tenant_.fires(), 0);
  EXPECT_EQ(tenant_.executions(), 3);
}

TEST_F(Schedules, FireInTheirWindowOnly) {
  clock_.while_stopped([&] {
    tenant_.schedule("s", daily(clock_),
                     "catch_up => 'run_all', starts_at => now() - interval '4 days', ends_at => now() - "
                     "interval '2 days'");
    tenant_.move_back("s", "10 days");
  });
  ASSERT_TRUE(tenant_.soon(2));
  EXPECT_EQ(tenant_.query("SELECT status || coalesce(next_fire_at::text, '') FROM {s}.schedules"), "ended");
}

// ---- the fire before still runs ----

class Overlap : public Schedules {
 protected:
  // Three fires at once.
  void fire_three(const std::string& overlap) {
    clock_.while_stopped([&] {
      tenant_.schedule("s", daily(clock_), "catch_up => 'run_all', overlap => '" + overlap + "'");
      tenant_.move_back("s", "3 days");
    });
  }
};

TEST_F(Overlap, AllowRunsThemBesideOneAnother) {
  fire_three("allow");
  ASSERT_TRUE(tenant_.soon(3, "status = 'pending'"));
}

TEST_F(Overlap, SkipPassesThemOver) {
  fire_three("skip");
  ASSERT_TRUE(eventually([&] { return tenant_.fires() == 3; }));
  EXPECT_EQ(tenant_.executions(), 1);
  EXPECT_EQ(tenant_.query("SELECT last_fire_at = (SELECT (context ->> 'scheduled_time')::timestamptz FROM "
                          "{s}.workflow_executions) FROM {s}.schedules"),
            "t")
      << "the last one that made an execution";
}

TEST_F(Overlap, CancelEndsTheOneBefore) {
  fire_three("cancel");
  ASSERT_TRUE(tenant_.soon(3));
  EXPECT_EQ(tenant_.executions("status = 'cancelled'"), 2);
  EXPECT_EQ(tenant_.query("SELECT status FROM {s}.workflow_executions ORDER BY execution_id DESC LIMIT 1"), "pending");
}

TEST_F(Overlap, CancelReachesARunningTask) {
  clock_.while_stopped([&] {
    tenant_.schedule("s", daily(clock_), "catch_up => 'run_once', overlap => 'cancel'");
    tenant_.move_back("s", "1 day");
  });
  ASSERT_TRUE(tenant_.soon(1));
  const std::string task = clock_.query(tenant_.filled("SELECT task_id FROM insula.claim('w', tenant => '{t}')"));
  clock_.while_stopped([&] {
    tenant_.query("UPDATE {s}.record SET seq = seq - 86400000000::bigint WHERE kind = 'f'");
    tenant_.move_back("s", "1 day");
  });
  ASSERT_TRUE(tenant_.soon(2));
  EXPECT_EQ(tenant_.query("SELECT status FROM {s}.task_executions WHERE task_id = " + task), "cancelled");
}

TEST_F(Overlap, QueueWaitsForTheEndOfTheOneBefore) {
  fire_three("queue");
  ASSERT_TRUE(tenant_.soon(1));
  for (int i = 1; i <= 3; ++i) {
    EXPECT_EQ(tenant_.executions(), i);
    tenant_.work();
    ASSERT_TRUE(tenant_.soon(std::min(i + 1, 3))) << "woken by the end";
  }
  EXPECT_EQ(tenant_.executions("status = 'completed'"), 3);
}

TEST_F(Overlap, QueueAlsoHearsOfFailuresAndCancels) {
  fire_three("queue");
  ASSERT_TRUE(tenant_.soon(1));
  tenant_.query("SELECT insula.cancel(max(execution_id)) FROM {s}.workflow_executions");
  ASSERT_TRUE(tenant_.soon(2));
  tenant_.query("SELECT insula.fail(task_id, lease, 'no', false) FROM insula.claim('w', tenant => '{t}')");
  ASSERT_TRUE(tenant_.soon(3));
}

// ---- what stops a tenant ----

TEST_F(Schedules, OfASuspendedTenantDoNotFire) {
  clock_.while_stopped([&] {
    tenant_.schedule("s", daily(clock_), "catch_up => 'run_all'");
    tenant_.move_back("s", "3 days");
    tenant_.query("SELECT insula.suspend_tenant('{t}')");
  });
  Tenant other(clock_);
  clock_.while_stopped([&] {
    other.schedule("s", daily(clock_), "catch_up => 'run_once'");
    other.move_back("s", "3 days");
  });
  ASSERT_TRUE(other.soon(1));
  EXPECT_EQ(tenant_.executions(), 0);
  tenant_.query("SELECT insula.resume_tenant('{t}')");
  ASSERT_TRUE(tenant_.soon(3));
}

TEST_F(Schedules, AFullQueueIsToldAndThenMadeUpFor) {
  tenant_.query("SELECT insula.set_tenant_limits('{t}', max_queued => 0)");
  clock_.while_stopped([&] {
    tenant_.schedule("s", daily(clock_), "catch_up => 'run_all'");
    tenant_.move_back("s", "3 days");
  });
  // The first failure is the tenant's; looking more carefully shows which schedule it is.
  ASSERT_TRUE(eventually([&] { return tenant_.trouble().find("schedule \"s\": the queue") == 0; }))
      << tenant_.trouble();
  EXPECT_EQ(tenant_.executions(), 0);
  tenant_.query("SELECT insula.set_tenant_limits('{t}', max_queued => -1)");
  ASSERT_TRUE(tenant_.soon(3));
  ASSERT_TRUE(eventually([&] { return tenant_.trouble().empty(); }));
}

TEST_F(Schedules, OneThatFailsDoesNotStopTheOthers) {
  tenant_.query(R"(SELECT insula.register_workflow('{"name": "strict", "params": {"n": {"type": "integer",
    "required": true}}, "tasks": [{"id": "a"}]}', tenant => '{t}'))");
  clock_.while_stopped([&] {
    tenant_.query("SELECT insula.schedule('bad', 'strict', '" + daily(clock_) +
                  "', catch_up => 'run_all', tenant => '{t}')");
    tenant_.move_back("bad", "3 days");
    tenant_.schedule("good", daily(clock_), "catch_up => 'run_all'");
    tenant_.move_back("good", "3 days");
  });
  ASSERT_TRUE(tenant_.soon(3));
  ASSERT_TRUE(eventually([&] { return tenant_.trouble().find("\"bad\"") != std::string::npos; }));
  tenant_.query("SELECT insula.schedule('bad', 'strict', '" + daily(clock_) +
                "', context => '{\"n\": 1}', catch_up => 'run_all', tenant => '{t}')");
  ASSERT_TRUE(tenant_.soon(6)) << "the context is right now";
  ASSERT_TRUE(eventually([&] { return tenant_.trouble().empty(); }));
}

TEST_F(Schedules, ABadRowIsSetAside) {
  clock_.while_stopped([&] {
    tenant_.schedule("bad", daily(clock_), "catch_up => 'run_all'");
    tenant_.query("UPDATE {s}.record SET body = jsonb_set(body, '{timezone}', '\"Atlantis/Lost\"') WHERE kind = 'd'");
    tenant_.schedule("good", daily(clock_), "catch_up => 'run_all'");
    tenant_.move_back("good", "3 days");
  });
  ASSERT_TRUE(tenant_.soon(3));
  ASSERT_TRUE(eventually([&] { return tenant_.trouble().find("Atlantis") != std::string::npos; }));
}

// As between a scheduler's two reads of one that is being changed.
TEST_F(Schedules, OneWithoutItsContextFiresWhenItHasIt) {
  const auto rename = [&](const std::string& from, const std::string& to) {
    tenant_.query("UPDATE {s}.record SET name = '" + to + "' WHERE kind = 'i' AND name = '" + from +
                  "' AND owner = (SELECT ref FROM {s}.record WHERE kind = 'd' AND name = 'changing')");
  };
  clock_.while_stopped([&] {
    for (const std::string name : {"changing", "other"}) {
      tenant_.schedule(name, daily(clock_), "catch_up => 'run_all', context => '{\"of\": \"" + name + "\"}'");
      tenant_.move_back(name, "3 days");
    }
    rename("", "away");
  });
  ASSERT_TRUE(tenant_.soon(3));
  EXPECT_EQ(tenant_.query("SELECT DISTINCT context ->> 'of' FROM {s}.workflow_executions"), "other");
  rename("away", "");
  ASSERT_TRUE(tenant_.soon(6));
  EXPECT_EQ(tenant_.trouble(), "");
}

TEST_F(Schedules, ShowWhatTheyAre) {
  clock_.while_stopped([&] { tenant_.schedule("s", "30 2 * * *", "timezone => 'Europe/Berlin', jitter => '5 min'"); });
  EXPECT_EQ(tenant_.query("SELECT concat_ws('|', name, workflow, cron, timezone, status, jitter, overlap, catch_up, "
                          "max_catch_up, last_fire_at) FROM {s}.schedules"),
            "s|w|30 2 * * *|Europe/Berlin|active|00:05:00|allow|skip|100");
  EXPECT_EQ(tenant_.query("SELECT next_fire_at = (SELECT insula.next_fires('30 2 * * *', 'Europe/Berlin', 1)) FROM "
                          "{s}.schedules"),
            "t");
}

}  // namespace
}  // namespace clock_test
