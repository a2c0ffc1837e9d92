// Room in the queue of a tenant with max_queued: the numbers in shared memory are what a count of the queue
// finds, whatever was submitted, claimed, ended, taken back or rolled back, and submissions of the same
// moment never exceed the limit together.  Without shared memory a count decides.
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "support/session.hpp"

namespace insula_test {
namespace {

class QueueRoom : public ::testing::Test {
 protected:
  void SetUp() override {
    prepare(admin);
    admin.query("CREATE EXTENSION IF NOT EXISTS insula");
    admin.query("SELECT tenant FROM insula.create_tenant('roomy', login => false)");
    for (
        const char* definition :
        {R"({"name": "one", "tasks": [{"id": "a"}]})",
         R"({"name": "graph", "timeout": "1 h", "tasks": [{"id": "a"}, {"id": "b"}, {"id": "c", "depends_on": ["a"]}]})",
         R"({"name": "each", "tasks": [{"id": "a", "for_each": {"items": "l"}}, {"id": "b", "depends_on": ["a"]}]})",
         R"({"name": "later", "tasks": [{"id": "a"}, {"id": "b", "depends_on": ["a"], "for_each": {"items": "l"}}]})"})
      admin.query(std::string("SELECT insula.register_workflow('") + definition + "')");
  }
  void TearDown() override { admin.query("SELECT insula.drop_tenant('roomy', '0 s')"); }

  static void prepare(Session& session) {
    session.query("SET client_min_messages = error");
    session.query("SET insula.tenant = 'roomy'");
  }
  static std::unique_ptr<Session> new_session() {
    auto session = std::make_unique<Session>();
    prepare(*session);
    return session;
  }

  void set_limit(int most) {
    admin.query("SELECT insula.set_tenant_limits('roomy', max_queued => " + std::to_string(most) + ")");
  }
  int queued() {
    return std::stoi(admin.query("SELECT count(*) FROM tenant_roomy.work WHERE lane IS NOT NULL AND lane <> 100003"));
  }

  int entries_read() {
    return std::stoi(admin.query("SELECT pg_stat_get_xact_tuples_returned('tenant_roomy.work_queue'::regclass)"));
  }

  // Room for five more is room for five, and no more.
  void expect_exact_room(bool without_a_count = false) {
    const int before = queued();
    set_limit(before + 5);
    admin.query("BEGIN");
    const int read_before = entries_read();
    for (int i = 0; i < 5; ++i) EXPECT_EQ(admin.error("SELECT insula.submit('one')"), "none");
    if (without_a_count) {
      EXPECT_EQ(entries_read(), read_before);
    }
    admin.query("COMMIT");
    EXPECT_EQ(admin.error("SELECT insula.submit('one')"), "IS006");
    EXPECT_EQ(queued(), before + 5);
  }

