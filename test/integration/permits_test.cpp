// Permits, of a tenant with max_running and under limits of workflows and of keys: whatever claims,
// aborts, counts and forgets, never does one task too many run, none is lost, and each comes back.
#include <atomic>
#include <memory>
#include <random>
#include <thread>

#include "client_test.hpp"
#include "support/session.hpp"

namespace insula_test {
namespace {

constexpr int limit = 25;

// A session for the tenant, with a place of its own for what it holds.
std::unique_ptr<Session> new_worker() {
  auto session = std::make_unique<Session>();
  session->query("SET client_min_messages = error");
  session->query("SET insula.tenant = 'narrow'");
  session->query("CREATE TEMP TABLE mine (task_id bigint, lease bigint)");
  return session;
}

int claim(Session& session, int most) {
  return std::stoi(session.query(
      "WITH c AS (INSERT INTO mine SELECT task_id, lease FROM insula.claim('w', lease_for => '1 h', max_tasks => " +
      std::to_string(most) + ") RETURNING 1) SELECT count(*) FROM c"));
}

void complete(Session& session) {
  session.query(
      "SELECT insula.complete_many(array_agg(task_id), array_agg(lease), NULL) FROM mine HAVING count(*) > 0");
  session.query("DELETE FROM mine");
}

// The kind of the limit.
enum class Of { tenant, workflow, key };

class Permits : public ::testing::Test {
 protected:
  void SetUp() override {
    admin = new_admin();
    admin->query("CREATE EXTENSION IF NOT EXISTS insula");
    admin->query("SELECT tenant FROM insula.create_tenant('narrow', login => false)");
    set_limit(limit);
  }
  void TearDown() override { admin->query("SELECT insula.drop_tenant('narrow', '0 s')"); }

  static std::unique_ptr<Session> new_admin() {
    auto session = std::make_unique<Session>();
    session->query("SET client_min_messages = error");
    return session;
  }

  virtual Of of() const { return Of::tenant; }

  void set_limit(int most) {
    const std::string number = std::to_string(most);
    if (of() == Of::tenant) admin->query("SELECT insula.set_tenant_limits('narrow', max_running => " + number + ")");
    const std::string of_workflow = of() == Of::tenant ? ""
                                    : of() == Of::key  ? R"("limit": {"max": )" + number + R"(, "key": "who"}, )"
                                                       : R"("limit": {"max": )" + number + "}, ";
    admin->query(R"(SELECT insula.register_workflow('{"name": "w", )" + of_workflow +
                 R"("tasks": [{"id": "a"}]}', tenant => 'narrow'))");
  }

  void submit(int count, const std::string& context = "{}") {
    admin->query("SELECT insula.submit_many('w', array_fill('" + context + "'::jsonb, ARRAY[" + std::to_string(count) +
                 "]), tenant => 'narrow')");
  }

  // The running tasks under one limit.
  static int running(Session& session) {
    return std::stoi(
        session.query("SELECT coalesce(max(n), 0) FROM (SELECT count(*) n FROM tenant_narrow.work "
                      "WHERE lane = 100001 GROUP BY limit_key) q"));
  }

  // All permits are there, and no more.
  void expect_all_free() {
    submit(limit + 5);
    const auto worker = new_worker();
    EXPECT_EQ(claim(*worker, limit + 5), limit);
    EXPECT_EQ(claim(*worker, 1), 0);
    complete(*worker);
  }

  std::unique_ptr<Session> admin;
};

class EachPermits : public Permits, public ::testing::WithParamInterface<Of> {
 protected:
  Of of() const override { return GetParam(); }

