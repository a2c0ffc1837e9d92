// One commit for a caller's work and the execution it starts, and for a handler's work and
// its task's outcome.
#include "client_test.hpp"

#include <atomic>
#include <future>
#include <memory>
#include <stdexcept>
#include <thread>

namespace {

using namespace insula_test;
using namespace insula;

class Transactions : public ClientTest {
 protected:
  void SetUp() override {
    ClientTest::SetUp();
    table_ = "effects_" + tenant_;
    sql_.rows("CREATE TABLE " + table_ + " (n int)");
  }
  void TearDown() override { sql_.rows("DROP TABLE " + table_); }

  std::string effects() { return sql_.value("SELECT coalesce(sum(n), 0) FROM " + table_); }
  std::string insert(int n) { return "INSERT INTO " + table_ + " VALUES (" + std::to_string(n) + ")"; }
  std::string executions() { return sql_.value("SELECT count(*) FROM " + tenant_ + ".workflow_executions"); }

  std::string table_;
};

class Enqueue : public Transactions {
 protected:
  void SetUp() override {
    Transactions::SetUp();
    runner_ = make_runner();
    runner_->add(one_task("w", [](TaskContext& ctx) { ctx.set("done", true); }));
  }
  std::optional<Runner> runner_;
};

TEST_F(Enqueue, ComesWithTheCallersCommitOrNotAtAll) {
  const Connection conn;
  run(conn, "BEGIN");
  run(conn, insert(1));
  enqueue(conn, "w", {}, {}, tenant_);
  run(conn, "ROLLBACK");
  EXPECT_EQ(effects() + executions(), "00");
  run(conn, "BEGIN");
  run(conn, insert(2));
  const std::int64_t id = enqueue(conn, "w", {{"n", 1}}, {.idempotency_key = "two"}, tenant_);
  EXPECT_EQ(executions(), "0");
  run(conn, "COMMIT");
  EXPECT_EQ(effects(), "2");
  EXPECT_EQ(runner_->execution(id).wait().final_context, (Context{{"n", 1}, {"done", true}}));
  EXPECT_EQ(enqueue(conn, "w", {}, {.idempotency_key = "two"}, tenant_), id) << "by itself, outside of a transaction";
}

TEST_F(Enqueue, ManyComeWithTheCallersCommitOrNotAtAll) {
  const Connection conn;
  const std::vector<Context> contexts{Context{{"n", 1}}, Context{{"n", 2}}};
  run(conn, "BEGIN");
  run(conn, insert(1));
  enqueue_many(conn, "w", contexts, {}, tenant_);
  run(conn, "ROLLBACK");
  EXPECT_EQ(effects() + executions(), "00");
  run(conn, "BEGIN");
  run(conn, insert(2));
  const auto ids = enqueue_many(conn, "w", contexts, {.idempotency_keys = {"one", "two"}}, tenant_);
  EXPECT_EQ(executions(), "0");
  run(conn, "COMMIT");
  EXPECT_EQ(effects(), "2");
  ASSERT_EQ(ids.size(), 2U);
  EXPECT_EQ(runner_->execution(ids[0]).wait().final_context, (Context{{"n", 1}, {"done", true}}));
  EXPECT_EQ(runner_->execution(ids[1]).wait().final_context, (Context{{"n", 2}, {"done", true}}));
  EXPECT_EQ(enqueue_many(conn, "w", contexts, {.idempotency_keys = {"one", "two"}}, tenant_), ids);
  EXPECT_TRUE(enqueue_many(conn, "w", {}, {}, tenant_).empty());
  EXPECT_EQ(error_of([&] { enqueue_many(nullptr, "w", contexts); }).code(), errc::unreachable);
}

TEST_F(Enqueue, ActsForTheLoginsOwnTenant) {
  DatabaseAdmin admin{""};
  const auto c = admin.create_tenant({.tenant = tenant_ + "x"});
  Runner runner{c.connection_string, {.log = log_.hook()}};
  runner.add(one_task("w", [](TaskContext& ctx) { ctx.set("tenant", ctx.tenant()); }));
  const Connection conn{c.connection_string};
  EXPECT_EQ(runner.execution(enqueue(conn, "w")).wait().final_context.at<std::string>("tenant"), tenant_ + "x");
  EXPECT_EQ(error_of([&] { enqueue(conn, "w", {}, {}, tenant_); }).code(), errc::permission);
}

TEST_F(Enqueue, RefusesAConnectionThatCannotDoIt) {
  const Connection conn;
  EXPECT_EQ(error_of([&] { enqueue(nullptr, "w"); }).code(), errc::unreachable);
  run(conn, "BEGIN");
  EXPECT_THROW(run(conn, "SELECT 1/0"), std::runtime_error);
  EXPECT_EQ(error_of([&] { enqueue(conn, "w", {}, {}, tenant_); }).code(), errc::invalid);
  run(conn, "ROLLBACK");
  ASSERT_EQ(PQsendQuery(conn, "SELECT 1"), 1);
  EXPECT_EQ(error_of([&] { enqueue(conn, "w", {}, {}, tenant_); }).code(), errc::invalid);
  while (PGresult* result = PQgetResult(conn)) PQclear(result);
  ASSERT_EQ(PQenterPipelineMode(conn), 1);
  EXPECT_EQ(error_of([&] { enqueue(conn, "w", {}, {}, tenant_); }).code(), errc::invalid);
  ASSERT_EQ(PQexitPipelineMode(conn), 1);
  EXPECT_EQ(error_of([&] { enqueue(conn, "unregistered", {}, {}, tenant_); }).sqlstate(), "IS002");
  ASSERT_EQ(PQsetnonblocking(conn, 1), 0);
  const Context large{{"text", std::string(4'000'000, 'x')}};
  EXPECT_GT(enqueue(conn, "w", large, {}, tenant_), 0) << "more than the socket takes at once";
}

TEST_F(Transactions, EffectAndCompletionAreOneCommit) {
  auto runner = make_runner();
  std::atomic<int> runs{0};
  runner.add(Workflow::builder("w")
                 .task("only",
                       [&](TaskContext& ctx) {
                         run(ctx.transaction(), insert(1));
                         EXPECT_EQ(PQtransactionStatus(ctx.transaction()), PQTRANS_INTRANS) << "the same one";
                         if (++runs < 3) throw std::runtime_error{"after the effect"};
                         ctx.set("runs", runs.load());
                       },
                       {.retry = {.initial_delay = 1ms}})
                 .build());
  EXPECT_EQ(runner.execute("w").final_context.at<int>("runs"), 3);
  EXPECT_EQ(effects(), "1");
  EXPECT_TRUE(runner.shutdown().clean());
}

TEST_F(Transactions, ALostLeaseRollsTheEffectBack) {
  const Gate gate;
  std::atomic<int> runs{0};
  auto runner = make_runner({.max_concurrent_tasks = 1});
  runner.add(one_task("w", [&, gate](TaskContext& ctx) {
    ++runs;
    run(ctx.transaction(), insert(1));
    gate.wait();
    ctx.set("by", "the late one");
  }));
  const Execution execution = runner.execute_async("w");
  gate.wait_for_arrivals(1);
  sql_.rows("SELECT insula.leave($1)", {runner.worker()});
  const auto claimed =
      sql_.rows("SELECT task_id, lease FROM insula.claim('thief', ARRAY['w.only'], tenant => $1)", {tenant_});
  ASSERT_EQ(claimed.size(), 1U);
  EXPECT_EQ(sql_.value("SELECT insula.complete($1, $2, '{\"by\": \"the thief\"}')", {claimed[0][0], claimed[0][1]}),
            "t");
  gate.open();
  EXPECT_EQ(execution.wait().final_context.at<std::string>("by"), "the thief");
  EXPECT_TRUE(runner.shutdown().clean());
  EXPECT_EQ(effects(), "0");
  EXPECT_EQ(runs, 1);
}

TEST_F(Transactions, ALostLeaseIsToldAtTheBeginning) {
  std::atomic<bool> stopped_at_once{false};
  auto runner = make_runner({.max_concurrent_tasks = 1});
  const Gate gate;
  runner.add(one_task("w", [&, gate](TaskContext& ctx) {
    if (ctx.attempt() > 1) return;
    gate.wait();
    try {
      ctx.transaction();
    } catch (const stopped&) {
      stopped_at_once = ctx.stop_reason() == StopReason::lease_lost;
      throw;
    }
  }));
  const Execution execution = runner.execute_async("w");
  gate.wait_for_arrivals(1);
  sql_.rows("UPDATE " + tenant_ + ".work SET lease = lease + 1 WHERE lease IS NOT NULL");
  gate.open();
  EXPECT_TRUE(eventually([&] { return stopped_at_once.load(); }));
  sql_.rows("SELECT insula.leave($1)", {runner.worker()});
  EXPECT_TRUE(execution.wait().status.is_success());
}

TEST_F(Transactions, ABrokenConnectionLosesTheEffectNotTheTask) {
  std::atomic<int> runs{0};
  auto runner = make_runner();
  runner.add(Workflow::builder("w")
                 .task("only",
                       [&](TaskContext& ctx) {
                         PGconn* conn = ctx.transaction();
                         run(conn, insert(1));
                         if (++runs == 1)
                           Sql{}.rows("SELECT pg_terminate_backend($1)", {std::to_string(PQbackendPID(conn))});
                       },
                       {.retry = {.initial_delay = 1ms}})
                 .build());
  EXPECT_TRUE(runner.execute("w").status.is_success());
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(effects(), "1");
}

TEST_F(Transactions, ATaskMayBePutOffInOne) {
  auto runner = make_runner();
  runner.add(one_task("w", [&](TaskContext& ctx) {
    run(ctx.transaction(), insert(ctx.event() ? 10 : 1));
    if (!ctx.event()) ctx.wait_event("go");
  }));
  const Execution execution = runner.execute_async("w");
  EXPECT_TRUE(eventually([&] { return execution.result().tasks.at(0).status == Status::waiting; }));
  EXPECT_EQ(effects(), "1");
  EXPECT_TRUE(execution.send_event("go"));
  EXPECT_TRUE(execution.wait().status.is_success());
  EXPECT_EQ(effects(), "11");
}

TEST_F(Transactions, ExecutionsOfOneStartAtItsCommit) {
  auto runner = make_runner();
  std::atomic<int> runs{0};
  runner.add(one_task("next", [](TaskContext&) {}));
  runner.add(Workflow::builder("w")
                 .task("only",
                       [&](TaskContext& ctx) {
                         ctx.set("next", enqueue(ctx.transaction(), "next"));
                         if (++runs < 3) throw std::runtime_error{"after the start"};
                       },
                       {.retry = {.initial_delay = 1ms}})
                 .build());
  const Result result = runner.execute("w");
  EXPECT_TRUE(runner.execution(result.final_context.at<std::int64_t>("next")).wait().status.is_success());
  EXPECT_EQ(executions(), "2");
}

TEST_F(Transactions, AHandlerCannotEndItItself) {
  std::atomic<int> runs{0};
  std::string commit_failed;
  auto runner = make_runner();
  runner.add(Workflow::builder("w")
                 .task("commits",
                       [&](TaskContext& ctx) {
                         run(ctx.transaction(), insert(1));
                         try {
                           run(ctx.transaction(), "COMMIT");
                         } catch (const std::runtime_error& e) {
                           commit_failed = e.what();
                         }
                       },
                       {.retry = {.max_attempts = 1}})
                 .build());
  const Result result = runner.execute("w");
  EXPECT_EQ(result.status, Status::failed);
  EXPECT_NE(result.error.find("returning is what commits it"), std::string::npos) << result.error;
  EXPECT_NE(commit_failed.find("has not settled"), std::string::npos) << commit_failed;
  EXPECT_EQ(effects(), "0");
}

TEST_F(Transactions, AnErrorThatIsSwallowedIsNoSuccess) {
  auto runner = make_runner();
  runner.add(Workflow::builder("w")
                 .task("only",
                       [&](TaskContext& ctx) {
                         run(ctx.transaction(), insert(1));
                         PQclear(PQexec(ctx.transaction(), "SELECT 1/0"));
                       },
                       {.retry = {.max_attempts = 1}})
                 .build());
  EXPECT_EQ(runner.execute("w").status, Status::failed);
  EXPECT_EQ(effects(), "0");
}

TEST_F(Transactions, SettingsOfOneAreUndone) {
  auto runner = make_runner({.max_concurrent_tasks = 1, .max_connections = 3});
  std::string before;
  runner.add(one_task("w", [&](TaskContext& ctx) {
    before = first_value(run(ctx.transaction(), "SHOW search_path"));
    run(ctx.transaction(), "SET search_path = nowhere; CREATE TEMP TABLE mine ()");
  }));
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(runner.execute("w").status.is_success());
    EXPECT_EQ(before.find("nowhere"), std::string::npos);
  }
}

