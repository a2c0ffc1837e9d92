// Executions on an undisturbed server: round trips, graphs, contexts, failures, handles.
#include "client_test.hpp"

#include <atomic>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace insula_test;
using namespace insula;

class Execute : public ClientTest {};

TEST_F(Execute, ComesBackWithTheResult) {
  auto runner = make_runner();
  EXPECT_EQ(runner.add(one_task("double_it",
                                [this](TaskContext& ctx) {
                                  EXPECT_EQ(ctx.tenant(), tenant_);
                                  EXPECT_EQ(ctx.attempt(), 1);
                                  EXPECT_EQ(ctx.version(), 1);
                                  ctx.set("twice", 2 * ctx.at<int>("n"));
                                })),
            1);
  const Result result = runner.execute("double_it", {{"n", 21}, {"text", "ü \" \\ \n"}});
  EXPECT_TRUE(result.status.is_success());
  EXPECT_EQ(result.workflow, "double_it");
  EXPECT_EQ(result.version, 1);
  EXPECT_EQ(result.final_context.at<int>("twice"), 42);
  EXPECT_EQ(result.final_context.at<std::string>("text"), "ü \" \\ \n");
  EXPECT_EQ(result.error, "");
  ASSERT_EQ(result.tasks.size(), 1U);
  EXPECT_EQ(result.tasks[0].task, "only");
  EXPECT_EQ(result.tasks[0].status, Status::completed);
  EXPECT_EQ(result.tasks[0].attempt, 1);
  EXPECT_EQ(status_of(result.execution_id), "completed");
  EXPECT_TRUE(runner.shutdown().clean());
}

TEST_F(Execute, RunsAGraphInOrderAndMergesItsContexts) {
  std::mutex mutex;
  std::vector<std::string> order;
  const auto step = [&](const std::string& name, std::function<void(TaskContext&)> body) {
    return [&, name, body](TaskContext& ctx) {
      body(ctx);
      const std::lock_guard lock{mutex};
      order.push_back(name);
    };
  };
  auto runner = make_runner();
  runner.add(Workflow::builder("diamond")
                 .task("bottom",
                       step("bottom",
                            [](TaskContext& ctx) {
                              const auto sides = ctx.at<Context>("sides");
                              ctx.set("sum", sides.at<int>("left") + sides.at<int>("right"));
                              ctx.erase("scratch");
                            }),
                       {.depends_on = {"left", "right"}})
                 .task("left",
                       step("left",
                            [](TaskContext& ctx) {
                              ctx.set("sides", Context{{"left", ctx.at<int>("base") + 1}});
                            }),
                       {.depends_on = {"top"}})
                 .task("right",
                       step("right",
                            [](TaskContext& ctx) {
                              ctx.set("sides", Context{{"right", ctx.at<int>("base") + 2}});
                            }),
                       {.depends_on = {"top"}})
                 .task("top", step("top", [](TaskContext& ctx) { ctx.set("base", 10).set("scratch", true); }))
                 .build());
  const Result result = runner.execute("diamond", {{"input", 1}});
  ASSERT_TRUE(result.status.is_success()) << result.error;
  EXPECT_EQ(result.final_context.to_json(), R"({"base":10,"input":1,"sides":{"left":11,"right":12},"sum":23})");
  ASSERT_EQ(order.size(), 4U);
  EXPECT_EQ(order.front(), "top");
  EXPECT_EQ(order.back(), "bottom");
  ASSERT_EQ(result.tasks.size(), 4U);
  EXPECT_EQ(result.tasks.front().task, "top");
  EXPECT_EQ(result.tasks.back().task, "bottom");
}

TEST_F(Execute, IndependentTasksRunAtTheSameTime) {
  const Gate gate;
  auto runner = make_runner({.max_concurrent_tasks = 3});
  const auto meet = [gate](TaskContext&) {
    gate.arrive();
    gate.wait_for_arrivals(3);
  };
  runner.add(Workflow::builder("meeting").task("a", meet).task("b", meet).task("c", meet).build());
  EXPECT_TRUE(runner.execute("meeting").status.is_success());
}

TEST_F(Execute, AThrowIsTriedAgain) {
  auto runner = make_runner();
  runner.add(one_task("flaky", [](TaskContext& ctx) {
    ctx.set("from", ctx.attempt());
    if (ctx.attempt() == 1) throw std::runtime_error{"first time unlucky"};
    EXPECT_EQ(ctx.max_attempts(), 3);
  }));
  const Result result = runner.execute("flaky");
  EXPECT_TRUE(result.status.is_success());
  EXPECT_EQ(result.final_context.at<int>("from"), 2);
  EXPECT_EQ(result.tasks.at(0).attempt, 2);
}

