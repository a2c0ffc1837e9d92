// Schedules with large contexts, and many schedules: a scheduler's turn for their tenant stays short.  Told by counts
// of what it has read and of its transactions, and by the memory that it took.
#include "clock.hpp"

#include <memory>
#include <vector>

namespace clock_test {
namespace {

using std::to_string;

class PreloadedLarge : public ::testing::Test {
 protected:
  void TearDown() override {
    clock_.query("ALTER SYSTEM RESET ALL");
    clock_.query("SELECT pg_reload_conf()");
    clock_.disconnect();
    Session().query("DROP DATABASE large");
  }
  void set_for_all(const std::string& setting, const std::string& value) {
    clock_.query("ALTER SYSTEM SET " + setting + " = '" + value + "'");
    clock_.query("SELECT pg_reload_conf()");
    EXPECT_TRUE(eventually([&] { return Session().query("SHOW " + setting) == value; }));
  }
  // Schedules with contexts of `bytes` bytes, which compress well.
  void make(int schedules, const std::string& cron, int bytes, const std::string& more = "") {
    tenant_.query("SELECT count(insula.schedule('s' || i, 'w', '" + cron +
                  "', context => jsonb_build_object('x', repeat('x', " + to_string(bytes) + ")), tenant => '{t}'" +
                  more + ")) FROM generate_series(1, " + to_string(schedules) + ") i");
  }
  // The scheduler ends once nothing is due, and has told its statistics by then.
  void settle() {
    EXPECT_TRUE(eventually([&] {
      // Not in its database, whose transactions are counted.
      return Session().query(
                 "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'insula scheduler' AND datname = "
                 "'large'") == "0";
    }));
    clock_.query("SELECT pg_stat_force_next_flush()");
    clock_.query("SELECT pg_stat_clear_snapshot()");
  }
  // By how much one change of a schedule, and its first fires, raise a number.
  long change_adds(const std::function<long()>& number) {
    settle();
    const long before = number();
    const int made = tenant_.executions();
    tenant_.schedule("changed", every_second, "ends_at => now() + interval '2 s'");
    // In one transaction, since transactions are counted.
    tenant_.query("DO $$ BEGIN FOR i IN 1..3000 LOOP EXIT WHEN (SELECT count(*) FROM {s}.workflow_executions) > " +
                  to_string(made) + "; PERFORM pg_sleep(0.02); END LOOP; END $$");
    EXPECT_GT(tenant_.executions(), made) << "the scheduler has seen it";
    settle();
    return number() - before;
  }
  // The most memory that the scheduler has had, in megabytes.
  long peak() {
    const std::string pid = clock_.scheduler();
    const std::string text = pid.empty() ? "" : clock_.query("SELECT pg_read_file('/proc/" + pid + "/status')");
    const auto at = text.find("VmHWM:");
    return at == std::string::npos ? 0L : std::stol(text.substr(at + 6)) / 1024;
  }
  // All of them have missed a fire, which is to be made.
  void miss_fires(int schedules, int bytes) {
    clock_.while_stopped([&] {
      make(schedules, yearly_, bytes, ", catch_up => 'run_once'");
      tenant_.query("UPDATE {s}.record SET at = at - interval '366 days' WHERE kind = 'd'");
    });
  }

  static constexpr char yearly_[] = "0 0 1 1 *";
  Clock clock_{"large"};
  Tenant tenant_{clock_};
};

TEST_F(PreloadedLarge, ContextsAreNotReadForAChange) {
  make(20, yearly_, 4000000);
  const auto looked_up = [&] {
    return std::stol(
        tenant_.query("SELECT idx_scan FROM pg_stat_all_tables WHERE relid = (SELECT reltoastrelid FROM pg_class WHERE "
                      "oid = '{s}.record'::regclass)"));
  };
  EXPECT_EQ(change_adds(looked_up), 0);
}

TEST_F(PreloadedLarge, ManyAreReadInSeveralTurns) {
  const auto commits = [&] {
    return std::stol(Session().query("SELECT xact_commit FROM pg_stat_database WHERE datname = 'large'"));
  };
  set_for_all("insula.visit_time", "1ms");
  set_for_all("autovacuum", "off");
  make(2, yearly_, 10);
  const long with_few = change_adds(commits);
  make(3000, yearly_, 10);
  EXPECT_GT(change_adds(commits), with_few + 10);
  tenant_.schedule("a", every_second);
  tenant_.schedule("z", every_second);
  EXPECT_TRUE(tenant_.soon_at_least(4)) << "all of them are known in the end";
}

// Few are half read at a time: the others wait, also for those that are suspended half-way.
TEST_F(PreloadedLarge, ManyTenantsAreReadInSeveralTurns) {
  constexpr std::size_t tenants = 40, suspended = 30;
  set_for_all("insula.visit_time", "1ms");
  std::vector<std::unique_ptr<Tenant>> large;
  clock_.while_stopped([&] {
    for (std::size_t i = 0; i < tenants; ++i) {
      Tenant& tenant = *large.emplace_back(std::make_unique<Tenant>(clock_));
      tenant.schedule("n", yearly_);
      tenant.query(
          "INSERT INTO {s}.record (kind, owner, name, seq, at, ref, body) SELECT kind, owner, 'n' || i, seq, at, ref + "
          "i, body FROM {s}.record, generate_series(1, 600) i WHERE kind = 'd'");
      tenant.schedule("z", every_second);
    }
  });
  for (std::size_t i = 0; i < suspended; ++i) large[i]->query("SELECT insula.suspend_tenant('{t}')");
  for (std::size_t i = suspended; i < tenants; ++i) EXPECT_TRUE(large[i]->soon_at_least(1)) << i;
  for (std::size_t i = 0; i < suspended; ++i) large[i]->query("SELECT insula.resume_tenant('{t}')");
  for (std::size_t i = 0; i < suspended; ++i) EXPECT_TRUE(large[i]->soon_at_least(1)) << i;
}

TEST_F(PreloadedLarge, FiresAreChargedToTheBudget) {
  constexpr int schedules = 30;
  set_for_all("insula.visit_bytes", "4MB");
  miss_fires(schedules, 1000000);
  EXPECT_TRUE(tenant_.soon(schedules));
  EXPECT_LE(std::stoi(tenant_.query("SELECT max(n) FROM (SELECT count(*) AS n FROM {s}.work GROUP BY xmin::text) x")),
            4);
}

TEST_F(PreloadedLarge, AFireLeavesNothingInMemory) {
  constexpr int schedules = 60;
  set_for_all("insula.visit_bytes", "1GB");
  set_for_all("insula.visit_time", "1min");
  miss_fires(schedules, 4000000);
  tenant_.schedule("tick", every_second);  // so that the scheduler stays
  EXPECT_TRUE(tenant_.soon_at_least(schedules));
  EXPECT_GT(peak(), 0);
  EXPECT_LT(peak(), 250);
}

TEST_F(PreloadedLarge, AFireThatFailsLeavesNothingInMemory) {
  tenant_.query("SELECT insula.set_tenant_limits('{t}', max_queued => 1)");
  miss_fires(60, 4000000);
  tenant_.schedule("tick", every_second);
  EXPECT_TRUE(tenant_.soon(1));
  EXPECT_TRUE(eventually([&] { return !tenant_.trouble().empty(); }));
  EXPECT_GT(peak(), 0);
  EXPECT_LT(peak(), 250);
}

}  // namespace
}  // namespace clock_test
