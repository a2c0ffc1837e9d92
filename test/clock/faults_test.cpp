// Fires while processes are killed, others hold what they need, and nothing is due.
#include <signal.h>

#include <atomic>
#include <cstdio>
#include <map>
#include <random>
#include <thread>

#include "clock.hpp"

namespace clock_test {
namespace {

std::chrono::seconds long_or(std::chrono::seconds in_soak, std::chrono::seconds in_check) {
  return soak() ? in_soak : in_check;
}

TEST(PreloadedFaults, NothingIsLostOrDoubledWhateverIsKilled) {
  Clock clock("killed");
  std::vector<std::unique_ptr<Tenant>> tenants;
  for (int i = 0; i < 3; ++i) {
    tenants.push_back(std::make_unique<Tenant>(clock));
    tenants.back()->schedule("a", every_second, "overlap => 'allow'");
    tenants.back()->schedule("b", every_second);
  }
  std::mt19937 random{std::random_device{}()};
  const auto end = std::chrono::steady_clock::now() + long_or(120s, 6s);
  std::map<std::string, int> faults;
  // For that time, and until there were a few, which a busy machine takes longer for.
  for (int rounds = 0; rounds < 10 || std::chrono::steady_clock::now() < end; ++rounds) {
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 700));
    const char* who = random() % 3 == 0 ? "insula launcher" : "insula scheduler";
    switch (random() % 8) {
      case 0: {
        const std::string pid =
            clock.query(std::string("SELECT pid FROM pg_stat_activity WHERE backend_type = '") + who + "'");
        if (pid.empty()) continue;
        kill(std::stoi(pid), SIGKILL);
        // It may have ended by itself before, after an earlier fault; then the server goes on.
        std::string outcome;
        EXPECT_TRUE(eventually([&] {
          outcome = clock.error("SELECT 1 / count(*) FROM pg_stat_activity WHERE pid = " + pid);
          return outcome == "lost" || outcome == "22012";
        }));
        if (outcome == "22012") continue;
        ++faults[std::string("kill -9 ") + who];
        EXPECT_TRUE(eventually([&] { return Session::reachable(); }));
        clock.reconnect();
        break;
      }
      case 1:
        ++faults["kill -9 of the server"];
        clock.disconnect();
        EXPECT_TRUE(pg_ctl("crash"));
        clock.reconnect();
        break;
      case 2:
        clock.query("SELECT insula.stop_scheduler()");
        clock.query("SELECT insula.start_scheduler()");
        ++faults["stop and start"];
        break;
      default: {
        const char* how = random() % 2 ? "pg_terminate_backend" : "pg_cancel_backend";
        clock.query(std::string("SELECT ") + how + "(pid) FROM pg_stat_activity WHERE backend_type = '" + who + "'");
        ++faults[std::string(how) + " " + who];
      }
    }
  }
  std::string told;
  for (const auto& [fault, times] : faults) told += (told.empty() ? "" : ", ") + fault + " " + std::to_string(times);
  SCOPED_TRACE(told);
  long fires = 0;
  for (auto& tenant : tenants) {
    const std::string now = clock.query("SELECT now()");
    EXPECT_TRUE(eventually(
        [&] { return tenant->query("SELECT bool_and(last_fire_at >= '" + now + "') FROM {s}.schedules") == "t"; }));
    tenant->query("SELECT insula.unschedule('a', '{t}'), insula.unschedule('b', '{t}')");
    expect_every_second_once(*tenant);
    fires += std::stol(tenant->query("SELECT count(*) FROM {s}.workflow_executions"));
  }
  if (!::testing::Test::HasFailure())
    std::printf("F5: %ld fires, 0 lost, 0 doubled, through: %s\n", fires, told.c_str());
  clock.disconnect();
  Session().query("DROP DATABASE killed");
}