TEST_F(Execute, APermanentErrorIsNot) {
  std::atomic<int> runs{0};
  auto runner = make_runner();
  runner.add(Workflow::builder("hopeless")
                 .task("first",
                       [&](TaskContext&) {
                         ++runs;
                         throw permanent_error{"no such customer"};
                       })
                 .task("second", [&](TaskContext&) { ++runs; }, {.depends_on = {"first"}})
                 .build());
  const Result result = runner.execute("hopeless", {{"n", 1}});
  EXPECT_EQ(result.status, Status::failed);
  EXPECT_NE(result.error.find("no such customer"), std::string::npos) << result.error;
  EXPECT_EQ(result.tasks.at(0).status, Status::failed);
  EXPECT_EQ(result.tasks.at(0).error, "no such customer");
  EXPECT_EQ(runs, 1);
}

TEST_F(Execute, ADeferredTaskStartsAgainWithWhatItSet) {
  auto runner = make_runner();
  runner.add(one_task("patient", [](TaskContext& ctx) {
    if (!ctx.contains("asked")) {
      ctx.set("asked", true);
      ctx.defer_until(200ms);
      return;
    }
    if (!ctx.contains("again")) {
      ctx.set("again", true);
      ctx.defer_until(std::chrono::system_clock::now() + 100ms);
      return;
    }
    ctx.set("attempt", ctx.attempt());
  }));
  const Result result = runner.execute("patient");
  EXPECT_TRUE(result.status.is_success());
  EXPECT_EQ(result.final_context.at<int>("attempt"), 1) << "a deferral uses no attempt";
}

TEST_F(Execute, AHandleWaitsAndLooks) {
  const Gate gate;
  auto runner = make_runner();
  runner.add(one_task("slow", [gate](TaskContext&) { gate.wait(); }));
  const Execution execution = runner.execute_async("slow");
  gate.wait_for_arrivals(1);
  EXPECT_EQ(execution.status(), Status::running);
  EXPECT_FALSE(execution.wait_for(20ms));
  EXPECT_EQ(execution.result().tasks.at(0).status, Status::running);
  gate.open();
  EXPECT_TRUE(execution.wait().status.is_success());
  EXPECT_TRUE(execution.wait_for(0ms)->status.is_success());
  EXPECT_EQ(execution.status(), Status::completed);
  EXPECT_FALSE(execution.cancel());
}

TEST_F(Execute, ACancelReachesTheHandler) {
  const Gate gate;
  std::atomic<StopReason> reason{StopReason::none};
  auto runner = make_runner({.lease = 1h});  // it does not wait for the next heartbeat
  runner.add(one_task("endless", [&, gate](TaskContext& ctx) {
    gate.wait(ctx.stop_token());
    reason = ctx.stop_reason();
    ctx.throw_if_stopped();
  }));
  const Execution execution = runner.execute_async("endless");
  gate.wait_for_arrivals(1);
  EXPECT_TRUE(execution.cancel("changed my mind"));
  const Result result = execution.wait();
  EXPECT_EQ(result.status, Status::cancelled);
  EXPECT_TRUE(eventually([&] { return reason == StopReason::cancelled; }));
}

TEST_F(Execute, APauseReachesTheHandlerAndCostsNoAttempt) {
  const Gate gate;
  auto runner = make_runner({.lease = 6s});
  runner.add(one_task("halted", [gate](TaskContext& ctx) {
    gate.wait(ctx.stop_token());
    ctx.throw_if_stopped();
    ctx.set("attempt", ctx.attempt());
  }));
  const Execution execution = runner.execute_async("halted");
  const std::string id = std::to_string(execution.id());
  gate.wait_for_arrivals(1);
  EXPECT_EQ(sql_.value("SELECT insula.pause($1)", {id}), "t");
  EXPECT_TRUE(eventually(
      [&] { return sql_.value("SELECT tasks->0->>'status' = 'running' FROM insula.result($1)", {id}) == "f"; }));
  gate.open();
  EXPECT_EQ(sql_.value("SELECT insula.resume($1)", {id}), "t");
  const Result result = execution.wait();
  EXPECT_TRUE(result.status.is_success());
  EXPECT_EQ(result.final_context.at<int>("attempt"), 1);
}

