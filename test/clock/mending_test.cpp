// Tenants that cannot be served for a while: it is said, and they are served again as soon as
// they can be.
#include <signal.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "clock.hpp"

namespace clock_test {
namespace {

// One of PostgreSQL's programs, on this cluster.
bool run(const std::string& command) {
  return std::system(("PATH=\"$INSULA_PGBIN:$PATH\"; " + command + " >/dev/null 2>&1").c_str()) == 0;
}

bool goes_on(Tenant& tenant) {
  const int before = tenant.executions();
  return tenant.soon_at_least(before + 1);
}

TEST(PreloadedMending, ASchemaThatIsRenamedAwayAndBack) {
  Clock clock("mending");
  Tenant tenant(clock);
  tenant.schedule("s", every_second);
  EXPECT_TRUE(goes_on(tenant));
  Session worker("dbname=mending");
  EXPECT_EQ(worker.query(tenant.filled("SELECT insula.submit('w', tenant => '{t}') > 0")), "t");
  tenant.query("ALTER SCHEMA {s} RENAME TO away");
  EXPECT_EQ(worker.error(tenant.filled("SELECT insula.submit('w', tenant => '{t}')")), "IS001")
      << "what a session knows of it is forgotten";
  EXPECT_TRUE(eventually([&] { return tenant.trouble() == tenant.filled("schema \"{s}\" is missing"); }))
      << tenant.trouble();
  // Not in a hurry: it has failed some times.
  EXPECT_TRUE(eventually(
      [&] { return std::stoi(clock.query("SELECT coalesce(max(failures), 0) FROM insula.tenant_error")) >= 3; }));
  tenant.query("ALTER SCHEMA away RENAME TO {s}");
  EXPECT_TRUE(goes_on(tenant));
  EXPECT_TRUE(eventually([&] { return tenant.trouble().empty(); }));
  EXPECT_EQ(worker.query(tenant.filled("SELECT insula.submit('w', tenant => '{t}') > 0")), "t");
}

TEST(PreloadedMending, ADropThatIsRolledBack) {
  Clock clock("mending");
  Tenant tenant(clock);
  tenant.schedule("s", every_second);
  EXPECT_TRUE(goes_on(tenant));
  for (const char* sql : {"BEGIN", "SAVEPOINT a", "SELECT insula.drop_tenant('{t}', '0 s')", "ROLLBACK TO a", "COMMIT"})
    tenant.query(sql);
  EXPECT_TRUE(goes_on(tenant));
  EXPECT_TRUE(goes_on(tenant));
}

TEST(PreloadedMending, HowOftenOneHasFailedOutlivesTheScheduler) {
  Clock clock("backoff");
  Tenant tenant(clock);
  tenant.schedule("s", every_second);
  EXPECT_TRUE(goes_on(tenant));
  tenant.query("ALTER TABLE {s}.work RENAME TO away");
  EXPECT_TRUE(eventually([&] { return !tenant.trouble().empty(); }));
  clock.query("ALTER SYSTEM SET insula.scheduler = off");
  clock.query("SELECT pg_reload_conf()");
  EXPECT_TRUE(eventually([&] { return clock.scheduler().empty(); }));
  clock.query("UPDATE insula.tenant_error SET failures = 100, at = clock_timestamp()");
  clock.query("ALTER SYSTEM RESET insula.scheduler");
  clock.query("SELECT pg_reload_conf()");
  // The next one comes when the one before would have looked, and goes on with its count.
  EXPECT_TRUE(eventually([&] {
    return clock.query(
               "SELECT value ~ '^asleep until' AND substr(value, 14)::timestamptz > now() + '200 s' FROM "
               "insula.status() WHERE item = 'scheduler'") == "t";
  })) << clock.status();
  EXPECT_GE(std::stoi(clock.query("SELECT failures FROM insula.tenant_error")), 100);
  tenant.query("ALTER TABLE {s}.away RENAME TO work");
  EXPECT_TRUE(goes_on(tenant));
  clock.disconnect();
  Session().query("DROP DATABASE backoff");
}

// A tenant whose schedule fails, since its context lacks a number, and can be mended.
class FailingTenant : public Tenant {
 public:
  explicit FailingTenant(Clock& clock) : Tenant(clock) {
    query(R"(SELECT insula.register_workflow('{"name": "strict", "params": {"n": {"type": "integer",
      "required": true}}, "tasks": [{"id": "a"}]}', tenant => '{t}'))");
  }
  void put(const std::string& context) {
    query("SELECT insula.schedule('bad', 'strict', '" + std::string(every_second) + "', context => '" + context +
          "', tenant => '{t}')");
  }
  bool fails() {
    return eventually([&] { return trouble().find("schedule \"bad\"") == 0; });
  }
};

