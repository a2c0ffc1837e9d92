// The life of schedulers in a cluster: databases that come, go and are copied, settings,
// processes that are ended or killed.
#include <signal.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>

#include "clock.hpp"

namespace clock_test {
namespace {

std::string launcher(Clock& clock) {
  return clock.query("SELECT pid FROM pg_stat_activity WHERE backend_type = 'insula launcher'");
}

// The directory in which the server looks for extensions.
std::string extension_directory() { return output_of("\"$INSULA_PGBIN/pg_config\" --sharedir") + "/extension"; }

class Cluster : public ::testing::Test {
 protected:
  // Earlier tests may have left a database.
  void drop(const std::string& database) { server_.query("DROP DATABASE IF EXISTS " + database + " WITH (FORCE)"); }
  bool gone(const std::string& database) {
    return server_.query("SELECT count(*) FROM pg_database WHERE datname = '" + database + "'") == "0";
  }

  Session server_;
};

class PreloadedCluster : public Cluster {
 protected:
  // The server's log since the test began, without what autovacuum writes, which comes to any database at any time.
  std::string log() const {
    std::istringstream all(server_log().substr(log_start_));
    std::string log;
    for (std::string line; std::getline(all, line);)
      if (line.find("autovacuum") == std::string::npos) log += line + '\n';
    return log;
  }

