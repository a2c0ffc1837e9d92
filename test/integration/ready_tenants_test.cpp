// Claims and waits for all tenants visit only tenants that may have claimable tasks (shared/ready_tenants.hpp).
// They cost the same however many tenants are idle, and whatever makes a task claimable brings its tenant back.
#include "support/session.hpp"

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

namespace insula_test {
namespace {

class PreloadedReadyTenants : public ::testing::Test {
 protected:
  void SetUp() override {
    sql_.query("SET client_min_messages = warning");
    sql_.query("CREATE EXTENSION IF NOT EXISTS insula");
    sql_.query("SELECT insula.start_scheduler()");
    // The set is used once a scheduler has looked at all tenants.
    ASSERT_TRUE(eventually([this] { return nothing_to_claim() && ready_tenants() == "0"; }));
  }
  void TearDown() override {
    other_.query("ROLLBACK");
    sql_.query("SELECT insula.drop_tenant(tenant, '0 s') FROM insula.tenants");
  }

  void create(const std::string& tenant) {
    sql_.query("SELECT tenant FROM insula.create_tenant('" + tenant + "', login => false)");
    for (const char* workflow :
         {R"({"name": "w", "tasks": [{"id": "a", "retry": {"backoff": "fixed", "initial_delay": "1 ms"}}]})",
          R"({"name": "x", "tasks": [{"id": "a"}]})", R"({"name": "few", "limit": {"max": 1}, "tasks": [{"id": "a"}]})",
          R"({"name": "keyed", "limit": {"max": 1, "key": "$.n"}, "tasks": [{"id": "a"}]})",
          R"({"name": "pair", "tasks": [{"id": "a"}, {"id": "b", "depends_on": ["a"]}]})"})
      sql_.query("SELECT insula.register_workflow('" + std::string(workflow) + "', tenant => '" + tenant + "')");
  }

  std::string ready_tenants() { return sql_.query("SELECT value FROM insula.status() WHERE item = 'ready tenants'"); }

  std::string claim(const std::string& tasks = "NULL", int most = 100) {
    return sql_.query("SELECT count(*) FROM insula.claim('r', " + tasks + ", " + std::to_string(most) + ", '1 h')");
  }
  std::string wait(const std::string& timeout, const std::string& tasks = "NULL") {
    return sql_.query("CALL insula.wait_for_work('" + timeout + "', tasks => " + tasks + ")");
  }
  bool nothing_to_claim(const std::string& tasks = "NULL") {
    return claim(tasks) == "0" && claim(tasks) == "0" && wait("0 s", tasks) == "f";
  }

  long buffers_of_claim() {
    const std::string plan =
        sql_.query("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM insula.claim('r', max_tasks => 5)");
    long total = 0;
    for (const char* name : {"\"Shared Hit Blocks\": ", "\"Shared Read Blocks\": "})
      total += std::atol(plan.c_str() + plan.find(name) + std::string(name).size());
    return total;
  }