void drop_notice(void*, const PGresult*) {}

TEST_F(Transactions, SettingsOnOurSideOfOneAreUndone) {
  auto runner = make_runner({.max_concurrent_tasks = 1, .max_connections = 3});
  std::atomic<int> undone{0};
  runner.add(one_task("w", [&](TaskContext& ctx) {
    PGconn* conn = ctx.transaction();
    undone += !PQisnonblocking(conn) && PQsetNoticeReceiver(conn, drop_notice, nullptr) != drop_notice &&
              PQsetErrorContextVisibility(conn, PQSHOW_CONTEXT_ALWAYS) == PQSHOW_CONTEXT_ERRORS;
    EXPECT_EQ(PQsetnonblocking(conn, 1), 0);
  }));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(runner.execute("w").status.is_success());
  EXPECT_EQ(undone, 3);
}

// A notice of the COMMIT comes when the object that the handler gave for it is gone.
TEST_F(Transactions, ANoticeOfTheCommitIsNotTheHandlersAnyMore) {
  sql_.rows("CREATE FUNCTION notice_" + tenant_ +
            "() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE WARNING ''late''; RETURN NULL; END'");
  sql_.rows("CREATE CONSTRAINT TRIGGER t AFTER INSERT ON " + table_ +
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION notice_" + tenant_ + "()");
  auto runner = make_runner();
  std::atomic<int> notices{0};
  runner.add(one_task("w", [&](TaskContext& ctx) {
    const auto count = [](void* seen, const PGresult*) { ++*static_cast<std::atomic<int>*>(seen); };
    PQsetNoticeReceiver(ctx.transaction(), count, &notices);
    run(ctx.transaction(), insert(1));
  }));
  EXPECT_TRUE(runner.execute("w").status.is_success());
  EXPECT_TRUE(runner.shutdown().clean());
  EXPECT_EQ(effects(), "1");
  EXPECT_EQ(notices, 0);
  sql_.rows("DROP FUNCTION notice_" + tenant_ + " CASCADE");
}

// The COMMIT takes longer than a call may wait, and is done all the same.
TEST_F(Transactions, ACommitOfUnknownOutcomeThatWasDoneIsNoLostLease) {
  struct Refusals : Observer {
    void outcome_refused(const LostTask&) override { ++count; }
    std::atomic<int> count{0};
  };
  sql_.rows("CREATE FUNCTION wait_" + tenant_ +
            "() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock(77); RETURN NULL; END'");
  sql_.rows("CREATE CONSTRAINT TRIGGER t AFTER INSERT ON " + table_ +
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_" + tenant_ + "()");
  Sql holder;
  holder.rows("SELECT pg_advisory_lock(77)");
  const auto observer = std::make_shared<Refusals>();
  auto runner = make_runner({.call_timeout = 3s, .observer = observer});
  std::atomic<int> runs{0};
  runner.add(one_task("w", [&](TaskContext& ctx) {
    ++runs;
    run(ctx.transaction(), insert(1));
  }));
  const Execution execution = runner.execute_async("w");
  const std::string put_off = "insula_tasks_total{workflow=\"w\",task=\"only\",outcome=\"put_off\"} 1";
  EXPECT_TRUE(eventually([&] { return runner.metrics().find(put_off) != std::string::npos; })) << runner.metrics();
  holder.rows("SELECT pg_advisory_unlock(77)");
  EXPECT_TRUE(execution.wait().status.is_success());
  EXPECT_TRUE(eventually([&] { return log_.holds("came late"); })) << log_.text();
  EXPECT_EQ(observer->count, 0);
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(effects(), "1");
  EXPECT_TRUE(runner.shutdown().clean());
  sql_.rows("DROP FUNCTION wait_" + tenant_ + " CASCADE");
}

// Those that handlers have given back count, too.
TEST_F(Transactions, WhatWaitsForALockTakesTheConnectionOfATransaction) {
  auto runner = Runner::with_schema("application_name=" + tenant_, tenant_,
                                    {.max_concurrent_tasks = 2, .max_connections = 4, .log = log_.hook()});
  const Gate gate;
  runner.add(one_task("w", [gate](TaskContext& ctx) {
    run(ctx.transaction(), "SELECT 1");
    gate.wait();
  }));
  const std::vector<Execution> executions = runner.submit_many("w", std::vector<Context>(2));
  gate.wait_for_arrivals(2);
  gate.open();
  for (const Result& result : wait_all(executions)) EXPECT_TRUE(result.status.is_success());
  const auto sessions = [&](const std::string& condition) {
    return std::stoi(
        sql_.value("SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND " + condition, {tenant_}));
  };
  EXPECT_EQ(sessions("true"), 4);
  const std::string before =
      sql_.value("SELECT max(backend_start) FROM pg_stat_activity WHERE application_name = $1", {tenant_});
  Sql holder;
  holder.rows("BEGIN");
  holder.rows("SELECT insula.submit('w', idempotency_key => 'k', tenant => $1)", {tenant_});
  auto blocked =
      std::async(std::launch::async, [&] { return runner.execute_async("w", {}, {.idempotency_key = "k"}).id(); });
  EXPECT_TRUE(eventually([&] { return sessions("backend_start > '" + before + "'") == 1; }));
  EXPECT_TRUE(eventually([&] { return sessions("true") <= 4; }, 10s));
  holder.rows("ROLLBACK");
  EXPECT_GT(blocked.get(), 0);
  EXPECT_TRUE(runner.shutdown().clean());
}

TEST_F(Transactions, ConnectionsAreBoundedAndShared) {
  std::atomic<int> open{0};
  std::atomic<int> most{0};
  auto runner = Runner::with_schema("application_name=" + tenant_, tenant_,
                                    {.max_concurrent_tasks = 8, .max_connections = 4, .log = log_.hook()});
  runner.add(one_task("w", [&](TaskContext& ctx) {
    run(ctx.transaction(), "SELECT 1");
    const int now = ++open;
    for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) continue;
    std::this_thread::yield();
    --open;
  }));
  std::vector<Execution> executions;
  for (int i = 0; i < 40; ++i) executions.push_back(runner.execute_async("w"));
  for (const Result& result : wait_all(executions)) EXPECT_TRUE(result.status.is_success());
  EXPECT_LE(most, 2);
  EXPECT_LE(std::stoi(sql_.value("SELECT count(*) FROM pg_stat_activity WHERE application_name = $1", {tenant_})), 4);
  EXPECT_TRUE(runner.shutdown().clean());

  auto narrow = make_runner({.max_connections = 2});
  narrow.add(Workflow::builder("narrow")
                 .task("only", [](TaskContext& ctx) { ctx.transaction(); }, {.retry = {.max_attempts = 1}})
                 .build());
  EXPECT_NE(narrow.execute("narrow").error.find("max_connections"), std::string::npos);
}

// ---- a batch ----

// A runner has three connections to lend by default.
TEST_F(Transactions, ABatchHasNoMoreTasksThanThereAreConnections) {
  std::atomic<int> largest{0};
  auto runner = make_runner();
  runner.add(Workflow::builder("w")
                 .batch("only",
                        [&](std::span<TaskContext* const> tasks) {
                          for (TaskContext* task : tasks) run(task->transaction(), insert(task->at<int>("n")));
                          largest = std::max(largest.load(), static_cast<int>(tasks.size()));
                        },
                        {.retry = {.max_attempts = 1}})
                 .build());
  runner.pause_workflow("w");
  std::vector<Context> inputs;
  for (int n = 1; n <= 12; ++n) inputs.push_back({{"n", n}});
  const auto executions = runner.submit_many("w", inputs);
  runner.resume_workflow("w");
  for (const Result& result : wait_all(executions)) EXPECT_EQ(result.status, Status::completed) << result.error;
  EXPECT_EQ(effects(), "78");
  EXPECT_EQ(largest, 2) << "one is left to what the runtime makes for itself";
}

// The connection that could not be made was one of the batch's, which has them all.
TEST_F(Transactions, ABatchMayAskAgainForAConnection) {
  const std::string login = tenant_ + "_limited";
  sql_.rows("CREATE ROLE " + login + " LOGIN CONNECTION LIMIT 2 IN ROLE insula_admin");
  std::atomic<int> refused{0};
  {
    auto runner = Runner::with_schema("user=" + login, tenant_, {.log = log_.hook()});
    runner.add(Workflow::builder("w")
                   .batch("only",
                          [&](std::span<TaskContext* const> tasks) {
                            for (TaskContext* task : tasks) {
                              try {
                                run(task->transaction(), "SELECT 1");
                              } catch (const error&) {
                                ++refused;
                                Sql{}.rows("ALTER ROLE " + login + " CONNECTION LIMIT 10");
                                run(task->transaction(), "SELECT 1");
                              }
                            }
                          },
                          {.retry = {.max_attempts = 1}})
                   .build());
    runner.pause_workflow("w");
    const auto executions = runner.submit_many("w", std::vector<Context>(2));
    runner.resume_workflow("w");
    for (const Result& result : wait_all(executions)) EXPECT_EQ(result.status, Status::completed) << result.error;
    EXPECT_TRUE(runner.shutdown().clean());
  }
  EXPECT_GT(refused, 0);
  sql_.rows("DROP ROLE " + login);
}

// Each begins, and neither may hold a connection and wait for another one's.
TEST_F(Transactions, BatchesDoNotWaitForEachOther) {
  auto runner = make_runner({.max_connections = 6, .call_timeout = std::chrono::minutes{10}});
  const Gate gate;
  const auto handler = [this, gate](std::span<TaskContext* const> tasks) {
    gate.arrive();
    gate.wait(tasks.front()->stop_token());
    for (TaskContext* task : tasks) run(task->transaction(), insert(1));
  };
  for (const char* workflow : {"first", "second"})
    runner.add(Workflow::builder(workflow).batch("only", handler, {}, 3).build());
  std::vector<Execution> executions;
  for (const char* workflow : {"first", "second"}) {
    runner.pause_workflow(workflow);
    for (const Execution& one : runner.submit_many(workflow, std::vector<Context>(3))) executions.push_back(one);
    runner.resume_workflow(workflow);
  }
  gate.wait_for_arrivals(2);
  gate.open();
  for (const Result& result : wait_all(executions)) EXPECT_EQ(result.status, Status::completed) << result.error;
  EXPECT_EQ(effects(), "6");
}

}  // namespace
