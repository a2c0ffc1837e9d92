// Waiting and waking, seen from the server: wait_for_work and await hold no snapshot, a commit
// wakes the right waiters and no others, and a worker's tasks are free when its session dies.
#include "waiting.hpp"

#include <memory>
#include <vector>

namespace insula_test {

namespace {

// A standby that never comes shows which statements wait for their WAL.
TEST_F(Waiting, ClaimsDoNotWaitForTheirWal) {
  Session worker;
  prepare(worker);
  const auto waits = [&](const std::string& sql) {
    bool waiting = false;
    worker.send(sql);
    EXPECT_TRUE(eventually([&] {
      waiting = activity(worker, "wait_event") == "SyncRep";
      return waiting || worker.finished(0ms);
    })) << sql;
    if (waiting) admin.query("SELECT pg_cancel_backend(" + std::to_string(worker.pid()) + ")");
    (void)worker.answer();
    return waiting;
  };
  admin.query("CREATE TABLE mine (i int)");
  admin.query("SELECT count(insula.submit('one')) FROM generate_series(1, 7)");
  admin.query("ALTER SYSTEM SET synchronous_standby_names = 'missing'");
  admin.query("SELECT pg_reload_conf()");
  EXPECT_TRUE(eventually([&] { return waits("INSERT INTO mine VALUES (1)"); }));

  EXPECT_FALSE(waits("SELECT task_id FROM insula.claim('w')"));
  EXPECT_FALSE(waits("CALL insula.claim_when_ready('0 s', 'w')"));
  EXPECT_FALSE(waits("SELECT a.task_id, b.task_id FROM insula.claim('w') a, insula.claim('w') b"));
  EXPECT_TRUE(waits("SELECT insula.complete(task_id, lease) FROM insula.claim('w')"));
  EXPECT_TRUE(waits("INSERT INTO mine SELECT 1 FROM insula.claim('w')"));
  worker.query("BEGIN");
  worker.query("INSERT INTO mine VALUES (2)");
  worker.query("SELECT FROM insula.claim('w')");
  EXPECT_TRUE(waits("COMMIT"));
  EXPECT_TRUE(waits("INSERT INTO mine VALUES (3)"));

  admin.query("ALTER SYSTEM RESET synchronous_standby_names");
  admin.query("SELECT pg_reload_conf()");
  EXPECT_TRUE(eventually([&] { return !waits("INSERT INTO mine VALUES (4)"); }));
  EXPECT_EQ(admin.query("SELECT count(*) FROM tenant_waiting.task_executions WHERE status = 'ready'"), "0");
  admin.query("DROP TABLE mine");
}

TEST_F(Waiting, HoldsNoSnapshot) {
  Session worker, claimer, waiter;
  prepare(worker);
  prepare(claimer);
  prepare(waiter);
  const std::string id = admin.query("SELECT insula.submit('one')");
  worker.query("SELECT FROM insula.claim('w')");
  worker.send("CALL insula.wait_for_work('1 h', tasks => '{one.a}', worker => 'snapless')");
  claimer.send("CALL insula.claim_when_ready('1 h', 'claimer', tasks => '{one.a}')");
  waiter.send("CALL insula.await(" + id + ", '1 h')");
  for (Session* session : {&worker, &claimer, &waiter}) {
    ASSERT_TRUE(parked(*session));
    EXPECT_EQ(activity(*session, "backend_xmin"), "");
    EXPECT_EQ(activity(*session, "backend_xid"), "");
    EXPECT_EQ(admin.query("SELECT count(*) FROM pg_locks WHERE locktype <> 'virtualxid' AND pid = " +
                          std::to_string(session->pid())),
              "0");
  }
  admin.query("SELECT insula.cancel(" + id + ")");
  EXPECT_TRUE(waiter.finished());
  EXPECT_NE(waiter.answer().find("\"cancelled\""), std::string::npos);
}

TEST_F(Waiting, SubmitWakesWaiter) {
  Session worker;
  prepare(worker);
  worker.send("CALL insula.wait_for_work('1 h')");
  wakes_at_commit("SELECT insula.submit('one')", worker);
  EXPECT_EQ(worker.answer(), "t");
}

TEST_F(Waiting, CompletionWakesAwaitAndDependants) {
  admin.query(
      "SELECT insula.register_workflow('{\"name\": \"chain\", \"tasks\": [{\"id\": \"a\"}, "
      "{\"id\": \"b\", \"depends_on\": [\"a\"]}]}')");
  const std::string id = admin.query("SELECT insula.submit('chain')");
  Session waiter, worker;
  prepare(waiter);
  prepare(worker);
  waiter.send("CALL insula.await(" + id + ", '1 h')");
  worker.send("CALL insula.wait_for_work('1 h', tasks => '{chain.b}')");
  ASSERT_TRUE(parked(waiter));
  ASSERT_TRUE(parked(worker));
  admin.query("SELECT insula.complete(task_id, lease) FROM insula.claim('w')");
  ASSERT_TRUE(worker.finished());
  EXPECT_EQ(worker.answer(), "t");
  EXPECT_FALSE(waiter.finished(50ms));
  admin.query("SELECT insula.complete(task_id, lease) FROM insula.claim('w')");
  ASSERT_TRUE(waiter.finished());
  EXPECT_NE(waiter.answer().find("\"completed\""), std::string::npos);
}

TEST_F(Waiting, DueTimeWakesWaiter) {
  Session worker;
  prepare(worker);
  worker.send("CALL insula.wait_for_work('1 h')");
  ASSERT_TRUE(parked(worker));
  const std::string due = admin.query("SELECT clock_timestamp() + '300 ms'");
  admin.query("SELECT insula.submit('one', run_at => '" + due + "')");
  ASSERT_TRUE(worker.finished());
  EXPECT_EQ(worker.answer(), "t");
  EXPECT_EQ(admin.query("SELECT clock_timestamp() >= '" + due + "'"), "t");
}

TEST_F(Waiting, LapsedLeaseWakesWaiter) {
  Session worker;
  prepare(worker);
  worker.send("CALL insula.wait_for_work('1 h', tasks => '{two.a}')");
  ASSERT_TRUE(parked(worker));
  admin.query("SELECT insula.submit('two')");
  ASSERT_TRUE(worker.finished());
  EXPECT_EQ(worker.answer(), "t");
  admin.query("SELECT FROM insula.claim('hangs', lease_for => '1 s')");
  worker.send("CALL insula.wait_for_work('1 h')");
  ASSERT_TRUE(worker.finished());
  EXPECT_EQ(worker.answer(), "t");
  // The scheduler may be putting it back at this very moment.
  EXPECT_TRUE(eventually([&] { return worker.query("SELECT attempt FROM insula.claim('next')") == "1"; }));
}

TEST_F(Waiting, TimeoutReturnsFalse) {
  Session worker;
  prepare(worker);
  worker.send("CALL insula.wait_for_work('50 ms')");
  ASSERT_TRUE(worker.finished());
  EXPECT_EQ(worker.answer(), "f");
  const std::string id = admin.query("SELECT insula.submit('one')");
  worker.send("CALL insula.await(" + id + ", '50 ms')");
  ASSERT_TRUE(worker.finished());
  EXPECT_EQ(worker.answer(), "");
}

TEST_F(Waiting, CancelAndStatementTimeoutEndIt) {
  Session worker;
  prepare(worker);
  worker.send("CALL insula.wait_for_work('1 h')");
  ASSERT_TRUE(parked(worker));
  admin.query("SELECT pg_cancel_backend(" + std::to_string(worker.pid()) + ")");
  ASSERT_TRUE(worker.finished());
  EXPECT_EQ(worker.answer(), "57014");
  worker.query("SET statement_timeout = '100 ms'");
  EXPECT_EQ(worker.error("CALL insula.wait_for_work('1 h')"), "57014");
}

TEST_F(Waiting, DropOfTheTenantEndsTheWait) {
  admin.query("SELECT tenant FROM insula.create_tenant('dropped_one', password => 'x')");
  Session tenant("user=dropped_one_user"), application;
  application.query("SET client_min_messages = error");
  application.query("SET insula.tenant = 'dropped_one'");
  tenant.query("SET client_min_messages = error");
  for (Session* session : {&tenant, &application}) {
    session->send("CALL insula.wait_for_work('1 h')");
    ASSERT_TRUE(parked(*session));
  }
  admin.query("SELECT insula.drop_tenant('dropped_one')");
  ASSERT_TRUE(tenant.finished());
  EXPECT_EQ(tenant.answer(), "57P01");
  ASSERT_TRUE(application.finished());
  EXPECT_EQ(application.answer(), "IS001");
}

TEST_F(Waiting, FallbackSaysSoOnce) {
  Session worker;
  int warnings = 0;
  worker.query("SET insula.tenant = 'waiting'");
  worker.on_notice(
      [&](const std::string& text) { warnings += text.find("without shared memory") != std::string::npos; });
  worker.query("CALL insula.wait_for_work('0 s')");
  worker.query("CALL insula.wait_for_work('0 s')");
  EXPECT_EQ(warnings, preloaded() ? 0 : 1);
}

TEST_F(Waiting, WorkThatAnotherHoldsIsNoWork) {
  Session holder, worker;
  prepare(holder);
  prepare(worker);
  admin.query("SELECT insula.submit('one')");
  holder.query("BEGIN");
  EXPECT_EQ(holder.query("SELECT count(*) FROM insula.claim('holder')"), "1");
  // The first look cannot know; the claim tells, and from then on the wait waits.
  EXPECT_EQ(worker.query("CALL insula.wait_for_work('5 s')"), "t");
  EXPECT_EQ(worker.query("SELECT count(*) FROM insula.claim('worker')"), "0");
  worker.send("CALL insula.wait_for_work('1 h')");
  ASSERT_TRUE(parked(worker));
  EXPECT_FALSE(worker.finished(300ms));
  holder.query("ROLLBACK");
  ASSERT_TRUE(worker.finished());
  EXPECT_EQ(worker.answer(), "t");
  EXPECT_EQ(worker.query("SELECT count(*) FROM insula.claim('worker')"), "1");
}

TEST_F(Waiting, NewWorkflowReachesAWaiterThatNamedIt) {
  Session worker;
  prepare(worker);
  worker.send("CALL insula.wait_for_work('1 h', tasks => '{brand_new.t}')");
  ASSERT_TRUE(parked(worker));
  admin.query("BEGIN");
  admin.query("SELECT insula.register_workflow('{\"name\": \"brand_new\", \"tasks\": [{\"id\": \"t\"}]}')");
  admin.query("SELECT insula.submit('brand_new')");
  admin.query("COMMIT");
  ASSERT_TRUE(worker.finished());
  EXPECT_EQ(worker.answer(), "t");
}

TEST_F(PreloadedWaiting, AWakeUpIsPassedOnToAWaiterThatFits) {
  // A filter that is not kept in shared memory, or names what is not registered, looks like
  // any; a waiter that is woken in vain passes the wake-up on, whatever its slot.
  Session first, second, third;
  for (Session* session : {&first, &second, &third}) prepare(*session);
  for (int round = 0; round < 3; ++round) {
    first.send("CALL insula.wait_for_work('1 h', tasks => '{two.a, nope.a}')");
    second.send("CALL insula.wait_for_work('1 h', tasks => '{one.a}')");
    third.send("CALL insula.wait_for_work('1 h', tasks => '{two.a, nope.a}')");
    for (Session* session : {&first, &second, &third}) ASSERT_TRUE(parked(*session));
    admin.query("SELECT insula.submit('one')");
    ASSERT_TRUE(second.finished()) << "round " << round;
    EXPECT_EQ(second.answer(), "t");
    EXPECT_EQ(second.query("SELECT count(*) FROM insula.claim('w', '{one.a}')"), "1");
    admin.query("SELECT insula.submit_many('two', '{\"{}\",\"{}\"}')");
    ASSERT_TRUE(eventually([&] { return first.finished(0ms) || third.finished(0ms); }));
    admin.query("SELECT insula.complete(task_id, lease) FROM insula.claim('w', max_tasks => 10)");
    for (Session* session : {&first, &third}) {
      if (!session->finished(0ms)) admin.query("SELECT pg_cancel_backend(" + std::to_string(session->pid()) + ")");
      ASSERT_TRUE(session->finished());
      session->answer();
    }
  }
}

TEST_F(PreloadedWaiting, ManyKindsOfWorkWakeAllWaitersThatFit) {
  std::string tasks;
  for (int i = 0; i < 80; ++i) tasks += (i ? ", {\"id\": \"t" : "{\"id\": \"t") + std::to_string(i) + "\"}";
  admin.query("SELECT insula.register_workflow('{\"name\": \"wide\", \"tasks\": [" + tasks + "]}')");
  std::vector<std::unique_ptr<Session>> workers;
  for (int i = 0; i < 10; ++i) {
    workers.push_back(std::make_unique<Session>());
    prepare(*workers.back());
    workers.back()->send("CALL insula.wait_for_work('1 h', tasks => '{wide.t" + std::to_string(70 + i) + "}')");
    ASSERT_TRUE(parked(*workers.back()));
  }
  admin.query("SELECT insula.submit('wide')");
  for (auto& worker : workers) {
    ASSERT_TRUE(worker->finished());
    EXPECT_EQ(worker->answer(), "t");
  }
}

TEST_F(PreloadedWaiting, PlannedLookIsHandedOver) {
  bool handed_over = false;
  // On a busy machine the task may be due before the nudge comes: then again, with more time.
  for (const char* delay : {"500 ms", "10 s"}) {
    Session first, second;
    prepare(first);
    prepare(second);
    first.send("CALL insula.wait_for_work('1 h', tasks => '{one.a}', worker => 'first')");
    second.send("CALL insula.wait_for_work('1 h', tasks => '{one.a}', worker => 'second')");
    ASSERT_TRUE(parked(first));
    ASSERT_TRUE(parked(second));
    // Whichever plans to look when this is due goes away before.
    admin.query(std::string("SELECT insula.submit('one', run_at => now() + '") + delay + "')");
    admin.query("SELECT insula.nudge('first')");
    ASSERT_TRUE(first.finished());
    handed_over = first.answer() == "f";
    if (handed_over) {
      ASSERT_TRUE(second.finished());
      EXPECT_EQ(second.answer(), "t");
      break;
    }
    admin.query("SELECT insula.complete(task_id, lease) FROM insula.claim('w')");
  }
  EXPECT_TRUE(handed_over);
}

TEST_F(PreloadedWaiting, SessionsThatComeAndGoKeepNoWaiterAsleep) {
  Session waiter;
  prepare(waiter);
  for (int round = 0; round < 50; ++round) {
    Session brief;
    prepare(brief);
    brief.send("CALL insula.wait_for_work('1 h')");
    waiter.send("CALL insula.wait_for_work('10 ms')");
    brief.vanish();
    ASSERT_TRUE(waiter.finished());
    EXPECT_EQ(waiter.answer(), "f");
  }
}

TEST_F(PreloadedWaiting, WatchingAnEndedExecutionLeavesNothingBehind) {
  const std::string ids = admin.query("SELECT insula.submit_many('one', array_fill('{}'::jsonb, ARRAY[50]))");
  admin.query("SELECT insula.complete(task_id, lease) FROM insula.claim('w', max_tasks => 50)");
  {
    Session worker;
    prepare(worker);
    EXPECT_EQ(worker.query("SELECT cardinality(insula.watch('brief', '" + ids + "'))"), "50");
    worker.query("SELECT insula.nudge('unknown')");
    EXPECT_EQ(admin.query("SELECT value FROM insula.status() WHERE item = 'watched executions'"), "0");
  }
  // Neither does a worker that never waited, once the session is gone that named it.
  EXPECT_TRUE(
      eventually([&] { return admin.query("SELECT value FROM insula.status() WHERE item = 'workers'") == "0"; }));
}

TEST_F(PreloadedWaiting, WakesOneThatFits) {
  Session first, second, other;
  for (Session* session : {&first, &second, &other}) prepare(*session);
  first.send("CALL insula.wait_for_work('1 h', tasks => '{one.a}')");
  second.send("CALL insula.wait_for_work('1 h', tasks => '{one.a}')");
  other.send("CALL insula.wait_for_work('1 h', tasks => '{two.a}')");
  for (Session* session : {&first, &second, &other}) ASSERT_TRUE(parked(*session));
  const std::string before = activity(other, "xact_start");
  admin.query("SELECT insula.submit('one')");
  ASSERT_TRUE(eventually([&] { return first.finished(1ms) || second.finished(1ms); }));
  Session& woken = first.finished(0ms) ? first : second;
  Session& asleep = &woken == &first ? second : first;
  EXPECT_EQ(woken.answer(), "t");
  EXPECT_FALSE(asleep.finished(100ms));
  EXPECT_FALSE(other.finished(0ms));
  EXPECT_EQ(activity(other, "xact_start"), before);  // not even woken
  admin.query("SELECT insula.submit('two')");
  ASSERT_TRUE(other.finished());
  // The one that was woken goes away without a claim: the next is woken in its place.
  woken.vanish();
  ASSERT_TRUE(asleep.finished());
  EXPECT_EQ(asleep.answer(), "t");
}

TEST_F(PreloadedWaiting, FullClaimWakesTheNext) {
  Session first, second;
  prepare(first);
  prepare(second);
  first.send("CALL insula.wait_for_work('1 h')");
  second.send("CALL insula.wait_for_work('1 h')");
  ASSERT_TRUE(parked(first));
  ASSERT_TRUE(parked(second));
  admin.query("SELECT insula.submit_many('one', array_fill('{}'::jsonb, ARRAY[10]))");
  ASSERT_TRUE(eventually([&] { return first.finished(1ms) || second.finished(1ms); }));
  Session& woken = first.finished(0ms) ? first : second;
  Session& asleep = &woken == &first ? second : first;
  EXPECT_EQ(woken.answer(), "t");
  woken.query("SELECT FROM insula.claim('w', max_tasks => 5, lease_for => '1 h')");
  ASSERT_TRUE(asleep.finished());
  EXPECT_EQ(asleep.answer(), "t");
}

TEST_F(PreloadedWaiting, IdleWaiterRunsNothing) {
  Session worker;
  prepare(worker);
  worker.send("CALL insula.wait_for_work('1 h', worker => 'idle')");
  ASSERT_TRUE(parked(worker));
  const std::string before = activity(worker, "xact_start");
  std::this_thread::sleep_for(1500ms);  // longer than a session sleeps that no other process can wake
  EXPECT_EQ(activity(worker, "xact_start"), before);
}

TEST_F(PreloadedWaiting, DeadSessionGivesItsTasksBack) {
  admin.query("SELECT insula.submit_many('one', array_fill('{}'::jsonb, ARRAY[3]))");
  Session dying, next;
  prepare(dying);
  prepare(next);
  dying.query("SELECT FROM insula.claim('mortal', max_tasks => 3, lease_for => '1 h')");
  dying.send("CALL insula.wait_for_work('1 h', worker => 'mortal')");
  next.send("CALL insula.wait_for_work('1 h', worker => 'heir')");
  ASSERT_TRUE(parked(dying));
  ASSERT_TRUE(parked(next));
  dying.vanish();
  ASSERT_TRUE(next.finished());
  EXPECT_EQ(next.answer(), "t");
  EXPECT_EQ(next.query("SELECT string_agg(attempt::text, ',') FROM insula.claim('heir', max_tasks => 10)"), "1,1,1");
}

TEST_F(PreloadedWaiting, ADeadWorkersTasksComeBackAfterARollback) {
  admin.query("SELECT insula.stop_scheduler()");
  admin.query("SELECT insula.submit('one')");
  Session dying, next;
  prepare(dying);
  prepare(next);
  dying.query("CALL insula.wait_for_work('0 s', worker => 'mortal')");
  EXPECT_EQ(dying.query("SELECT count(*) FROM insula.claim('mortal', lease_for => '1 h')"), "1");
  dying.vanish();
  ASSERT_TRUE(eventually([&] { return activity(dying, "1") == ""; }));
  next.query("BEGIN");
  next.query("SAVEPOINT before");
  EXPECT_EQ(next.query("SELECT count(*) FROM insula.claim('heir')"), "1");
  next.query("ROLLBACK TO before");
  next.query("COMMIT");
  EXPECT_EQ(next.query("SELECT insula.complete(task_id, lease) FROM insula.claim('heir')"), "t");
  admin.query("SELECT insula.start_scheduler()");
}

TEST_F(PreloadedWaiting, LifeLineMovesWithTheWorker) {
  admin.query("SELECT insula.submit('one')");
  Session first, second, observer;
  for (Session* session : {&first, &second, &observer}) prepare(*session);
  first.query("CALL insula.wait_for_work('0 s', worker => 'moving')");
  first.query("SELECT FROM insula.claim('moving')");
  second.send("CALL insula.wait_for_work('1 h', worker => 'moving')");
  ASSERT_TRUE(parked(second));
  first.vanish();  // no longer the life line
  ASSERT_TRUE(eventually([&] { return activity(first, "1") == ""; }));
  EXPECT_EQ(observer.query("SELECT count(*) FROM insula.claim('observer')"), "0");
  second.vanish();
  ASSERT_TRUE(eventually([&] { return activity(second, "1") == ""; }));
  // The scheduler may be at the same rows.
  EXPECT_TRUE(eventually([&] { return observer.query("SELECT count(*) FROM insula.claim('observer')") == "1"; }));
}

TEST_F(PreloadedWaiting, LeavingIsNotDying) {
  admin.query("SELECT insula.submit('one')");
  Session worker;
  prepare(worker);
  worker.query("CALL insula.wait_for_work('0 s', worker => 'leaver')");
  worker.query("SELECT FROM insula.claim('leaver')");
  worker.query("SELECT insula.leave('leaver')");
  EXPECT_EQ(admin.query("SELECT attempt FROM insula.claim('heir')"), "1");
  worker.vanish();
  ASSERT_TRUE(eventually([&] { return activity(worker, "1") == ""; }));
  EXPECT_EQ(admin.query("SELECT count(*) FROM insula.claim('other')"), "0");
}

TEST_F(PreloadedWaiting, NudgeEndsThePresentOrTheNextWait) {
  Session worker;
  prepare(worker);
  worker.send("CALL insula.wait_for_work('1 h', tasks => '{}', worker => 'nudged')");
  ASSERT_TRUE(parked(worker));
  admin.query("SELECT insula.nudge('nudged')");
  ASSERT_TRUE(worker.finished());
  EXPECT_EQ(worker.answer(), "f");
  admin.query("SELECT insula.nudge('nudged')");
  worker.send("CALL insula.wait_for_work('1 h', tasks => '{}', worker => 'nudged')");
  ASSERT_TRUE(worker.finished());
  EXPECT_EQ(worker.answer(), "f");
  worker.send("CALL insula.wait_for_work('1 h', tasks => '{}', worker => 'nudged')");
  ASSERT_TRUE(parked(worker));
  EXPECT_FALSE(worker.finished(100ms));
}

TEST_F(PreloadedWaiting, WatchedEndEndsTheWait) {
  const std::string id = admin.query("SELECT insula.submit('one')");
  const std::string never = admin.query("SELECT insula.submit('two')");
  Session worker;
  prepare(worker);
  EXPECT_EQ(worker.query("SELECT insula.watch('watcher', ARRAY[" + id + ", " + never + "])"), "{}");
  worker.send("CALL insula.wait_for_work('1 h', tasks => '{}', worker => 'watcher')");
  ASSERT_TRUE(parked(worker));
  admin.query("SELECT insula.complete(task_id, lease) FROM insula.claim('w', tasks => '{one.a}')");
  ASSERT_TRUE(worker.finished());
  EXPECT_EQ(worker.answer(), "f");
  EXPECT_EQ(worker.query("SELECT insula.watch('watcher', ARRAY[" + id + ", " + never + "])"), "{" + id + "}");
}

TEST_F(PreloadedWaiting, AnotherRoleCannotTouchAWorker) {
  admin.query("SELECT tenant FROM insula.create_tenant('nudger', password => 'x')");
  Session worker, stranger("user=nudger_user");
  prepare(worker);
  worker.send("CALL insula.wait_for_work('1 h', tasks => '{}', worker => 'mine')");
  ASSERT_TRUE(parked(worker));
  stranger.query("SELECT insula.nudge('mine')");
  stranger.query("SELECT insula.leave('mine')");
  EXPECT_FALSE(worker.finished(200ms));
  admin.query("SELECT insula.drop_tenant('nudger')");
}

}  // namespace
}  // namespace insula_test
