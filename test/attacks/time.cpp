// Attacks on time: what a tenant does to those that share shared memory, the commits and the waiting calls
// with it.  What the others pay is counted, or compared within one run, since clocks lie.
#include <chrono>
#include <fstream>
#include <limits>
#include <memory>
#include <vector>

#include "support/session.hpp"

namespace attacks {
namespace {

using namespace insula_test;
using std::to_string;

class Time : public ::testing::Test {
 protected:
  void SetUp() override {
    admin.query("SET client_min_messages = error");
    for (const char* tenant : {"greedy", "bystander"}) {
      admin.query(std::string("SELECT tenant FROM insula.create_tenant('") + tenant + "', password => 'x')");
      admin.query(std::string("SELECT insula.register_workflow('{\"name\": \"w\", \"tasks\": [{\"id\": \"a\"}]}', "
                              "tenant => '") +
                  tenant + "')");
    }
    greedy = std::make_unique<Session>("user=greedy_user");
    bystander = std::make_unique<Session>("user=bystander_user");
    for (Session* session : {greedy.get(), bystander.get()}) session->query("SET client_min_messages = error");
  }
  void TearDown() override {
    greedy.reset();
    bystander.reset();
    admin.query("SELECT insula.drop_tenant('greedy', '0 s'), insula.drop_tenant('bystander', '0 s')");
  }

  std::string activity(const Session& session, const std::string& column) {
    return admin.query("SELECT " + column + " FROM pg_stat_activity WHERE pid = " + to_string(session.pid()));
  }
  bool parked(const Session& session) {
    return eventually([&] { return activity(session, "wait_event_type") == "Extension"; });
  }

  // A session that waits, and whether it still does, without a look since.
  struct Waiting {
    std::unique_ptr<Session> session;
    std::string since;
  };
  Waiting waiting(const std::string& user, const std::string& call) {
    Waiting one = {std::make_unique<Session>("user=" + user), ""};
    one.session->query("SET client_min_messages = error");
    one.session->send(call);
    EXPECT_TRUE(parked(*one.session));
    one.since = activity(*one.session, "xact_start");
    return one;
  }
  bool undisturbed(const Waiting& one) {
    return !one.session->finished(0ms) && activity(*one.session, "xact_start") == one.since;
  }

  // How long the session's process has run, in nanoseconds: what other processes do to it does not count.
  static long ran(const Session& session) { return ran(session.pid()); }
  static long ran(int pid) {
    std::ifstream file("/proc/" + to_string(pid) + "/schedstat");
    long nanoseconds = 0;
    EXPECT_TRUE(file >> nanoseconds);
    return nanoseconds;
  }

  // The shortest of several runs.
  static long nanoseconds(Session& session, const std::string& sql, int runs = 3) {
    long least = std::numeric_limits<long>::max();
    for (int i = 0; i < runs; ++i) {
      const long before = ran(session);
      session.query(sql);
      least = std::min(least, ran(session) - before);
    }
    return least;
  }

  // Entries of the tenant's indexes, by its session in this transaction.
  int entries_read() {
    return std::stoi(
        greedy->query("SELECT sum(pg_stat_get_xact_tuples_returned(indexrelid)) FROM pg_index WHERE indrelid = "
                      "'tenant_greedy.work'::regclass"));
  }