  // `workers` sessions at once work off `tasks` in all ways that there are.
  void work_off(int tasks, unsigned workers, bool forget);
};
class PreloadedEachPermits : public EachPermits {};
class PreloadedPermits : public Permits {};

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

bool waits(Session& watcher, const Session& waiter) {
  return watcher.query("SELECT wait_event_type FROM pg_stat_activity WHERE pid = " + std::to_string(waiter.pid())) ==
         "Extension";
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
  admin->query(R"(SELECT insula.register_workflow('{"name": "w", "limit": {"max": 2, "key": "who"}, "tasks": [{"id": "a"}]}',
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
      "INSERT INTO mine SELECT task_id, lease FROM insula.claim('w', ARRAY['w.a'], lease_for => '1 h', max_tasks => 1)");
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

// Work of two kinds; a session that takes the one kind cannot take the other.
class PreloadedPermitsOfTwoKinds : public Permits {
 protected:
  void SetUp() override {
    Permits::SetUp();
    for (const char* kind : {"j", "k"})
      admin->query(std::string(R"(SELECT insula.register_workflow('{"name": ")") + kind + R"(", "tasks": [{"id": ")" +
                   kind + R"("}]}', tenant => 'narrow'))");
  }
  void submit_one(const std::string& kind) { admin->query("SELECT insula.submit('" + kind + "', tenant => 'narrow')"); }
  static std::string claim_of(const std::string& kind, int most) {
    return "SELECT task_id, lease FROM insula.claim('w', lease_for => '1 h', tasks => ARRAY['" + kind + "." + kind +
           "'], max_tasks => " + std::to_string(most) + ")";
  }
  void wait_for(Session& session, const std::string& kind) {
    session.send("CALL insula.wait_for_work('1 h', tasks => ARRAY['" + kind + "." + kind + "'])");
    ASSERT_TRUE(eventually([&] { return waits(*admin, session); }));
  }
};

// Two permits come back at once and wake one waiter, which may need but one of them.
TEST_F(PreloadedPermitsOfTwoKinds, AWokenWaiterPassesUnusedPermitsOn) {
  admin->query("SELECT insula.set_tenant_limits('narrow', max_running => 2)");
  const auto holder = new_worker(), first = new_worker(), second = new_worker();
  for (int round = 0; round < 4; ++round) {
    // Sessions are woken in turns.
    Session &of_j = round % 2 ? *first : *second, &of_k = round % 2 ? *second : *first;
    submit_one("k");
    submit_one("k");
    holder->query("INSERT INTO mine " + claim_of("k", 2));
    submit_one("j");
    wait_for(of_j, "j");
    wait_for(of_k, "k");
    holder->query("BEGIN");
    complete(*holder);
    holder->query("SELECT insula.submit('k')");
    holder->query("COMMIT");
    ASSERT_TRUE(of_k.finished()) << round;
    EXPECT_EQ(of_k.answer(), "t");
    of_k.query("INSERT INTO mine " + claim_of("k", 5));
    ASSERT_TRUE(of_j.finished()) << "slept over a permit in round " << round;
    EXPECT_EQ(of_j.answer(), "t");
    of_j.query("INSERT INTO mine " + claim_of("j", 1));
    complete(of_j);
    complete(of_k);
  }
}

// A task that goes back to the queue frees a permit also for waiters that cannot take that task.
TEST_F(PreloadedPermitsOfTwoKinds, ATaskGivenBackWakesAWaiterForAnother) {
  admin->query("SELECT insula.set_tenant_limits('narrow', max_running => 1)");
  const auto holder = new_worker(), waiter = new_worker();
  submit_one("k");
  holder->query(claim_of("k", 1));
  submit_one("j");
  wait_for(*waiter, "j");
  holder->query("SELECT insula.leave('w')");
  ASSERT_TRUE(waiter->finished()) << "slept over a permit";
  EXPECT_EQ(waiter->answer(), "t");
}

// Two limits; a waiter that cannot take from the limit it was woken for passes the wake-up on.
TEST_F(PreloadedPermits, AWakeUpForAnotherLimitIsPassedOn) {
  admin->query("SELECT insula.set_tenant_limits('narrow', max_running => -1)");
  for (const std::string kind : {"j", "k"}) {
    admin->query(R"(SELECT insula.register_workflow('{"name": ")" + kind +
                 R"(", "limit": {"max": 1}, "tasks": [{"id": "a"}]}', tenant => 'narrow'))");
    admin->query("SELECT insula.submit_many('" + kind + "', array_fill('{}'::jsonb, ARRAY[9]), tenant => 'narrow')");
  }
  const auto claim_of = [](const std::string& kind) {
    return "INSERT INTO mine SELECT task_id, lease FROM insula.claim('w', lease_for => '1 h', tasks => ARRAY['" + kind +
           ".a'])";
  };
  const auto holder_j = new_worker(), holder_k = new_worker(), waiter_j = new_worker(), waiter_k = new_worker();
  holder_j->query(claim_of("j"));
  holder_k->query(claim_of("k"));
  for (int round = 0; round < 6; ++round) {
    const bool j = round % 3 == 0;
    waiter_j->send("CALL insula.wait_for_work('1 h', tasks => ARRAY['j.a'])");
    ASSERT_TRUE(eventually([&] { return waits(*admin, *waiter_j); }));
    waiter_k->send("CALL insula.wait_for_work('1 h', tasks => ARRAY['k.a'])");
    ASSERT_TRUE(eventually([&] { return waits(*admin, *waiter_k); }));
    for (const bool of_j : {j, !j}) {
      Session &waiter = of_j ? *waiter_j : *waiter_k, &holder = of_j ? *holder_j : *holder_k;
      complete(holder);
      ASSERT_TRUE(waiter.finished()) << "slept over a permit in round " << round;
      EXPECT_EQ(waiter.answer(), "t");
      holder.query(claim_of(of_j ? "j" : "k"));
    }
  }
}

