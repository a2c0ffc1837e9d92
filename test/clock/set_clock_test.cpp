// The server's own clock is set while it runs: a library that is preloaded into it
// (set_clock/) stands between it and the machine's clock.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "clock.hpp"

namespace clock_test {
namespace {

class SetClock : public ::testing::Test {
 protected:
  SetClock() {
    set(0);
    EXPECT_TRUE(pg_ctl("stop"));
    // The server's user may have no way into the directory of the build.
    std::filesystem::copy_file(INSULA_SET_CLOCK, library_, std::filesystem::copy_options::overwrite_existing);
    EXPECT_TRUE(pg_ctl("start", "INSULA_TEST_CLOCK=" + file_ + " LD_PRELOAD=" + library_));
  }
  ~SetClock() override {
    EXPECT_TRUE(pg_ctl("restart"));
    std::remove(file_.c_str());
    std::remove(library_.c_str());
  }

  // Sets the server's clock this many seconds ahead of the machine's.
  void set(std::int64_t ahead) {
    std::fstream file(file_, std::ios::in | std::ios::out | std::ios::binary);
    if (!file) file.open(file_, std::ios::out | std::ios::binary);
    file.write(reinterpret_cast<const char*>(&ahead), sizeof ahead);
  }

  // A sleeping process looks at the clock at least twice a minute, a process that is woken at once.
  void set_and_wake(std::int64_t ahead) {
    set(ahead);
    if (!soak()) Session().query("SELECT pg_reload_conf()");
  }

 private:
  const std::string file_ = environment("INSULA_PGDATA") + "/../clock";
  const std::string library_ = file_ + ".so";
};

// Executions of one fire.
std::string doubled(Tenant& tenant) {
  return tenant.query(
      "SELECT count(*) - count(DISTINCT (context ->> 'schedule_id', context ->> 'scheduled_time')) "
      "FROM {s}.workflow_executions WHERE context ? 'scheduled_time'");
}

TEST_F(SetClock, ForwardWhatWasPassedIsMissedOrDue) {
  Clock clock("forward");
  Tenant tenant(clock);
  // At a minute that lies behind and is not near, so that neither fires by itself.
  const std::string minute = clock.query("SELECT extract(minute FROM now() - interval '20 min')::int");
  tenant.schedule("each", minute + " * * * *", "catch_up => 'run_all'");
  tenant.schedule("newest", minute + " * * * *", "catch_up => 'run_once'");
  tenant.schedule("none", minute + " * * * *");
  tenant.query("SELECT insula.submit('w', run_at => now() + interval '1 h', tenant => '{t}')");
  Session waiting("dbname=forward");
  waiting.query("SET client_min_messages = error");
  waiting.send("CALL insula.wait_for_work('1 h', tenant => '" + tenant.name() + "')");
  EXPECT_FALSE(waiting.finished(200ms));
  set_and_wake(10800);
  EXPECT_TRUE(tenant.soon(5));
  EXPECT_EQ(tenant.executions("context ->> 'schedule_id' IS NULL"), 1);
  EXPECT_EQ(doubled(tenant), "0");
  EXPECT_TRUE(waiting.finished()) << "the delayed task is ready";
  EXPECT_TRUE(clock.served());
  clock.query("SELECT insula.stop_scheduler()");
}

TEST_F(SetClock, BackNothingIsRepeatedAndNothingStandsStill) {
  set(7200);
  Clock clock("backward");
  Tenant old(clock);
  old.schedule("s", "* * * * * *");
  EXPECT_TRUE(old.soon_at_least(2));
  // A tenant that fails, and is kept waiting longer and longer.
  Tenant bad(clock);
  bad.query("SELECT insula.set_tenant_limits('{t}', max_queued => 0)");
  bad.schedule("s", "* * * * * *");
  EXPECT_TRUE(eventually([&] { return !bad.trouble().empty(); }));
  Session waiting("dbname=backward");
  waiting.query("SET client_min_messages = error");
  waiting.send("CALL insula.wait_for_work('2 s', tenant => '" + bad.name() + "')");
  EXPECT_TRUE(eventually([&] {
    return waiting.finished(0ms) || clock.query("SELECT wait_event_type FROM pg_stat_activity WHERE pid = " +
                                                std::to_string(waiting.pid())) == "Extension";
  }));
  set_and_wake(3600);
  EXPECT_TRUE(waiting.finished()) << "a timeout is a time, not a moment";
  // New schedules fire; fires that have been made do not come again.
  Tenant young(clock);
  young.schedule("s", "* * * * * *");
  EXPECT_TRUE(young.soon_at_least(2));
  expect_every_second_once(young);
  young.query("SELECT insula.submit('w', run_at => now() + interval '1 s', tenant => '{t}')");
  EXPECT_EQ(doubled(old), "0");
  EXPECT_EQ(old.query("SELECT next_fire_at > now() + interval '30 min' FROM {s}.schedules"), "t");
  bad.query("SELECT insula.set_tenant_limits('{t}', max_queued => -1)");
  bad.schedule("another", "* * * * * *");
  EXPECT_TRUE(bad.soon_at_least(1)) << "the pause after a failure is a time too";
  // Its time comes again.
  const int before = old.executions();
  set_and_wake(7200);
  EXPECT_TRUE(old.soon_at_least(before + 2));
  EXPECT_EQ(doubled(old), "0");
  EXPECT_EQ(doubled(young), "0");
  clock.query("SELECT insula.stop_scheduler()");
}

}  // namespace
}  // namespace clock_test
