// The parts of the runtime that need no server: handlers, threads, leases.
#include "runtime/attempt.hpp"
#include "runtime/inbox.hpp"
#include "runtime/leases.hpp"
#include "runtime/lender.hpp"
#include "runtime/outcomes.hpp"
#include "runtime/pool.hpp"
#include "runtime/share.hpp"
#include "runtime/signals.hpp"
#include "runtime/stopper.hpp"

#include <insula/error.hpp>
#include <insula/runner.hpp>
#include <insula/testing.hpp>

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>

#include <future>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

using namespace insula;
using namespace insula::detail;
using namespace std::chrono_literals;
using Kind = Outcome::Kind;

std::shared_ptr<Attempt> make_attempt(Handler handler, const std::string& context = "{}", std::int64_t task = 1,
                                      std::int64_t lease = 11) {
  wire::Claimed claimed;
  claimed.tenant = "acme";
  claimed.task_id = task;
  claimed.lease = lease;
  claimed.execution_id = 5;
  claimed.workflow = "w";
  claimed.task = "t";
  claimed.attempt = 2;
  claimed.max_attempts = 3;
  claimed.context = context;
  return std::make_shared<Attempt>(claimed, std::make_shared<const Handler>(std::move(handler)));
}

Settings make_settings(std::chrono::milliseconds lease = 60s) {
  RunnerConfig config;
  config.lease = lease;
  config.log = [](LogLevel, std::string_view) {};
  return {wire::ConnInfo{""}, config, "", "w"};
}

TEST(Attempt, HandsOverWhatWasSet) {
  const Outcome outcome = run_attempt(make_attempt(
      [](TaskContext& ctx) {
        EXPECT_EQ(ctx.at<int>("n"), 1);
        EXPECT_EQ(ctx.attempt(), 2);
        EXPECT_EQ(ctx.workflow() + "." + ctx.task(), "w.t");
        ctx.set("m", 2).set("o", Context{{"a", 1}}).set("o", Context{{"b", 2}}).erase("n");
        EXPECT_FALSE(ctx.contains("n"));
        EXPECT_EQ(ctx.context().to_json(), R"({"keep":{"x":1},"m":2,"o":{"a":1,"b":2}})");
      },
      R"({"n":1,"keep":{"x":1}})"));
  EXPECT_EQ(outcome.kind, Kind::completed);
  EXPECT_EQ(outcome.patch, R"({"m":2,"n":null,"o":{"a":1,"b":2}})");
}

TEST(Attempt, AnErasedObjectIsReplaced) {
  const auto attempt = make_attempt(
      [](TaskContext& ctx) {
        ctx.erase("o").set("o", Context{{"n", 1}, {"k", Context{{"new", 1}}}});
        EXPECT_EQ(ctx.context().to_json(), R"({"o":{"k":{"new":1},"n":1}})");
      },
      R"({"o":{"old":1,"k":{"gone":1}}})");
  const Outcome outcome = run_attempt(attempt);
  Context there = Context::from_json(attempt->info.context);
  there.merge_patch(Context::from_json(outcome.patch));
  EXPECT_EQ(there.to_json(), R"({"o":{"k":{"new":1},"n":1}})");
}

TEST(Attempt, NothingSetIsNoPatch) {
  EXPECT_EQ(run_attempt(make_attempt([](TaskContext&) {}, R"({"n":1})")).patch, "");
}

TEST(Attempt, ExceptionsAreFailures) {
  const auto thrown = [](auto what) { return run_attempt(make_attempt([what](TaskContext&) { throw what; })); };
  Outcome outcome = thrown(std::runtime_error{"broken"});
  EXPECT_EQ(outcome.kind, Kind::failed);
  EXPECT_EQ(outcome.error, "broken");
  EXPECT_TRUE(outcome.retryable);
  outcome = thrown(permanent_error{"never"});
  EXPECT_EQ(outcome.error, "never");
  EXPECT_FALSE(outcome.retryable);
  outcome = thrown(42);
  EXPECT_EQ(outcome.kind, Kind::failed);
  EXPECT_FALSE(outcome.error.empty());
  EXPECT_FALSE(thrown(std::runtime_error{""}).error.empty());
}

