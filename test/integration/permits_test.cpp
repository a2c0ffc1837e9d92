// Permits, of a tenant with max_running and under limits of workflows and of keys: whatever claims,
// aborts, counts and forgets, never does one task too many run, none is lost, and each comes back.
#include <atomic>
#include <random>
#include <thread>

#include "permits_fixture.hpp"

namespace insula_test {
namespace {

class EachPermits : public Permits, public ::testing::WithParamInterface<Of> {
 protected:
  Of of() const override { return GetParam(); }

  // `workers` sessions at once work off `tasks` in all ways that there are.
  void work_off(int tasks, unsigned workers, bool forget);
};
class PreloadedEachPermits : public EachPermits {};

std::string name_of(const ::testing::TestParamInfo<Of>& info) {
  return info.param == Of::tenant ? "Tenant" : info.param == Of::key ? "Key" : "Workflow";
}
INSTANTIATE_TEST_SUITE_P(Of, EachPermits, ::testing::Values(Of::tenant, Of::workflow, Of::key), name_of);
INSTANTIATE_TEST_SUITE_P(Of, PreloadedEachPermits, ::testing::Values(Of::tenant, Of::workflow, Of::key), name_of);

// One way for a worker to do some of the work.
void take_and_complete(Session& session, int most) {
  if (claim(session, most) > 0) complete(session);
}

void take_and_abort(Session& session, int most) {
  session.query("BEGIN");
  claim(session, most);
  session.query("ROLLBACK");
}

void take_back_and_take(Session& session, int most) {
  session.query("BEGIN");
  session.query("SAVEPOINT a");
  claim(session, most);
  session.query("ROLLBACK TO a");
  claim(session, most / 2 + 1);
  session.query("SAVEPOINT b");
  claim(session, 1);
  session.query("RELEASE b");
  session.query("COMMIT");
  complete(session);
}

void complete_and_take(Session& session, int most) {
  claim(session, most);
  session.query("BEGIN ISOLATION LEVEL REPEATABLE READ");
  complete(session);
  // Others' claims are later than its snapshot.
  (void)session.error("INSERT INTO mine SELECT task_id, lease FROM insula.claim('w', max_tasks => " +
                      std::to_string(most) + ")");
  session.query("END");
  complete(session);
}

void take_and_complete_at_once(Session& session, int most) {
  session.query("SELECT insula.complete(task_id, lease) FROM insula.claim('w', max_tasks => " + std::to_string(most) +
                ")");
}

void forget_numbers(Session& session, int) { session.query("SELECT insula.stat_reset()"); }

void cancel_what_runs(Session& session, int most) {
  if (claim(session, most) == 0) return;
  session.query(
      "SELECT insula.cancel(execution_id) FROM tenant_narrow.task_executions "
      "WHERE task_id = (SELECT min(task_id) FROM mine)");
  complete(session);
}

void EachPermits::work_off(int tasks, unsigned workers, bool forget) {
  submit(tasks / 2);
  submit(tasks / 2, R"({"who": 1})");
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (unsigned seed = 1; seed <= workers; ++seed)
    threads.emplace_back([seed, forget, &done] {
      constexpr void (*ways[])(Session&, int) = {
          take_and_complete,         take_and_abort,   take_back_and_take, complete_and_take,
          take_and_complete_at_once, cancel_what_runs, forget_numbers};
      std::mt19937 random{seed};
      const auto session = new_worker();
      while (!done)
        ways[random() % (std::size(ways) - (forget ? 0 : 1))](*session, 1 + static_cast<int>(random() % 12));
    });
  int most = 0;
  while (!done) {
    most = std::max(most, running(*admin));
    done = admin->query("SELECT 1 FROM tenant_narrow.work WHERE lane IS NOT NULL LIMIT 1").empty();
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(most, limit);
  EXPECT_GT(most, limit / 2) << "the limit was hardly tried";
  EXPECT_EQ(
      admin->query("SELECT count(*) FROM tenant_narrow.workflow_executions WHERE status IN ('completed', 'cancelled')"),
      std::to_string(tasks));
  expect_all_free();
}

TEST_P(EachPermits, NeverOneTooManyHoweverItIsClaimed) { work_off(6000, 6, true); }

TEST_P(EachPermits, NeverOneTooManyByTheNumbers) { work_off(3000, 6, false); }

// When more transactions write than a count can remember, each claim counts for itself.
TEST_P(EachPermits, NeverOneTooManyWithoutNumbers) {
  std::vector<std::unique_ptr<Session>> writers;
  for (int i = 0; i < 66; ++i) {
    writers.push_back(std::make_unique<Session>());
    writers.back()->query("BEGIN; SELECT pg_current_xact_id()");
  }
  admin->query("SELECT insula.stat_reset()");
  work_off(1000, 4, true);
}

TEST_P(EachPermits, ASessionThatEndsGivesThemBack) {
  submit(2 * limit);
  auto worker = new_worker();
  worker->query("BEGIN");
  EXPECT_EQ(claim(*worker, 20), 20);
  const auto other = new_worker();
  const std::string pid = std::to_string(worker->pid());
  admin->query("SELECT pg_terminate_backend(" + pid + ")");
  EXPECT_TRUE(
      eventually([&] { return admin->query("SELECT count(*) FROM pg_stat_activity WHERE pid = " + pid) == "0"; }));
  EXPECT_EQ(claim(*other, 2 * limit), limit);
}

TEST_P(EachPermits, ACrashForgetsReservedPermitsAndKeepsUsedOnes) {
  submit(2 * limit);
  auto worker = new_worker();
  EXPECT_EQ(claim(*worker, 10), 10);
  auto open = new_worker();
  open->query("BEGIN");
  EXPECT_EQ(claim(*open, 10), 10);
  // A claim does not wait for its WAL, so a crash may give it back.
  admin->query("SET synchronous_commit = on");
  admin->query("CREATE TABLE flushed ()");
  admin->query("DROP TABLE flushed");
  EXPECT_TRUE(insula_test::pg_ctl("crash"));
  admin = new_admin();
  EXPECT_EQ(running(*admin), 10);
  worker = new_worker();
  EXPECT_EQ(claim(*worker, 2 * limit), limit - 10);
}

// A waiter hears of the end of the open claim that holds the permits, and no session waits for a
// claim that holds but some of them.
TEST_P(PreloadedEachPermits, AReservationThatComesBackWakesAWaiter) {
  expect_all_free();
  submit(2 * limit);
  const auto holder = new_worker(), waiter = new_worker();
  for (const char* end : {"ROLLBACK", "ROLLBACK TO a"}) {
    holder->query("BEGIN");
    holder->query("SAVEPOINT a");
    EXPECT_EQ(claim(*holder, 2 * limit), limit);
    waiter->send("CALL insula.wait_for_work('1 h')");
    EXPECT_TRUE(eventually([&] {
      return admin->query("SELECT wait_event_type FROM pg_stat_activity WHERE pid = " +
                          std::to_string(waiter->pid())) == "Extension";
    }));
    holder->query(end);
    ASSERT_TRUE(waiter->finished());
    EXPECT_EQ(waiter->answer(), "t");
    EXPECT_EQ(claim(*waiter, 1), 1);
    complete(*waiter);
    holder->query("ROLLBACK");
  }
  holder->query("BEGIN");
  EXPECT_EQ(claim(*holder, limit - 1), limit - 1);
  waiter->query("CALL insula.wait_for_work('1 h')");
  EXPECT_EQ(claim(*waiter, 2), 1);
  complete(*waiter);
  holder->query("COMMIT");
}

// One session waits in its claim while another completes: each permit that comes back wakes a waiter.
TEST_P(PreloadedEachPermits, NoWaiterSleepsOverAFreePermit) {
  constexpr int tasks = 1000;
  set_limit(3);
  admin->query("CREATE TABLE claimed (task_id bigint, lease bigint)");
  submit(tasks);
  std::atomic<bool> done{false};
  std::vector<std::thread> workers;
  for (unsigned seed = 1; seed <= 4; ++seed)
    workers.emplace_back([seed, &done] {
      std::mt19937 random{seed};
      const auto session = new_worker();
      const std::string wait = "CALL insula.wait_for_work('1 min', worker => 'w" + std::to_string(seed) + "')";
      while (!done) {
        const bool ready = session->query(wait) == "t";
        EXPECT_TRUE(ready || done) << "slept over a permit";
        if (!ready) continue;
        session->query("BEGIN");
        session->query(
            "INSERT INTO claimed SELECT task_id, lease FROM insula.claim('w', lease_for => '1 h', max_tasks => " +
            std::to_string(1 + random() % 3) + ")");
        session->query(random() % 4 ? "COMMIT" : "ROLLBACK");
      }
    });
  const auto completer = new_worker();
  while (!completer->query("SELECT 1 FROM tenant_narrow.work WHERE lane IS NOT NULL LIMIT 1").empty())
    completer->query(
        "WITH d AS (DELETE FROM claimed WHERE ctid = (SELECT min(ctid) FROM claimed) RETURNING *) "
        "SELECT insula.complete(task_id, lease) FROM d");
  done = true;
  for (unsigned seed = 1; seed <= 4; ++seed) completer->query("SELECT insula.nudge('w" + std::to_string(seed) + "')");
  for (std::thread& worker : workers) worker.join();
  admin->query("DROP TABLE claimed");
}

// In hundreds, some claim while others complete, as a client's two connections do.
TEST_P(PreloadedEachPermits, ADrainNeverStandsStill) {
  constexpr int tasks = 20000, batch = 100;
  set_limit(3 * batch + 50);
  admin->query("CREATE TABLE claimed (task_id bigint, lease bigint)");
  for (int i = 0; i < tasks; i += 1000) submit(1000);
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (int number = 1; number <= 3; ++number)
    threads.emplace_back([number, &done] {
      const auto session = new_worker();
      const std::string wait =
          "CALL insula.wait_for_work('1 min', tasks => ARRAY['w.a'], worker => 'w" + std::to_string(number) + "')";
      while (!done) {
        const bool ready = session->query(wait) == "t";
        EXPECT_TRUE(ready || done) << "slept over a permit";
        if (ready)
          session->query("INSERT INTO claimed SELECT task_id, lease FROM insula.claim('w', ARRAY['w.a'], " +
                         std::to_string(batch) + ", '1 h')");
      }
    });
  for (int number = 1; number <= 2; ++number)
    threads.emplace_back([&done] {
      const auto session = new_worker();
      while (!done)
        session->query(
            "WITH d AS (DELETE FROM claimed WHERE ctid = ANY (ARRAY(SELECT ctid FROM claimed LIMIT 100 "
            "FOR UPDATE SKIP LOCKED)) RETURNING *) SELECT insula.complete_many(array_agg(task_id), "
            "array_agg(lease), NULL) FROM d HAVING count(*) > 0");
    });
  EXPECT_TRUE(eventually(
      [&] { return admin->query("SELECT 1 FROM tenant_narrow.work WHERE lane IS NOT NULL LIMIT 1").empty(); },
      5 * patience));
  done = true;
  for (int number = 1; number <= 3; ++number) admin->query("SELECT insula.nudge('w" + std::to_string(number) + "')");
  for (std::thread& thread : threads) thread.join();
  admin->query("DROP TABLE claimed");
}

// Many look while one commits: no session may then see its permit both taken and reserved.  One
// task runs all the time, and its lease ends first, so that no other end of a lease wakes a waiter.
TEST_P(PreloadedEachPermits, ACommitNeverHidesAFreePermit) {
  constexpr int two = 2, rounds = 150;
  set_limit(3);
  admin->query("CREATE TABLE claimed (task_id bigint, lease bigint)");
  const auto holder = new_worker();
  submit(1);
  EXPECT_EQ(claim(*holder, 1), 1);
  std::atomic<bool> done{false};
  std::vector<std::thread> workers;
  for (int number = 1; number <= 6; ++number)
    workers.emplace_back([number, &done] {
      const auto session = new_worker();
      const std::string wait = "CALL insula.wait_for_work('1 h', worker => 'w" + std::to_string(number) + "')";
      while (!done)
        if (session->query(wait) == "t")
          session->query(
              "INSERT INTO claimed SELECT task_id, lease FROM insula.claim('w', max_tasks => 1, lease_for => '2 h')");
    });
  for (int round = 0; round < rounds; ++round) {
    if (round % 3 == 0) admin->query("SELECT insula.stat_reset()");
    submit(two);
    const bool all = eventually([&] { return running(*admin) == 1 + two; });
    EXPECT_TRUE(all) << "slept over a permit in round " << round;
    if (!all) break;
    admin->query("WITH d AS (DELETE FROM claimed RETURNING *) SELECT insula.complete(task_id, lease) FROM d");
  }
  done = true;
  for (int number = 1; number <= 6; ++number) admin->query("SELECT insula.nudge('w" + std::to_string(number) + "')");
  for (std::thread& worker : workers) worker.join();
  admin->query("DROP TABLE claimed");
}

// Whatever the number of limits, those that were claimed in a subtransaction come back once, with the one around it.
TEST_F(PreloadedPermits, PermitsOfManyLimitsComeBackWithAnOuterSavepoint) {
  admin->query("SELECT insula.set_tenant_limits('narrow', max_running => -1)");
  admin->query(
      R"(SELECT insula.register_workflow('{"name": "w", "limit": {"max": 2, "key": "who"}, "tasks": [{"id": "a"}]}',
                  tenant => 'narrow'))");
  const auto worker = new_worker(), other = new_worker();
  for (const int limits : {5, 17, 40, 100}) {
    const std::string number = std::to_string(limits);
    admin->query("SELECT insula.submit_many('w', (SELECT array_agg(jsonb_build_object('who', '" + number +
                 " ' || n % " + number + ") ORDER BY n) FROM generate_series(1, 5 * " + number +
                 ") n), tenant => 'narrow')");
    const auto expect_free = [&](int free) {
      other->query("BEGIN");
      EXPECT_EQ(claim(*other, 5 * limits), free) << limits;
      other->query("ROLLBACK");
    };
    worker->query("BEGIN");
    EXPECT_EQ(claim(*worker, limits), limits);
    worker->query("SAVEPOINT a");
    worker->query("SAVEPOINT b");
    EXPECT_EQ(claim(*worker, 5 * limits), limits) << limits;
    worker->query("RELEASE b");
    expect_free(0);
    worker->query("ROLLBACK TO a");
    expect_free(limits);
    worker->query("SAVEPOINT c");
    EXPECT_EQ(claim(*worker, limits / 2), limits / 2) << limits;
    worker->query("RELEASE c");
    worker->query("RELEASE a");
    expect_free(limits - limits / 2);
    worker->query("ROLLBACK");
    expect_free(2 * limits);
    EXPECT_EQ(claim(*worker, 5 * limits), 2 * limits) << limits;
    expect_free(0);
    complete(*worker);
    expect_free(2 * limits);
    admin->query("SELECT insula.cancel(execution_id) FROM tenant_narrow.workflow_executions WHERE status = 'pending'");
  }
}

// A claim that has to count, and finds the lock held when it meets the first task under a limit, takes the others.
TEST_F(Permits, AClaimThatMayNotCountTakesWhatIsUnderNoLimit) {
  admin->query("SELECT insula.set_tenant_limits('narrow', max_running => -1)");
  admin->query(
      R"(SELECT insula.register_workflow('{"name": "w", "limit": {"max": 3}, "tasks": [{"id": "a"}]}', tenant => 'narrow'))");
  admin->query(R"(SELECT insula.register_workflow('{"name": "u", "tasks": [{"id": "a"}]}', tenant => 'narrow'))");
  // More transactions write than a count can remember.
  std::vector<std::unique_ptr<Session>> writers;
  for (int i = 0; i < 66; ++i) {
    writers.push_back(std::make_unique<Session>());
    writers.back()->query("BEGIN; SELECT pg_current_xact_id()");
  }
  admin->query("SELECT insula.stat_reset()");
  submit(9);
  admin->query("SELECT insula.submit_many('u', array_fill('{}'::jsonb, ARRAY[5]), tenant => 'narrow')");
  const auto holder = new_worker(), worker = new_worker();
  holder->query("BEGIN");
  holder->query(
      "INSERT INTO mine SELECT task_id, lease FROM insula.claim('w', ARRAY['w.a'], lease_for => '1 h', max_tasks => "
      "1)");
  EXPECT_EQ(holder->query("SELECT count(*) FROM mine"), "1");
  EXPECT_EQ(claim(*worker, 20), 5);
  holder->query("COMMIT");
  EXPECT_EQ(claim(*worker, 20), 2);
  writers.clear();
  EXPECT_EQ(claim(*worker, 20), 0);
  complete(*holder);
  EXPECT_EQ(claim(*worker, 20), 1);
  complete(*worker);
  EXPECT_EQ(claim(*worker, 20), 3);
  complete(*worker);
}

// The running tasks of limits that do not fit into shared memory are counted in the queue.
TEST_F(Permits, WithoutRoomForAllLimitsTheyHold) {
  admin->query("SELECT insula.set_tenant_limits('narrow', max_running => -1)");
  admin->query(
      R"(SELECT insula.register_workflow('{"name": "w", "limit": {"max": 2, "key": "who"}, "tasks": [{"id": "a"}]}', tenant => 'narrow'))");
  // Twice as many as there is room for, and the tables grow a little beyond what they were made for.
  const int keys =
      2 * std::max(std::stoi("0" + admin->query("SELECT current_setting('insula.max_counted_limits', true)")), 50);
  for (int each = 0; each < 3; ++each)
    admin->query(
        "SELECT insula.submit_many('w', array_agg(jsonb_build_object('who', i)), tenant => 'narrow') "
        "FROM generate_series(1, " +
        std::to_string(keys) + ") i");
  const auto worker = new_worker();
  for (int claimed = 1; claimed > 0;) {
    worker->query("BEGIN");
    claimed = claim(*worker, 1000);
    worker->query(claimed % 2 ? "ROLLBACK" : "COMMIT");
    EXPECT_LE(running(*admin), 2);
  }
  EXPECT_EQ(admin->query("SELECT count(*) FROM tenant_narrow.work WHERE lane = 100001"), std::to_string(2 * keys));
  complete(*worker);
  EXPECT_EQ(claim(*worker, std::min(10000, 3 * keys)), std::min(10000, keys));
}

// Rows that were written behind Insula's back.
TEST_F(Permits, RowsWrittenByHandAreFound) {
  submit(2 * limit);
  const auto worker = new_worker();
  EXPECT_EQ(claim(*worker, limit), limit);
  admin->query("UPDATE tenant_narrow.work SET lane = NULL, state = 6 WHERE lane = 100001");
  EXPECT_TRUE(eventually([&] { return claim(*worker, 1) == 1; }));
  admin->query("UPDATE tenant_narrow.work SET lane = 100001, state = 2, due = 9e17 WHERE state = 6");
  admin->query("SELECT count(*) FROM insula.reconcile(false)");
  EXPECT_EQ(claim(*worker, 1), 0);
}

}  // namespace
}  // namespace insula_test
