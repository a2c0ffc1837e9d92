// Bad days: no server, the wrong password, no extension, lost leases, killed workers,
// broken connections, restarts and crashes.
#include "client_test.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace insula_test;
using namespace insula;

class Faults : public ClientTest {
 protected:
  std::string worker_of(std::int64_t id) {
    return sql_.value("SELECT worker FROM " + tenant_ + ".task_executions WHERE execution_id = $1",
                      {std::to_string(id)});
  }
};

TEST_F(Faults, AServerThatIsNotThere) {
  const error e = error_of([] { Runner::with_schema("host=/nonexistent", "some_tenant"); });
  EXPECT_EQ(e.code(), errc::unreachable);
  EXPECT_TRUE(e.retryable());
  EXPECT_FALSE(e.outcome_unknown());
  EXPECT_EQ(error_of([] { DatabaseAdmin{"host=/nonexistent"}.tenants(); }).code(), errc::unreachable);
}

TEST_F(Faults, TheHostThatIsThere) {
  const std::string hosts = "host=/nonexistent," + environment("PGHOST") + " port=1," + environment("PGPORT");
  auto runner = Runner::with_schema(hosts, tenant_, {.log = log_.hook()});
  runner.add(one_task("w", [](TaskContext&) {}));
  EXPECT_TRUE(runner.execute("w").status.is_success());
  EXPECT_FALSE(DatabaseAdmin{hosts}.tenants().empty());
}

TEST_F(Faults, AWrongPassword) {
  DatabaseAdmin admin{""};
  const auto credentials = admin.create_tenant({.tenant = tenant_, .password = "the right one"});
  const std::string server = "host=127.0.0.1 port=" + environment("INSULA_TCP_PORT") + " user=" + credentials.username;
  EXPECT_TRUE((Runner{server + " password='the right one'"}.shutdown().clean()));
  for (const char* password : {" password='the wrong one'", ""}) {
    Runner runner{server + password, {.log = log_.hook()}};
    const error e = error_of([&] { runner.execute("w"); });
    EXPECT_EQ(e.code(), errc::authentication) << e.what();
    EXPECT_FALSE(e.retryable());
    EXPECT_EQ(std::string{e.what()}.find("wrong one"), std::string::npos);
  }
  Runner right{server + " password='the right one'", {.log = log_.hook()}};
  EXPECT_EQ(error_of([&] { right.execute("w"); }).sqlstate(), "IS002");
}

TEST_F(Faults, ADatabaseWithoutTheExtension) {
  sql_.rows("DROP DATABASE IF EXISTS bare");
  sql_.rows("CREATE DATABASE bare");
  EXPECT_EQ(error_of([] { Runner::with_schema("dbname=bare", "some_tenant"); }).code(), errc::extension_missing);
  EXPECT_EQ(error_of([] { DatabaseAdmin{"dbname=bare"}.tenants(); }).code(), errc::extension_missing);
  EXPECT_EQ(error_of([] { DatabaseAdmin{"dbname=no_such_database"}.tenants(); }).sqlstate(), "3D000");
  Sql bare{"dbname=bare"};
  bare.rows("CREATE EXTENSION insula");
  const auto error_with = [&](const std::string& version) {
    bare.rows("UPDATE pg_extension SET extversion = $1 WHERE extname = 'insula'", {version});
    return error_of([] { Runner::with_schema("dbname=bare", "some_tenant"); });
  };
  for (const char* version : {"9.0", "0.0.9", "0", "none"}) {
    const error e = error_with(version);
    EXPECT_EQ(e.code(), errc::version_mismatch);
    EXPECT_EQ(e.sqlstate(), "") << version;
    EXPECT_NE(std::string{e.what()}.find(version), std::string::npos);
  }
  EXPECT_EQ(error_with("0.99.1").sqlstate(), "IS009") << "a later server is for its library to answer";
}

TEST_F(Faults, ATenantThatIsGone) {
  auto runner = make_runner();
  runner.add(one_task("w", [](TaskContext&) {}));
  EXPECT_TRUE(runner.execute("w").status.is_success());
  sql_.rows("SELECT insula.drop_tenant($1, '0 s')", {tenant_});
  const error e = error_of([&] { runner.execute("w"); });
  EXPECT_EQ(e.code(), errc::not_found);
  EXPECT_EQ(e.sqlstate(), "IS001");
  EXPECT_TRUE(runner.shutdown().clean());
}

