// What callers ask of a runtime: from which threads, for how long, and how many together.
#include "client_test.hpp"

#include <sys/resource.h>

#include <atomic>
#include <fstream>
#include <future>
#include <thread>

namespace {

using namespace insula_test;
using namespace insula;

constexpr auto for_ever = std::chrono::milliseconds::max();

class Calls : public ClientTest {
 protected:
  void TearDown() override { sql_.rows("SELECT insula.drop_tenant($1, '0 s')", {tenant_}); }
};

TEST_F(Calls, AStopCallbackMayAskTheRunner) {
  auto runner = make_runner();
  const Gate gate;
  std::atomic<std::int64_t> asked{0};
  std::promise<std::string> seen;
  std::promise<errc> refused;
  runner.add(one_task("w", [&, gate](TaskContext& ctx) {
    const std::stop_callback callback{ctx.stop_token(), [&] {
                                        const Execution self = runner.execution(asked);
                                        seen.set_value(std::string{self.status().name()});
                                        refused.set_value(error_of([&] { self.wait(); }).code());
                                      }};
    gate.wait(ctx.stop_token());
    ctx.throw_if_stopped();
  }));
  const Execution execution = runner.execute_async("w");
  asked = execution.id();
  gate.wait_for_arrivals(1);
  EXPECT_TRUE(execution.cancel());
  EXPECT_EQ(seen.get_future().get(), "cancelled");
  EXPECT_EQ(refused.get_future().get(), errc::would_deadlock) << "to wait for the runtime in one of its threads";
  EXPECT_TRUE(runner.shutdown().clean());
}

TEST_F(Calls, AnObserverOnTheIoThreadIsRefused) {
  struct Curious : Observer {
    void connection_lost(std::string_view, const error&) override {
      const Runner* asked = runner;
      if (!asked) return;
      code = error_of([&] { asked->execution(1).status(); }).code();
      waited = error_of([&] { asked->execution(1).wait_for(1s); }).code();
    }
    std::atomic<const Runner*> runner{nullptr};
    std::atomic<errc> code{errc::server};
    std::atomic<errc> waited{errc::server};
  };
  const auto observer = std::make_shared<Curious>();
  auto runner = Runner::with_schema("application_name=curious", tenant_, {.log = log_.hook(), .observer = observer});
  observer->runner = &runner;
  sql_.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'curious'");
  EXPECT_TRUE(eventually([&] { return observer->waited == errc::would_deadlock; }));
  EXPECT_EQ(observer->code, errc::would_deadlock);
  EXPECT_TRUE(runner.shutdown().clean());
}

TEST_F(Calls, ForEverIsNotNotAtAll) {
  auto runner = make_runner({.connect_timeout = for_ever, .call_timeout = for_ever});
  const Gate gate;
  runner.add(one_task("w", [gate](TaskContext& ctx) {
    if (ctx.event()) return;
    ctx.transaction();
    gate.wait();
    ctx.wait_event("go", for_ever);
  }));
  const Execution execution = runner.execute_async("w");
  auto waited = std::async(std::launch::async, [&] { return execution.wait_for(for_ever); });
  gate.wait_for_arrivals(1);
  EXPECT_EQ(waited.wait_for(50ms), std::future_status::timeout);
  gate.open();
  EXPECT_TRUE(eventually([&] { return execution.result().tasks.at(0).status == Status::waiting; }));
  EXPECT_TRUE(execution.send_event("go"));
  EXPECT_TRUE(waited.get()->status.is_success());

  const Gate last;
  runner.add(one_task("last", [last](TaskContext&) { last.wait(); }));
  const Execution running = runner.execute_async("last");
  last.wait_for_arrivals(1);
  auto report =
      std::async(std::launch::async, [&] { return runner.shutdown({.drain = for_ever, .cancel = for_ever}); });
  EXPECT_EQ(report.wait_for(50ms), std::future_status::timeout);
  last.open();
  EXPECT_EQ(report.get().finished, 1U);
  EXPECT_EQ(status_of(running.id()), "completed");
  EXPECT_EQ(error_of([&] {
              make_runner().execute_async("w", {}, {.run_at = std::chrono::system_clock::now(), .delay = for_ever});
              throw error{errc::invalid, "taken"};
            }).what(),
            std::string{"taken"});
}

// In definitions, outcomes of handlers, choices of executions, and calls of an administrator.
TEST_F(Calls, ForEverIsAsLongAsCanBe) {
  auto runner = make_runner();
  runner.add(Workflow::builder("w")
                 .timeout(for_ever)
                 .task("only",
                       [](TaskContext& ctx) {
                         if (ctx.attempt() == 1) throw std::runtime_error{"once more"};
                       },
                       {.retry = {.initial_delay = 1ms, .max_delay = for_ever}, .timeout = for_ever})
                 .build());
  runner.add(Workflow::builder("deferred").task("only", [](TaskContext&) { return defer_for(for_ever); }).build());
  runner.add(one_task("later", [](TaskContext&) { throw retry_after{for_ever, "not in our time"}; }));
  EXPECT_TRUE(runner.execute("w").status.is_success());
  const Execution deferred = runner.execute_async("deferred");
  const Execution later = runner.execute_async("later");
  EXPECT_TRUE(eventually([&] { return deferred.result().tasks.at(0).status == Status::waiting; }));
  EXPECT_TRUE(eventually([&] { return later.result().tasks.at(0).error == "not in our time"; }));
  EXPECT_EQ(later.result().tasks.at(0).status, Status::ready) << "and no attempt of it is running";
  const Executions all = runner.executions();
  EXPECT_TRUE(all.cancel({.older_than = for_ever}).empty());
  EXPECT_EQ(all.failures("later", for_ever).size(), 1U);
  EXPECT_EQ(all.cancel({}).size(), 2U);
  DatabaseAdmin admin{""};
  const std::string other = admin.create_tenant({.tenant = tenant_ + "_x"}).tenant;
  EXPECT_TRUE(admin.upgrade_tenants(std::nullopt, for_ever).empty());
  admin.drop_tenant(other, for_ever);
  EXPECT_FALSE(admin.find_tenant(other));
}

// As many threads as there is room for are not as many as were asked for.
TEST_F(Calls, ToAddFailsWhereNotAllThreadsCanBeMade) {
  auto runner = make_runner({.max_concurrent_tasks = 10'000});
  std::ifstream statm{"/proc/self/statm"};
  rlim_t pages = 0;
  statm >> pages;
  rlimit before{};
  getrlimit(RLIMIT_AS, &before);
  rlimit narrow = before;
  narrow.rlim_cur = pages * 4096 + (512U << 20U);
  setrlimit(RLIMIT_AS, &narrow);
  const error e = error_of([&] { runner.add(one_task("w", [](TaskContext&) {})); });
  setrlimit(RLIMIT_AS, &before);
  EXPECT_EQ(e.code(), errc::limit) << e.what();
  EXPECT_NE(std::string{e.what()}.find("threads"), std::string::npos) << e.what();
  EXPECT_TRUE(e.retryable());
  EXPECT_TRUE(runner.shutdown().clean());
}

TEST_F(Calls, ACancelThroughTheSameRunnerStopsItsHandlerAtOnce) {
  auto runner = make_runner({.lease = 10min});
  const Gate gate;
  std::atomic<StopReason> reason{StopReason::none};
  runner.add(one_task("w", [&, gate](TaskContext& ctx) {
    gate.wait(ctx.stop_token());
    reason = ctx.stop_reason();
    ctx.throw_if_stopped();
  }));
  const Execution execution = runner.execute_async("w");
  gate.wait_for_arrivals(1);
  EXPECT_TRUE(execution.cancel());
  EXPECT_TRUE(eventually([&] { return reason == StopReason::cancelled; }));
  EXPECT_TRUE(runner.shutdown().clean());
}

TEST_F(Calls, ARetryIsKnownToEveryHandle) {
  auto runner = make_runner();
  std::atomic<bool> works{false};
  runner.add(Workflow::builder("w")
                 .task("only",
                       [&](TaskContext&) {
                         if (!works) throw permanent_error{"not yet"};
                       })
                 .build());
  const Execution execution = runner.execute_async("w");
  const Execution other = runner.execution(execution.id());
  EXPECT_EQ(execution.wait().status, Status::failed);
  EXPECT_EQ(other.wait().status, Status::failed);
  works = true;
  EXPECT_TRUE(execution.retry());
  EXPECT_EQ(other.wait().status, Status::completed);
  EXPECT_EQ(execution.wait().status, Status::completed);
}

TEST_F(Calls, SubmitsOfManyThreadsGoOutTogether) {
  auto runner = make_runner();
  sql_.value("SELECT insula.register_workflow('{\"name\": \"w\", \"tasks\": [{\"id\": \"a\"}]}', tenant => $1)",
             {tenant_});
  constexpr int threads = 16;
  constexpr int each = 50;
  std::vector<std::thread> callers;
  std::atomic<int> refused{0};
  for (int i = 0; i < threads; ++i)
    callers.emplace_back([&, i] {
      for (int n = 0; n < each; ++n) {
        runner.execute_async("w", {{"caller", i}, {"n", n}});
        if (i == 0 && n % 10 == 0) refused += error_of([&] { runner.execute_async("unknown"); }).sqlstate() == "IS002";
      }
    });
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(refused, each / 10) << "one that is refused takes nothing else along";
  EXPECT_EQ(sql_.value("SELECT count(DISTINCT context) FROM " + tenant_ + ".workflow_executions"),
            std::to_string(threads * each));
  const int commits = std::stoi(sql_.value("SELECT count(DISTINCT xmin::text) FROM " + tenant_ + ".work"));
  EXPECT_LT(commits, threads * each / 2);
}

TEST_F(Calls, AnObserverLearnsWhichFailureIsFinal) {
  struct Failures : Observer {
    void task_ended(const TaskContext& task, const TaskEnd& end) override {
      const std::lock_guard lock{mutex};
      seen += std::to_string(task.attempt()) + (end.final ? "! " : " ");
    }
    std::mutex mutex;
    std::string seen;
  };
  const auto observer = std::make_shared<Failures>();
  auto runner = make_runner({.observer = observer});
  runner.add(Workflow::builder("w")
                 .task("only", [](TaskContext&) { throw std::runtime_error{"no"}; },
                       {.retry = {.max_attempts = 2, .initial_delay = 1ms}})
                 .build());
  EXPECT_EQ(runner.execute("w").status, Status::failed);
  EXPECT_TRUE(runner.shutdown().clean());
  EXPECT_EQ(observer->seen, "1 2! ");
}

TEST_F(Calls, AnObserverLearnsThatAnOutcomeCameTooLate) {
  struct Late : Observer {
    void task_ended(const TaskContext&, const TaskEnd& end) override { ended = end.outcome; }
    void outcome_refused(const LostTask& lost) override {
      const std::lock_guard lock{mutex};
      task = lost.tenant + "." + lost.workflow + "." + lost.task;
      execution = lost.execution_id;
    }
    std::atomic<TaskOutcome> ended{TaskOutcome::put_off};
    std::mutex mutex;
    std::string task;
    std::int64_t execution = 0;
  };
  const auto observer = std::make_shared<Late>();
  auto runner = make_runner({.observer = observer});
  const Gate gate;
  runner.add(one_task("w", [gate](TaskContext& ctx) {
    if (ctx.attempt() == 1) gate.wait();
  }));
  const Execution execution = runner.execute_async("w");
  gate.wait_for_arrivals(1);
  sql_.rows("UPDATE " + tenant_ + ".work SET lease = lease + 1 WHERE lease IS NOT NULL");
  gate.open();
  EXPECT_TRUE(eventually([&] {
    const std::lock_guard lock{observer->mutex};
    return observer->task == tenant_ + ".w.only" && observer->execution == execution.id();
  })) << log_.text();
  EXPECT_EQ(observer->ended, TaskOutcome::completed) << "all that was known then";
  sql_.rows("SELECT insula.leave($1)", {runner.worker()});
  EXPECT_TRUE(execution.wait().status.is_success());
}

}  // namespace
