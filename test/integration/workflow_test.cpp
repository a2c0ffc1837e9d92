// The features of definitions and handlers, through the client: rules, retries,
// timeouts, limits, parameters, fan-outs, events, children.
#include "client_test.hpp"

#include <atomic>
#include <mutex>
#include <set>

namespace {

using namespace insula_test;
using namespace insula;

class Workflows : public ClientTest {};

void nothing(TaskContext&) {}

TEST_F(Workflows, ARuleDecidesWhichTasksRun) {
  auto runner = make_runner();
  runner.add(Workflow::builder("order")
                 .task("charge",
                       [](TaskContext& ctx) {
                         if (ctx.at<int>("total") > 100) throw permanent_error{"too much"};
                       })
                 .task("ship", [](TaskContext&) { return "sent"; }, {.depends_on = {"charge"}})
                 .task("refund", [](TaskContext&) { return "paid back"; },
                       {.depends_on = {"charge"}, .trigger_rule = TriggerRule::task_failed("charge")})
                 .task("report", [](TaskContext&) { return true; },
                       {.depends_on = {"ship", "refund"},
                        .trigger_rule = TriggerRule::any(
                            {TriggerRule::task_success("refund"),
                             TriggerRule::all({TriggerRule::task_success("ship"),
                                               TriggerRule::context_value("$.total", Comparison::greater_than, 10)})})})
                 .build());
  const Result small = runner.execute("order", {{"total", 5}});
  EXPECT_EQ(small.final_context, (Context{{"total", 5}, {"ship", "sent"}}));
  const Result usual = runner.execute("order", {{"total", 50}});
  EXPECT_EQ(usual.final_context, (Context{{"total", 50}, {"ship", "sent"}, {"report", true}}));
  const Result large = runner.execute("order", {{"total", 500}});
  EXPECT_TRUE(large.status.is_success()) << "its failure was dealt with";
  EXPECT_EQ(large.final_context, (Context{{"total", 500}, {"refund", "paid back"}, {"report", true}}));
}

TEST_F(Workflows, RetriesByPolicy) {
  auto runner = make_runner();
  const RetryPolicy quick{.max_attempts = 5,
                          .backoff = Backoff::fixed,
                          .initial_delay = 1ms,
                          .jitter = false,
                          .condition = RetryCondition::matching({"try again"})};
  runner.add(Workflow::builder("stubborn")
                 .task("only",
                       [](TaskContext& ctx) {
                         if (ctx.attempt() < ctx.at<int>("until")) throw std::runtime_error{ctx.at<std::string>("why")};
                         return ctx.attempt();
                       },
                       {.retry = quick})
                 .build());
  EXPECT_EQ(runner.execute("stubborn", {{"until", 4}, {"why", "Try Again"}}).final_context.at<int>("only"), 4);
  const Result never = runner.execute("stubborn", {{"until", 4}, {"why", "hopeless"}});
  EXPECT_EQ(never.status, Status::failed);
  EXPECT_EQ(never.tasks.at(0).attempt, 1);
  EXPECT_EQ(never.tasks.at(0).error, "hopeless");
  EXPECT_EQ(runner.execute("stubborn", {{"until", 6}, {"why", "try again"}}).tasks.at(0).attempt, 5);
}

TEST_F(Workflows, NotNowUsesNoAttempt) {
  std::atomic<int> runs{0};
  auto runner = make_runner();
  runner.add(one_task("later", [&](TaskContext& ctx) {
    if (++runs < 5) throw retry_after::without_attempt(1ms, "rate limited");
    ctx.set("attempt", ctx.attempt());
  }));
  EXPECT_EQ(runner.execute("later").final_context.at<int>("attempt"), 1);
  EXPECT_EQ(runs, 5);
}

TEST_F(Workflows, ATimeoutStopsTheHandlerOnTime) {
  const Gate gate;
  std::atomic<StopReason> reason{StopReason::none};
  std::atomic<bool> had_deadline{false};
  auto runner = make_runner({.lease = 1h});  // so that no heartbeat brings the news
  runner.add(Workflow::builder("slow")
                 .task("only",
                       [&, gate](TaskContext& ctx) {
                         had_deadline = ctx.deadline().has_value();
                         gate.wait(ctx.stop_token());
                         reason = ctx.stop_reason();
                         ctx.throw_if_stopped();
                       },
                       {.retry = {.max_attempts = 1}, .timeout = 300ms})
                 .build());
  const Result result = runner.execute("slow");
  EXPECT_EQ(result.status, Status::failed);
  EXPECT_TRUE(eventually([&] { return reason == StopReason::timeout; }));
  EXPECT_TRUE(had_deadline);
}

TEST_F(Workflows, AnExecutionHasATimeToo) {
  const Gate gate;
  auto runner = make_runner({.lease = 1s});
  runner.add(Workflow::builder("bounded")
                 .timeout(300ms)
                 .task("only",
                       [gate](TaskContext& ctx) {
                         gate.wait(ctx.stop_token());
                         ctx.throw_if_stopped();
                       })
                 .build());
  EXPECT_EQ(runner.execute("bounded").status, Status::failed);
}

TEST_F(Workflows, ALimitHoldsForEachKey) {
  std::mutex mutex;
  std::multiset<int> running;
  std::atomic<bool> too_many{false};
  auto runner = make_runner({.max_concurrent_tasks = 8});
  runner.add(Workflow::builder("limited")
                 .limit(1, "$.customer")
                 .task("only",
                       [&](TaskContext& ctx) {
                         const int customer = ctx.at<int>("customer");
                         {
                           const std::lock_guard lock{mutex};
                           running.insert(customer);
                           if (running.count(customer) > 1) too_many = true;
                         }
                         std::this_thread::yield();
                         const std::lock_guard lock{mutex};
                         running.erase(running.find(customer));
                       })
                 .build());
  std::vector<Execution> executions;
  for (int i = 0; i < 30; ++i) executions.push_back(runner.execute_async("limited", {{"customer", i % 3}}));
  for (const Result& result : wait_all(executions)) EXPECT_TRUE(result.status.is_success());
  EXPECT_FALSE(too_many);
}

TEST_F(Workflows, ParametersAreDeclared) {
  auto runner = make_runner();
  runner.add(Workflow::builder("declared")
                 .param("n", ParamType::integer, {.required = true})
                 .param("mode", ParamType::string, {.default_value = "fast"})
                 .task("only", nothing)
                 .build());
  EXPECT_EQ(runner.execute("declared", {{"n", 1}}).final_context, (Context{{"n", 1}, {"mode", "fast"}}));
  EXPECT_EQ(error_of([&] { runner.execute("declared"); }).code(), errc::invalid);
  EXPECT_EQ(error_of([&] { runner.execute("declared", {{"n", "1"}}); }).code(), errc::invalid);
}

TEST_F(Workflows, ATaskForEachElement) {
  auto runner = make_runner();
  runner.add(Workflow::builder("sum")
                 .task("square",
                       [](TaskContext& ctx) {
                         const int n = ctx.item().as<int>().value();
                         EXPECT_EQ(ctx.at<int>("number"), n);
                         ctx.set("squared", n * n);
                       },
                       {.for_each = ForEach{.items = "$.numbers", .as = "number"}})
                 .task("add",
                       [](TaskContext& ctx) {
                         int sum = 0;
                         for (const Context& each : ctx.at<std::vector<Context>>("square"))
                           sum += each.at<int>("squared");
                         return sum;
                       },
                       {.depends_on = {"square"}})
                 .build());
  EXPECT_EQ(runner.execute("sum", {{"numbers", std::vector<int>{1, 2, 3}}}).final_context.at<int>("add"), 14);
}

TEST_F(Workflows, ATaskWaitsForItsEvent) {
  auto runner = make_runner();
  runner.add(one_task("approval", [](TaskContext& ctx) {
    if (!ctx.event()) {
      ctx.set("asked", true);
      return ctx.wait_event("approved");
    }
    ctx.set("by", ctx.event()->payload.as<Context>().value().at<std::string>("by"));
    ctx.set("attempt", ctx.attempt());
  }));
  const Execution execution = runner.execute_async("approval");
  EXPECT_TRUE(eventually([&] { return execution.result().tasks.at(0).status == Status::waiting; }));
  EXPECT_NE(execution.explain().at(0).why.find("approved"), std::string::npos);
  EXPECT_TRUE(execution.send_event("approved", Context{{"by", "Ada"}}));
  const Result result = execution.wait();
  EXPECT_EQ(result.final_context, (Context{{"asked", true}, {"by", "Ada"}, {"attempt", 1}}));
  EXPECT_FALSE(execution.send_event("approved")) << "it has ended";
}

TEST_F(Workflows, AnEventMayNotCome) {
  auto runner = make_runner();
  runner.add(one_task("approval", [](TaskContext& ctx) {
    if (!ctx.event()) return ctx.wait_event("approved", 50ms);
    ctx.set("timed_out", ctx.event()->timed_out);
  }));
  EXPECT_TRUE(runner.execute("approval").final_context.at<bool>("timed_out"));
}

TEST_F(Workflows, ATaskGoesOnAsAChild) {
  auto runner = make_runner();
  runner.add(one_task("child", [](TaskContext& ctx) { ctx.set("twice", 2 * ctx.at<int>("n")); }));
  runner.add(Workflow::builder("parent")
                 .task("ask",
                       [](TaskContext& ctx) {
                         ctx.submit_child("child", {{"n", ctx.at<int>("n")}});
                       })
                 .task("use", [](TaskContext& ctx) { return ctx.at<Context>("ask").at<int>("twice") + 1; },
                       {.depends_on = {"ask"}})
                 .build());
  EXPECT_EQ(runner.execute("parent", {{"n", 4}}).final_context.at<int>("use"), 9);
  runner.add(one_task("orphan", [](TaskContext& ctx) { ctx.submit_child("unregistered"); }));
  const Result orphan = runner.execute("orphan");
  EXPECT_EQ(orphan.status, Status::failed);
  EXPECT_NE(orphan.error.find("unregistered"), std::string::npos) << orphan.error;
}

TEST_F(Workflows, AHandleControlsItsExecution) {
  std::atomic<bool> broken{true};
  auto runner = make_runner();
  runner.add(Workflow::builder("w")
                 .task("only",
                       [&](TaskContext&) {
                         if (broken) throw permanent_error{"broken"};
                       })
                 .build());
  EXPECT_TRUE(runner.pause_workflow("w"));
  EXPECT_FALSE(runner.pause_workflow("w"));
  const Execution execution = runner.execute_async("w");
  EXPECT_TRUE(execution.pause("wait"));
  EXPECT_FALSE(execution.pause());
  EXPECT_TRUE(runner.resume_workflow("w"));
  EXPECT_EQ(execution.status(), Status::paused);
  EXPECT_TRUE(execution.resume());
  EXPECT_EQ(execution.wait().status, Status::failed);
  broken = false;
  EXPECT_TRUE(execution.retry());
  EXPECT_TRUE(execution.wait().status.is_success());
  EXPECT_FALSE(execution.retry());
  EXPECT_TRUE(runner.execution(execution.id()).wait().status.is_success());
  EXPECT_EQ(error_of([&] { runner.execution(execution.id() + 1'000).status(); }).code(), errc::not_found);
}

TEST_F(Workflows, AScheduleIsWhatItWasToldToBe) {
  auto runner = make_runner();
  runner.add(one_task("w", nothing));
  const auto start = std::chrono::sys_days{std::chrono::year{2031} / 1 / 1};
  runner.schedule("hourly", "w", "@hourly",
                  {.context = {{"n", 1}},
                   .catch_up = CatchUp::run_all,
                   .max_catch_up = 7,
                   .starts_at = start,
                   .ends_at = start + std::chrono::hours{24},
                   .overlap = Overlap::cancel,
                   .jitter = 90s});
  EXPECT_EQ(sql_.value("SELECT cron || ' ' || workflow || ' ' || next_fire_at FROM " + tenant_ + ".schedules"),
            "@hourly w 2031-01-01 00:00:00+00");
  EXPECT_EQ(error_of([&] { runner.schedule("s", "unregistered", "@hourly"); }).code(), errc::not_found);
  EXPECT_EQ(error_of([&] { runner.schedule("s", "w", "61 * * * *"); }).code(), errc::invalid);
  const auto fires = runner.next_fires("0 0 1 1 *", "Asia/Tokyo", 2);
  ASSERT_EQ(fires.size(), 2U);
  EXPECT_EQ(fires[0].time_since_epoch() % 24h, 15h) << "midnight there";
  EXPECT_GT(fires[1], fires[0]);
}

TEST_F(Workflows, AStartMayBeDelayed) {
  auto runner = make_runner();
  runner.add(one_task("w", nothing));
  EXPECT_TRUE(runner.execute("w", {}, {.delay = 50ms}).status.is_success());
  const auto soon = std::chrono::system_clock::now() + 1h;
  const Execution execution = runner.execute_async("w", {}, {.run_at = soon, .delay = 1h});
  EXPECT_EQ(sql_.value("SELECT run_at BETWEEN now() + '119 min' AND now() + '121 min' FROM " + tenant_ +
                           ".task_executions WHERE execution_id = $1",
                       {std::to_string(execution.id())}),
            "t");
  EXPECT_TRUE(execution.cancel());
}

}  // namespace