// Completions at every moment of a visit: none of them may leave a queue behind.
TEST(PreloadedFaults, AQueueMissesNoEnd) {
  Clock clock("queues");
  Tenant tenant(clock);
  clock.while_stopped([&] {
    // No more of its fires come due: a visit for one would find the end that was missed.
    tenant.schedule("s", "* * * * *",
                    "catch_up => 'run_all', max_catch_up => 1000, overlap => 'queue', ends_at => now()");
    tenant.move_back("s", "10 hours");
  });
  std::atomic<bool> enough{false};
  std::thread noise([&] {
    // Visits that the queue does not ask for.
    Session other("dbname=queues");
    other.query("SET client_min_messages = error");
    while (!enough) other.query(tenant.filled("SELECT insula.schedule('n', 'w', '0 0 1 1 *', tenant => '{t}')"));
  });
  const int ends = soak() ? 590 : 150;
  int made = 0;
  while (made < ends && eventually([&] { return tenant.executions("status = 'pending'") == 1; })) {
    tenant.work();
    ++made;
  }
  EXPECT_EQ(made, ends);
  enough = true;
  noise.join();
  clock.disconnect();
  Session().query("DROP DATABASE queues WITH (FORCE)");
}

// ---- hostile tenants ----

class Hostile : public ::testing::Test {
 protected:
  Hostile() { victim_.schedule("s", every_second); }
  ~Hostile() override {
    victim_.query("SELECT insula.unschedule('s', '{t}')");
    mallory_.query("SELECT insula.drop_tenant('{t}', '0 s')");
  }
  // At least `count` of the victim's fires come while the attack goes on.
  void expect_fires_of_victim(int count) {
    const std::string now = clock_.query("SELECT now()");
    EXPECT_TRUE(victim_.soon_at_least(count, "(context ->> 'scheduled_time')::timestamptz > '" + now + "'"));
    EXPECT_EQ(victim_.trouble(), "");
  }

  Clock clock_;
  Tenant victim_{clock_};
  Tenant mallory_{clock_};
};

TEST_F(Hostile, AnOpenTransactionHoldsOnlyItsOwnTenant) {
  mallory_.schedule("s", every_second, "overlap => 'cancel'");
  ASSERT_TRUE(mallory_.soon_at_least(1));
  Session holder("dbname=clock");
  holder.query("BEGIN");
  holder.query(
      mallory_.filled("SELECT insula.cancel(execution_id) FROM {s}.workflow_executions WHERE status = "
                      "'pending'"));
  holder.query(mallory_.filled("SELECT insula.unschedule('s', '{t}')"));
  holder.query(mallory_.filled("SELECT insula.submit('w', idempotency_key => 'k', tenant => '{t}')"));
  expect_fires_of_victim(2);
  holder.query("ROLLBACK");
  const int before = mallory_.executions();
  EXPECT_TRUE(mallory_.soon_at_least(before + 1)) << "and he goes on when he lets go";
}

TEST_F(Hostile, AFloodOfChangesIsNotServedFirst) {
  mallory_.query(
      "SELECT count(insula.schedule('s' || i, 'w', '0 0 1 1 *', tenant => '{t}')) FROM generate_series(1, "
      "1000) i");
  std::atomic<bool> enough{false};
  std::vector<std::thread> floods;
  for (int i = 0; i < 2; ++i)
    floods.emplace_back([&, i] {
      Session session("dbname=clock");
      session.query("SET client_min_messages = error; SET synchronous_commit = off");
      const std::string name = "'f" + std::to_string(i) + "'";
      while (!enough) {
        session.query(mallory_.filled("SELECT insula.schedule(" + name + ", 'w', '0 0 1 1 *', tenant => '{t}')"));
        session.query(mallory_.filled("SELECT insula.unschedule(" + name + ", tenant => '{t}')"));
      }
    });
  expect_fires_of_victim(3);
  enough = true;
  for (auto& flood : floods) flood.join();
}

TEST_F(Hostile, AFloodOfFiresTakesTurns) {
  clock_.while_stopped([&] {
    mallory_.query("SELECT count(insula.schedule('s' || i, 'w', '" + std::string(every_second) +
                   "', catch_up => 'run_all', max_catch_up => 1000, tenant => '{t}')) FROM generate_series(1, 100) i");
    mallory_.query("UPDATE {s}.record SET at = at - interval '1 day' WHERE kind = 'd'");
  });
  // A hundred thousand fires are due before the victim's.
  expect_fires_of_victim(2);
  EXPECT_LT(mallory_.executions(), 100000) << "they took turns";
}