TEST(PreloadedMending, TroubleThatComesAndGoesIsLoggedOnceAnHour) {
  Clock clock("mending");
  FailingTenant tenant(clock);
  const std::size_t start = server_log().size();
  for (int i = 0; i < 6; ++i) {
    tenant.put("{}");
    EXPECT_TRUE(tenant.fails()) << tenant.trouble();
    tenant.put(R"({"n": 1})");
    EXPECT_TRUE(eventually([&] { return tenant.trouble().empty(); })) << tenant.trouble();
  }
  const std::string log = server_log().substr(start);
  for (const char* line :
       {"tenant \"{t}\" is set aside: ", "a schedule of tenant \"{t}\" fails: ", "tenant \"{t}\" is served again"})
    EXPECT_LE(count_in(log, tenant.filled(line)), 1) << log;
  EXPECT_GE(count_in(log, tenant.filled("\"{t}\"")), 1) << log;
}

TEST(PreloadedMending, AnErrorThatStaysIsNotWrittenAgain) {
  Clock clock("mending");
  FailingTenant tenant(clock);
  tenant.put("{}");
  ASSERT_TRUE(tenant.fails()) << tenant.trouble();
  clock.query("CREATE TEMP TABLE written AS SELECT e.xmin::text AS by, e.* FROM insula.tenant_error e");
  for (int i = 0; i < 4; ++i) {
    const int before = tenant.executions();
    // The visit for this one takes the other's fire again.
    tenant.schedule("good" + std::to_string(i), every_second);
    EXPECT_TRUE(tenant.soon_at_least(before + 1));
  }
  EXPECT_EQ(clock.query("SELECT count(*) FROM insula.tenant_error e JOIN written w USING (tenant_no) WHERE "
                        "e.xmin::text = w.by OR e.at >= w.at + interval '1 min'"),
            "1");
  clock.query("DROP TABLE written");
}