TEST_F(Faults, ALateHandlerChangesNothing) {
  const Gate gate;
  std::atomic<StopReason> reason{StopReason::none};
  auto runner = make_runner({.max_concurrent_tasks = 1, .lease = 1500ms});
  runner.add(one_task("contested", [&, gate](TaskContext& ctx) {
    gate.wait();  // deaf to being stopped
    // The next heartbeat brings the news; the handler may well be too busy to hear it.
    EXPECT_TRUE(eventually([&] { return ctx.stop_reason() != StopReason::none; }));
    reason = ctx.stop_reason();
    ctx.set("by", "the late one");
  }));
  const Execution execution = runner.execute_async("contested");
  gate.wait_for_arrivals(1);
  // Another session takes leave in its name, and another worker takes the task over.
  sql_.rows("SELECT insula.leave($1)", {runner.worker()});
  const auto claimed =
      sql_.rows("SELECT task_id, lease FROM insula.claim('thief', ARRAY['contested.only'], tenant => $1)", {tenant_});
  ASSERT_EQ(claimed.size(), 1U);
  EXPECT_EQ(sql_.value("SELECT insula.complete($1, $2, '{\"by\": \"the thief\"}')", {claimed[0][0], claimed[0][1]}),
            "t");
  EXPECT_EQ(execution.wait().final_context.at<std::string>("by"), "the thief");
  gate.open();
  EXPECT_TRUE(eventually([&] { return log_.holds("came late"); })) << log_.text();
  EXPECT_EQ(reason, StopReason::lease_lost);
  EXPECT_EQ(execution.result().final_context.at<std::string>("by"), "the thief");
  EXPECT_TRUE(runner.shutdown().clean());
}

TEST_F(Faults, BrokenConnectionsAreReplaced) {
  const Gate gate;
  auto runner =
      Runner::with_schema("application_name=broken", tenant_, {.max_concurrent_tasks = 4, .log = log_.hook()});
  std::atomic<int> runs{0};
  runner.add(one_task("steady", [&](TaskContext& ctx) {
    ++runs;
    ctx.set("out", ctx.at<int>("in"));
  }));
  // One connection for each execution: at any moment, but not time after time in the same call.
  std::atomic<int> started{0};
  std::jthread killer{[&](std::stop_token enough) {
    Sql sql;
    for (int killed = 0; !enough.stop_requested();) {
      if (killed == started) {
        std::this_thread::yield();
        continue;
      }
      killed = started;
      sql.rows(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'broken' "
          "ORDER BY random() LIMIT 1");
    }
  }};
  for (int i = 0; i < 60; ++i) {
    ++started;
    // With a key a submit may be repeated, whatever became of the first.
    const auto execution = runner.execute_async("steady", {{"in", i}}, {.idempotency_key = std::to_string(i)});
    EXPECT_EQ(execution.wait().final_context.at<int>("out"), i);
  }
  killer.request_stop();
  killer.join();
  EXPECT_EQ(sql_.value("SELECT count(*) FROM " + tenant_ + ".workflow_executions"), "60");
  EXPECT_TRUE(runner.shutdown().clean());
}

TEST_F(Faults, ARestartLosesNothing) {
  for (const char* how : {"restart fast", "restart immediate", "crash"}) {
    constexpr int count = 40;
    const Gate gate;
    auto runner = make_runner({.max_concurrent_tasks = 4, .lease = 2s});
    runner.add(one_task("survivor", [gate](TaskContext& ctx) {
      gate.wait();
      ctx.set("out", ctx.at<int>("in"));
    }));
    std::vector<Execution> executions;
    for (int i = 0; i < count; ++i) executions.push_back(runner.execute_async("survivor", {{"in", i}}));
    gate.wait_for_arrivals(4);
    std::vector<Result> results;
    std::thread waiter{[&] { results = wait_all(executions); }};
    EXPECT_TRUE(pg_ctl(how));
    gate.open();
    waiter.join();
    ASSERT_EQ(results.size(), executions.size());
    for (int i = 0; i < count; ++i) {
      EXPECT_TRUE(results[static_cast<std::size_t>(i)].status.is_success());
      EXPECT_EQ(results[static_cast<std::size_t>(i)].final_context.at<int>("out"), i);
    }
    EXPECT_TRUE(runner.shutdown().clean()) << how;
  }
}

