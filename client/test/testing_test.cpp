// The testing kit's part without a database, and what it shows of observers and traces.
#include "run.hpp"
#include "runtime/attempt.hpp"
#include "runtime/metrics.hpp"
#include "wire/calls.hpp"

#include <insula/enqueue.hpp>
#include <insula/error.hpp>
#include <insula/testing.hpp>

#include <gtest/gtest.h>

#include <stdexcept>

namespace {

using namespace insula;
using namespace std::chrono_literals;
using insula::testing::run_task;
using insula::testing::TaskRun;

TEST(RunTask, ShowsWhatIsHandedOver) {
  const TaskRun set = run([](TaskContext& ctx) { ctx.set("out", 2 * ctx.at<int>("in")); }, {.context = {{"in", 4}}});
  EXPECT_EQ(set.outcome, TaskOutcome::completed);
  EXPECT_EQ(set.changes, (Context{{"out", 8}}));
  EXPECT_EQ(run([](TaskContext&) { return 42; }).changes, (Context{{"t", 42}}));
  const TaskRun both = run([](TaskContext& ctx) {
    ctx.set("a", 1);
    return Context{{"b", 2}};
  });
  EXPECT_EQ(both.changes, (Context{{"a", 1}, {"b", 2}})) << "a Context is as if each of its keys were set";
  EXPECT_EQ(run([](TaskContext& ctx) { return ctx.item(); }, {.item = "x"}).changes, (Context{{"t", "x"}}));
}

TEST(RunTask, ShowsHowItFailed) {
  const TaskRun again = run([](TaskContext&) { throw std::runtime_error{"broken"}; });
  EXPECT_EQ(again.outcome, TaskOutcome::failed);
  EXPECT_EQ(again.error, "broken");
  EXPECT_FALSE(again.permanent);
  EXPECT_TRUE(run([](TaskContext&) { throw permanent_error{"never"}; }).permanent);
  EXPECT_EQ(run([](TaskContext& ctx) { ctx.throw_if_stopped(); }, {.stop_requested = StopReason::cancelled}).outcome,
            TaskOutcome::given_back);
  EXPECT_TRUE(run([](TaskContext& ctx) { ctx.transaction(); }).error.find("no server") != std::string::npos);
}

TEST(RunTask, ShowsWhatItWaitsFor) {
  const auto approval = [](TaskContext& ctx) {
    if (!ctx.event()) return ctx.wait_event("approved", 1h);
    ctx.set("by", ctx.event()->payload);
  };
  const TaskRun first = run(approval);
  EXPECT_EQ(first.outcome, TaskOutcome::put_off);
  EXPECT_EQ(first.event, "approved");
  EXPECT_EQ(first.event_timeout, 1h);
  EXPECT_EQ(run(approval, {.event = Event{.name = "approved", .payload = "Ada"}}).changes, (Context{{"by", "Ada"}}));
  const TaskRun later = run([](TaskContext&) { throw retry_after::without_attempt(5s, "busy", 7); });
  EXPECT_EQ(later.error, "busy");
  EXPECT_EQ(later.retry_in, 5s);
  EXPECT_EQ(later.free_retries, 7);
  EXPECT_TRUE(run([](TaskContext& ctx) { ctx.defer_until(std::chrono::system_clock::now()); }).until);
  const TaskRun child = run([](TaskContext& ctx) { ctx.submit_child("other", {{"n", 1}}); });
  EXPECT_EQ(child.child, "other");
  EXPECT_EQ(child.child_context, (Context{{"n", 1}}));
  EXPECT_THROW((void)run_task(Workflow::builder("w").task("t", approval).build(), "nowhere"), error);
}

constexpr const char* trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

TEST(Trace, TravelsInTheContext) {
  const auto input = [](const std::string& traceparent) {
    return *wire::submit("w", {{"n", 1}}, {.traceparent = traceparent}, "").params[1];
  };
  EXPECT_EQ(Context::from_json(input(trace)).at<std::string>("traceparent"), trace);
  EXPECT_EQ(input(""), R"({"n":1})");
  for (const char* bad : {"00-xyz", "01", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01"})
    EXPECT_THROW(input(bad), error) << bad;
  const TaskRun child =
      run([](TaskContext& ctx) { ctx.submit_child("other"); }, {.context = {{traceparent_key, trace}}});
  EXPECT_EQ(child.child_context, (Context{{"traceparent", trace}}));
}

struct Recorder : Observer {
  void task_started(const TaskContext& task) override { story += "started " + task.task(); }
  void task_ended(const TaskContext&, const TaskEnd& end) override {
    story += ", " + std::string{name(end.outcome)} + ": " + std::string{end.error};
    throw std::runtime_error{"an observer's own trouble"};
  }
  std::string story;
};

TEST(Observer, SeesARunFromBothEnds) {
  const auto recorder = std::make_shared<Recorder>();
  const auto metrics = std::make_shared<detail::Metrics>();
  wire::Claimed claimed;
  claimed.workflow = "w";
  claimed.task = "t";
  claimed.context = "{}";
  const auto attempt = std::make_shared<detail::Attempt>(
      claimed, std::make_shared<const detail::Handler>([](TaskContext&) { throw std::runtime_error{"broken"}; }));
  attempt->workplace = std::make_shared<const detail::Workplace>(detail::Workplace{nullptr, "", recorder, metrics});
  EXPECT_EQ(run_attempt(attempt).error, "broken");
  EXPECT_EQ(recorder->story, "started t, failed: broken");
  const std::string text = metrics->text(8);
  for (const char* line :
       {"# TYPE insula_tasks_total counter\n", "insula_tasks_total{workflow=\"w\",task=\"t\",outcome=\"failed\"} 1\n",
        "insula_task_seconds_bucket{workflow=\"w\",task=\"t\",le=\"+Inf\"} 1\n", "insula_slots 8\n"})
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
}

TEST(Metrics, AHistogramIsCumulative) {
  detail::Metrics metrics;
  for (const auto d : {1ms, 7ms, 7'000ms}) metrics.task_ended("w", "t", {.duration = d});
  const std::string text = metrics.text(1);
  const auto bucket = [&](const std::string& le, const std::string& n) {
    return text.find("{workflow=\"w\",task=\"t\",le=\"" + le + "\"} " + n + "\n") != std::string::npos;
  };
  EXPECT_TRUE(bucket("0.005", "1") && bucket("0.01", "2") && bucket("5", "2") && bucket("10", "3")) << text;
}

}  // namespace