// The process of the scheduler, in the turn of the tenant that it dies of.
int process_in_the_turn(Clock& clock) {
  std::string pid;
  EXPECT_TRUE(eventually([&] {
    pid = clock.query(
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'insula scheduler' AND wait_event = 'PgSleep'");
    return !pid.empty();
  })) << clock.status();
  return pid.empty() ? 0 : std::stoi(pid);
}

// The server starts anew.
void kill_process(Clock& clock, int pid) {
  if (pid == 0) return;
  EXPECT_EQ(kill(pid, SIGKILL), 0);
  EXPECT_TRUE(eventually([&] { return clock.error("SELECT 1") == "lost"; }));
  EXPECT_TRUE(eventually([&] { return Session::reachable(); }));
  clock.reconnect();
}

TEST(PreloadedMending, ATenantInWhoseTurnSchedulersDieIsSetAside) {
  Clock clock("deaths");
  Tenant deadly(clock);
  Tenant other(clock);
  other.schedule("s", every_second);
  EXPECT_TRUE(goes_on(other));
  const auto deaths = [&] { return clock.query("SELECT coalesce(max(deaths), 0) FROM insula.tenant_error"); };
  // Its turn does not end: the error of its schedule is noted slowly.
  clock.query(
      "CREATE FUNCTION public.sleep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_catalog.pg_sleep(600); "
      "RETURN NEW; END $$");
  clock.query(
      "CREATE TRIGGER sleep BEFORE INSERT ON insula.tenant_error FOR EACH ROW WHEN (NEW.error LIKE 'schedule %') "
      "EXECUTE FUNCTION public.sleep()");
  deadly.query("SELECT insula.submit('w', run_at => now() + interval '1 d', tenant => '{t}')");
  deadly.query("SELECT insula.set_tenant_limits('{t}', max_queued => 0)");
  deadly.schedule("s", every_second);

  // An end that was asked for is no death, nor is one that the crash of another process brings.
  const int first = process_in_the_turn(clock);
  clock.query("SELECT pg_terminate_backend(" + std::to_string(first) + ")");
  EXPECT_TRUE(eventually([&] { return clock.scheduler() != std::to_string(first); }));
  (void)process_in_the_turn(clock);
  {
    Session another("dbname=deaths");
    kill_process(clock, another.pid());
  }
  const int second = process_in_the_turn(clock);
  EXPECT_EQ(deaths(), "0");

  // Deaths of long ago do not count.
  deadly.query(
      "INSERT INTO insula.tenant_error (tenant_no, at, error, failures, deaths, died_at) SELECT tenant_no, "
      "clock_timestamp(), 'x', 0, 2, clock_timestamp() - interval '2 h' FROM insula.tenant WHERE tenant = '{t}' "
      "ON CONFLICT (tenant_no) DO UPDATE SET deaths = EXCLUDED.deaths, died_at = EXCLUDED.died_at");
  kill_process(clock, second);
  for (const char* times : {"1", "2"}) {
    const int next = process_in_the_turn(clock);
    EXPECT_EQ(deaths(), times);
    kill_process(clock, next);
  }
  EXPECT_TRUE(goes_on(other));
  EXPECT_EQ(deaths(), "3");
  EXPECT_EQ(clock.query("SELECT tenant FROM insula.health() WHERE level = 'error'"), deadly.name());
  EXPECT_NE(server_log().find("tenant \"" + deadly.name() + "\" is set aside until"), std::string::npos);
  // Neither a change of anything nor a new scheduler brings it back, and calls do not do what time causes.
  deadly.query("UPDATE {s}.work SET due = 0 WHERE lane = 100000");
  clock.query("CREATE TABLE public.mended ()");
  std::string scheduler, next;
  EXPECT_TRUE(eventually([&] { return !(scheduler = clock.scheduler()).empty(); }));
  clock.query("SELECT pg_terminate_backend(" + scheduler + ")");
  EXPECT_TRUE(eventually([&] { return !(next = clock.scheduler()).empty() && next != scheduler; }));
  EXPECT_TRUE(goes_on(other));
  EXPECT_EQ(deadly.query("SELECT count(*) FROM insula.claim('w', tenant => '{t}')"), "0");
  EXPECT_EQ(deaths(), "3");

  clock.query("DROP TRIGGER sleep ON insula.tenant_error");
  deadly.query("SELECT insula.set_tenant_limits('{t}', max_queued => -1)");
  deadly.query("SELECT insula.resume_tenant('{t}')");
  EXPECT_TRUE(goes_on(deadly));
  EXPECT_TRUE(eventually([&] { return deadly.trouble().empty() && deaths() == "0"; }));
  // It comes back by itself, too, and its deaths are forgotten when it has been served for an hour.
  const auto died = [&](const std::string& at, const std::string& until) {
    clock.while_stopped([&] {
      deadly.query("INSERT INTO insula.tenant_error SELECT tenant_no, clock_timestamp() + '" + at +
                   "', 'x', 4, 3, clock_timestamp() + '" + until + "' FROM insula.tenant WHERE tenant = '{t}'");
    });
    EXPECT_TRUE(goes_on(deadly));
  };
  died("-1 s", "1 s");
  EXPECT_EQ(clock.query("SELECT count(*) FROM insula.health() WHERE level = 'error'"), "0");
  EXPECT_TRUE(eventually([&] { return clock.query("SELECT failures FROM insula.tenant_error") == "0"; }))
      << "the next scheduler would leave it for a while";
  EXPECT_EQ(deaths(), "3");
  deadly.query("DELETE FROM insula.tenant_error");
  died("-2 h", "-61 min");
  EXPECT_TRUE(eventually([&] { return deaths() == "0"; }));
  clock.disconnect();
  Session().query("DROP DATABASE deaths");
}

// The turn's file would name a tenant whose turn has ended.
TEST(Mending, TurnsThatCannotBeWrittenAreForgotten) {
  Clock clock("unwritten");
  Tenant tenant(clock);
  tenant.schedule("s", every_second);
  EXPECT_TRUE(goes_on(tenant));
  const std::string file =
      "pg_stat_tmp/insula_turn." + clock.query("SELECT oid FROM pg_database WHERE datname = current_database()");
  const auto is_full = [&] { return std::filesystem::is_symlink(environment("INSULA_PGDATA") + "/" + file); };
  clock.while_stopped([&] {
    clock.query("COPY (SELECT 1) TO PROGRAM 'cat >/dev/null; ln -sf /dev/full " + file + "'");
    EXPECT_TRUE(is_full());
  });
  EXPECT_TRUE(goes_on(tenant));
  EXPECT_FALSE(is_full());
  EXPECT_EQ(tenant.trouble(), "");
  clock.query("SELECT insula.stop_scheduler()");
  clock.disconnect();
  Session().query("DROP DATABASE unwritten WITH (FORCE)");
}

// A test's acts in a server's process.
class InServer {
 public:
  explicit InServer(Clock& clock) {
    // The server's user may have no way into the directory of the build.
    std::filesystem::copy_file(INSULA_IN_SERVER, library_, std::filesystem::copy_options::overwrite_existing);
    for (const char* function :
         {"start_scheduler_of(age bigint) RETURNS boolean", "hold_commits(file text) RETURNS void"})
      clock.query(std::string("CREATE FUNCTION public.") + function + " LANGUAGE c STRICT AS '" + library_ + "'");
  }
  ~InServer() {
    std::filesystem::remove(file_);
    std::filesystem::remove(library_);
  }
  // The session does not come back from its next commit before let_go.
  void hold_next_commit(Session& session) {
    session.query("SELECT public.hold_commits('" + file_ + "')");
    std::ofstream{file_};
  }
  void let_go() { std::filesystem::remove(file_); }

 private:
  const std::string library_ = environment("INSULA_PGDATA") + "/../in_server.so";
  const std::string file_ = environment("INSULA_PGDATA") + "/../held";
};

// The postmaster starts a scheduler again long after the transaction that has asked for it.  Its short id may then be
// that of one which is yet to come, and seems to run for ever.
TEST(Mending, ASchedulerIsStartedLongAfterItWasAskedFor) {
  Clock clock("long_ago");
  Tenant tenant(clock);
  tenant.schedule("s", every_second);
  EXPECT_TRUE(goes_on(tenant));
  const InServer in_server(clock);
  for (const char* age : {"5", "2147483748", "4294967396"}) {
    clock.query("SELECT insula.stop_scheduler()");
    EXPECT_TRUE(eventually([&] { return clock.scheduler().empty(); }));
    clock.query("UPDATE insula.scheduler_wanted SET wanted = true");
    EXPECT_EQ(clock.query(std::string("SELECT public.start_scheduler_of(") + age + ")"), "t");
    EXPECT_TRUE(goes_on(tenant)) << age;
  }
  clock.query("SELECT insula.stop_scheduler()");
  EXPECT_TRUE(eventually([&] { return clock.scheduler().empty(); }));
  clock.disconnect();
  Session().query("DROP DATABASE long_ago WITH (FORCE)");
}

// Claims, waiters and the scheduler see it as soon as they are told, which PostgreSQL's invalidations come after.
TEST(PreloadedMending, AResumptionIsSeenByAllThatItWakes) {
  Clock clock("resumed");
  Tenant tenant(clock);
  tenant.query("SELECT insula.submit('w', tenant => '{t}')");
  tenant.schedule("s", every_second);
  tenant.query("SELECT insula.suspend_tenant('{t}')");
  EXPECT_EQ(clock.query("SELECT count(*) FROM insula.claim('x')"), "0");
  InServer in_server(clock);
  Session waiting("dbname=resumed");
  waiting.send(tenant.filled("CALL insula.wait_for_work('7 days', tenant => '{t}')"));
  EXPECT_TRUE(eventually([&] {
    return clock.query("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND pid = " +
                       std::to_string(waiting.pid())) == "1";
  }));
  Session resuming("dbname=resumed");
  resuming.query("SET client_min_messages = error");
  in_server.hold_next_commit(resuming);
  resuming.send(tenant.filled("SELECT insula.resume_tenant('{t}')"));
  EXPECT_TRUE(waiting.finished());
  EXPECT_EQ(waiting.answer(), "t");
  EXPECT_EQ(clock.query("SELECT count(*) FROM insula.claim('x')"), "1");
  EXPECT_TRUE(goes_on(tenant));
  EXPECT_FALSE(resuming.finished(0ms));
  in_server.let_go();
  EXPECT_TRUE(resuming.finished());
  EXPECT_EQ(resuming.answer(), "");
  EXPECT_TRUE(goes_on(tenant));
  clock.disconnect();
  Session().query("DROP DATABASE resumed WITH (FORCE)");
}

TEST(PreloadedMending, ATenantThatIsRestoredInPlace) {
  Clock clock("mending");
  Tenant tenant(clock);
  tenant.schedule("s", every_second);
  EXPECT_TRUE(goes_on(tenant));
  const std::string dump = environment("INSULA_PGDATA") + "/../tenant.dump";
  ASSERT_TRUE(run(tenant.filled("pg_dump -Fc -n {s} -f " + dump + " mending")));
  tenant.query("DROP SCHEMA {s} CASCADE");
  EXPECT_TRUE(eventually([&] { return !tenant.trouble().empty(); }));
  ASSERT_TRUE(run("pg_restore -d mending " + dump));
  EXPECT_EQ(clock.query("SELECT count(*) FROM insula.reconcile(false) WHERE error IS NOT NULL"), "0");
  EXPECT_TRUE(goes_on(tenant));
  EXPECT_TRUE(eventually([&] { return tenant.trouble().empty(); }));
}

// As docs/backup.md has it.
TEST(Mending, ATenantThatIsMovedIntoAnotherDatabase) {
  Clock clock("mending");
  Tenant tenant(clock, "moving");
  tenant.schedule("s", every_second);
  EXPECT_TRUE(goes_on(tenant));
  tenant.query("SELECT insula.suspend_tenant('{t}')");
  Clock target("target");
  Tenant there(target, "calm");
  there.schedule("s", "0 0 1 1 *");
  target.query("SELECT insula.create_tenant('moving', username => 'moving_there')");
  ASSERT_TRUE(
      run("pg_dump -Fc --data-only -n tenant_moving mending | pg_restore --data-only --single-transaction -d target"));
  EXPECT_EQ(target.query("SELECT count(*) FROM insula.reconcile(false) WHERE error IS NOT NULL"), "0");
  const std::string count = "SELECT count(*) FROM tenant_moving.workflow_executions";
  const std::string before = target.query(count);
  EXPECT_TRUE(eventually([&] { return target.query(count) != before; })) << target.status();
  target.disconnect();
  clock.disconnect();
  Session server;
  for (const char* database : {"target", "mending"})
    server.query(std::string("DROP DATABASE ") + database + " WITH (FORCE)");
}

}  // namespace
}  // namespace clock_test
