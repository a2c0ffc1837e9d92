// Claiming as soon as there is something: insula.claim_when_ready, seen from the server.
#include <atomic>
#include <fstream>
#include <memory>
#include <thread>
#include <vector>

#include "waiting.hpp"

namespace insula_test {
namespace {

// True if a claim has returned no task: its first value is an array without dimensions.
bool nothing(const std::string& claimed) { return claimed.starts_with("\\x00000000"); }

TEST_F(Waiting, SubmitWakesAClaim) {
  Session worker;
  prepare(worker);
  worker.send("CALL insula.claim_when_ready('1 h', 'w', tasks => '{one.a}', max_tasks => 10)");
  wakes_at_commit("SELECT insula.submit_many('one', '{\"{}\",\"{}\"}')", worker);
  EXPECT_EQ(admin.query("SELECT count(*) FROM unnest(insula.read_claimed('" + worker.answer() +
                        "')) WHERE tenant = 'waiting'"),
            "2");
  EXPECT_EQ(admin.query("SELECT count(*) FROM tenant_waiting.task_executions WHERE status = 'running'"), "2");
}

TEST_F(Waiting, AClaimWaitsForATaskThatAnotherHolds) {
  Session holder, worker;
  prepare(holder);
  prepare(worker);
  admin.query("SELECT insula.submit('one')");
  holder.query("BEGIN");
  EXPECT_EQ(holder.query("SELECT count(*) FROM insula.claim('holder')"), "1");
  worker.send("CALL insula.claim_when_ready('1 h', 'w')");
  ASSERT_TRUE(parked(worker));
  EXPECT_FALSE(worker.finished(300ms));
  holder.query("ROLLBACK");
  ASSERT_TRUE(worker.finished());
  EXPECT_FALSE(nothing(worker.answer()));
}

TEST_F(Waiting, AClaimSleepsUntilTheTenantIsResumed) {
  admin.query("SELECT insula.submit('one')");
  admin.query("SELECT insula.suspend_tenant('waiting')");
  Session worker;
  prepare(worker);
  worker.send("CALL insula.claim_when_ready('1 h', 'w')");
  ASSERT_TRUE(parked(worker));
  EXPECT_FALSE(worker.finished(300ms));
  admin.query("SELECT insula.resume_tenant('waiting')");
  ASSERT_TRUE(worker.finished());
  EXPECT_FALSE(nothing(worker.answer()));
}

// Hundredths of a second that a server process has run.
long ran(const Session& session) {
  std::ifstream file("/proc/" + std::to_string(session.pid()) + "/stat");
  std::string word;
  long ticks = 0;
  for (int i = 1; i <= 15 && file >> word; ++i)
    if (i >= 14) ticks += std::stol(word);
  return ticks;
}

// Claims under a limit tell others to look, whatever comes of them.
TEST_F(Waiting, AClaimUnderALimitWakesNoOtherForNothing) {
  admin.query("SELECT insula.set_tenant_limits('waiting', max_running => 1)");
  Session first, second;
  for (Session* worker : {&first, &second}) {
    prepare(*worker);
    worker->send("CALL insula.claim_when_ready('1 h', 'w" + std::to_string(worker->pid()) + "')");
    ASSERT_TRUE(parked(*worker));
  }
  const long before = ran(first) + ran(second);
  EXPECT_FALSE(first.finished(500ms));
  EXPECT_LT(ran(first) + ran(second) - before, 20);
  admin.query("SELECT insula.submit('one')");
  EXPECT_TRUE(eventually([&] { return first.finished(0ms) || second.finished(0ms); }));
}

TEST_F(Waiting, ACancelledClaimLeavesTheSessionWhole) {
  Session worker;
  prepare(worker);
  worker.send("CALL insula.claim_when_ready('1 h', 'w')");
  ASSERT_TRUE(parked(worker));
  admin.query("SELECT pg_cancel_backend(" + std::to_string(worker.pid()) + ")");
  ASSERT_TRUE(worker.finished());
  EXPECT_EQ(worker.answer(), "57014");
  admin.query("SELECT insula.submit('one')");
  worker.send("CALL insula.claim_when_ready('1 h', 'w')");
  ASSERT_TRUE(worker.finished());
  EXPECT_FALSE(nothing(worker.answer()));
}

// Its session is the worker's life line, as with wait_for_work.
TEST_F(Waiting, ADeadClaimersTasksAreFreeAtOnce) {
  admin.query("SELECT insula.submit('one')");
  Session heir;
  prepare(heir);
  {
    Session worker;
    prepare(worker);
    worker.send("CALL insula.claim_when_ready('0 s', 'mortal', lease_for => '" +
                std::string(preloaded() ? "1 day" : "1 s") + "')");
    EXPECT_FALSE(nothing(worker.answer()));
    heir.send("CALL insula.claim_when_ready('1 h', 'heir')");
    ASSERT_TRUE(parked(heir));
  }
  ASSERT_TRUE(heir.finished());
  EXPECT_FALSE(nothing(heir.answer()));
}

TEST_F(PreloadedWaiting, ANudgeOrAWatchedEndEndsTheClaim) {
  const std::string id = admin.query("SELECT insula.submit('one')");
  admin.query("SELECT FROM insula.claim('other')");
  Session worker;
  prepare(worker);
  const std::string call = "CALL insula.claim_when_ready('1 h', 'w', tasks => '{two.a}')";
  for (const std::string& news : {std::string{"SELECT insula.nudge('w')"}, "SELECT insula.cancel(" + id + ")"}) {
    EXPECT_EQ(admin.query("SELECT insula.watch('w', ARRAY[" + id + "])"), "{}");
    worker.send(call);
    ASSERT_TRUE(parked(worker));
    admin.query(news);
    ASSERT_TRUE(worker.finished()) << news;
    EXPECT_TRUE(nothing(worker.answer()));
  }
}

// Jobs come one by one while workers come and go, each with room for one; nothing wakes a
// worker but the commits, so a wake-up that is lost leaves a job behind.
TEST_F(PreloadedWaiting, NoWakeUpIsLostAmongClaims) {
  constexpr int jobs = 400;
  std::atomic<int> claimed{0};
  // They outlive all claims: the tasks of one that has gone would be claimed again.
  std::vector<std::unique_ptr<Session>> sessions;
  std::vector<std::thread> workers;
  for (int i = 0; i < 4; ++i) {
    sessions.push_back(std::make_unique<Session>());
    prepare(*sessions.back());
  }
  for (int i = 0; i < 4; ++i)
    workers.emplace_back([&, i] {
      Session& worker = *sessions[static_cast<std::size_t>(i)];
      // A worker that is full goes away for a while, and must not take a wake-up along.
      const std::string call =
          "CALL insula.claim_when_ready('1 min', 'w" + std::to_string(i) + "', lease_for => '1 h')";
      while (claimed < jobs) {
        if (nothing(worker.query(call))) {
          EXPECT_EQ(claimed, jobs) << "a session slept until the timeout";
          continue;
        }
        if (++claimed == jobs) admin.query("SELECT insula.nudge('w' || n) FROM generate_series(0, 3) n");
        if (claimed % 7 == i) std::this_thread::sleep_for(2ms);
      }
    });
  std::vector<std::thread> submitters;
  for (int i = 0; i < 2; ++i)
    submitters.emplace_back([&] {
      Session submitter;
      prepare(submitter);
      for (int n = 0; n < jobs / 2; ++n) submitter.query("SELECT insula.submit('one')");
    });
  for (std::thread& thread : submitters) thread.join();
  for (std::thread& thread : workers) thread.join();
  EXPECT_EQ(claimed, jobs);
}

// The caller's rights are checked again before each claim.
TEST_F(Waiting, ARightRevokedDuringTheWaitIsGone) {
  admin.query("CREATE ROLE waiting_worker");
  admin.query("GRANT insula_runner TO waiting_worker");
  {
    Session worker;
    prepare(worker);
    worker.query("SET ROLE waiting_worker");
    worker.send("CALL insula.claim_when_ready('1 h', 'w', tenant => 'waiting')");
    ASSERT_TRUE(parked(worker));
    admin.query("REVOKE insula_runner FROM waiting_worker");
    admin.query("SELECT insula.submit('one')");
    ASSERT_TRUE(worker.finished());
    EXPECT_EQ(worker.answer(), "42501");
  }
  EXPECT_EQ(admin.query("SELECT count(*) FROM tenant_waiting.task_executions WHERE status = 'ready'"), "1");
  admin.query("DROP ROLE waiting_worker");
}

}  // namespace
}  // namespace insula_test