// Submissions, outcomes and questions are under way together when the server goes.  All
// acknowledged executions are there and have ended once; of the others some may be there.
TEST_F(Faults, ACutPipelineLosesAndDoublesNothing) {
  auto runner = make_runner({.max_concurrent_tasks = 8, .lease = 5s});
  std::atomic<int> tries{0};
  runner.add(one_task("busy", [&](TaskContext& ctx) {
    ++tries;
    ctx.set("out", ctx.at<int>("in"));
  }));
  EXPECT_TRUE(runner.execute("busy", {{"in", 0}}).status.is_success());
  std::atomic<bool> enough{false};
  std::atomic<int> unknown{0};
  std::atomic<int> promised{1};
  std::vector<std::vector<Execution>> executions(4);
  std::vector<std::thread> submitters;
  for (auto& mine : executions)
    submitters.emplace_back([&] {
      while (!enough) {
        try {
          mine.push_back(runner.execute_async("busy", {{"in", static_cast<int>(mine.size())}}));
          ++promised;
        } catch (const error& e) {
          EXPECT_TRUE(e.outcome_unknown()) << e.what();
          ++unknown;
        }
      }
    });
  for (const char* how : {"restart immediate", "crash", "restart fast"}) {
    const int before = promised;
    EXPECT_TRUE(eventually([&] { return promised > before + 50; }));
    EXPECT_TRUE(pg_ctl(how));
  }
  const int before = promised;
  EXPECT_TRUE(eventually([&] { return promised > before + 50; }));
  enough = true;
  for (std::thread& thread : submitters) thread.join();
  for (auto& mine : executions) {
    const std::vector<Result> results = wait_all(mine);
    for (std::size_t i = 0; i < results.size(); ++i)
      EXPECT_EQ(results[i].final_context.get<int>("out"), static_cast<int>(i));
  }
  const std::string rows = tenant_ + ".workflow_executions";
  EXPECT_TRUE(
      eventually([&] { return sql_.value("SELECT count(*) FROM " + rows + " WHERE status <> 'completed'") == "0"; }));
  const int there = std::stoi(sql_.value("SELECT count(*) FROM " + rows));
  EXPECT_GE(there, promised);
  EXPECT_LE(there, promised + unknown);
  EXPECT_GE(tries, there);
  EXPECT_TRUE(runner.shutdown().clean());
}

// A frozen server process takes what it is sent and says nothing.
class Frozen : public Faults {
 protected:
  void freeze(const std::string& what) {
    for (const auto& row : sql_.rows("SELECT pid FROM pg_stat_activity WHERE application_name = $1", {what}))
      pids_.push_back(std::stoi(row[0]));
    ASSERT_FALSE(pids_.empty());
    for (const pid_t pid : pids_) kill(pid, SIGSTOP);
  }
  void thaw() {
    for (const pid_t pid : pids_) kill(pid, SIGCONT);
    pids_.clear();
  }
  void TearDown() override { thaw(); }

  std::vector<pid_t> pids_;
};

// The news of the frozen process takes more than half of a lease; a machine may be too busy for a short one.
TEST_F(Frozen, AnotherConnectionRenewsTheLeases) {
  const auto renews = [this](std::chrono::seconds lease) {
    const Gate gate;
    std::atomic<StopReason> reason{StopReason::none};
    const Log log;
    auto runner = make_runner({.lease = lease, .log = log.hook()});
    runner.add(one_task("steady", [&, gate](TaskContext& ctx) {
      gate.wait();
      reason = ctx.stop_reason();
      ctx.set("attempt", ctx.attempt());
    }));
    const Execution execution = runner.execute_async("steady");
    gate.wait_for_arrivals(1);
    freeze("insula control");
    EXPECT_TRUE(eventually([&] { return log.holds("the control connection is back"); })) << log.text();
    EXPECT_TRUE(log.holds("does not answer"));
    gate.open();
    const int attempt = execution.wait().final_context.at<int>("attempt");
    EXPECT_TRUE(runner.shutdown().clean());
    thaw();
    return attempt == 1 && reason == StopReason::none;
  };
  EXPECT_TRUE(renews(6s) || renews(30s));
}

TEST_F(Frozen, WorkGoesOnWithoutTheOneThatWaits) {
  auto runner = make_runner({.max_concurrent_tasks = 1, .lease = 6s});
  const Gate gate;
  runner.add(one_task("first", [gate](TaskContext&) { gate.wait(); }));
  runner.execute_async("first");
  gate.wait_for_arrivals(1);
  EXPECT_TRUE(runner.execute_async("first").id() > 0);
  // With no slot free and nothing awaited, its session is idle; it will not answer the claim.
  freeze("insula dispatch");
  gate.open();
  EXPECT_TRUE(runner.execute("first").status.is_success());
  EXPECT_TRUE(log_.holds("the dispatch connection is back")) << log_.text();
  EXPECT_TRUE(runner.shutdown().clean());
}