TEST_F(Hostile, AFailingTenantIsTriedLessAndLess) {
  mallory_.schedule("s", every_second);
  clock_.while_stopped([&] { mallory_.query("ALTER TABLE {s}.record ADD COLUMN surplus int"); });
  EXPECT_TRUE(eventually([&] { return mallory_.trouble().find("is not as Insula made it") != std::string::npos; }))
      << mallory_.trouble();
  expect_fires_of_victim(2);
  mallory_.query("ALTER TABLE {s}.record DROP COLUMN surplus");
}

// ---- nothing is due ----

TEST(PreloadedIdle, NothingRunsWhereNothingIsDue) {
  Clock clock("idle");
  Tenant tenant(clock);
  tenant.schedule("far", "0 0 1 1 *", "starts_at => now() + interval '2 years'");
  tenant.query("SELECT insula.submit('w', tenant => '{t}')");
  tenant.work();
  EXPECT_TRUE(eventually([&] { return clock.status().find("asleep until") == 0; })) << clock.status();
  clock.disconnect();
  Session server;
  // Its workers come to any database at any time.
  server.query("ALTER SYSTEM SET autovacuum = off");
  server.query("SELECT pg_reload_conf()");
  const auto commits = [&] {
    return server.query("SELECT sum(xact_commit + xact_rollback) FROM pg_stat_database WHERE datname = 'idle'");
  };
  // Processes that have ended report their statistics within a second.
  std::string before;
  EXPECT_TRUE(eventually([&] {
    const std::string last = before;
    before = commits();
    std::this_thread::sleep_for(500ms);
    return before == last && server.query("SELECT count(*) FROM pg_stat_activity WHERE datname = 'idle'") == "0";
  }));
  std::this_thread::sleep_for(long_or(60s, 3s));
  EXPECT_EQ(commits(), before);
  EXPECT_EQ(server.query("SELECT count(*) FROM pg_stat_activity WHERE datname = 'idle'"), "0");
  EXPECT_EQ(server.query("SELECT state || ', ' || wait_event_type FROM pg_stat_activity WHERE backend_type = "
                         "'insula launcher'"),
            "idle, Extension");
  server.query("ALTER SYSTEM RESET autovacuum");
  server.query("SELECT pg_reload_conf()");
  server.query("DROP DATABASE idle");
}

// ---- memory ----

TEST(PreloadedMemory, StaysFlatOverManyFires) {
  Clock clock("memory");
  Tenant tenant(clock);
  tenant.schedule("s", every_second, "overlap => 'skip'");
  tenant.schedule("t", every_second);
  tenant.query("SELECT insula.set_tenant_limits('{t}', retain => '1 h', retain_count => 100)");
  const std::string start = clock.query("SELECT date_trunc('second', now())");
  int seconds = 0;
  const auto fire = [&](int more) {
    seconds += more;
    clock.advance("timestamptz '" + start + "' + interval '" + std::to_string(seconds) + " s'");
  };
  const auto resident = [&] {
    const std::string pid = clock.scheduler();
    const std::string text = pid.empty() ? "" : clock.query("SELECT pg_read_file('/proc/" + pid + "/status')");
    // Without the shared buffers that it has come to look at.
    const auto at = text.find("RssAnon:");
    return at == std::string::npos ? 0L : std::stol(text.substr(at + 8));
  };
  fire(500);
  const std::string pid = clock.scheduler();
  const long before = resident();
  ASSERT_GT(before, 0);
  for (int i = 0; i < (soak() ? 100 : 4); ++i) fire(500);
  EXPECT_EQ(clock.scheduler(), pid) << "the same process";
  const long after = resident();
  EXPECT_LT(after, before + 4096) << "kilobytes, after " << 2 * seconds << " fires";
  std::printf("%ld kilobytes after a thousand fires, %ld after %d\n", before, after, 2 * seconds);
  clock.disconnect();
  Session().query("DROP DATABASE memory");
}

}  // namespace
}  // namespace clock_test
