// Handlers: the values they return, their progress, what they are wrapped in; batches, executors, types.  Without a
// server.
#include "run.hpp"
#include "runtime/attempt.hpp"
#include "runtime/inbox.hpp"
#include "runtime/pool.hpp"

#include <insula/insula.hpp>
#include <insula/testing.hpp>

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

namespace shop {

struct Order {
  std::string id;
  int amount = 0;
};
struct Receipt {
  std::string receipt;
};

}  // namespace shop

template <>
struct insula::Codec<shop::Order> {
  static Value to_value(const shop::Order& order) { return Context{{"id", order.id}, {"amount", order.amount}}; }
  static std::optional<shop::Order> from_value(const Value& value) {
    const auto context = value.as<Context>();
    const auto id = context ? context->get<std::string>("id") : std::nullopt;
    if (!id) return std::nullopt;
    return shop::Order{*id, context->get<int>("amount").value_or(0)};
  }
};
template <>
struct insula::Codec<shop::Receipt> {
  static Value to_value(const shop::Receipt& receipt) { return Context{{"receipt", receipt.receipt}}; }
  static std::optional<shop::Receipt> from_value(const Value& value) {
    const auto context = value.as<Context>();
    const auto text = context ? context->get<std::string>("receipt") : std::nullopt;
    return text ? std::optional{shop::Receipt{*text}} : std::nullopt;
  }
};