TEST_F(Frozen, HandlersStopBeforeTheirLeaseEnds) {
  const Gate gate;
  std::atomic<StopReason> reason{StopReason::none};
  std::atomic<int> runs{0};
  auto runner = make_runner({.lease = 3s, .connect_timeout = 500ms});
  runner.add(one_task("doomed", [&, gate](TaskContext& ctx) {
    if (++runs > 1) return;
    gate.wait(ctx.stop_token());
    reason = ctx.stop_reason();
    ctx.throw_if_stopped();
  }));
  const Execution execution = runner.execute_async("doomed");
  gate.wait_for_arrivals(1);
  freeze("insula control");
  const pid_t postmaster = std::stoi(sql_.value("SELECT pg_read_file('postmaster.pid')"));
  pids_.push_back(postmaster);
  kill(postmaster, SIGSTOP);  // no new connection is accepted
  EXPECT_TRUE(eventually([&] { return reason == StopReason::lease_lost; }));
  thaw();
  EXPECT_TRUE(execution.wait().status.is_success());
  EXPECT_TRUE(runner.shutdown().clean());
}

// The process that is killed: this program again, with only this in it.  It has a task that
// never ends, and may be told to shut down, which waits for the task.
TEST_F(Faults, DISABLED_WorkerProcess) {
  tenant_ = environment("INSULA_TEST_TENANT");
  auto runner = make_runner({.lease = 1h});
  std::atomic<bool> running = false;
  runner.add(one_task("deadly", [&](TaskContext&) {
    running = true;
    for (;;) pause();
  }));
  while (!running) std::this_thread::sleep_for(1ms);
  if (environment("INSULA_TEST_SHUTDOWN") == "1") runner.shutdown({.drain = 1h});
  for (;;) pause();
}

pid_t start_worker_process(const std::string& tenant, bool shut_down) {
  const pid_t child = fork();
  if (child != 0) return child;
  setenv("INSULA_TEST_TENANT", tenant.c_str(), 1);
  setenv("INSULA_TEST_SHUTDOWN", shut_down ? "1" : "0", 1);
  // Its one test is in the first part of as many as there are.
  unsetenv("GTEST_TOTAL_SHARDS");
  unsetenv("GTEST_SHARD_INDEX");
  // Its output would end up between this one's.
  const int null = open("/dev/null", O_WRONLY);
  dup2(null, STDOUT_FILENO);
  execl("/proc/self/exe", "worker", "--gtest_filter=*DISABLED_WorkerProcess", "--gtest_also_run_disabled_tests",
        nullptr);
  _exit(127);
}

// Wherever the process is when it is killed, its task goes on elsewhere at once.
class PreloadedKill : public Faults, public ::testing::WithParamInterface<bool> {};

TEST_P(PreloadedKill, IsTakenOverAtOnce) {
  auto runner = make_runner();
  sql_.value("SELECT insula.register_workflow('{\"name\": \"deadly\", \"tasks\": [{\"id\": \"only\"}]}', tenant => $1)",
             {tenant_});
  const Execution execution = runner.execute_async("deadly");
  const pid_t child = start_worker_process(tenant_, GetParam());
  ASSERT_GT(child, 0);
  EXPECT_TRUE(eventually([&] { return execution.status() == Status::running; }));
  EXPECT_NE(worker_of(execution.id()), runner.worker());
  runner.add(one_task("deadly", [](TaskContext& ctx) { ctx.set("by", "the survivor"); }));
  EXPECT_FALSE(execution.wait_for(200ms)) << "its worker lives";
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  const auto result = execution.wait_for(patience);
  ASSERT_TRUE(result) << "its lease was for an hour, but its connection is gone";
  EXPECT_EQ(result->final_context.at<std::string>("by"), "the survivor");
}

// As many workers die as a task has attempts by default.
class PreloadedDeaths : public Faults {};

TEST_F(PreloadedDeaths, AreNotCountedAsAttempts) {
  auto runner = make_runner();
  sql_.value("SELECT insula.register_workflow('{\"name\": \"deadly\", \"tasks\": [{\"id\": \"only\"}]}', tenant => $1)",
             {tenant_});
  const Execution execution = runner.execute_async("deadly");
  std::string dead;
  for (int deaths = 0; deaths < 3; ++deaths) {
    const pid_t child = start_worker_process(tenant_, false);
    ASSERT_GT(child, 0);
    EXPECT_TRUE(eventually([&] { return execution.status() == Status::running && worker_of(execution.id()) != dead; }));
    dead = worker_of(execution.id());
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
  }
  runner.add(one_task("deadly", [](TaskContext& ctx) { ctx.set("attempt", ctx.attempt()); }));
  const auto result = execution.wait_for(patience);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->final_context.get<int>("attempt"), 1) << result->error;
  EXPECT_EQ(sql_.value("SELECT count(*) FROM " + tenant_ +
                           ".execution_events WHERE execution_id = $1 AND event = 'task_lease_lapsed'",
                       {std::to_string(execution.id())}),
            "3");
}

INSTANTIATE_TEST_SUITE_P(, PreloadedKill, ::testing::Values(false, true),
                         [](const auto& info) { return std::string(info.param ? "InItsShutdown" : "AtWork"); });

}  // namespace