  std::size_t log_start_ = server_log().size();
};

TEST_F(PreloadedCluster, ADatabaseIsDroppedFromUnderItsScheduler) {
  for (const char* how : {"", " WITH (FORCE)"}) {
    Served served("doomed");
    EXPECT_TRUE(served.fires());
    EXPECT_FALSE(served.clock().scheduler().empty());
    served.leave();
    EXPECT_EQ(server_.error(std::string("DROP DATABASE doomed") + how), "none");
  }
  // Neither is it looked for afterwards.
  Served other("other");
  EXPECT_TRUE(other.fires());
  EXPECT_EQ(log().find("FATAL"), std::string::npos) << log();
  EXPECT_EQ(log().find("could not start"), std::string::npos) << log();
  EXPECT_EQ(log().find("has failed"), std::string::npos) << log();
  other.leave();
  drop("other");
}

TEST_F(PreloadedCluster, ARefusedDropEndsNoScheduler) {
  Served served("kept");
  server_.query("CREATE ROLE stranger LOGIN");
  const std::string scheduler = [&] {
    EXPECT_TRUE(served.fires());
    return served.clock().scheduler();
  }();
  Session stranger("user=stranger");
  EXPECT_EQ(stranger.error("DROP DATABASE kept"), "42501");
  EXPECT_EQ(stranger.error("DROP DATABASE kept WITH (FORCE)"), "42501");
  EXPECT_EQ(stranger.error("ALTER DATABASE kept RENAME TO mine"), "42501");
  EXPECT_EQ(stranger.error("CREATE DATABASE mine TEMPLATE kept"), "42501");
  EXPECT_EQ(stranger.error("ALTER DATABASE kept SET TABLESPACE pg_default"), "42501");
  EXPECT_TRUE(served.fires());
  EXPECT_EQ(served.clock().scheduler(), scheduler);
  // A command that fails after it ended the scheduler leaves a database whose scheduler comes back.
  server_.query("SET statement_timeout = '300 ms'");
  EXPECT_EQ(server_.error("DROP DATABASE kept"), "57014") << "the test's own session";
  server_.query("RESET statement_timeout");
  EXPECT_TRUE(served.fires());
  served.leave();
  drop("kept");
  server_.query("DROP ROLE stranger");
}

TEST_F(PreloadedCluster, ADatabaseIsRenamedMovedAndCopied) {
  Served served("original");
  EXPECT_TRUE(served.fires());
  served.leave();
  EXPECT_EQ(server_.error("ALTER DATABASE original RENAME TO renamed"), "none");
  EXPECT_EQ(server_.error("ALTER DATABASE renamed RENAME TO original"), "none");
  EXPECT_EQ(server_.error("CREATE DATABASE copy TEMPLATE original"), "none");
  EXPECT_EQ(server_.error("SET allow_in_place_tablespaces = on"), "none");
  EXPECT_EQ(server_.error("CREATE TABLESPACE elsewhere LOCATION ''"), "none");
  EXPECT_EQ(server_.error("ALTER DATABASE original SET TABLESPACE elsewhere"), "none");
  served.clock().reconnect();
  EXPECT_TRUE(served.fires()) << "the original goes on";
  // The copy does nothing before it has been adopted.
  Clock copy("copy");
  copy.query("SELECT insula.start_scheduler()");
  EXPECT_TRUE(eventually([&] { return copy.scheduler().empty() && copy.status().find("idle") == 0; })) << copy.status();
  const std::string count = "SELECT count(*) FROM tenant_original_tenant.workflow_executions";
  const std::string before = copy.query(count);
  EXPECT_TRUE(served.fires());
  EXPECT_TRUE(served.fires());
  EXPECT_EQ(copy.query(count), before);
  copy.query("SELECT insula.adopt()");
  EXPECT_TRUE(eventually([&] { return copy.query(count) != before; })) << copy.status();
  copy.disconnect();
  served.leave();
  EXPECT_EQ(server_.error("DROP DATABASE copy"), "none");
  EXPECT_EQ(server_.error("DROP DATABASE original"), "none");
  EXPECT_EQ(server_.error("DROP TABLESPACE elsewhere"), "none");
}

TEST_F(PreloadedCluster, OtherDatabasesAreLeftAlone) {
  const std::string of_template =
      "SELECT count(*) FROM pg_stat_activity WHERE datname = 'template1' AND backend_type <> 'autovacuum worker'";
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(server_.error("CREATE DATABASE plain"), "none");
    EXPECT_EQ(server_.query(of_template), "0") << "no scheduler looks into what has never had the extension";
    EXPECT_EQ(server_.error("DROP DATABASE plain"), "none");
  }
}

// ---- the extension comes and goes ----

TEST_F(Cluster, TheExtensionGoesAndComes) {
  Clock clock("ext");
  {
    Tenant tenant(clock, "first_one");
    tenant.schedule("s", "* * * * * *");
    EXPECT_TRUE(eventually([&] { return tenant.executions() > 0; }));
    // Rolled back, nothing has happened.
    clock.query("BEGIN");
    clock.query("SELECT insula.unschedule('s', 'first_one')");
    clock.query("ROLLBACK");
    const int before = tenant.executions();
    EXPECT_TRUE(eventually([&] { return tenant.executions() > before; }));
    clock.query("SELECT insula.drop_tenant('first_one', '0 s')");
  }
  clock.query("BEGIN");
  clock.query("DROP EXTENSION insula");
  clock.query("ROLLBACK");
  {
    Tenant tenant(clock, "second_one");
    tenant.schedule("s", "* * * * * *");
    EXPECT_TRUE(eventually([&] { return tenant.executions() > 0; }));
    clock.query("SELECT insula.drop_tenant('second_one', '0 s')");
  }
  clock.query("DROP EXTENSION insula");
  EXPECT_TRUE(eventually([&] { return clock.scheduler().empty(); })) << "nothing is left to do";
  clock.query("BEGIN");
  clock.query("CREATE EXTENSION insula");
  clock.query("ROLLBACK");
  EXPECT_TRUE(eventually([&] { return clock.scheduler().empty(); }));
  clock.query("CREATE EXTENSION insula");
  Tenant tenant(clock, "third_one");
  tenant.schedule("s", "* * * * * *");
  EXPECT_TRUE(eventually([&] { return tenant.executions() > 0; }));
  clock.query("SELECT insula.drop_tenant('third_one', '0 s')");
  clock.query("SELECT insula.stop_scheduler()");
  EXPECT_TRUE(eventually([&] { return clock.scheduler().empty(); }));
  clock.disconnect();
  EXPECT_EQ(server_.error("DROP DATABASE ext"), "none");
}

// An update whose script ends as the install script does goes unnoticed.  With another version
// than the library's nothing is served.
TEST_F(Cluster, TheExtensionIsUpdated) {
  const std::string directory = extension_directory();
  const std::string version =
      server_.query("SELECT default_version FROM pg_available_extensions WHERE name = 'insula'");
  // The servers of tests that run at the same time read the same directory.
  const std::string next = "next" + std::to_string(getpid());
  const auto script = [&](const std::string& from, const std::string& to, const std::string& sql) {
    std::ofstream(directory + "/insula--" + from + "--" + to + ".sql") << sql;
  };
  script(version, next, "");
  script(next, version,
         "SELECT insula.start_scheduler() WHERE NOT EXISTS (SELECT FROM insula.scheduler_wanted WHERE NOT wanted);");
  Served served("updated");
  EXPECT_TRUE(served.fires());
  Clock& clock = served.clock();
  clock.query("BEGIN");
  clock.query("ALTER EXTENSION insula UPDATE TO '" + next + "'");
  clock.query("ROLLBACK");
  EXPECT_TRUE(served.fires()) << "rolled back, nothing has happened";
  clock.query("ALTER EXTENSION insula UPDATE TO '" + next + "'");
  EXPECT_TRUE(eventually([&] { return clock.scheduler().empty(); })) << "no longer the library's version";
  const int before = served.tenant().executions();
  server_.query("SELECT pg_sleep(1.1)");
  EXPECT_EQ(served.tenant().executions(), before);
  clock.query("ALTER EXTENSION insula UPDATE TO '" + version + "'");
  EXPECT_TRUE(served.fires());
  clock.query("SELECT insula.stop_scheduler()");
  EXPECT_TRUE(eventually([&] { return clock.scheduler().empty(); }));
  served.leave();
  EXPECT_EQ(server_.error("DROP DATABASE updated"), "none");
  for (const std::string& name : {version + "--" + next, next + "--" + version})
    std::remove((directory + "/insula--" + name + ".sql").c_str());
}

// With shared memory also one whose script does not is noticed.
TEST_F(PreloadedCluster, AnExtensionThatFitsAgainIsServed) {
  const std::string directory = extension_directory();
  const std::string version =
      server_.query("SELECT default_version FROM pg_available_extensions WHERE name = 'insula'");
  for (const std::string& name : {version + "--99.0", "99.0--" + version})
    std::ofstream(directory + "/insula--" + name + ".sql") << "";
  Served served("fitting");
  EXPECT_TRUE(served.fires());
  Clock& clock = served.clock();
  clock.query("ALTER EXTENSION insula UPDATE TO '99.0'");
  EXPECT_TRUE(eventually([&] {
    return clock.status() == "not running: the extension has another version than its library";
  })) << clock.status();
  clock.query("ALTER EXTENSION insula UPDATE TO '" + version + "'");
  EXPECT_TRUE(served.fires()) << clock.status();
  served.leave();
  EXPECT_EQ(server_.error("DROP DATABASE fitting"), "none");
  for (const std::string& name : {version + "--99.0", "99.0--" + version})
    std::remove((directory + "/insula--" + name + ".sql").c_str());
}

TEST_F(Cluster, ASchedulerIsStoppedAndStarted) {
  Served served("stopped");
  EXPECT_TRUE(served.fires());
  Clock& clock = served.clock();
  for (int i = 0; i < 3; ++i) {
    clock.query("SELECT insula.stop_scheduler()");
    clock.query("SELECT insula.start_scheduler()");
  }
  EXPECT_TRUE(served.fires()) << "the last word counts";
  clock.query("BEGIN");
  clock.query("SELECT insula.stop_scheduler()");
  clock.query("ROLLBACK");
  clock.query("BEGIN");
  clock.query("SAVEPOINT s");
  clock.query("SELECT insula.stop_scheduler()");
  clock.query("ROLLBACK TO s");
  clock.query("COMMIT");
  EXPECT_TRUE(served.fires());
  clock.query("SELECT insula.stop_scheduler()");
  EXPECT_TRUE(eventually([&] { return clock.scheduler().empty(); }));
  EXPECT_EQ(clock.status(), "stopped: SELECT insula.start_scheduler()");
  served.tenant().schedule("another", "* * * * * *");
  const int before = served.tenant().executions();
  server_.query("SELECT pg_sleep(1.1)");
  EXPECT_EQ(served.tenant().executions(), before);
  clock.query("SELECT insula.start_scheduler()");
  EXPECT_TRUE(served.fires());
  clock.query("SELECT insula.stop_scheduler()");
  EXPECT_TRUE(eventually([&] { return clock.scheduler().empty(); }));
  served.leave();
  EXPECT_EQ(server_.error("DROP DATABASE stopped"), "none");
}

TEST_F(Cluster, TheSettingTurnsSchedulersOffAndOn) {
  server_.query("LOAD 'insula'");
  Served served("setting");
  EXPECT_TRUE(served.fires());
  server_.query("ALTER SYSTEM SET insula.scheduler = off");
  server_.query("SELECT pg_reload_conf()");
  EXPECT_TRUE(eventually([&] { return served.clock().status() == "off: insula.scheduler is off"; }));
  // A fire that was being made may still come.
  EXPECT_TRUE(eventually([&] {
    const int before = served.tenant().executions();
    server_.query("SELECT pg_sleep(1.1)");
    return served.tenant().executions() == before;
  }));
  server_.query("ALTER SYSTEM RESET insula.scheduler");
  server_.query("SELECT pg_reload_conf()");
  EXPECT_TRUE(served.fires());
  served.clock().query("SELECT insula.stop_scheduler()");
  EXPECT_TRUE(eventually([&] { return served.clock().scheduler().empty(); }));
  served.leave();
  drop("setting");
}

// ---- processes that end ----

TEST_F(PreloadedCluster, ProcessesThatAreEndedComeBack) {
  Served served("ended");
  Clock& clock = served.clock();
  EXPECT_TRUE(served.fires());
  for (const char* how : {"pg_terminate_backend", "pg_cancel_backend"}) {
    server_.query(std::string("SELECT ") + how + "(pid) FROM pg_stat_activity WHERE backend_type = 'insula scheduler'");
    EXPECT_TRUE(served.fires()) << how;
    const std::string before = launcher(clock);
    server_.query(std::string("SELECT ") + how + "(pid) FROM pg_stat_activity WHERE backend_type = 'insula launcher'");
    EXPECT_TRUE(eventually([&] {
      const std::string now = launcher(clock);
      return !now.empty() && now != before;
    })) << how;
    server_.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'insula scheduler'");
    EXPECT_TRUE(served.fires()) << "the new launcher starts schedulers";
  }
  served.leave();
  drop("ended");
}

// A smart stop waits for the sessions that are connected; until then all goes on.
TEST(PreloadedClusterStop, ASmartOneDoesNotWaitForOurProcesses) {
  Served served("smart");
  EXPECT_TRUE(served.fires());
  std::thread stop([&] { EXPECT_TRUE(pg_ctl("stop smart")); });
  EXPECT_TRUE(eventually([&] { return !Session::reachable(); }));
  EXPECT_TRUE(served.fires());
  served.leave();
  const auto stop_took = time_of([&] { stop.join(); });
  const auto start_took = time_of([] { EXPECT_TRUE(pg_ctl("start")); });
  EXPECT_LT(stop_took, 10s + 3 * start_took);
  served.clock().reconnect();
  EXPECT_TRUE(served.fires());
  served.leave();
  EXPECT_EQ(Session().error("DROP DATABASE smart"), "none");
}

TEST_F(PreloadedCluster, AStopIsQuickAndAStartGoesOn) {
  Served served("restarted");
  EXPECT_TRUE(served.fires());
  // No process has a say in a crash, so that it takes the time that the machine needs.
  std::chrono::duration<double> least{0};
  for (const std::string how : {"crash", "restart fast", "restart immediate"}) {
    served.leave();
    const auto took = time_of([&] { EXPECT_TRUE(pg_ctl(how)); });
    if (how == "crash") least = took;
    EXPECT_LT(took, 10s + 3 * least) << how;
    served.clock().reconnect();
    EXPECT_TRUE(served.fires()) << how;
  }
  for (const char* who : {"insula scheduler", "insula launcher"}) {
    const std::string pid =
        served.clock().query(std::string("SELECT pid FROM pg_stat_activity WHERE backend_type = '") + who + "'");
    kill(std::stoi(pid), SIGKILL);
    EXPECT_TRUE(eventually([&] { return served.clock().error("SELECT 1") == "lost"; }));
    EXPECT_TRUE(eventually([&] { return Session::reachable(); }));
    served.clock().reconnect();
    EXPECT_TRUE(served.fires()) << who;
  }
  served.leave();
  Session().query("DROP DATABASE restarted");
}

// Without a launcher an error is survived, an end is not, and status() tells.
TEST_F(Cluster, WithoutALauncherASchedulerSurvivesErrors) {
  if (preloaded()) GTEST_SKIP() << "the launcher's tests are others";
  Served served("alone");
  EXPECT_TRUE(served.fires());
  Clock& clock = served.clock();
  const std::string scheduler = clock.scheduler();
  clock.query("SELECT pg_cancel_backend(" + scheduler + ")");
  EXPECT_TRUE(served.fires());
  EXPECT_EQ(clock.scheduler(), scheduler) << "the server would start it again whatever becomes of the database";
  EXPECT_TRUE(served.fires());
  clock.query("SELECT pg_terminate_backend(" + clock.scheduler() + ")");
  EXPECT_TRUE(eventually([&] { return clock.status() == "not running: SELECT insula.start_scheduler()"; }));
  clock.query("SELECT insula.start_scheduler()");
  EXPECT_TRUE(served.fires());
  // Two at the same moment make one.
  auto other = std::make_unique<Session>("dbname=alone");
  clock.query("SELECT insula.stop_scheduler()");
  clock.query("BEGIN");
  clock.query("SELECT insula.start_scheduler()");
  other->send("SELECT insula.start_scheduler()");
  EXPECT_FALSE(other->finished(100ms));
  clock.query("COMMIT");
  EXPECT_TRUE(other->finished());
  other.reset();
  EXPECT_TRUE(eventually([&] {
    return clock.query(
               "SELECT count(*) FROM pg_stat_activity WHERE backend_type = "
               "'insula scheduler' AND datname = 'alone'") == "1";
  }));
  EXPECT_TRUE(served.fires());
  expect_every_second_once(served.tenant());
  clock.query("SELECT insula.stop_scheduler()");
  EXPECT_TRUE(eventually([&] { return clock.scheduler().empty(); }));
  served.leave();
  EXPECT_EQ(server_.error("DROP DATABASE alone"), "none");
}

// In a cluster that has never had the extension: a scheduler that was started before its roles
// could be seen.
using FirstSlot = Cluster;
TEST_F(FirstSlot, RunsASchedulerAsTheOwner) {
  Clock clock("postgres");
  clock.query("CREATE TABLE public.seen (session_user_name text, is_superuser text)");
  clock.query("GRANT INSERT ON public.seen TO insula_owner");
  clock.query(
      "CREATE FUNCTION public.look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.seen "
      "VALUES (session_user, pg_catalog.current_setting('is_superuser')); RETURN NEW; END $$");
  clock.query("CREATE TRIGGER look BEFORE INSERT ON insula.tenant_error FOR EACH ROW EXECUTE FUNCTION public.look()");
  Tenant tenant(clock);
  tenant.query("SELECT insula.set_tenant_limits('{t}', max_queued => 0)");
  tenant.schedule("s", "* * * * * *");
  EXPECT_TRUE(eventually([&] {
    return clock.query(
               "SELECT session_user_name || ' ' || is_superuser FROM public.seen "
               "LIMIT 1") == "insula_owner off";
  })) << clock.query("SELECT session_user_name || ' ' || is_superuser FROM public.seen LIMIT 1");
}

// ---- more databases than places ----

// With max_worker_processes = 8, of which the launchers of PostgreSQL and of Insula take two,
// and four schedulers at a time.  Two hundred databases wait longer for their turn than a fire
// may be late.
TEST_F(PreloadedCluster, ManyDatabasesShareAFewProcesses) {
  const int count = soak() ? 200 : 20;
  const std::string late = soak() ? "catch_up => 'run_all', max_catch_up => 1000" : "";
  std::vector<std::unique_ptr<Served>> all;
  for (int i = 0; i < count; ++i) {
    all.push_back(std::make_unique<Served>("many_" + std::to_string(i), late));
    all.back()->leave();
  }
  const std::string now = server_.query("SELECT now()");
  for (auto& served : all) {
    served->clock().reconnect();
    EXPECT_TRUE(eventually(
        [&] { return served->tenant().executions("(context ->> 'scheduled_time')::timestamptz > '" + now + "'") >= 2; },
        soak() ? 600s : patience));
    expect_every_second_once(served->tenant());
    served->leave();
  }
  EXPECT_LE(std::stoi(server_.query("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'insula scheduler'")),
            4);
  EXPECT_EQ(log().find("FATAL"), std::string::npos) << log();
  for (int i = 0; i < count; ++i) EXPECT_EQ(server_.error("DROP DATABASE many_" + std::to_string(i)), "none");
}

// With max_worker_processes = 3: a single one is left.
using PreloadedOneSlot = PreloadedCluster;
TEST_F(PreloadedOneSlot, ServesDatabasesInTurn) {
  Served first("first");
  Served second("second");
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(first.fires());
    EXPECT_TRUE(second.fires());
  }
  // Though the others are late at each of their turns.
  Served newest("newest");
  EXPECT_TRUE(newest.fires());
  EXPECT_LE(count_in(log(), "no free slot"), 1) << log();
  for (Served* served : {&first, &second, &newest}) {
    expect_every_second_once(served->tenant());
    served->leave();
  }
  for (const char* name : {"first", "second", "newest"})
    EXPECT_EQ(server_.error(std::string("DROP DATABASE ") + name), "none");
}