namespace {

using namespace insula;
using namespace std::chrono_literals;
using insula::testing::run_task;
using insula::testing::TaskRun;

TEST(Suspend, IsWhatAHandlerReturns) {
  const auto approval = [](TaskContext& ctx) -> std::optional<Suspend> {
    ctx.set("asked", true);
    if (!ctx.event()) return insula::wait_event("approved", 1h);
    return std::nullopt;
  };
  const TaskRun first = run(approval);
  EXPECT_EQ(first.outcome, TaskOutcome::put_off);
  EXPECT_EQ(first.event, "approved");
  EXPECT_EQ(first.event_timeout, 1h);
  EXPECT_EQ(first.changes, (Context{{"asked", true}}));
  EXPECT_EQ(run(approval, {.event = Event{.name = "approved"}}).outcome, TaskOutcome::completed);
  EXPECT_EQ(run([](TaskContext&) { return defer_for(5s); }).delay, 5s);
  EXPECT_TRUE(run([](TaskContext&) { return insula::defer_until(std::chrono::system_clock::now()); }).until);
  const TaskRun child = run([](TaskContext&) { return insula::submit_child("other", {{"n", 1}}); });
  EXPECT_EQ(child.child, "other");
  EXPECT_EQ(child.child_context, (Context{{"n", 1}}));
  EXPECT_THROW((void)insula::wait_event("no name"), error);
  EXPECT_THROW((void)insula::submit_child(""), error);
}

TEST(Suspend, OrAValue) {
  using Either = std::variant<int, Suspend>;
  const auto handler = [](TaskContext& ctx) { return ctx.attempt() == 1 ? Either{defer_for(1s)} : Either{7}; };
  EXPECT_EQ(run(handler).outcome, TaskOutcome::put_off);
  EXPECT_EQ(run(handler, {.attempt = 2}).changes, (Context{{"t", 7}}));
}

TEST(Progress, IsKeptForLaterRuns) {
  const auto import = [](TaskContext& ctx) {
    const int from = ctx.last_checkpoint<int>().value_or(0);
    ctx.checkpoint(from + 1);
    EXPECT_EQ(ctx.last_checkpoint<int>(), from + 1);
    ctx.progress(0.25, "a quarter");
    ctx.progress(0.5);
    EXPECT_THROW(ctx.progress(1.5), error);
    EXPECT_THROW(ctx.progress(-0.1), error);
    if (from == 0) throw std::runtime_error{"broken"};
  };
  const TaskRun first = run(import);
  EXPECT_EQ(first.outcome, TaskOutcome::failed);
  EXPECT_EQ(first.checkpoint, Value(1));
  EXPECT_EQ(first.progress, 0.5);
  EXPECT_EQ(first.note, "a quarter");
  EXPECT_EQ(run(import, {.checkpoint = first.checkpoint}).checkpoint, Value(2));
}

TEST(Progress, ACheckpointAtOnceIsShown) {
  EXPECT_EQ(run([](TaskContext& ctx) { ctx.checkpoint(7, Durable::at_once); }).checkpoint, Value(7));
}

TEST(Progress, WhatIsToldLateOverwritesNothingNewer) {
  detail::Attempt attempt{{}, std::make_shared<const detail::Handler>([](TaskContext&) {})};
  attempt.add_progress({.checkpoint = "1", .note = "old"});
  const auto first = attempt.take_progress();
  attempt.add_progress({.checkpoint = "2"});
  EXPECT_TRUE(attempt.take_progress());  // and told
  attempt.put_back_progress(*first);
  const auto again = attempt.take_progress();
  EXPECT_FALSE(again->checkpoint);
  EXPECT_EQ(again->note, "old");
}

TEST(Progress, WhatWasNotToldIsNotOverwritten) {
  detail::Attempt attempt{{}, std::make_shared<const detail::Handler>([](TaskContext&) {})};
  attempt.add_progress({.checkpoint = "1", .note = "old"});
  const auto sent = attempt.take_progress();
  EXPECT_FALSE(attempt.take_progress());
  attempt.add_progress({.checkpoint = "2"});
  attempt.put_back_progress(*sent);
  const auto again = attempt.take_progress();
  EXPECT_EQ(again->checkpoint, "2");
  EXPECT_EQ(again->note, "old");
}

TEST(Verdict, FailsAnAttemptThatReturns) {
  const TaskRun failed = run([](TaskContext& ctx) {
    ctx.set("n", 1);
    ctx.fail("no such document", false);
  });
  EXPECT_EQ(failed.outcome, TaskOutcome::failed);
  EXPECT_EQ(failed.error, "no such document");
  EXPECT_TRUE(failed.permanent);
  EXPECT_TRUE(failed.changes.empty());
}

// ---- middleware ----

// Keeps one value from the server.
struct Masking : Middleware {
  void to_server(std::string_view tenant, Context& context) override {
    if (const auto secret = context.get<std::string>("secret"))
      context.set("secret", std::string{tenant} + "/" + *secret);
  }
  void from_server(std::string_view tenant, Context& context) override {
    if (const auto secret = context.get<std::string>("secret"))
      context.set("secret", secret->substr(tenant.size() + 1));
  }
};

struct Telling : Middleware {
  explicit Telling(std::string its_name) : name(std::move(its_name)) {}
  void around_task(TaskContext& task, const std::function<void()>& run) override {
    story += name + " begins " + task.task() + ", ";
    run();
    story += name + " ends, ";
  }
  const std::string name;
  static inline std::string story;
};

std::shared_ptr<detail::Attempt> attempt_at(detail::Handler handler, const std::string& context = "{}",
                                            std::vector<std::shared_ptr<Middleware>> middleware = {}) {
  wire::Claimed claimed;
  claimed.tenant = "acme";
  claimed.workflow = "w";
  claimed.task = "t";
  claimed.attempt = 1;
  claimed.max_attempts = 3;
  claimed.context = context;
  const auto attempt =
      std::make_shared<detail::Attempt>(claimed, std::make_shared<const detail::Handler>(std::move(handler)));
  attempt->workplace = std::make_shared<const detail::Workplace>(
      detail::Workplace{nullptr, "", nullptr, std::make_shared<detail::Metrics>(), std::move(middleware), {}});
  return attempt;
}

TEST(Middleware, SeesWhatComesAndGoes) {
  const auto outcome = run_attempt(attempt_at(
      [](TaskContext& ctx) {
        EXPECT_EQ(ctx.at<std::string>("secret"), "in");
        ctx.set("secret", "out");
      },
      R"({"secret":"acme/in"})", {std::make_shared<Masking>()}));
  EXPECT_EQ(outcome.patch, R"({"secret":"acme/out"})");
  const auto replaced = run_attempt(attempt_at(
      [](TaskContext& ctx) {
        ctx.erase("o").set("o", Context{{"new", 1}});
      },
      R"({"o":{"old":1},"secret":"acme/in"})", {std::make_shared<Masking>()}));
  EXPECT_EQ(replaced.patch, R"({"o":{"new":1,"old":null}})") << "what was not changed does not go";
}

TEST(Middleware, TheFirstIsTheOutermost) {
  Telling::story.clear();
  const std::vector<std::shared_ptr<Middleware>> two{std::make_shared<Telling>("a"), std::make_shared<Telling>("b")};
  run_attempt(attempt_at([](TaskContext&) { Telling::story += "runs, "; }, "{}", two));
  EXPECT_EQ(Telling::story, "a begins t, b begins t, runs, b ends, a ends, ");
  Telling::story.clear();
  const auto failed = run_attempt(attempt_at([](TaskContext&) { throw permanent_error{"never"}; }, "{}", two));
  EXPECT_EQ(Telling::story, "a begins t, b begins t, ");
  EXPECT_EQ(failed.error, "never");
  EXPECT_FALSE(failed.retryable);
}

TEST(Middleware, CallsTheHandlerOnce) {
  struct Calling : Middleware {
    explicit Calling(int its_times) : times(its_times) {}
    void around_task(TaskContext&, const std::function<void()>& run) override {
      for (int i = 0; i < times; ++i) run();
    }
    const int times;
  };
  for (const int times : {0, 2}) {
    int runs = 0;
    const auto outcome =
        run_attempt(attempt_at([&](TaskContext&) { ++runs; }, "{}", {std::make_shared<Calling>(times)}));
    EXPECT_EQ(outcome.kind, detail::Outcome::Kind::failed) << times;
    EXPECT_LE(runs, 1);
  }
}

// ---- batches and executors ----

struct Jobs {
  void operator()(std::function<void()> job) const {
    const std::lock_guard lock{state->mutex};
    state->jobs.push_back(std::move(job));
  }
  void run_all() const {
    std::deque<std::function<void()>> jobs;
    {
      const std::lock_guard lock{state->mutex};
      jobs.swap(state->jobs);
    }
    for (const auto& job : jobs) job();
  }
  struct State {
    std::mutex mutex;
    std::deque<std::function<void()>> jobs;
  };
  std::shared_ptr<State> state = std::make_shared<State>();
};

TEST(Batch, TakesWhatWaitsForTheSameHandler) {
  std::vector<std::size_t> sizes;
  const auto handler = std::make_shared<const detail::Handler>(
      [&](std::span<TaskContext* const> tasks) {
        sizes.push_back(tasks.size());
        for (TaskContext* task : tasks)
          if (task->at<int>("n") == 1) task->fail("odd one");
      },
      3);
  const Jobs jobs;
  const auto inbox = std::make_shared<detail::Inbox>();
  detail::Pool pool{inbox, jobs};
  pool.start(1);
  std::vector<std::shared_ptr<detail::Attempt>> attempts;
  for (int i = 0; i < 5; ++i) {
    wire::Claimed claimed;
    claimed.context = Context{{"n", i}}.to_json();
    attempts.push_back(std::make_shared<detail::Attempt>(claimed, handler));
    if (i == 1) attempts.push_back(attempt_at([](TaskContext&) {}));
  }
  pool.run(attempts);
  EXPECT_TRUE(pool.take_finished().outcomes.empty()) << "nothing runs within the call";
  jobs.run_all();
  EXPECT_EQ(sizes, (std::vector<std::size_t>{3, 2}));
  std::map<detail::Outcome::Kind, int> kinds;
  for (const auto& outcome : pool.take_finished().outcomes) ++kinds[outcome.kind];
  EXPECT_EQ(kinds[detail::Outcome::Kind::completed], 5);
  EXPECT_EQ(kinds[detail::Outcome::Kind::failed], 1);
  EXPECT_FALSE(inbox->is_own_thread()) << "the thread is the executor's again";
}

TEST(Batch, AnExceptionFailsAll) {
  const auto handler = std::make_shared<const detail::Handler>(
      [](std::span<TaskContext* const> tasks) {
        tasks[0]->set("n", 1);
        throw permanent_error{"never"};
      },
      10);
  std::vector<std::shared_ptr<detail::Attempt>> attempts;
  for (const char* context : {"{}", "{}", "{}"}) {
    wire::Claimed claimed;
    claimed.context = context;
    attempts.push_back(std::make_shared<detail::Attempt>(claimed, handler));
  }
  for (const auto& outcome : detail::run_attempts(attempts)) {
    EXPECT_EQ(outcome.error, "never");
    EXPECT_FALSE(outcome.retryable);
  }
  const Workflow alone =
      Workflow::builder("w").batch("t", [](std::span<TaskContext* const> tasks) { tasks[0]->set("n", 1); }).build();
  EXPECT_EQ(run_task(alone, "t").changes, (Context{{"n", 1}}));
}

TEST(Batch, WhatOneLacksIsNoVerdictOnTheOthers) {
  const auto handler = std::make_shared<const detail::Handler>(
      [](std::span<TaskContext* const>) { throw std::runtime_error{"no connection"}; }, 10);
  for (const bool stopped : {false, true}) {
    std::vector<std::shared_ptr<detail::Attempt>> attempts;
    for (int i = 0; i < 3; ++i) attempts.push_back(std::make_shared<detail::Attempt>(wire::Claimed{}, handler));
    attempts[1]->lacked_connection = !stopped;
    if (stopped) attempts[1]->request_stop(StopReason::cancelled);
    const auto outcomes = detail::run_attempts(attempts);
    EXPECT_EQ(outcomes[0].kind, detail::Outcome::Kind::put_off);
    EXPECT_EQ(outcomes[1].kind, stopped ? detail::Outcome::Kind::given_back : detail::Outcome::Kind::put_off);
    EXPECT_EQ(outcomes[2].kind, detail::Outcome::Kind::put_off);
  }
}

TEST(Batch, HoldsATaskAtLeast) {
  auto builder = Workflow::builder("w");
  builder.batch(
      "t", [](std::span<TaskContext* const>) {}, {}, 0);
  EXPECT_THROW((void)builder.build(), error);
}

TEST(Executor, WhatItDropsIsPutOffAndWhatIsStoppedIsNotBegun) {
  const Jobs jobs;
  const auto inbox = std::make_shared<detail::Inbox>();
  bool refuses = true;
  detail::Pool pool{inbox, [&](std::function<void()> job) {
                      if (refuses) throw std::runtime_error{"full"};
                      jobs(std::move(job));
                    }};
  int runs = 0;
  pool.run({attempt_at([&](TaskContext&) { ++runs; })});
  auto outcomes = pool.take_finished().outcomes;
  ASSERT_EQ(outcomes.size(), 1U);
  EXPECT_EQ(outcomes[0].kind, detail::Outcome::Kind::put_off);
  refuses = false;
  pool.run({attempt_at([&](TaskContext&) { ++runs; })});
  jobs.state->jobs.clear();
  ASSERT_EQ(pool.take_finished().outcomes.size(), 1U) << "dropped";
  const auto stopped = attempt_at([&](TaskContext&) { ++runs; });
  pool.run({stopped, attempt_at([&](TaskContext&) { ++runs; })});
  EXPECT_FALSE(pool.take_finished().more_soon) << "it may be long";
  stopped->note_stop(StopReason::lease_lost);
  jobs.run_all();
  outcomes = pool.take_finished().outcomes;
  ASSERT_EQ(outcomes.size(), 2U);
  EXPECT_EQ(outcomes[0].kind, detail::Outcome::Kind::given_back);
  EXPECT_EQ(outcomes[1].kind, detail::Outcome::Kind::completed);
  EXPECT_EQ(runs, 1);
}

// ---- types ----

TEST(Typed, ReadsAndSetsTheKeysOfAnObject) {
  const auto charge = [](const shop::Order& order) { return shop::Receipt{order.id + " paid"}; };
  const Context input = context_of(shop::Order{"o-1", 30}).with("other", true);
  EXPECT_EQ(run(task<shop::Order, shop::Receipt>(charge), {.context = input}).changes,
            (Context{{"receipt", "o-1 paid"}}));
  const TaskRun bad = run(task<shop::Order, shop::Receipt>(charge), {.context = {{"amount", 1}}});
  EXPECT_TRUE(bad.permanent);
  const auto amount = [](const shop::Order& order, TaskContext& ctx) {
    ctx.set("seen", true);
    return order.amount;
  };
  EXPECT_EQ(run(task<shop::Order, int>(amount), {.context = input}).changes, (Context{{"seen", true}, {"t", 30}}));
  using Left = std::map<std::string, int>;
  EXPECT_EQ(run(task<shop::Order, Left>([](const shop::Order&) {
                  return Left{{"a", 1}};
                }),
                {.context = Context{input}.with("t", Context{{"a", 1}, {"b", 2}})})
                .changes,
            (Context{{"t", Context{{"a", 1}, {"b", nullptr}}}}))
      << "what is gone goes";
  int calls = 0;
  run(task<shop::Order>([&](const shop::Order&) { ++calls; }), {.context = input});
  EXPECT_EQ(calls, 1);
}

TEST(Typed, MaySuspend) {
  using Either = std::variant<shop::Receipt, Suspend>;
  const auto charge = [](const shop::Order& order, TaskContext& ctx) -> Either {
    if (!ctx.event()) return insula::wait_event("paid");
    return shop::Receipt{order.id};
  };
  const Context input = context_of(shop::Order{"o-1", 30});
  EXPECT_EQ(run(task<shop::Order, shop::Receipt>(charge), {.context = input}).event, "paid");
  EXPECT_EQ(run(task<shop::Order, shop::Receipt>(charge), {.context = input, .event = Event{.name = "paid"}}).changes,
            (Context{{"receipt", "o-1"}}));
}

TEST(Typed, AResultIsAnOutputOrAnError) {
  Result result;
  result.status = Status::completed;
  result.final_context = Context{{"receipt", "r"}};
  EXPECT_EQ((Typed<shop::Order, shop::Receipt>::output(result).receipt), "r");
  result.final_context = {};
  EXPECT_THROW((Typed<shop::Order, shop::Receipt>::output(result)), error);
  result.status = Status::failed;
  result.error = "broken";
  try {
    (void)Typed<shop::Order, shop::Receipt>::output(result);
    FAIL();
  } catch (const error& e) {
    EXPECT_EQ(e.code(), errc::failed);
    EXPECT_STREQ(e.what(), "broken");
  }
}

}  // namespace