  Session admin;
  std::unique_ptr<Session> greedy, bystander;
};

constexpr int many_keys = 65;  // more than a commit tells one by one

TEST_F(Time, ReadyTasksOfManyKeysWakeNoOtherTenant) {
  greedy->query(
      "SELECT count(insula.register_workflow(('{\"name\": \"k' || g || '\", \"tasks\": [{\"id\": \"a\"}]}')"
      "::jsonb)) FROM generate_series(1, " +
      to_string(many_keys) + ") g");
  const Waiting claimer = waiting("bystander_user", "CALL insula.claim_when_ready('1 h', 'claimer')");
  const Waiting watcher = waiting("bystander_user", "CALL insula.wait_for_work('1 h', worker => 'watcher')");
  const std::string id = admin.query("SELECT insula.submit('w', run_at => now() + '1 day', tenant => 'bystander')");
  const Waiting awaiting = waiting("bystander_user", "CALL insula.await(" + id + ", '1 h')");
  // Submissions that are rolled back count for no limit.
  for (int i = 0; i < 20; ++i)
    greedy->query("DO $$ BEGIN FOR i IN 1.." + to_string(many_keys) +
                  " LOOP BEGIN PERFORM insula.submit('k' || i); RAISE division_by_zero; EXCEPTION WHEN "
                  "division_by_zero THEN NULL; END; END LOOP; END $$");
  EXPECT_TRUE(undisturbed(awaiting));
  // The submission of a moment ago may have made these two plan it.
  EXPECT_FALSE(claimer.session->finished(0ms));
  EXPECT_FALSE(watcher.session->finished(0ms));

  // Each waiter that can take such a task learns of it: the tenant's own for any of the keys, and those for all.
  const Waiting first = waiting("greedy_user", "CALL insula.wait_for_work('1 h', tasks => '{k1.a}')");
  const Waiting last =
      waiting("greedy_user", "CALL insula.wait_for_work('1 h', tasks => '{k" + to_string(many_keys) + ".a}')");
  const Waiting other = waiting("greedy_user", "CALL insula.wait_for_work('1 h', tasks => '{w.a}')");
  const Waiting of_all = waiting("postgres", "CALL insula.wait_for_work('1 h')");
  greedy->query("SELECT count(insula.submit('k' || g)) FROM generate_series(1, " + to_string(many_keys) + ") g");
  for (const Waiting* one : {&first, &last, &of_all}) {
    EXPECT_TRUE(one->session->finished());
    EXPECT_EQ(one->session->answer(), "t");
  }
  EXPECT_FALSE(other.session->finished(0ms));
  EXPECT_FALSE(claimer.session->finished(0ms));
  EXPECT_FALSE(watcher.session->finished(0ms));
}

TEST_F(Time, ExecutionsThatEndTogetherEndNoWaitOfOthers) {
  const Waiting watcher = waiting("bystander_user", "CALL insula.wait_for_work('1 h', worker => 'watcher')");
  const std::string ids =
      greedy->query("SELECT insula.submit_many('w', array_fill('{}'::jsonb, ARRAY[3000]), run_at => now() + '1 day')");
  // Three watchers are told, each of its own.
  std::vector<Waiting> told;
  for (const char* place : {"1", "1500", "3000"}) {
    greedy->query(std::string("SELECT insula.watch('w") + place + "', ARRAY[('" + ids + "'::bigint[])[" + place +
                  "]])");
    told.push_back(waiting("greedy_user",
                           std::string("CALL insula.wait_for_work('1 h', tasks => '{}', worker => 'w") + place + "')"));
  }
  greedy->query("SELECT count(insula.cancel(id)) FROM unnest('" + ids + "'::bigint[]) id");
  for (const Waiting& one : told) {
    EXPECT_TRUE(one.session->finished());
    EXPECT_EQ(one.session->answer(), "f");
  }
  EXPECT_TRUE(undisturbed(watcher));
}

// A session that does not know which tenants have changed reads them all anew.
TEST_F(Time, ChangesOfOneTenantLeaveOthersWhatTheyKnow) {
  const auto reads_so_far = [&] {
    return std::stoi(bystander->query(
        "SELECT coalesce(sum(seq_scan + coalesce(idx_scan, 0)), 0) FROM pg_stat_xact_all_tables WHERE relid = "
        "'insula.tenant'::regclass"));
  };
  const auto reads_of_tenants = [&] {
    bystander->query("BEGIN");
    const int before = reads_so_far();
    bystander->query("SELECT count(*) FROM insula.claim('w')");
    const int reads = reads_so_far() - before;
    bystander->query("COMMIT");
    return reads;
  };
  (void)reads_of_tenants();
  EXPECT_EQ(reads_of_tenants(), 0);
  for (int i = 0; i < 150; ++i)
    greedy->query("SELECT insula.register_workflow('{\"name\": \"w\", \"description\": \"" + to_string(i) +
                  "\", \"tasks\": [{\"id\": \"a\"}]}')");
  EXPECT_EQ(reads_of_tenants(), 0);
  greedy->query(
      "SELECT count(insula.register_workflow(('{\"name\": \"v' || g || '\", \"tasks\": [{\"id\": \"a\"}]}')"
      "::jsonb)) FROM generate_series(1, 150) g");
  EXPECT_EQ(reads_of_tenants(), 0);
}

// A watched execution's end is the news of its watchers, whatever their number.
TEST_F(Time, ManyWatchersOfOneExecutionEndNoWaitOfOthers) {
  const Waiting watcher = waiting("bystander_user", "CALL insula.wait_for_work('1 h', worker => 'watcher')");
  const std::string id = greedy->query("SELECT insula.submit('w', run_at => now() + '1 day')");
  std::vector<Waiting> told;
  for (int i = 0; i < 6; ++i) {
    greedy->query("SELECT insula.watch('w" + to_string(i) + "', ARRAY[" + id + "])");
    told.push_back(
        waiting("greedy_user", "CALL insula.wait_for_work('1 h', tasks => '{}', worker => 'w" + to_string(i) + "')"));
  }
  greedy->query("SELECT insula.cancel(" + id + ")");
  for (const Waiting& one : told) {
    EXPECT_TRUE(one.session->finished());
    EXPECT_EQ(one.session->answer(), "f");
  }
  EXPECT_TRUE(undisturbed(watcher));
}

// Its half of the room is all that a tenant's role gets; the others' watches find room.
TEST_F(Time, WatchesInGreatNumbersBlindNoOtherWorker) {
  const std::string id = admin.query("SELECT insula.submit('w', run_at => now() + '1 day', tenant => 'bystander')");
  const int room = std::stoi(admin.query("SHOW insula.max_watches"));
  greedy->query("SELECT cardinality(insula.watch('w', insula.submit_many('w', array_fill('{}'::jsonb, ARRAY[" +
                to_string(room + 100) + "]), run_at => now() + '1 day')))");
  bystander->query("SELECT insula.watch('watcher', ARRAY[" + id + "])");
  const Waiting watcher =
      waiting("bystander_user", "CALL insula.wait_for_work('1 h', tasks => '{}', worker => 'watcher')");
  // A worker without room returns after a second to look for its news itself.
  EXPECT_FALSE(watcher.session->finished(1500ms));
  admin.query("SELECT insula.cancel(" + id + ")");
  EXPECT_TRUE(watcher.session->finished());
  EXPECT_EQ(watcher.session->answer(), "f");
}

TEST_F(Time, WorkersInGreatNumbersLeaveRoomForOthers) {
  const int room = std::stoi(admin.query("SHOW insula.max_workers"));
  std::vector<std::unique_ptr<Session>> roles;
  for (int i = 0; i < 5; ++i) {
    const std::string name = "crowd" + to_string(i);
    admin.query("SELECT tenant FROM insula.create_tenant('" + name + "', password => 'x')");
    roles.push_back(std::make_unique<Session>("user=" + name + "_user"));
    roles.back()->query("DO $$ BEGIN FOR i IN 1.." + to_string(room) +
                        " LOOP PERFORM insula.nudge('n' || i); END LOOP; END $$");
  }
  const Waiting worker = waiting("bystander_user", "CALL insula.wait_for_work('1 h', worker => 'worker')");
  EXPECT_FALSE(worker.session->finished(1500ms));
  bystander->query("SELECT insula.nudge('worker')");
  EXPECT_TRUE(worker.session->finished());
  roles.clear();
  for (int i = 0; i < 5; ++i) admin.query("SELECT insula.drop_tenant('crowd" + to_string(i) + "', '0 s')");
  // The entries go with the sessions that made them.
  EXPECT_TRUE(eventually(
      [&] { return std::stoi(admin.query("SELECT value FROM insula.status() WHERE item = 'workers'")) < 10; }));
}

// Another tenant's watches and workers slow no call.
TEST_F(Time, ManyEntriesMakeNoCallSlower) {
  const std::string come_and_go =
      "DO $$ BEGIN FOR i IN 1..1000 LOOP PERFORM insula.nudge('come'); PERFORM insula.leave('come'); END LOOP; END $$";
  bystander->query(come_and_go);
  const long alone = nanoseconds(*bystander, come_and_go);
  const std::string ids =
      greedy->query("SELECT insula.submit_many('w', array_fill('{}'::jsonb, ARRAY[16000]), run_at => now() + '1 day')");
  greedy->query("SELECT cardinality(insula.watch('w', '" + ids + "'))");
  greedy->query("DO $$ BEGIN FOR i IN 1..2000 LOOP PERFORM insula.nudge('n' || i); END LOOP; END $$");
  EXPECT_LT(nanoseconds(*bystander, come_and_go), 4 * alone);
}

// A submission reads no more of a long queue than of a short one, whether there is room in it or not.
TEST_F(Time, NoSubmissionCountsTheQueue) {
  const auto submits = [&](const std::string& answer) {
    greedy->query("BEGIN");
    greedy->query("SAVEPOINT s");
    const int before = entries_read();
    EXPECT_EQ(greedy->error("SELECT insula.submit('w')"), answer);
    greedy->query("ROLLBACK TO s");
    const int read = entries_read() - before;
    greedy->query("COMMIT");
    return read;
  };
  admin.query("SELECT insula.set_tenant_limits('greedy', max_queued => 20001)");
  greedy->query("SELECT insula.submit_many('w', array_fill('{}'::jsonb, ARRAY[20000]))");
  int with_room = 0;
  int without = 0;
  for (int i = 0; i < 40; ++i) {
    with_room += submits("none");
    greedy->query("SELECT insula.submit('w')");
    without += submits("IS006");
    greedy->query("SELECT insula.complete(task_id, lease) FROM insula.claim('w')");
  }
  EXPECT_LT(with_room, 40 * 100);
  // A full queue is counted anew now and then, for a hundredth of the time.
  EXPECT_LT(without, 10 * 20000);
}

// A tenant whose limits find no room has its claims go one at a time.
TEST_F(Time, LimitsInGreatNumbersLeaveRoomForOthers) {
  const int room = std::stoi(admin.query("SHOW insula.max_counted_limits"));
  for (const char* tenant : {"greedy", "bystander"})
    admin.query(std::string("SELECT insula.register_workflow('{\"name\": \"l\", \"limit\": {\"max\": 2, \"key\": "
                            "\"k\"}, \"tasks\": [{\"id\": \"a\"}]}', tenant => '") +
                tenant + "')");
  greedy->query("SELECT insula.submit_many('l', array_agg(jsonb_build_object('k', g))) FROM generate_series(1, " +
                to_string(room) + ") g");
  int running = 0;
  for (int claimed = 1; claimed > 0; running += claimed)
    claimed = std::stoi(greedy->query("SELECT count(*) FROM insula.claim('w', max_tasks => 5000, lease_for => '1 h')"));
  EXPECT_EQ(running, room);
  admin.query("SELECT insula.submit_many('l', ARRAY['{\"k\": 1}', '{\"k\": 2}']::jsonb[], tenant => 'bystander')");
  Session other("user=bystander_user");
  bystander->query("BEGIN");
  EXPECT_EQ(bystander->query("SELECT count(*) FROM insula.claim('one')"), "1");
  EXPECT_EQ(other.query("SELECT count(*) FROM insula.claim('other')"), "1");
  bystander->query("COMMIT");
}

TEST_F(Time, NoClaimCountsWhatRuns) {
  greedy->query("SELECT insula.submit_many('w', array_fill('{}'::jsonb, ARRAY[6000]))");
  greedy->query("SELECT count(*) FROM insula.claim('w', max_tasks => 5000, lease_for => '1 h')");
  for (const char* rate : {"-1", "1000000"}) {
    admin.query(std::string("SELECT insula.set_tenant_limits('greedy', max_running => 5900, rate_per_second => ") +
                rate + ")");
    greedy->query("SELECT count(*) FROM insula.claim('w')");
    greedy->query("BEGIN");
    const int before = entries_read();
    for (int i = 0; i < 20; ++i) EXPECT_EQ(greedy->query("SELECT count(*) FROM insula.claim('w')"), "1");
    EXPECT_LT(entries_read() - before, 20 * 100);
    greedy->query("ROLLBACK");
  }
}

// ---- the budget of a visit, a claim and a batch ----

// A workflow whose task `a` is followed by many, each with its own options.
std::string followed_by(int count, const std::string& options) {
  return "jsonb_build_object('name', 'w', 'tasks', '[{\"id\": \"a\", \"timeout\": \"1 h\", \"retry\": "
         "{\"max_attempts\": "
         "1}}]'::jsonb || (SELECT jsonb_agg(jsonb_build_object('id', 'b' || g, 'depends_on', '[\"a\"]'::jsonb) || " +
         options + ") FROM generate_series(1, " + to_string(count) + ") g))";
}

// A rule with a hundred times as many conditions on one array takes no hundred times as long.
TEST_F(Time, RulesOverAGreatArrayTakeNoTimeByTheirProduct) {
  const auto costs = [&](int conditions) {
    greedy->query("SELECT insula.register_workflow(" +
                  followed_by(1,
                              "jsonb_build_object('trigger_rule', jsonb_build_object('any', (SELECT "
                              "jsonb_agg(jsonb_build_object('context_value', jsonb_build_object('key', 'list', "
                              "'op', 'contains', 'value', 'not ' || n))) FROM generate_series(1, " +
                                  to_string(conditions) + ") n)))") +
                  ")");
    greedy->query(
        "SELECT insula.submit('w', jsonb_build_object('list', (SELECT jsonb_agg('a' || n) FROM generate_series(1, "
        "200000) n)))");
    greedy->query("CREATE TEMP TABLE claimed AS SELECT task_id, lease FROM insula.claim('w')");
    const long took = nanoseconds(*greedy, "SELECT insula.complete(task_id, lease) FROM claimed", 1);
    greedy->query("DROP TABLE claimed");
    EXPECT_EQ(admin.query("SELECT count(*) FROM tenant_greedy.work WHERE state = 6"), "1");
    admin.query("TRUNCATE tenant_greedy.work");
    return took;
  };
  const long few = std::max({costs(50), costs(51), costs(52)});
  EXPECT_LT(costs(5000), 10 * few);
}

// What a timeout decides is decided in turns.
TEST_F(Time, FanOutsThatATimeoutOpensHaveTurns) {
  constexpr int groups = 40;
  constexpr int elements = 1000;
  admin.query("ALTER SYSTEM SET insula.visit_time = '20 ms'");
  admin.query("SELECT pg_reload_conf()");
  greedy->query("SELECT insula.register_workflow(" +
                followed_by(groups, "'{\"for_each\": {\"items\": \"$.list\"}, \"trigger_rule\": \"always\"}'") + ")");
  const std::string id = greedy->query(
      "SELECT insula.submit('w', jsonb_build_object('list', (SELECT jsonb_agg(n) FROM generate_series(1, " +
      to_string(elements) + ") n)))");
  EXPECT_EQ(greedy->query("SELECT count(*) FROM insula.claim('w', ARRAY['w.a'], lease_for => '1 h')"), "1");
  // Each visit is a transaction: what it has made shows which rows have the same one.
  admin.query("UPDATE tenant_greedy.work SET due = 0, deadline = 1 WHERE lane = 100001");
  admin.query("SELECT insula.start_scheduler()");
  const std::string made = "SELECT count(*) FROM tenant_greedy.work WHERE element >= 0";
  const auto began = std::chrono::steady_clock::now();
  EXPECT_TRUE(eventually([&] { return admin.query(made) == to_string(groups * elements); }, 60s));
  // After each visit the tenant rests for as long: the visits alone take less time than has passed.
  const auto passed = std::chrono::nanoseconds(std::chrono::steady_clock::now() - began).count();
  EXPECT_LT(ran(std::stoi(admin.query("SELECT pid FROM pg_stat_activity WHERE backend_type = 'insula scheduler'"))),
            passed * 3 / 4);
  EXPECT_GT(std::stoi(admin.query("SELECT count(DISTINCT xmin::text) FROM tenant_greedy.work WHERE element >= 0")), 3);
  EXPECT_EQ(admin.query("SELECT count(*) FROM tenant_greedy.work WHERE lane = 100005"), "0");
  EXPECT_EQ(
      greedy->query("SELECT count(*) FROM insula.explain_execution(" + id + ") WHERE why LIKE '% elements have %'"),
      to_string(groups));
  admin.query("ALTER SYSTEM RESET insula.visit_time");
  admin.query("SELECT pg_reload_conf()");
}

// Decisions of a suspended tenant wait for its return.
TEST_F(Time, ASuspendedTenantHasNoTurns) {
  greedy->query("SELECT insula.register_workflow(" + followed_by(30, "'{\"for_each\": {\"items\": \"$.list\"}}'") +
                ")");
  greedy->query("SELECT insula.submit('w', jsonb_build_object('list', '[1, 2]'::jsonb, 'x', repeat('x', 100000)))");
  admin.query("CREATE TEMP TABLE claimed AS SELECT task_id, lease FROM insula.claim('w', tenant => 'greedy')");
  admin.query("SELECT insula.suspend_tenant('greedy')");
  admin.query("SET insula.visit_bytes = '1kB'");
  admin.query("SELECT insula.complete(task_id, lease) FROM claimed");
  admin.query("DROP TABLE claimed");
  const std::string open = "SELECT count(*) FROM tenant_greedy.work WHERE lane = 100005";
  EXPECT_EQ(admin.query(open), "29");
  // The scheduler has visited the others since.
  admin.query("SELECT insula.submit('w', run_at => clock_timestamp() + interval '100 ms', tenant => 'bystander')");
  EXPECT_TRUE(
      eventually([&] { return admin.query("SELECT count(*) FROM tenant_bystander.work WHERE lane < 100000") == "1"; }));
  EXPECT_EQ(admin.query(open), "29");
  admin.query("SELECT insula.resume_tenant('greedy')");
  EXPECT_TRUE(eventually([&] { return admin.query(open) == "0"; }));
  EXPECT_EQ(admin.query("SELECT count(*) FROM tenant_greedy.work WHERE element >= 0"), "60");
}

// A claim for all tenants gives one whose contexts are large a part of it, and goes on.
TEST_F(Time, LargeContextsOfOneTenantLeaveAClaimToTheOthers) {
  greedy->query(
      "SELECT insula.register_workflow(jsonb_build_object('name', 'w', 'tasks', (SELECT jsonb_agg(jsonb_build_object("
      "'id', 'a' || g)) FROM generate_series(1, 10) g) || (SELECT jsonb_agg(jsonb_build_object('id', 'b' || g, "
      "'depends_on', jsonb_build_array('a' || (1 + g % 10), 'a' || (1 + (g + 1 + g / 10 % 9) % 10)))) FROM "
      "generate_series(1, 90) g)))");
  greedy->query("SELECT insula.submit('w')");
  greedy->query(
      "SELECT count(insula.complete(task_id, lease, jsonb_build_object('x', repeat('x', 1000000)))) FROM "
      "insula.claim('w', max_tasks => 10)");
  admin.query("SELECT cardinality(insula.submit_many('w', array_fill('{}'::jsonb, ARRAY[40]), tenant => 'bystander'))");
  admin.query("SET insula.visit_bytes = '4MB'");
  // Shares by weight come first, so that one claim finds both.
  const std::string claimed = admin.query(
      "SELECT count(*) FILTER (WHERE tenant = 'greedy') || ' ' || count(*) FILTER (WHERE tenant = 'bystander') FROM "
      "insula.claim('w', max_tasks => 1000)");
  const int of_greedy = std::stoi(claimed);
  EXPECT_GT(of_greedy, 0);
  EXPECT_LT(of_greedy, 20);
  EXPECT_EQ(claimed.substr(claimed.find(' ') + 1), "40");
  // What was not handed out has lost nothing by it.
  EXPECT_EQ(admin.query("SELECT count(*) FROM tenant_greedy.work WHERE state = 1 AND attempt = 0 AND lease IS NULL AND "
                        "head IS NOT NULL"),
            to_string(90 - of_greedy));
}

// A claim reads of a task's ancestors what has come since the context that its execution keeps, and tasks with the
// same ancestors share the reading.
TEST_F(Time, ThousandsOfAncestorsAreReadOnce) {
  greedy->query(
      "SELECT insula.register_workflow(jsonb_build_object('name', 'w', 'tasks', (SELECT jsonb_agg(jsonb_build_object("
      "'id', 'a' || g)) FROM generate_series(1, 5000) g) || jsonb_build_array(jsonb_build_object('id', 'join', "
      "'depends_on', (SELECT jsonb_agg('a' || g) FROM generate_series(1, 5000) g))) || (SELECT "
      "jsonb_agg(jsonb_build_object('id', 'b' || g, 'depends_on', '[\"join\"]'::jsonb)) FROM generate_series(1, 40) "
      "g)))");
  greedy->query("SELECT insula.submit('w')");
  greedy->query(
      "SELECT count(insula.complete(task_id, lease, jsonb_build_object(task, 1))) FROM insula.claim('w', max_tasks => "
      "5000)");
  greedy->query("SELECT insula.complete(task_id, lease) FROM insula.claim('w')");
  for (int claim = 0; claim < 2; ++claim) {
    greedy->query("BEGIN");
    const int before = entries_read();
    EXPECT_EQ(greedy->query("SELECT count(*) FROM insula.claim('w', max_tasks => 10) WHERE context ? 'a5000'"), "10");
    EXPECT_LT(entries_read() - before, 200);
    greedy->query("COMMIT");
  }
}

}  // namespace
}  // namespace attacks