TEST(Attempt, APredicateDecidesWhichExceptionsAreFinal) {
  struct Busy : std::runtime_error {
    using std::runtime_error::runtime_error;
  };
  const auto is_busy = [](const std::exception& e) { return dynamic_cast<const Busy*>(&e) != nullptr; };
  const auto thrown = [&](auto what) {
    const auto workflow =
        Workflow::builder("w").task("t", [what](TaskContext&) { throw what; }, {.retry_if = is_busy}).build();
    return insula::testing::run_task(workflow, "t");
  };
  EXPECT_FALSE(thrown(Busy{"busy"}).permanent);
  EXPECT_TRUE(thrown(std::runtime_error{"broken"}).permanent);
  EXPECT_EQ(thrown(std::runtime_error{"broken"}).error, "broken");
  EXPECT_EQ(thrown(retry_after{1s}).retry_in, 1s) << "it says itself when";
}

TEST(Attempt, AnErrorsTextIsMadeStorable) {
  const auto error_of = [](std::string text) {
    return run_attempt(make_attempt([text](TaskContext&) { throw std::runtime_error{text}; })).error;
  };
  EXPECT_EQ(error_of("gr\xc3\xbc\xc3\x9f"), "gr\xc3\xbc\xc3\x9f");
  EXPECT_EQ(error_of("a\xff\xc3"), "a??");
  EXPECT_EQ(error_of("\xed\xa0\x80"), "???");
  EXPECT_LE(error_of(std::string(100'000, 'x')).size(), 8'192U);
}

TEST(Attempt, AValueThatCannotBeStoredFailsTheTask) {
  const Outcome outcome =
      run_attempt(make_attempt([](TaskContext& ctx) { ctx.set("x", std::numeric_limits<double>::quiet_NaN()); }));
  EXPECT_EQ(outcome.kind, Kind::failed);
  EXPECT_NE(outcome.error.find("NaN"), std::string::npos);
}

TEST(Attempt, StoppedAndThrownIsGivenBack) {
  const auto attempt = make_attempt([](TaskContext& ctx) {
    EXPECT_TRUE(ctx.stop_requested());
    EXPECT_EQ(ctx.stop_reason(), StopReason::shutdown);
    ctx.throw_if_stopped();
  });
  attempt->request_stop(StopReason::shutdown);
  attempt->request_stop(StopReason::cancelled);  // the first reason counts
  EXPECT_EQ(run_attempt(attempt).kind, Kind::given_back);
}

TEST(Attempt, StoppedAndReturnedIsDone) {
  const auto attempt = make_attempt([](TaskContext&) {});
  attempt->request_stop(StopReason::shutdown);
  EXPECT_EQ(run_attempt(attempt).kind, Kind::completed);
}

TEST(Attempt, MayBeDeferred) {
  const auto attempt = make_attempt([](TaskContext& ctx) {
    ctx.set("seen", true);
    ctx.defer_until(5s);
  });
  const Outcome outcome = run_attempt(attempt);
  EXPECT_EQ(outcome.kind, Kind::put_off);
  EXPECT_EQ(outcome.patch, R"({"seen":true})");
  EXPECT_EQ(std::get<std::chrono::milliseconds>(attempt->request), 5s);
}

TEST(Attempt, SeesItsItemAndItsEvent) {
  auto attempt = make_attempt([](TaskContext& ctx) {
    EXPECT_EQ(ctx.item().as<int>(), 7);
    ASSERT_TRUE(ctx.event());
    EXPECT_EQ(ctx.event()->name, "paid");
    EXPECT_EQ(ctx.event()->payload.as<std::string>(), "EUR");
    EXPECT_FALSE(ctx.event()->timed_out);
  });
  wire::Claimed claimed = attempt->info;
  claimed.item = "7";
  claimed.event = R"({"name": "paid", "payload": "EUR"})";
  EXPECT_EQ(run_attempt(std::make_shared<Attempt>(claimed, attempt->handler)).kind, Kind::completed);
  claimed.item = "";
  claimed.event = R"({"name": "paid", "timed_out": true})";
  const auto late = std::make_shared<Attempt>(claimed, std::make_shared<const Handler>([](TaskContext& ctx) {
                                                EXPECT_TRUE(ctx.item().is_null());
                                                EXPECT_TRUE(ctx.event()->timed_out);
                                                EXPECT_FALSE(ctx.deadline());
                                              }));
  EXPECT_EQ(run_attempt(late).kind, Kind::completed);
}

TEST(Attempt, MayWaitForAnEvent) {
  const auto attempt = make_attempt([](TaskContext& ctx) {
    EXPECT_THROW(ctx.wait_event("no name"), error);
    ctx.set("seen", true);
    ctx.wait_event("paid", 5s);
  });
  const Outcome outcome = run_attempt(attempt);
  EXPECT_EQ(outcome.kind, Kind::put_off);
  EXPECT_EQ(outcome.patch, R"({"seen":true})");
  EXPECT_EQ(std::get<EventWait>(attempt->request).event, "paid");
  EXPECT_EQ(std::get<EventWait>(attempt->request).timeout, 5s);
  EXPECT_EQ(statement_for(outcome).params[2], "paid");
}

TEST(Attempt, MayGoOnAsAChild) {
  const auto attempt = make_attempt([](TaskContext& ctx) { ctx.submit_child("child", {{"n", 1}}); });
  EXPECT_EQ(run_attempt(attempt).kind, Kind::put_off);
  EXPECT_EQ(std::get<Child>(attempt->request).context, R"({"n":1})");
  const Outcome both = run_attempt(make_attempt([](TaskContext& ctx) {
    ctx.set("lost", 1);
    ctx.submit_child("child");
  }));
  EXPECT_EQ(both.kind, Kind::failed);
  EXPECT_FALSE(both.retryable);
}

TEST(Attempt, NotNowUsesAnAttemptUnlessItSaysOtherwise) {
  const Outcome failed = run_attempt(make_attempt([](TaskContext&) { throw retry_after{5s, "rate limited"}; }));
  EXPECT_EQ(failed.kind, Kind::failed);
  EXPECT_EQ(failed.error, "rate limited");
  EXPECT_EQ(failed.retry_in, 5s);
  EXPECT_TRUE(failed.retryable);
  const auto attempt = make_attempt([](TaskContext& ctx) {
    ctx.set("seen", true);
    throw retry_after::without_attempt(5s, "rate limited");
  });
  const Outcome outcome = run_attempt(attempt);
  EXPECT_EQ(outcome.kind, Kind::failed);
  EXPECT_EQ(outcome.patch, "");
  EXPECT_EQ(outcome.retry_in, 5s);
  EXPECT_EQ(outcome.free_retries, 1'000);
}

// Waits as the I/O thread does.
void wait_for_wake_up(const Inbox& inbox) {
  pollfd entry{inbox.fd(), POLLIN, 0};
  ASSERT_EQ(poll(&entry, 1, 60'000), 1);
}

TEST(Pool, RunsAndTells) {
  auto inbox = std::make_shared<Inbox>();
  Pool pool{inbox};
  pool.start(2);
  pool.run({make_attempt([&](TaskContext&) { EXPECT_TRUE(inbox->is_own_thread()); })});
  wait_for_wake_up(*inbox);
  const Pool::Finished finished = pool.take_finished();
  ASSERT_EQ(finished.outcomes.size(), 1U);
  EXPECT_EQ(finished.outcomes[0].kind, Kind::completed);
  EXPECT_FALSE(finished.more_soon);
  EXPECT_TRUE(pool.take_finished().outcomes.empty());
  EXPECT_FALSE(inbox->is_own_thread());
  pool.stop();
}

// An outcome that comes while others wait to be begun is announced with theirs, or found by a look.
TEST(Pool, AnnouncesOutcomesThatComeTogetherOnce) {
  auto inbox = std::make_shared<Inbox>();
  std::promise<void> begun;
  std::promise<void> release;
  Pool pool{inbox};
  pool.start(1);
  pool.run({make_attempt([](TaskContext&) {}), make_attempt([&](TaskContext&) {
              begun.set_value();
              release.get_future().wait();
            }),
            make_attempt([](TaskContext&) {})});
  begun.get_future().wait();
  pollfd entry{inbox->fd(), POLLIN, 0};
  EXPECT_EQ(poll(&entry, 1, 0), 0);
  Pool::Finished finished = pool.take_finished();
  EXPECT_EQ(finished.outcomes.size(), 1U);
  EXPECT_TRUE(finished.more_soon);
  release.set_value();
  for (std::size_t rest = 2; rest > 0; rest -= finished.outcomes.size()) {
    wait_for_wake_up(*inbox);
    inbox->run_all();
    finished = pool.take_finished();
    EXPECT_FALSE(finished.more_soon);
  }
  pool.stop();
}

TEST(Pool, LeavesAStuckHandlerBehind) {
  auto inbox = std::make_shared<Inbox>();
  std::promise<void> begun;
  std::promise<void> release;
  const auto gate = release.get_future().share();
  {
    Pool pool{inbox};
    pool.start(1);
    pool.run({make_attempt([&, gate](TaskContext&) {
                begun.set_value();
                gate.wait();
              }),
              make_attempt([](TaskContext&) { ADD_FAILURE() << "never begun"; })});
    begun.get_future().wait();
    EXPECT_EQ(pool.take_unstarted().size(), 1U);
    pool.stop();
  }
  release.set_value();
  wait_for_wake_up(*inbox);
}

TEST(Inbox, TakesNothingOnceClosed) {
  Inbox inbox;
  int ran = 0;
  EXPECT_TRUE(inbox.post([&] { ++ran; }));
  inbox.run_all();
  EXPECT_TRUE(inbox.post([&] { ++ran; }));
  EXPECT_EQ(inbox.close().size(), 1U);
  EXPECT_FALSE(inbox.post([&] { ++ran; }));
  EXPECT_EQ(ran, 1);
}

TEST(Leases, TheServersWordStopsAHandler) {
  const Settings settings = make_settings();
  Stopper stopper{std::make_shared<Inbox>()};
  Leases leases{settings, stopper};
  const auto now = Clock::now();
  const auto first = make_attempt({}, "{}", 1, 11);
  const auto second = make_attempt({}, "{}", 2, 22);
  leases.add(first, now);
  leases.add(second, now);
  EXPECT_EQ(leases.running(), 2U);
  EXPECT_EQ(leases.heartbeat_at(), now + 20s);
  std::vector<std::int64_t> asked;
  leases.heartbeat(now + 20s, asked);
  EXPECT_EQ(asked, (std::vector<std::int64_t>{11, 22}));
  leases.on_heartbeat(asked, now + 20s, {{2, "cancelled"}});
  EXPECT_FALSE(first->stop.stop_requested());
  EXPECT_EQ(second->reason, StopReason::cancelled);
}

TEST(Leases, SilenceStopsAHandlerBeforeItsLeaseEnds) {
  const Settings settings = make_settings(10s);
  Stopper stopper{std::make_shared<Inbox>()};
  Leases leases{settings, stopper};
  const auto start = Clock::now();
  const auto attempt = make_attempt({});
  leases.add(attempt, start);
  leases.fence(start + 8s);
  EXPECT_FALSE(attempt->stop.stop_requested());
  leases.on_heartbeat({11}, start + 5s, {});
  leases.fence(start + 13s);
  EXPECT_FALSE(attempt->stop.stop_requested());
  leases.fence(start + 14s);
  EXPECT_EQ(attempt->reason, StopReason::lease_lost);
  EXPECT_EQ(leases.fence_at(), Clock::time_point::max());
}

TEST(Leases, ALeaseThatALockKeepsFromBeingExtendedIsAskedForAgain) {
  const Settings settings = make_settings(10s);
  Stopper stopper{std::make_shared<Inbox>()};
  Leases leases{settings, stopper};
  const auto start = Clock::now();
  const auto held = make_attempt({}, "{}", 1, 11);
  const auto other = make_attempt({}, "{}", 2, 12);
  leases.add(held, start);
  leases.add(other, start);
  std::vector<std::int64_t> asked;
  leases.heartbeat(start + 3s, asked);
  EXPECT_EQ(asked, (std::vector<std::int64_t>{11, 12}));
  leases.on_heartbeat(asked, start + 3s, {{1, "later"}});
  EXPECT_FALSE(held->stop.stop_requested());
  // Soon, and for that one alone.
  EXPECT_EQ(leases.heartbeat_at(), start + 4s);
  leases.heartbeat(start + 4s, asked);
  EXPECT_EQ(asked, std::vector<std::int64_t>{11});
  leases.on_heartbeat(asked, start + 4s, {});
  EXPECT_GT(leases.heartbeat_at(), start + 6s);
  leases.fence(start + 11s);
  EXPECT_FALSE(held->stop.stop_requested());

  // Its handler stops in time where the lock outlasts the lease; the other one goes on.
  leases.heartbeat(start + 7s, asked);
  leases.on_heartbeat(asked, start + 7s, {{1, "later"}});
  leases.fence(start + 13s);
  EXPECT_EQ(held->reason, StopReason::lease_lost);
  EXPECT_FALSE(other->stop.stop_requested());
}

TEST(Leases, ATasksOwnTimeStopsItsHandler) {
  const Settings settings = make_settings(10s);
  Stopper stopper{std::make_shared<Inbox>()};
  Leases leases{settings, stopper};
  const auto start = Clock::now();
  const auto attempt = make_attempt({});
  attempt->deadline_at = start + 2s;
  leases.add(attempt, start);
  EXPECT_EQ(leases.fence_at(), start + 2s);
  leases.fence(start + 1s);
  EXPECT_FALSE(attempt->stop.stop_requested());
  leases.fence(start + 2s);
  EXPECT_EQ(attempt->reason, StopReason::timeout);
}

TEST(Leases, ATaskClaimedAgainStopsItsFirstHandler) {
  const Settings settings = make_settings();
  Stopper stopper{std::make_shared<Inbox>()};
  Leases leases{settings, stopper};
  const auto first = make_attempt({}, "{}", 1, 11);
  const auto again = make_attempt({}, "{}", 1, 12);
  leases.add(first, Clock::now());
  leases.add(again, Clock::now());
  EXPECT_EQ(first->reason, StopReason::lease_lost);
  EXPECT_FALSE(again->stop.stop_requested());
  std::vector<std::int64_t> asked;
  leases.heartbeat(Clock::now(), asked);
  EXPECT_EQ(asked, (std::vector<std::int64_t>{12}));
  leases.finish(*first);
  leases.finish(*again);
  leases.remove(*first);
  leases.remove(*again);
  EXPECT_EQ(leases.heartbeat_at(), Clock::time_point::max());
}

TEST(Share, CapsATenantsHandlers) {
  const std::map<std::string, int> running{{"a", 4}, {"b", 1}, {"c", 3}};
  const Share all = share_of(running, 10, {});
  EXPECT_EQ(all.max_tasks, 10U);
  EXPECT_EQ(all.choice.max_per_tenant, 0);
  EXPECT_TRUE(all.choice.except.empty() && all.choice.only.empty());
  const Share capped = share_of(running, 10, {4, 0});
  EXPECT_EQ(capped.choice.max_per_tenant, 1) << "what c has room for";
  EXPECT_EQ(capped.choice.except, (std::vector<std::string>{"a"}));
  EXPECT_EQ(share_of({}, 10, {4, 0}).choice.max_per_tenant, 4);
}

TEST(Share, CapsTheTenants) {
  const std::map<std::string, int> running{{"a", 4}, {"b", 1}};
  EXPECT_EQ(share_of(running, 10, {0, 5}).max_tasks, 3U) << "each may be of a new tenant";
  const Share full = share_of(running, 10, {4, 2});
  EXPECT_EQ(full.max_tasks, 10U);
  EXPECT_EQ(full.choice.only, (std::vector<std::string>{"b"}));
  EXPECT_TRUE(full.choice.except.empty());
  EXPECT_EQ(share_of({{"a", 4}, {"b", 4}}, 10, {4, 2}).max_tasks, 0U);
}

TEST(Share, LeavesOutWhatIsNearlyFullEverySecondTime) {
  const std::map<std::string, int> running{{"a", 15}, {"b", 4}, {"c", 16}};
  EXPECT_EQ(share_of(running, 64, {16, 0}).choice.max_per_tenant, 1);
  const Share wide = share_of(running, 64, {16, 0}, true);
  EXPECT_EQ(wide.choice.max_per_tenant, 12);
  EXPECT_EQ(wide.choice.except, (std::vector<std::string>{"a", "c"}));
  EXPECT_EQ(share_of({{"a", 15}}, 64, {16, 1}, true).max_tasks, 0U) << "the only one there may be";
}

TEST(Share, GivesNothingToATenantThatHasTooMuchPutOff) {
  const std::map<std::string, int> running{{"a", 1}, {"d", 4}};
  EXPECT_EQ(share_of(running, 10, {0, 0, {"b", "c"}}).choice.except, (std::vector<std::string>{"b", "c"}));
  EXPECT_EQ(share_of(running, 10, {4, 0, {"e"}}).choice.except, (std::vector<std::string>{"d", "e"}));
  EXPECT_EQ(share_of(running, 10, {0, 2, {"d"}}).choice.only, (std::vector<std::string>{"a"}));
}

TEST(Share, IsWiderWhenAnotherTenantMayBeServed) {
  const auto except = [](std::vector<std::string> tenants) { return wire::TenantChoice{.except = std::move(tenants)}; };
  EXPECT_FALSE(is_wider(except({"a"}), except({"a"})));
  EXPECT_FALSE(is_wider(except({"a", "b"}), except({"a"})));
  EXPECT_TRUE(is_wider(except({"b"}), except({"a"})));
  EXPECT_FALSE(is_wider({.only = {"a"}}, {}));
  EXPECT_TRUE(is_wider({}, {.only = {"a"}}));
}

// It may be what those that wait are waiting for.
TEST(Lender, OneThatIsTakenAgainComesFirst) {
  Settings settings = make_settings();
  settings.config.max_connections = 5;
  settings.config.call_timeout = 10s;
  Lender lender{settings};
  lender.take(3, {});
  std::promise<void> about_to_wait;
  std::jthread other{[&] {
    about_to_wait.set_value();
    lender.take(3, {});
  }};
  about_to_wait.get_future().wait();
  std::this_thread::sleep_for(10ms);  // so that it most likely waits
  lender.give_back(nullptr);
  lender.take_again({});
  for (int i = 0; i < 3; ++i) lender.give_back(nullptr);
}

TEST(Settings, PatienceEndsBeforeTheLease) {
  for (const auto lease : {1'000ms, 3'000ms, 6'000ms, 60'000ms, 86'400'000ms}) {
    EXPECT_LE(make_settings(lease).patience(), lease / 2);
    EXPECT_GE(make_settings(lease).patience(), lease / 3);
  }
}

TEST(Settings, AnObserverMayThrowAnything) {
  Settings settings = make_settings();
  settings.config.observer = std::make_shared<Observer>();
  settings.tell([](Observer&) { throw std::runtime_error{"broken"}; });
  settings.tell([](Observer&) { throw 42; });
}

TEST(SignalWatch, SaysWhenThereIsNoFileDescriptor) {
  // UBSan needs file descriptors to look at the first object of a type.
  EXPECT_EQ(error(errc::limit, "first").code(), errc::limit);
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  rlimit none = before;
  none.rlim_cur = 0;
  setrlimit(RLIMIT_NOFILE, &none);
  std::optional<errc> code;
  try {
    const SignalWatch watch;
  } catch (const error& e) {
    code = e.code();
  }
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_EQ(code, errc::limit);
  EXPECT_NO_THROW(SignalWatch{}) << "there is none that watches";
}

TEST(Stopper, ACallbackThatBlocksHidesNoOtherStop) {
  Stopper stopper{std::make_shared<Inbox>()};
  stopper.start();
  const auto first = make_attempt({});
  const auto second = make_attempt({}, "{}", 2, 12);
  std::promise<void> begun;
  std::promise<void> release;
  const std::stop_callback callback{first->stop.get_token(), [&] {
                                      begun.set_value();
                                      release.get_future().wait();
                                    }};
  stopper.ask(first, StopReason::cancelled);
  begun.get_future().wait();
  stopper.ask(second, StopReason::timeout);
  const TaskContext context{*second};
  EXPECT_TRUE(context.stop_requested());
  EXPECT_THROW(context.throw_if_stopped(), stopped);
  release.set_value();
}

// Its callbacks are called by the thread that asks: never the one that holds the leases.
TEST(Stopper, AsksOnAThreadOfItsOwn) {
  const auto inbox = std::make_shared<Inbox>();
  Stopper stopper{inbox};
  stopper.start();
  const auto attempt = make_attempt({});
  std::promise<bool> called;
  const std::stop_callback callback{attempt->stop.get_token(),
                                    [&] { called.set_value(inbox->is_own_thread() && !inbox->is_io_thread()); }};
  stopper.ask(attempt, StopReason::timeout);
  EXPECT_EQ(attempt->reason, StopReason::timeout) << "at once";
  EXPECT_TRUE(called.get_future().get());
  stopper.ask(attempt, StopReason::shutdown);
  stopper.stop();
  EXPECT_EQ(attempt->reason, StopReason::timeout);
}

TEST(RunnerConfig, IsChecked) {
  const auto refused = [](RunnerConfig config) {
    try {
      Runner runner{"host=/nowhere", config};
    } catch (const error& e) {
      return e.code() == errc::invalid;
    }
    return false;
  };
  EXPECT_FALSE(refused({}));
  EXPECT_FALSE(refused(RunnerConfig::builder().max_connections(2).max_concurrent_tasks(1).lease(1s).build()));
  EXPECT_TRUE(refused({.max_concurrent_tasks = 0}));
  EXPECT_TRUE(refused({.max_connections = 1}));
  EXPECT_TRUE(refused({.lease = 999ms}));
  EXPECT_TRUE(refused({.call_timeout = 0ms}));
  EXPECT_THROW(Runner{"nonsense"}, error);
}

TEST(Runner, WithoutAServerIsToldSoAtOnce) {
  Runner runner{"host=/nowhere", {.log = [](LogLevel, std::string_view) {}}};
  try {
    runner.execute("w");
    FAIL();
  } catch (const error& e) {
    EXPECT_EQ(e.code(), errc::unreachable);
    EXPECT_TRUE(e.retryable());
    EXPECT_FALSE(e.outcome_unknown());
  }
  EXPECT_TRUE(runner.shutdown().clean());
  EXPECT_TRUE(runner.shutdown().clean());
  try {
    runner.execute("w");
    FAIL();
  } catch (const error& e) {
    EXPECT_EQ(e.code(), errc::shut_down);
  }
}

TEST(Runner, NeverUsedIsNeverStarted) {
  Runner runner{"host=/nowhere"};
  EXPECT_FALSE(runner.worker().empty());
  EXPECT_LE(runner.worker().size(), 100U);
  const Runner other{"host=/nowhere"};
  EXPECT_NE(runner.worker(), other.worker());
}

}  // namespace