// With insula.max_databases = 2.
using PreloadedFewSlots = PreloadedCluster;
TEST_F(PreloadedFewSlots, AreReported) {
  // Databases without the extension take none for long.
  for (const char* name : {"plain1", "plain2", "plain3"}) server_.query(std::string("CREATE DATABASE ") + name);
  Served first("first");
  Served second("second");
  EXPECT_TRUE(first.fires());
  EXPECT_TRUE(second.fires());
  server_.query("CREATE DATABASE third");
  Session third("dbname=third");
  std::string notices;
  third.on_notice([&](const std::string& text) { notices += text; });
  EXPECT_EQ(third.error("CREATE EXTENSION insula"), "none");
  EXPECT_EQ(count_in(notices, "WARNING:  shared memory has no room for another database"), 1) << notices;
  EXPECT_EQ(third.query("SELECT value FROM insula.status() WHERE item = 'scheduler'"),
            "not running: raise insula.max_databases");
  third.query("DROP EXTENSION insula");
  first.leave();
  second.leave();
  for (const char* name : {"plain4", "plain5", "plain6"}) server_.query(std::string("CREATE DATABASE ") + name);
  EXPECT_TRUE(pg_ctl("restart"));
  for (Served* served : {&first, &second}) {
    served->clock().reconnect();
    EXPECT_TRUE(served->fires()) << "it was found among many others";
    served->leave();
  }
}

// With max_worker_processes = 1, which PostgreSQL itself takes.
using NoSlot = Cluster;
TEST_F(NoSlot, CausesAWarning) {
  server_.query("CREATE DATABASE narrow");
  Session session("dbname=narrow");
  std::string notices;
  session.on_notice([&](const std::string& text) { notices += text; });
  EXPECT_EQ(session.error("CREATE EXTENSION insula"), "none");
  EXPECT_EQ(count_in(notices, "WARNING:  there is no free slot for a scheduler"), 1) << notices;
  EXPECT_EQ(count_in(notices, "HINT:  Raise max_worker_processes"), 1) << notices;
  EXPECT_EQ(session.query("SELECT insula.start_scheduler()"), "f");
  EXPECT_EQ(count_in(notices, "WARNING:  there is no free slot for a scheduler"), 2) << notices;
  EXPECT_EQ(session.query("SELECT value FROM insula.status() WHERE item = 'scheduler'"),
            "not running: SELECT insula.start_scheduler()");
}

}  // namespace
}  // namespace clock_test