// One commit brings two permits back and wakes one waiter, which has use for one of them; or a
// waiter that is woken for a permit finds other work first.
TEST_F(PreloadedPermits, AWokenWaiterPassesOnTheLimitsOtherPermit) {
  admin->query("SELECT insula.set_tenant_limits('narrow', max_running => -1)");
  admin->query(
      R"(SELECT insula.register_workflow('{"name": "p", "limit": {"max": 2}, "tasks": [{"id": "j"}, {"id": "k"}]}', tenant => 'narrow'))");
  const auto claim_of = [](const std::string& task, int most) {
    return "INSERT INTO mine SELECT task_id, lease FROM insula.claim('w', lease_for => '1 h', tasks => ARRAY['p." +
           task + "'], max_tasks => " + std::to_string(most) + ")";
  };
  const auto holder = new_worker(), first = new_worker(), second = new_worker();
  for (int round = 0; round < 4; ++round) {
    // Sessions are woken in turns.
    Session &of_j = round % 2 ? *first : *second, &of_k = round % 2 ? *second : *first;
    admin->query("SELECT insula.submit_many('p', array_fill('{}'::jsonb, ARRAY[2]), tenant => 'narrow')");
    holder->query(claim_of("j", 2));
    admin->query("SELECT insula.submit('p', tenant => 'narrow')");
    for (Session* waiter : {&of_j, &of_k}) {
      waiter->send(std::string("CALL insula.wait_for_work('1 h', tasks => ARRAY['p.") + (waiter == &of_j ? "j" : "k") +
                   "'])");
      ASSERT_TRUE(eventually([&] { return waits(*admin, *waiter); }));
    }
    complete(*holder);
    ASSERT_TRUE(eventually([&] { return of_j.finished(0ms) || of_k.finished(0ms); }));
    // The waiter that is woken first takes what it can have, and leaves the other one something.
    if (of_j.finished(0ms)) {
      EXPECT_EQ(of_j.answer(), "t");
      of_j.query(claim_of("j", 5));
      ASSERT_TRUE(of_k.finished()) << "slept over a permit in round " << round;
      EXPECT_EQ(of_k.answer(), "t");
    } else {
      EXPECT_EQ(of_k.answer(), "t");
      of_k.query(claim_of("k", 1));
      ASSERT_TRUE(of_j.finished()) << "slept over a permit in round " << round;
      EXPECT_EQ(of_j.answer(), "t");
      of_j.query(claim_of("j", 5));
    }
    complete(of_j);
    complete(of_k);
    holder->query(
        "SELECT insula.cancel(execution_id) FROM tenant_narrow.workflow_executions WHERE finished_at IS NULL");
  }
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
