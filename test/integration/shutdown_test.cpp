// The way down: bounded, and it says what it left.
#include "client_test.hpp"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <memory>
#include <thread>

namespace {

using namespace insula_test;
using namespace insula;

class Shutdown : public ClientTest {
 protected:
  std::string task_status(const Execution& execution) { return execution_task(execution.id(), "status"); }
  // Opened before, the handler may return before the shutdown has seen it running.
  std::thread open_once_shutdown_waits(const Gate& gate) {
    return std::thread{[this, gate] {
      EXPECT_TRUE(eventually([this] { return log_.holds("shutdown waits"); }));
      gate.open();
    }};
  }
  std::string execution_task(std::int64_t id, const std::string& column) {
    return sql_.value("SELECT tasks->0->>'" + column + "' FROM insula.result($1)", {std::to_string(id)});
  }
};

TEST_F(Shutdown, WaitsForRunningHandlers) {
  const Gate gate;
  auto runner = make_runner();
  runner.add(one_task("slow", [gate](TaskContext& ctx) {
    gate.wait();
    ctx.set("done", true);
  }));
  const std::int64_t id = runner.execute_async("slow").id();
  gate.wait_for_arrivals(1);
  std::thread opener = open_once_shutdown_waits(gate);
  const ShutdownReport report = runner.shutdown();
  opener.join();
  EXPECT_EQ(report.finished, 1U);
  EXPECT_EQ(report.stopped, 0U);
  EXPECT_TRUE(report.clean());
  EXPECT_EQ(status_of(id), "completed") << "its outcome was told before the end";
  EXPECT_EQ(runner.shutdown({.drain = 0s, .cancel = 0s}).finished, 1U) << "the first one's report";
}

TEST_F(Shutdown, AsksThoseToStopThatTakeTooLong) {
  const Gate gate;
  std::atomic<StopReason> reason{StopReason::none};
  auto runner = make_runner();
  runner.add(one_task("endless", [&, gate](TaskContext& ctx) {
    gate.wait(ctx.stop_token());
    reason = ctx.stop_reason();
    ctx.throw_if_stopped();
  }));
  const Execution execution = runner.execute_async("endless");
  gate.wait_for_arrivals(1);
  const ShutdownReport report = runner.shutdown({.drain = 10ms, .cancel = 30s});
  EXPECT_EQ(report.stopped, 1U);
  EXPECT_TRUE(report.clean());
  EXPECT_EQ(reason, StopReason::shutdown);
  // The task is not failed: it is there for the next worker, with all its attempts.
  EXPECT_EQ(execution_task(execution.id(), "status"), "ready");
  auto next = make_runner();
  next.add(one_task("endless", [](TaskContext& ctx) { ctx.set("attempt", ctx.attempt()); }));
  EXPECT_TRUE(eventually([&] { return status_of(execution.id()) == "completed"; }));
}

TEST_F(Shutdown, LeavesAStuckHandlerBehindAndGivesItsTaskBack) {
  const Gate gate;
  auto runner = make_runner();
  runner.add(one_task("stuck", [gate](TaskContext& ctx) {
    gate.wait();
    ctx.set("by", "the one left behind");
  }));
  const std::int64_t id = runner.execute_async("stuck").id();
  gate.wait_for_arrivals(1);
  const auto before = std::chrono::steady_clock::now();
  const ShutdownReport report = runner.shutdown({.drain = 10ms, .cancel = 10ms});
  EXPECT_LT(std::chrono::steady_clock::now() - before, patience) << "the handler would have it wait for ever";
  EXPECT_EQ(report.abandoned, 1U);
  EXPECT_FALSE(report.clean());
  auto next = make_runner();
  next.add(one_task("stuck", [](TaskContext& ctx) { ctx.set("by", "the next"); }));
  EXPECT_TRUE(eventually([&] { return status_of(id) == "completed"; }));
  gate.open();
  EXPECT_EQ(sql_.value("SELECT final_context->>'by' FROM insula.result($1)", {std::to_string(id)}), "the next");
}

TEST_F(Shutdown, IsBoundedWithoutAServer) {
  const Gate gate;
  auto runner = make_runner();
  runner.add(one_task("unlucky", [gate](TaskContext& ctx) {
    gate.wait();
    ctx.set("done", true);
  }));
  const std::int64_t id = runner.execute_async("unlucky").id();
  gate.wait_for_arrivals(1);
  EXPECT_TRUE(pg_ctl("stop immediate"));
  std::thread opener = open_once_shutdown_waits(gate);
  const auto before = std::chrono::steady_clock::now();
  const ShutdownReport report = runner.shutdown({.drain = 10s, .cancel = 1s});
  opener.join();
  EXPECT_LT(std::chrono::steady_clock::now() - before, patience) << "there is no server to hear of it";
  EXPECT_EQ(report.finished, 1U);
  EXPECT_EQ(report.unsent, 1U);
  EXPECT_TRUE(pg_ctl("start"));
  EXPECT_NE(status_of(id), "completed") << "the server could not be told";
}

TEST_F(Shutdown, EndsWaitsWithAnError) {
  auto runner = make_runner();
  runner.add(one_task("never", [](TaskContext&) {}));
  // A version whose task has no handler here, so that no worker runs it.
  sql_.value("SELECT insula.register_workflow('{\"name\": \"orphan\", \"tasks\": [{\"id\": \"x\"}]}', tenant => $1)",
             {tenant_});
  const Execution execution = runner.execute_async("orphan");
  std::atomic<bool> waiting{false};
  std::thread waiter{[&] {
    waiting = true;
    EXPECT_EQ(error_of([&] { execution.wait(); }).code(), errc::shut_down);
  }};
  EXPECT_TRUE(eventually([&] { return waiting.load(); }));
  runner.shutdown();
  waiter.join();
  EXPECT_EQ(error_of([&] { runner.execute("never"); }).code(), errc::shut_down);
  EXPECT_EQ(error_of([&] { execution.wait(); }).code(), errc::shut_down);
}

// Where a call waits for a lock, its statement is under way when the shutdown ends.
TEST_F(Shutdown, EndsCallsThatWaitForALock) {
  auto runner = Runner::with_schema("application_name=" + tenant_, tenant_, {.call_timeout = 1h, .log = log_.hook()});
  runner.add(one_task("w", [](TaskContext& ctx) { ctx.wait_event("go"); }));
  const Execution execution = runner.execute_async("w");
  ASSERT_TRUE(eventually([&] { return task_status(execution) == "waiting"; }));
  for (const bool repeatable : {true, false}) {
    auto ending = Runner::with_schema("application_name=" + tenant_, tenant_, {.call_timeout = 1h, .log = log_.hook()});
    Sql holder;
    holder.rows("BEGIN");
    holder.rows("SELECT insula.submit('w', idempotency_key => 'k', tenant => $1)", {tenant_});
    holder.rows("SELECT insula.cancel($1)", {std::to_string(execution.id())});
    const auto told = std::make_shared<std::promise<error>>();
    std::thread{[ending, told, repeatable, id = execution.id()] {
      try {
        if (repeatable)
          ending.execute_async("w", {}, {.idempotency_key = "k"});
        else
          (void)ending.execution(id).send_event("go");
        told->set_value({errc::server, "nothing was thrown"});
      } catch (const error& e) {
        told->set_value(e);
      }
    }}.detach();
    ASSERT_TRUE(eventually([&] {
      return sql_.value(
                 "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = $1",
                 {tenant_}) == "1";
    }));
    ending.shutdown();
    auto future = told->get_future();
    ASSERT_EQ(future.wait_for(30s), std::future_status::ready) << "the caller waits for ever";
    const error e = future.get();
    EXPECT_EQ(e.code(), errc::shut_down) << e.what();
    EXPECT_EQ(e.outcome_unknown(), !repeatable);
    holder.rows("ROLLBACK");
  }
}

TEST_F(Shutdown, LetsGoOfWhatHandlersHold) {
  std::weak_ptr<int> held;
  auto runner = make_runner();
  {
    const auto holds = std::make_shared<int>(1);
    held = holds;
    runner.add(one_task("w", [runner, holds](TaskContext&) {}));
  }
  EXPECT_TRUE(runner.execute("w").status.is_success());
  EXPECT_FALSE(held.expired());
  EXPECT_TRUE(runner.shutdown().clean());
  EXPECT_TRUE(held.expired()) << "a runner that its own handler holds would live for ever";
}

bool signals_are_watched() {
  struct sigaction now = {};
  sigaction(SIGTERM, nullptr, &now);
  return now.sa_handler != SIG_DFL;
}

TEST_F(Shutdown, ASignalIsEnoughAndASecondOneHurries) {
  const Gate gate;
  std::atomic<StopReason> reason{StopReason::none};
  auto runner = make_runner();
  runner.add(one_task("endless", [&, gate](TaskContext& ctx) {
    gate.wait(ctx.stop_token());
    reason = ctx.stop_reason();
    ctx.throw_if_stopped();
  }));
  runner.execute_async("endless");
  gate.wait_for_arrivals(1);
  ShutdownReport report;
  std::thread main{[&] { report = runner.run_until_signal({.drain = 1h, .cancel = 1h}); }};
  ASSERT_TRUE(eventually(signals_are_watched));
  EXPECT_EQ(error_of([&] { runner.run_until_signal(); }).code(), errc::invalid);
  kill(getpid(), SIGTERM);
  EXPECT_TRUE(eventually([&] { return log_.holds("shutdown waits"); }));
  EXPECT_EQ(reason, StopReason::none);
  kill(getpid(), SIGINT);
  main.join();
  EXPECT_EQ(report.stopped, 1U);
  EXPECT_EQ(reason, StopReason::shutdown);
  EXPECT_FALSE(signals_are_watched());
}

TEST_F(Shutdown, TheLastHandleIsEnough) {
  const std::string connections = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'last_handle'";
  {
    auto runner = Runner::with_schema("application_name=last_handle", tenant_, {.log = log_.hook()});
    runner.add(one_task("quick", [](TaskContext&) {}));
    const Runner copy = runner;
    EXPECT_TRUE(copy.execute("quick").status.is_success());
    EXPECT_EQ(sql_.value(connections), "2");
  }
  EXPECT_TRUE(eventually([&] { return sql_.value(connections) == "0"; }));
}

TEST_F(Shutdown, TheLastHandleMayEndInAHandler) {
  const Gate gate;
  auto held = std::make_shared<std::optional<Runner>>();
  {
    auto runner = Runner::with_schema("application_name=in_handler", tenant_, {.log = log_.hook()});
    runner.add(one_task("drops_it", [held, gate](TaskContext&) {
      gate.wait();
      held->reset();
    }));
    runner.execute_async("drops_it");
    gate.wait_for_arrivals(1);
    *held = runner;
  }
  gate.open();
  EXPECT_TRUE(eventually([&] {
    return sql_.value("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'in_handler'") == "0";
  }));
}

}  // namespace