TEST_F(Execute, AnotherRunnerMayDoTheWork) {
  auto worker = make_runner();
  worker.add(one_task("shared", [](TaskContext& ctx) { ctx.set("done", true); }));
  auto submitter = make_runner();  // has no handler of its own
  EXPECT_NE(worker.worker(), submitter.worker());
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(submitter.execute("shared").final_context.at<bool>("done"));
}

TEST_F(Execute, ARunnerMayHaveManyWorkflowsAndChangeThem) {
  auto runner = make_runner();
  EXPECT_EQ(runner.add(one_task("one", [](TaskContext& ctx) { ctx.set("by", 1); })), 1);
  EXPECT_EQ(runner.execute("one").final_context.at<int>("by"), 1);
  EXPECT_EQ(runner.add(one_task("two", [](TaskContext& ctx) { ctx.set("by", 2); })), 1);
  EXPECT_EQ(runner.execute("two").final_context.at<int>("by"), 2);
  EXPECT_EQ(runner.add(one_task("one", [](TaskContext& ctx) { ctx.set("by", 3); })), 1) << "the same definition";
  EXPECT_EQ(runner.execute("one").final_context.at<int>("by"), 3);
  EXPECT_EQ(runner.add(Workflow::builder("one").task("other", [](TaskContext& ctx) { ctx.set("by", 4); }).build()), 2);
  EXPECT_EQ(runner.execute("one").final_context.at<int>("by"), 4);
}

TEST_F(Execute, AnIdempotencyKeyStartsOnce) {
  auto runner = make_runner();
  runner.add(one_task("once", [](TaskContext&) {}));
  const auto first = runner.execute_async("once", {{"n", 1}}, {.idempotency_key = "order-42"});
  const auto second = runner.execute_async("once", {{"n", 2}}, {.idempotency_key = "order-42"});
  EXPECT_EQ(first.id(), second.id());
  EXPECT_EQ(second.wait().final_context.at<int>("n"), 1);
}

TEST_F(Execute, BadInputIsATypedError) {
  auto runner = make_runner();
  const error unknown = error_of([&] { runner.execute("unregistered"); });
  EXPECT_EQ(unknown.code(), errc::not_found);
  EXPECT_EQ(unknown.sqlstate(), "IS002");
  EXPECT_FALSE(unknown.retryable());
  runner.add(one_task("fine", [](TaskContext&) {}));
  EXPECT_EQ(error_of([&] { runner.execute("fine", {{"bad", "\xff"}}); }).code(), errc::invalid);
  EXPECT_EQ(error_of([&] { runner.execute("fine", {}, {.priority = 1'000'000}); }).code(), errc::invalid);
  EXPECT_TRUE(runner.execute("fine").status.is_success());
  EXPECT_EQ(error_of([] { Runner::with_schema("", "No Such Name"); }).code(), errc::invalid);
}

TEST_F(Execute, WaitingForOneselfIsRefused) {
  auto runner = make_runner();
  runner.add(one_task("child", [](TaskContext&) {}));
  std::vector<errc> codes;
  std::int64_t child = 0;
  runner.add(one_task("parent", [&](TaskContext&) {
    Runner same = runner;
    codes.push_back(error_of([&] { same.execute("child"); }).code());
    codes.push_back(error_of([&] { same.shutdown(); }).code());
    const Execution execution = same.execute_async("child");
    codes.push_back(error_of([&] { execution.wait(); }).code());
    child = execution.id();
  }));
  EXPECT_TRUE(runner.execute("parent").status.is_success());
  EXPECT_EQ(codes, (std::vector<errc>(3, errc::would_deadlock)));
  EXPECT_TRUE(eventually([&] { return status_of(child) == "completed"; })) << "to start without waiting is fine";
}

TEST_F(Execute, ManyThreadsShareARunner) {
  auto runner = make_runner();
  runner.add(one_task("echo", [](TaskContext& ctx) { ctx.set("out", ctx.at<int>("in")); }));
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t, copy = runner] {
      for (int i = 0; i < 6; ++i)
        right += copy.execute("echo", {{"in", t * 100 + i}}).final_context.at<int>("out") == t * 100 + i;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(right, 48);
}