  Session admin;
};
using PreloadedQueueRoom = QueueRoom;

// One of many acts, in a transaction of its own or at the end of one that is half rolled back.
void act_at_random(Session& session, std::mt19937& random) {
  static const std::string some =
      "(SELECT execution_id FROM tenant_roomy.workflow_executions ORDER BY random() LIMIT 1)";
  static const std::string claimed = "FROM insula.claim('w', max_tasks => 3)";
  static const std::vector<std::string> acts = {
      "SELECT insula.submit('one')",
      "SELECT insula.submit('one', run_at => now() + '1 h')",
      "SELECT insula.submit_many('one', array_fill('{}'::jsonb, ARRAY[7]))",
      "SELECT insula.submit('graph')",
      "SELECT insula.submit('each', '{\"l\": [1, 2, 3]}')",
      "SELECT insula.submit('each', '{\"l\": []}')",
      "SELECT insula.submit('later', '{\"l\": [1, 2, 3]}')",
      "SELECT insula.complete(task_id, lease) " + claimed,
      "SELECT insula.complete(task_id, lease) " + claimed,
      "SELECT insula.complete(task_id, lease) " + claimed,
      "SELECT insula.fail(task_id, lease, 'no') " + claimed,
      "SELECT insula.fail(task_id, lease, 'no', false) " + claimed,
      "SELECT insula.defer(task_id, lease, now() + '1 h') " + claimed,
      "SELECT insula.wait_event(task_id, lease, 'e') " + claimed,
      "SELECT insula.send_event(" + some + ", 'e')",
      "SELECT insula.cancel(" + some + ")",
      "SELECT insula.pause(" + some + ")",
      "SELECT insula.resume(" + some + ")",
      "SELECT insula.retry(" + some + ")",
      "SELECT count(*) " + claimed,
      "SELECT insula.leave('w')",
  };
  const auto act = [&] { return acts[random() % acts.size()]; };
  const auto run = [&](const std::string& sql) {
    const std::string state = session.error(sql);
    EXPECT_TRUE(state == "none" || state == "IS006" || state == "IS003" || state == "22004" || state == "40P01")
        << state << ": " << sql;
    return state == "none";
  };
  if (random() % 3 > 0) {
    (void)run(act());
    return;
  }
  session.query("BEGIN");
  bool goes_on = run(act());
  if (goes_on) session.query("SAVEPOINT s");
  if (goes_on && (!run(act()) || random() % 2 > 0)) session.query("ROLLBACK TO s");
  if (goes_on) goes_on = run(act());
  session.query(goes_on && random() % 4 > 0 ? "COMMIT" : "ROLLBACK");
}

TEST_F(QueueRoom, IsExactAfterWhateverWasDone) {
  set_limit(100);
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 3; ++i)
    threads.emplace_back([i] {
      const auto session = new_session();
      std::mt19937 random(i);
      for (int round = 0; round < 250; ++round) act_at_random(*session, random);
    });
  for (std::thread& thread : threads) thread.join();
  expect_exact_room(preloaded());
  // The same after a count, which finds what the numbers said.
  admin.query("SELECT insula.stat_reset()");
  expect_exact_room();
}

TEST_F(QueueRoom, OfOneTransactionIsWhatItHasNotUsed) {
  set_limit(3);
  admin.query("SELECT insula.submit_many('one', array_fill('{}'::jsonb, ARRAY[3]))");
  admin.query("BEGIN");
  admin.query("SELECT insula.complete(task_id, lease) FROM insula.claim('w', max_tasks => 2)");
  admin.query("SELECT insula.submit('one')");
  admin.query("SAVEPOINT s");
  admin.query("SELECT insula.submit('one')");
  admin.query("ROLLBACK TO s");
  admin.query("SELECT insula.submit('one')");
  EXPECT_EQ(admin.error("SELECT insula.submit('one')"), "IS006");
  admin.query("ROLLBACK");
  EXPECT_EQ(admin.error("SELECT insula.submit('one')"), "IS006");
  EXPECT_EQ(admin.query("SELECT insula.submit_many('one', '{}') = '{}'"), "t");
  EXPECT_EQ(queued(), 3);
}

// Finished tasks are not queued, whether they are kept or not.
TEST_F(QueueRoom, IsNotTakenByWhatHasEnded) {
  set_limit(2);
  for (const char* retain : {"NULL", "'0 s'"}) {
    admin.query(std::string("SELECT insula.set_tenant_limits('roomy', retain => ") + retain + ")");
    for (int i = 0; i < 5; ++i) {
      admin.query("SELECT insula.submit_many('one', array_fill('{}'::jsonb, ARRAY[2]))");
      EXPECT_EQ(admin.error("SELECT insula.submit('one')"), "IS006");
      admin.query("SELECT insula.complete(task_id, lease) FROM insula.claim('w', max_tasks => 2)");
    }
  }
  expect_exact_room();
}

TEST_F(PreloadedQueueRoom, IsNeverExceededBySubmissionsOfOneMoment) {
  set_limit(5);
  admin.query("SELECT insula.submit('one')");
  std::vector<std::unique_ptr<Session>> sessions;
  int refused = 0;
  for (int i = 0; i < 7; ++i) {
    sessions.push_back(new_session());
    sessions.back()->query("BEGIN");
    if (sessions.back()->error("SELECT insula.submit('one')") == "IS006") ++refused;
  }
  EXPECT_EQ(refused, 3);
  // What is rolled back, in whole or in part, is room again.
  sessions[0]->query("ROLLBACK");
  Session& again = *sessions[1];
  again.query("ROLLBACK");
  again.query("BEGIN");
  again.query("SAVEPOINT s");
  again.query("SELECT insula.submit_many('one', array_fill('{}'::jsonb, ARRAY[2]))");
  EXPECT_EQ(admin.error("SELECT insula.submit('one')"), "IS006");
  again.query("ROLLBACK TO s");
  admin.query("SELECT insula.submit('one')");
  again.query("SELECT insula.submit('one')");
  for (const auto& session : sessions) session->query("COMMIT");
  EXPECT_EQ(queued(), 5);
  EXPECT_EQ(admin.error("SELECT insula.submit('one')"), "IS006");
}

TEST_F(PreloadedQueueRoom, IsNeverExceededWhileTheNumbersAreCounted) {
  set_limit(50);
  for (int round = 0; round < 5; ++round) {
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([] {
        const auto session = new_session();
        while (session->error("SELECT insula.submit('one')") == "none") continue;
      });
    for (int i = 0; i < 20; ++i) admin.query("SELECT insula.stat_reset()");
    for (std::thread& thread : threads) thread.join();
    EXPECT_LE(queued(), 50);
    admin.query("SELECT insula.complete(task_id, lease) FROM insula.claim('w', max_tasks => 100)");
  }
  expect_exact_room();
}

TEST_F(QueueRoom, IsFoundWhereRowsWereTakenAwayByHand) {
  set_limit(3);
  admin.query("SELECT insula.submit_many('one', array_fill('{}'::jsonb, ARRAY[3]))");
  EXPECT_EQ(admin.error("SELECT insula.submit('one')"), "IS006");
  admin.query("DELETE FROM tenant_roomy.work");
  EXPECT_TRUE(eventually([&] { return admin.error("SELECT insula.submit('one')") == "none"; }));
}

// A queue that is far longer than its limit is not counted to its end.
TEST_F(QueueRoom, IsFoundAgainWhereTheLimitWasSetTooLate) {
  admin.query("SELECT insula.submit_many('one', array_fill('{}'::jsonb, ARRAY[3000]))");
  set_limit(10);
  EXPECT_EQ(admin.error("SELECT insula.submit('one')"), "IS006");
  for (int left : {1500, 11, 10, 9}) {
    const std::string ended =
        "ARRAY(SELECT execution_id FROM tenant_roomy.workflow_executions WHERE status = "
        "'pending' LIMIT " +
        std::to_string(queued() - left) + ")";
    admin.query("SELECT count(insula.cancel(id)) FROM unnest(" + ended + ") id");
    EXPECT_EQ(queued(), left);
    EXPECT_EQ(admin.error("SELECT insula.submit('one')"), left < 10 ? "none" : "IS006");
  }
  EXPECT_EQ(admin.error("SELECT insula.submit('one')"), "IS006");
}

}  // namespace
}  // namespace insula_test