  Session sql_;
  Session other_;
};

TEST_F(PreloadedReadyTenants, IdleTenantsCostAClaimNothing) {
  const auto buffers = [this] {
    for (const char* tenant : {"one", "two"})
      sql_.query("SELECT insula.submit('w', tenant => '" + std::string(tenant) + "')");
    const long busy = buffers_of_claim();
    EXPECT_TRUE(nothing_to_claim());
    return std::make_pair(busy, buffers_of_claim());
  };
  create("one");
  create("two");
  // What a session reads once.
  for (int i = 0; i < 2; ++i) buffers();
  // Autovacuum, or another session, may have the session read a catalog anew at any moment.
  const auto least_buffers = [&] {
    auto least = buffers();
    for (int i = 0; i < 4; ++i) {
      const auto again = buffers();
      least = {std::min(least.first, again.first), std::min(least.second, again.second)};
    }
    return least;
  };
  const auto few = least_buffers();
  // Names so long that their index has a second level.
  for (int i = 0; i < 150; ++i)
    sql_.query("SELECT insula.create_tenant('idle_" + std::to_string(i) + "', username => lpad('" + std::to_string(i) +
               "', 60, 'idle_user_of_ready_tenants_'), login => false)");
  const auto many = least_buffers();
  EXPECT_EQ(many.second, few.second);
  EXPECT_LE(many.first, few.first + few.first / 10);
}

TEST_F(PreloadedReadyTenants, NothingIsLearntFromWhatIsRolledBack) {
  create("one");
  sql_.query("SELECT insula.submit('w', tenant => 'one')");
  for (const char* change :
       {"suspend_tenant('one')", "set_tenant_limits('one', max_running => 0)", "pause_workflow('w', 'one')"}) {
    sql_.query("BEGIN");
    sql_.query("SELECT insula." + std::string(change));
    EXPECT_EQ(claim(), "0") << change;
    EXPECT_EQ(claim(), "0") << change;
    sql_.query("ROLLBACK");
    EXPECT_EQ(wait("0 s"), "t") << change;
  }
  EXPECT_EQ(claim(), "1");
}

TEST_F(PreloadedReadyTenants, ATransactionFindsWhatItHasMadeClaimable) {
  create("one");
  EXPECT_TRUE(nothing_to_claim());
  sql_.query("BEGIN");
  sql_.query("SELECT insula.submit('pair', tenant => 'one')");
  EXPECT_EQ(sql_.query("SELECT count(insula.complete(task_id, lease)) FROM insula.claim('r')"), "1");
  EXPECT_EQ(claim(), "1");
  sql_.query("ROLLBACK");
  EXPECT_TRUE(nothing_to_claim());
}

// What a wait learns of a tenant's tasks under no limit of their workflow still holds when it has looked for others.
TEST_F(PreloadedReadyTenants, AWaitRemembersARateBesideLimits) {
  create("one");
  sql_.query("SELECT insula.submit('few', tenant => 'one')");
  EXPECT_EQ(sql_.query("SELECT count(insula.complete(task_id, lease)) FROM insula.claim('r')"), "1");
  sql_.query("SELECT insula.set_tenant_limits('one', rate_per_second => 0.5)");
  sql_.query("SELECT insula.submit_many('w', ARRAY['{}', '{}']::jsonb[], tenant => 'one')");
  EXPECT_EQ(wait("10 s"), "t");
  EXPECT_EQ(claim(), "1");
  EXPECT_EQ(wait("20 s"), "t");
  EXPECT_EQ(claim(), "1");
}

// After a start the set is filled a stretch of tenants at a time, also by claims that the set alone could fill.
TEST_F(PreloadedReadyTenants, ABusyTenantKeepsNoTenantFromTheSweep) {
  for (int i = 0; i < 300; ++i)
    sql_.query("SELECT tenant FROM insula.create_tenant('idle_" + std::to_string(i) + "', login => false)");
  const std::string last = sql_.query("SELECT tenant FROM insula.tenant ORDER BY tenant_no DESC LIMIT 1");
  sql_.query(R"(SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => ')" + last + "')");
  sql_.query("SELECT insula.submit('w', run_at => now() + interval '1 hour', tenant => '" + last + "')");
  EXPECT_TRUE(nothing_to_claim());
  // Nothing tells of what is changed by hand: only the sweep finds it.
  sql_.query("UPDATE tenant_" + last + ".work SET lane = 0 WHERE lane IS NOT NULL");
  create("busy");
  sql_.query("SELECT insula.submit_many('w', array_fill('{}'::jsonb, ARRAY[1000]), tenant => 'busy')");
  sql_.query("SELECT insula.stat_reset()");
  bool found = false;
  for (int i = 0; i < 500 && !found; ++i) found = sql_.query("SELECT tenant FROM insula.claim('r')") == last;
  EXPECT_TRUE(found);
}

// With insula.fairness = time a tenant pays for as long as its tasks run.
TEST_F(PreloadedReadyTenants, TasksThatRunLongPayForIt) {
  sql_.query("ALTER SYSTEM SET insula.fairness = 'time'");
  sql_.query("SELECT pg_reload_conf()");
  for (Session* session : {&sql_, &other_})
    ASSERT_TRUE(eventually([&] { return session->query("SHOW insula.fairness") == "time"; }));
  for (const char* tenant : {"slow", "quick"}) {
    create(tenant);
    sql_.query("SELECT insula.submit_many('w', array_fill('{}'::jsonb, ARRAY[2000]), tenant => '" +
               std::string(tenant) + "')");
  }
  sql_.query("CREATE TEMP TABLE mine (tenant text, task_id bigint, lease bigint)");
  const auto claim_and_end = [this] {
    sql_.query("INSERT INTO mine SELECT tenant, task_id, lease FROM insula.claim('r', max_tasks => 1)");
    // The runs of one tenant have begun a second earlier than those of the other, as its rows say.
    sql_.query("UPDATE tenant_slow.work SET started_at = started_at - interval '1 s' WHERE state = 2");
    sql_.query("SELECT insula.complete(task_id, lease) FROM mine");
    sql_.query("INSERT INTO served SELECT tenant FROM mine");
    sql_.query("TRUNCATE mine");
  };
  sql_.query("CREATE TEMP TABLE served (tenant text)");
  for (int i = 0; i < 300; ++i) claim_and_end();
  const int slow = std::stoi(sql_.query("SELECT count(*) FROM served WHERE tenant = 'slow'"));
  EXPECT_GE(slow, 1);
  EXPECT_LE(slow, 15);
  EXPECT_EQ(sql_.query("SELECT count(*) FROM served"), "300");
  sql_.query("ALTER SYSTEM RESET insula.fairness");
  sql_.query("SELECT pg_reload_conf()");
  ASSERT_TRUE(eventually([this] { return sql_.query("SHOW insula.fairness") == "turns"; }));
}

// Tenants that are suspended leave the set, and a tenant that is dropped does.
TEST_F(PreloadedReadyTenants, SuspendedTenantsLeave) {
  create("one");
  sql_.query("SELECT insula.submit('w', tenant => 'one')");
  EXPECT_EQ(ready_tenants(), "1");
  sql_.query("SELECT insula.suspend_tenant('one')");
  EXPECT_TRUE(nothing_to_claim());
  EXPECT_TRUE(eventually([this] { return nothing_to_claim() && ready_tenants() == "0"; }));
  sql_.query("SELECT insula.resume_tenant('one')");
  EXPECT_EQ(claim(), "1");
}

const std::string any = "NULL";

// Each event but those of time (test/clock) makes one task of a tenant claimable of which claims and waits have found
// nothing.
struct Event {
  const char* name;
  std::vector<const char*> before;  // {id}: the last execution; {task}, {lease}: of the task claimed last
  std::vector<const char*> event;
  std::string tasks = "NULL";
  bool keeps_tenant = false;  // among those that are visited
};

const Event events[] = {
    {"submit", {}, {"SELECT insula.submit('w', tenant => 'one')"}},
    {"submit many", {}, {"SELECT insula.submit_many('w', ARRAY['{}', '{}']::jsonb[], tenant => 'one')"}},
    {"submit of another session",
     {"other: BEGIN", "other: SELECT insula.submit('w', tenant => 'one')"},
     {"other: COMMIT"}},
    {"submit of what another filter has passed over",
     {"SELECT insula.submit('w', tenant => 'one')"},
     {"SELECT insula.submit('x', tenant => 'one')"},
     "'{x.a}'"},
    {"dependency ends",
     {"SELECT insula.submit('pair', tenant => 'one')", "claim"},
     {"SELECT insula.complete({task}, {lease})"}},
    {"permit of the tenant returns",
     {"SELECT insula.set_tenant_limits('one', max_running => 1)", "SELECT insula.submit('w', tenant => 'one')",
      "SELECT insula.submit('w', tenant => 'one')", "claim"},
     {"SELECT insula.complete({task}, {lease})"},
     any,
     true},
    {"limit of the tenant is raised",
     {"SELECT insula.set_tenant_limits('one', max_running => 1)", "SELECT insula.submit('w', tenant => 'one')",
      "SELECT insula.submit('w', tenant => 'one')", "claim"},
     {"SELECT insula.set_tenant_limits('one', max_running => 2)"},
     any,
     true},
    {"permit of a workflow returns",
     {"SELECT insula.submit('few', tenant => 'one')", "SELECT insula.submit('few', tenant => 'one')", "claim"},
     {"SELECT insula.complete({task}, {lease})"},
     any,
     true},
    {"permit of a key returns",
     {"SELECT insula.submit('keyed', '{\"n\": 1}', tenant => 'one')",
      "SELECT insula.submit('keyed', '{\"n\": 1}', tenant => 'one')", "claim"},
     {"SELECT insula.fail({task}, {lease}, 'no', false)"},
     any,
     true},
    {"retry after a failure",
     {"SELECT insula.submit('w', tenant => 'one')", "claim"},
     {"SELECT insula.fail({task}, {lease}, 'no')"}},
    {"retry of an execution",
     {"SELECT insula.submit('w', tenant => 'one')", "claim", "SELECT insula.fail({task}, {lease}, 'no', false)"},
     {"SELECT insula.retry({id})"}},
    {"defer ends",
     {"SELECT insula.submit('w', tenant => 'one')", "claim"},
     {"SELECT insula.defer({task}, {lease}, now() + '100 ms')"}},
    {"event comes",
     {"SELECT insula.submit('w', tenant => 'one')", "claim", "SELECT insula.wait_event({task}, {lease}, 'go')"},
     {"SELECT insula.send_event({id}, 'go')"}},
    {"worker leaves", {"SELECT insula.submit('w', tenant => 'one')", "claim"}, {"SELECT insula.leave('r')"}},
    {"tenant is resumed",
     {"SELECT insula.submit('w', tenant => 'one')", "SELECT insula.suspend_tenant('one')"},
     {"SELECT insula.resume_tenant('one')"}},
    {"workflow is resumed",
     {"SELECT insula.submit('w', tenant => 'one')", "SELECT insula.pause_workflow('w', 'one')"},
     {"SELECT insula.resume_workflow('w', 'one')"}},
    {"execution is resumed",
     {"SELECT insula.submit('w', tenant => 'one')", "SELECT insula.pause({id})"},
     {"SELECT insula.resume({id})"}},
    {"claim is rolled back",
     {"SELECT insula.submit('w', tenant => 'one')", "other: BEGIN", "other: SELECT count(*) FROM insula.claim('o')"},
     {"other: ROLLBACK"}},
    {"claim is rolled back to a savepoint",
     {"SELECT insula.submit('w', tenant => 'one')", "other: BEGIN", "other: SAVEPOINT s",
      "other: SELECT count(*) FROM insula.claim('o')"},
     {"other: ROLLBACK TO s"}},
    {"cancel is rolled back",
     {"SELECT insula.submit('w', tenant => 'one')", "other: BEGIN", "other: SELECT insula.cancel({id})"},
     {"other: ROLLBACK"}},
    {"pause is rolled back",
     {"SELECT insula.submit('w', tenant => 'one')", "other: BEGIN", "other: SELECT insula.pause({id})"},
     {"other: ROLLBACK"}},
    {"drop is rolled back",
     {"SELECT insula.submit('w', tenant => 'one')", "other: BEGIN", "other: SELECT insula.drop_tenant('one', '0 s')"},
     {"other: ROLLBACK"},
     "NULL",
     true},
};

class PreloadedReadyTenantsEvent : public PreloadedReadyTenants, public ::testing::WithParamInterface<Event> {
 protected:
  void run(std::string command) {
    if (command == "claim") {
      const std::string task =
          sql_.query("SELECT task_id || ',' || lease FROM insula.claim('r', max_tasks => 1, lease_for => '1 h')");
      task_ = task.substr(0, task.find(','));
      lease_ = task.substr(task.find(',') + 1);
      return;
    }
    for (const auto& [word, value] : {std::pair{"{id}", id_}, {"{task}", task_}, {"{lease}", lease_}})
      while (command.find(word) != std::string::npos)
        command.replace(command.find(word), std::string(word).size(), value);
    const bool of_other = command.rfind("other: ", 0) == 0;
    const std::string answer = of_other ? other_.query(command.substr(7)) : sql_.query(command);
    if (command.find("insula.submit(") != std::string::npos) id_ = answer;
  }

  std::string id_, task_, lease_;
};

TEST_P(PreloadedReadyTenantsEvent, BringsTheTenantBack) {
  const Event& event = GetParam();
  create("one");
  for (const char* command : event.before) run(command);
  const bool leaves = !event.keeps_tenant && event.tasks == any;
  // The scheduler may bring it back at any moment.
  EXPECT_TRUE(eventually([&] {
    EXPECT_TRUE(nothing_to_claim(event.tasks));
    return !leaves || ready_tenants() == "0";
  }));
  for (const char* command : event.event) run(command);
  EXPECT_EQ(wait("10 s", event.tasks), "t");
  EXPECT_NE(claim(event.tasks), "0");
}

INSTANTIATE_TEST_SUITE_P(Events, PreloadedReadyTenantsEvent, ::testing::ValuesIn(events),
                         [](const ::testing::TestParamInfo<Event>& info) {
                           std::string name = info.param.name;
                           for (char& c : name)
                             if (c == ' ') c = '_';
                           return name;
                         });

}  // namespace
}  // namespace insula_test
