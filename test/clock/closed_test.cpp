// Databases that nothing can be done in when the server starts, those that go, and servers
// that have no room for a launcher.
#include "clock.hpp"

namespace clock_test {
namespace {

class ClosedCluster : public ::testing::Test {
 protected:
  std::string scheduler_of(const std::string& database) {
    return server_->query(
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'insula scheduler' AND datname = '" + database +
        "'");
  }
  std::string status(const std::string& item) {
    return server_->query("SELECT value FROM insula.status() WHERE item = '" + item + "'");
  }
  void restart() {
    server_.reset();
    ASSERT_TRUE(pg_ctl("restart"));
    server_ = std::make_unique<Session>();
  }

  std::unique_ptr<Session> server_ = std::make_unique<Session>();
};

using PreloadedClosedCluster = ClosedCluster;

TEST_F(PreloadedClosedCluster, ADatabaseThatIsOpenedAfterTheStartGoesOn) {
  Served served("shut");
  EXPECT_TRUE(served.fires());
  served.leave();
  server_->query("ALTER DATABASE shut ALLOW_CONNECTIONS false");
  restart();
  const std::string log_before = server_log();
  // Another one is served, so the launcher has looked.
  Served other("other");
  EXPECT_TRUE(other.fires());
  EXPECT_EQ(scheduler_of("shut"), "0");
  server_->query("ALTER DATABASE shut ALLOW_CONNECTIONS true");
  served.clock().reconnect();
  EXPECT_TRUE(served.fires()) << served.clock().status();
  // One that is closed while it is served is left alone once its scheduler has ended.
  Session inside("dbname=shut");
  server_->query("ALTER DATABASE shut ALLOW_CONNECTIONS false");
  server_->query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'insula scheduler' AND datname = "
      "'shut'");
  EXPECT_TRUE(eventually([&] {
    return inside.query("SELECT value FROM insula.status() WHERE item = 'scheduler'") ==
           "not running: the database accepts no connections";
  })) << inside.query("SELECT value FROM insula.status() WHERE item = 'scheduler'");
  EXPECT_TRUE(other.fires());
  EXPECT_TRUE(other.fires());
  EXPECT_EQ(scheduler_of("shut"), "0");
  EXPECT_EQ(server_log().substr(log_before.size()).find("FATAL"), std::string::npos)
      << server_log().substr(log_before.size());
  EXPECT_EQ(server_log().find("cannot read pg_class"), std::string::npos)
      << "the launcher needs nothing that a process without a database may not have";
  server_->query("ALTER DATABASE shut ALLOW_CONNECTIONS true");
  EXPECT_TRUE(served.fires()) << served.clock().status();
  served.leave();
  other.leave();
  for (const char* database : {"shut", "other"})
    server_->query(std::string("DROP DATABASE ") + database + " WITH (FORCE)");
}

TEST_F(PreloadedClosedCluster, ATemplateThatCanBeConnectedToIsServed) {
  Served served("pattern");
  EXPECT_TRUE(served.fires());
  served.leave();
  server_->query("ALTER DATABASE pattern IS_TEMPLATE true");
  restart();
  served.clock().reconnect();
  EXPECT_TRUE(served.fires()) << served.clock().status();
  served.leave();
  server_->query("ALTER DATABASE pattern IS_TEMPLATE false");
  EXPECT_EQ(server_->error("DROP DATABASE pattern"), "none");
}

// A database's entries in shared memory go with it.
TEST_F(PreloadedClosedCluster, ADatabaseThatIsDroppedLeavesNothingBehind) {
  server_->query("SET client_min_messages = error");
  server_->query("CREATE EXTENSION IF NOT EXISTS insula");
  const char* const items[] = {"workers", "watched executions", "due tenants", "ready tenants",
                               "tenants with low-water marks"};
  std::string before[5];
  for (int i = 0; i < 5; ++i) before[i] = status(items[i]);
  {
    Clock clock("leaving");
    Tenant tenant(clock);
    tenant.schedule("s", "0 0 1 1 *");
    clock.query("SELECT count(*) FROM insula.claim('worker', '{w.nothing}')");
    const std::string execution = tenant.query("SELECT insula.submit('w', tenant => '{t}')");
    tenant.query("SELECT count(*) FROM insula.claim('worker', max_tasks => 10, tenant => '{t}')");
    EXPECT_EQ(clock.error("CALL insula.wait_for_work('10 ms', worker => 'worker', tenant => '" + tenant.name() + "')"),
              "none");
    tenant.query("SELECT insula.watch('worker', ARRAY[" + execution + "])");
    EXPECT_NE(status("tenants with low-water marks"), before[4]);
    EXPECT_NE(status("watched executions"), before[1]);
    clock.disconnect();
  }
  EXPECT_EQ(server_->error("DROP DATABASE leaving"), "none");
  for (int i = 0; i < 5; ++i) EXPECT_EQ(status(items[i]), before[i]) << items[i];
  server_->query("DROP EXTENSION insula");
}

// With max_worker_processes = 0.
TEST(PreloadedNoLauncherSlot, CausesAWarning) {
  Session session;
  std::string notices;
  session.on_notice([&](const std::string& text) { notices += text; });
  EXPECT_EQ(session.error("CREATE EXTENSION insula"), "none");
  EXPECT_EQ(count_in(notices, "WARNING:  there is no free slot for the launcher"), 1) << notices;
  EXPECT_EQ(session.query("SELECT insula.start_scheduler()"), "f");
  EXPECT_EQ(count_in(notices, "HINT:  Raise max_worker_processes"), 2) << notices;
  EXPECT_EQ(session.query("SELECT value FROM insula.status() WHERE item = 'scheduler'"),
            "not running: raise max_worker_processes and restart the server");
}

}  // namespace
}  // namespace clock_test