TEST_F(Execute, ManyAreStartedTogether) {
  auto runner = make_runner();
  runner.add(one_task("many", [](TaskContext& ctx) { ctx.set("out", ctx.at<std::string>("in")); }));
  std::vector<Context> contexts;
  for (int i = 0; i < 500; ++i) contexts.push_back({{"in", std::to_string(i) + " \" \\ {,}"}});
  const auto executions = runner.submit_many("many", contexts, {.priority = 3});
  const auto results = wait_all(executions);
  ASSERT_EQ(results.size(), contexts.size());
  for (std::size_t i = 0; i < results.size(); ++i)
    EXPECT_EQ(results[i].final_context.at<std::string>("out"), contexts[i].at<std::string>("in"));
  EXPECT_EQ(sql_.value("SELECT count(*) FROM " + tenant_ + ".workflow_executions WHERE priority = 3"), "500");
  EXPECT_TRUE(runner.submit_many("many", {}).empty());
}

TEST_F(Execute, ManyWithKeysAreStartedOnce) {
  auto runner = make_runner();
  runner.add(one_task("many", [](TaskContext&) {}));
  const std::vector<Context> contexts(3);
  const auto ids = [&](std::vector<std::string> keys) {
    std::vector<std::int64_t> ids;
    for (const Execution& one : runner.submit_many("many", contexts, {.idempotency_keys = std::move(keys)}))
      ids.push_back(one.id());
    return ids;
  };
  const auto first = ids({"a", "", "b"});
  const auto second = ids({"b", "", "a"});
  EXPECT_EQ(second[0], first[2]);
  EXPECT_NE(second[1], first[1]) << "without a key";
  EXPECT_EQ(second[2], first[0]);
}

TEST_F(Execute, OfManyNoneIsStartedIfOneCannotBe) {
  auto runner = make_runner();
  runner.add(one_task("many", [](TaskContext&) {}));
  const std::vector<Context> contexts(2);
  EXPECT_EQ(error_of([&] { runner.submit_many("unregistered", contexts); }).code(), errc::not_found);
  EXPECT_EQ(error_of([&] { runner.submit_many("many", contexts, {.idempotency_keys = {"one"}}); }).code(),
            errc::invalid);
  EXPECT_EQ(error_of([&] { runner.submit_many("many", contexts, {.traceparent = "none"}); }).code(), errc::invalid);
  sql_.rows("SELECT insula.set_tenant_limits($1, max_queued => 1)", {tenant_});
  EXPECT_EQ(error_of([&] { runner.submit_many("many", contexts); }).code(), errc::limit);
  EXPECT_EQ(sql_.value("SELECT count(*) FROM " + tenant_ + ".workflow_executions"), "0");
}

TEST_F(Execute, AThousandHandlesWaitOverTwoConnections) {
  constexpr int count = 1'000;
  const Gate gate;
  sql_.value("SELECT tenant FROM insula.create_tenant($1, schema_name => $1, login => false)", {tenant_});
  auto runner =
      Runner::with_schema("application_name=thousand", tenant_, {.max_concurrent_tasks = 16, .log = log_.hook()});
  std::atomic<int> runs{0};
  runner.add(one_task("bulk", [&, gate](TaskContext& ctx) {
    gate.wait();
    ++runs;
    ctx.set("out", ctx.at<int>("in"));
  }));
  std::vector<Execution> executions;
  for (int i = 0; i < count; ++i) executions.push_back(runner.execute_async("bulk", {{"in", i}}));
  gate.wait_for_arrivals(16);
  std::vector<Result> results;
  std::thread waiter{[&] { results = wait_all(executions); }};
  // All the while there are two connections, and one of them is parked.
  const std::string connections = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'thousand'";
  EXPECT_EQ(sql_.value(connections), "2");
  gate.open();
  EXPECT_TRUE(eventually(
      [&] {
        EXPECT_EQ(sql_.value(connections), "2");
        return runs == count;
      },
      5 * patience));
  waiter.join();
  ASSERT_EQ(results.size(), executions.size());
  for (int i = 0; i < count; ++i) {
    EXPECT_EQ(results[static_cast<std::size_t>(i)].execution_id, executions[static_cast<std::size_t>(i)].id());
    EXPECT_EQ(results[static_cast<std::size_t>(i)].final_context.at<int>("out"), i);
  }
  EXPECT_EQ(runs, count) << "each ran once";
  EXPECT_TRUE(runner.shutdown().clean());
  EXPECT_TRUE(eventually([&] { return sql_.value(connections) == "0"; }));
}

}  // namespace
