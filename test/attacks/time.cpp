// Attacks on time: what a tenant does to those that share shared memory, the commits and the waiting calls
// with it.  What the others pay is counted, or compared within one run, since clocks lie.
#include <limits>
#include <memory>
#include <vector>

#include "greedy.hpp"

namespace attacks {
namespace {

using std::to_string;

class Time : public GreedyAndBystander {
 protected:
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

}  // namespace
}  // namespace attacks
