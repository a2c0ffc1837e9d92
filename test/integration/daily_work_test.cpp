// A day's work with the client: looking at many executions and steering them, progress, middleware,
// batches, handlers for some tasks, executors, and submissions that say whether they are new.
#include "client_test.hpp"

#include <insula/testing.hpp>

#include <libpq-fe.h>
#include <pthread.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

using namespace insula_test;
using namespace insula;
using namespace std::chrono_literals;

class DailyWork : public ClientTest {};

// ---- many executions ----

TEST_F(DailyWork, ListsInPagesAndGroupsFailures) {
  auto runner = make_runner();
  runner.add(one_task("good", [](TaskContext&) {}));
  runner.add(one_task("bad", [](TaskContext& ctx) {
    throw permanent_error{"order " + std::to_string(ctx.at<int>("n")) + " is broken"};
  }));
  std::vector<Execution> started;
  for (int i = 0; i < 5; ++i) {
    started.push_back(runner.execute_async("good", {}, {.priority = i}));
    started.push_back(runner.execute_async("bad", {{"n", i}}));
  }
  wait_all(started);
  const Executions all = runner.executions();
  std::set<std::int64_t> seen;
  int pages = 0;
  for (ExecutionPage page = all.list({}, 0, 4);; page = all.list({}, page.next, 4)) {
    ++pages;
    for (const ExecutionInfo& one : page.executions) {
      EXPECT_TRUE(seen.empty() || one.id < *seen.begin()) << "newest first";
      EXPECT_TRUE(seen.insert(one.id).second);
    }
    if (page.next == 0) break;
  }
  EXPECT_EQ(seen.size(), 10U);
  EXPECT_EQ(pages, 3);
  const auto failed = all.list({.workflow = "bad", .status = Status::failed}).executions;
  ASSERT_EQ(failed.size(), 5U);
  EXPECT_EQ(failed[0].error, "task \"only\" failed: order 4 is broken");
  EXPECT_TRUE(failed[0].finished_at >= failed[0].started_at && failed[0].started_at >= failed[0].created_at);
  EXPECT_EQ(all.list({.workflow = "good"}).executions.at(0).priority, 4);
  const auto hour_ago = failed[0].created_at - 1h;
  EXPECT_EQ(all.list({.created_after = hour_ago}).executions.size(), 10U);
  EXPECT_TRUE(all.list({.created_before = hour_ago}).executions.empty());
  const auto groups = all.failures();
  ASSERT_EQ(groups.size(), 1U);
  EXPECT_EQ(groups[0].failed, 5);
  EXPECT_EQ(groups[0].workflow + "." + groups[0].task, "bad.only");
  EXPECT_EQ(groups[0].error, "order # is broken");
  EXPECT_EQ(groups[0].example, failed[0].id);
  EXPECT_EQ(all.list({.error = "order 3"}).executions.size(), 1U);
  EXPECT_EQ(all.list({.context = {{"n", 2}}}).executions.size(), 1U);
  EXPECT_EQ(all.failures("bad", 1h).size(), 1U);
  EXPECT_TRUE(all.failures("good").empty());
}

TEST_F(DailyWork, SteersAllThatFit) {
  std::atomic<bool> broken{true};
  auto runner = make_runner();
  runner.add(one_task("w", [&](TaskContext&) {
    if (broken) throw permanent_error{"broken"};
  }));
  std::vector<Execution> started;
  for (int i = 0; i < 3; ++i) started.push_back(runner.execute_async("w"));
  for (const Result& result : wait_all(started)) EXPECT_EQ(result.status, Status::failed);
  const Executions all = runner.executions();
  EXPECT_EQ(all.retry({.workflow = "w"}, {.dry_run = true}).size(), 3U);
  broken = false;
  EXPECT_EQ(all.retry({.workflow = "w", .status = Status::failed}, {.reason = "mended"}).size(), 3U);
  for (const Result& result : wait_all(started)) EXPECT_TRUE(result.status.is_success()) << "handles wait anew";
  const Execution later = runner.execute_async("w", {}, {.delay = 1h});
  EXPECT_EQ(all.pause({}), std::vector{later.id()});
  EXPECT_EQ(later.status(), Status::paused);
  EXPECT_EQ(all.resume({.older_than = 1h}).size(), 0U);
  EXPECT_EQ(all.resume({}), std::vector{later.id()});
  EXPECT_EQ(all.cancel({}, {.reason = "not needed"}), std::vector{later.id()});
  EXPECT_EQ(later.wait().error, "not needed");
  EXPECT_EQ(all.remove({.status = Status::completed}).size(), 3U);
  EXPECT_EQ(error_of([&] { all.cancel({.status = Status::failed}); }).code(), errc::invalid);
}

TEST_F(DailyWork, AFleetsTenantHasItsOwn) {
  auto runner = make_runner();
  runner.add(one_task("w", [](TaskContext&) {}));
  ASSERT_TRUE(runner.execute("w").status.is_success());
  Fleet fleet{"application_name=fleet"};
  EXPECT_EQ(fleet.tenant(tenant_).executions().list().executions.size(), 1U);
  EXPECT_EQ(error_of([&] { (void)fleet.tenant("no_such_tenant").executions().list(); }).code(), errc::not_found);
}

// ---- progress ----

TEST_F(DailyWork, ACheckpointIsSeenByTheNextAttempt) {
  auto runner = make_runner();
  runner.add(Workflow::builder("import")
                 .task("only",
                       [](TaskContext& ctx) {
                         const int from = ctx.last_checkpoint<int>().value_or(0);
                         ctx.set("from", from);
                         if (from == 20) return;
                         ctx.checkpoint(from + 10);
                         throw std::runtime_error{"broken"};
                       },
                       {.retry = {.initial_delay = 1ms}})
                 .build());
  EXPECT_EQ(runner.execute("import").final_context.at<int>("from"), 20) << "told with the failure";
}

TEST_F(DailyWork, ACheckpointAtOnceSurvivesALostLease) {
  const Gate gate;
  std::atomic<int> runs{0};
  auto runner = make_runner({.max_concurrent_tasks = 2, .lease = 1h});
  runner.add(one_task("w", [&, gate](TaskContext& ctx) {
    if (++runs == 1) {
      ctx.checkpoint(Context{{"row", 7}}, Durable::at_once);
      gate.arrive();
      gate.wait(ctx.stop_token());
      EXPECT_THROW(ctx.checkpoint(8, Durable::at_once), stopped) << "the lease is lost";
      throw std::runtime_error{"late"};
    }
    ctx.set("row", ctx.last_checkpoint<Context>()->at<int>("row"));
  }));
  const Execution execution = runner.execute_async("w");
  gate.wait_for_arrivals(1);
  sql_.rows("SELECT insula.leave($1)", {runner.worker()});
  const Result result = execution.wait();
  gate.open();
  EXPECT_EQ(result.final_context.at<int>("row"), 7);
}

TEST_F(DailyWork, WithoutItsLeaseAHandlerIsToldSoAndNotThatNothingWasSaved) {
  const Gate gate;
  std::atomic<int> runs{0};
  std::atomic<int> told{0};
  auto runner = make_runner({.max_concurrent_tasks = 2, .lease = 1h});
  runner.add(one_task("w", [&, gate](TaskContext& ctx) {
    if (++runs == 1) {
      gate.arrive();
      gate.wait(ctx.stop_token());
    }
    try {
      EXPECT_FALSE(ctx.last_checkpoint<int>());
    } catch (const stopped&) {
      EXPECT_EQ(ctx.stop_reason(), StopReason::lease_lost);
      ++told;
      throw;
    }
  }));
  const Execution execution = runner.execute_async("w");
  gate.wait_for_arrivals(1);
  sql_.rows("SELECT insula.leave($1)", {runner.worker()});
  EXPECT_TRUE(execution.wait().status.is_success());
  gate.open();
  EXPECT_TRUE(runner.shutdown().clean());
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(told, 1) << "to the run that has lost it alone";
}

TEST_F(DailyWork, ProgressComesWithAHeartbeat) {
  const Gate gate;
  auto runner = make_runner({.lease = 1s});
  runner.add(one_task("w", [gate](TaskContext& ctx) {
    ctx.progress(0.25, "a quarter");
    gate.wait(ctx.stop_token());
  }));
  const Execution execution = runner.execute_async("w");
  EXPECT_TRUE(eventually([&] {
    const TaskResult task = execution.result().tasks.at(0);
    return task.progress == 0.25 && task.note == "a quarter";
  }));
  gate.open();
  EXPECT_TRUE(execution.wait().status.is_success());
}

// ---- middleware ----

struct Masking : Middleware {
  void before_submit(Submission& submission) override { submission.context.set("by", submission.tenant); }
  void to_server(std::string_view tenant, Context& context) override {
    if (const auto secret = context.get<std::string>("secret"))
      context.set("secret", "masked by " + std::string{tenant} + " " + std::string{secret->rbegin(), secret->rend()});
  }
  void from_server(std::string_view tenant, Context& context) override {
    const auto masked = context.get<std::string>("secret");
    if (!masked) return;
    const std::string plain = masked->substr(std::string{"masked by  "}.size() + tenant.size());
    context.set("secret", std::string{plain.rbegin(), plain.rend()});
  }
};

TEST_F(DailyWork, MiddlewareKeepsValuesFromTheServer) {
  auto runner = make_runner({.middleware = {std::make_shared<Masking>()}});
  runner.add(one_task("w", [](TaskContext& ctx) {
    EXPECT_EQ(ctx.at<std::string>("secret"), "plain");
    EXPECT_EQ(ctx.at<std::string>("by"), ctx.tenant());
    ctx.set("secret", "other");
  }));
  EXPECT_EQ(runner.execute("w", {{"secret", "plain"}}).final_context.at<std::string>("secret"), "other");
  const std::vector<Context> contexts{Context{{"secret", "plain"}}};
  EXPECT_EQ(wait_all(runner.submit_many("w", contexts)).at(0).final_context.at<std::string>("secret"), "other");
  EXPECT_EQ(sql_.value("SELECT count(*) FROM " + tenant_ +
                       ".workflow_executions WHERE context::text LIKE '%plain%' OR final_context::text LIKE '%other%'"),
            "0");
  EXPECT_EQ(
      sql_.value("SELECT count(*) FROM " + tenant_ + ".workflow_executions WHERE context ->> 'by' = $1", {tenant_}),
      "2");
}

// Seals one key, whatever its value.
struct Sealing : Middleware {
  void to_server(std::string_view, Context& context) override {
    if (const Value* value = context.find("person")) context.set("person", "sealed:" + value->to_json());
  }
  void from_server(std::string_view, Context& context) override {
    if (const auto text = context.get<std::string>("person")) context.set("person", Value::from_json(text->substr(7)));
  }
};

TEST_F(DailyWork, MiddlewareSeesWholeValues) {
  auto runner = make_runner({.middleware = {std::make_shared<Sealing>()}});
  const auto set = [](std::string key, Context value) {
    return [key = std::move(key), value = std::move(value)](TaskContext& ctx) { ctx.set(key, value); };
  };
  runner.add(Workflow::builder("w")
                 .task("phone", set("person", {{"phone", 1}}))
                 .task("gone", set("person", {{"street", nullptr}}), {.depends_on = {"phone"}})
                 .task("left", set("plain", {{"left", 1}}))
                 .task("right", set("plain", {{"right", 1}, {"old", nullptr}}))
                 .task("erased", [](TaskContext& ctx) { ctx.erase("other"); })
                 .build());
  const Result result = runner.execute("w", {{"person", Context{{"name", "Ada"}, {"street", "Via"}}},
                                             {"plain", Context{{"old", 1}, {"kept", 1}}},
                                             {"other", 1}});
  EXPECT_EQ(result.final_context, (Context{{"person", Context{{"name", "Ada"}, {"phone", 1}}},
                                           {"plain", Context{{"kept", 1}, {"left", 1}, {"right", 1}}}}))
      << result.final_context.to_json();
  EXPECT_EQ(sql_.value("SELECT left(final_context ->> 'person', 7) FROM insula.result($1)",
                       {std::to_string(result.execution_id)}),
            "sealed:");
}

// ---- handlers for some tasks ----

TEST_F(DailyWork, ARuntimeRunsOnlyTheTasksThatItWasGiven) {
  const auto by = [](const char* name) { return [name](TaskContext& ctx) { ctx.set(ctx.task(), name); }; };
  const auto workflow = [&](const char* name) {
    return Workflow::builder("video").task("fetch", by(name)).task("cut", by(name), {.depends_on = {"fetch"}}).build();
  };
  auto one = make_runner({.label = "one"});
  auto two = make_runner({.label = "two"});
  one.add(workflow("one"), {.only = {"fetch"}});
  two.add(workflow("two"), {.only = {"cut"}});
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(one.execute("video").final_context, (Context{{"fetch", "one"}, {"cut", "two"}}));
  EXPECT_EQ(one.worker().substr(0, 4), "one@");
  EXPECT_EQ(sql_.value("SELECT count(DISTINCT worker) FROM " + tenant_ + ".task_executions WHERE worker LIKE 'two@%'"),
            "1");
  EXPECT_EQ(error_of([&] { one.add(workflow("one"), {.only = {"nowhere"}}); }).code(), errc::invalid);
  EXPECT_EQ(error_of([&] { make_runner({.label = "two words"}); }).code(), errc::invalid);
}

TEST_F(DailyWork, ABatchIsOneCallForManyTasks) {
  std::atomic<int> calls{0};
  auto runner = make_runner({.max_concurrent_tasks = 50});
  runner.add(Workflow::builder("index")
                 .batch("only",
                        [&](std::span<TaskContext* const> tasks) {
                          ++calls;
                          for (TaskContext* task : tasks) {
                            task->set("done", true);
                            if (task->at<int>("n") == 7) task->fail("odd one", false);
                          }
                        })
                 .build());
  std::vector<Context> contexts;
  for (int i = 0; i < 200; ++i) contexts.push_back({{"n", i}});
  int failed = 0;
  for (const Result& result : wait_all(runner.submit_many("index", contexts))) {
    if (result.status == Status::failed)
      ++failed;
    else
      EXPECT_TRUE(result.final_context.at<bool>("done"));
  }
  EXPECT_EQ(failed, 1);
  EXPECT_LT(calls, 100);
}

TEST_F(DailyWork, AnExecutorOfTheUsersOwnRunsHandlers) {
  std::mutex mutex;
  std::set<std::thread::id> threads;
  std::vector<std::jthread> pool;
  {
    auto runner = make_runner({.max_concurrent_tasks = 3, .executor = [&](std::function<void()> job) {
                                 const std::lock_guard lock{mutex};
                                 pool.emplace_back(std::move(job));
                               }});
    runner.add(one_task("w", [&](TaskContext&) {
      const std::lock_guard lock{mutex};
      threads.insert(std::this_thread::get_id());
    }));
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(runner.execute("w").status.is_success());
    EXPECT_TRUE(runner.shutdown().clean());
  }
  EXPECT_EQ(threads.size(), 5U);
}

TEST_F(DailyWork, ThreadsHaveNames) {
  auto runner = make_runner({.max_concurrent_tasks = 2});
  runner.add(one_task("w", [](TaskContext& ctx) {
    std::array<char, 16> name{};
    pthread_getname_np(pthread_self(), name.data(), name.size());
    ctx.set("thread", name.data());
  }));
  const auto ran = runner.execute("w").final_context.at<std::string>("thread");
  EXPECT_TRUE(ran == "insula-task-0" || ran == "insula-task-1") << ran;
  std::set<std::string> names;
  for (const auto& thread : std::filesystem::directory_iterator{"/proc/self/task"}) {
    std::ifstream comm{thread.path() / "comm"};
    std::string name;
    if (std::getline(comm, name)) names.insert(name);
  }
  for (const char* name : {"insula-io", "insula-stop", "insula-task-0", "insula-task-1"})
    EXPECT_TRUE(names.contains(name)) << name;
}

// ---- failures ----

TEST_F(DailyWork, RetryAfterUsesAnAttempt) {
  struct Recorder : Observer {
    void task_failed(const LostTask& task, std::string_view error) override {
      const std::lock_guard lock{mutex};
      story += task.workflow + " " + std::to_string(task.attempt) + " " + std::string{error};
    }
    void execution_failed(const FailedExecution& execution) override {
      const std::lock_guard lock{mutex};
      story += "; " + execution.workflow + ": " + execution.error;
    }
    std::mutex mutex;
    std::string story;
  };
  const auto recorder = std::make_shared<Recorder>();
  std::atomic<int> runs{0};
  auto runner = make_runner({.observer = recorder});
  runner.add(Workflow::builder("later")
                 .task("only",
                       [&](TaskContext&) {
                         ++runs;
                         throw retry_after{1ms, "rate limited"};
                       },
                       {.retry = {.max_attempts = 2, .condition = RetryCondition::never}})
                 .build());
  EXPECT_EQ(runner.execute("later").error, "task \"only\" failed: rate limited");
  EXPECT_EQ(runs, 2) << "whatever the condition";
  EXPECT_TRUE(eventually([&] {
    const std::lock_guard lock{recorder->mutex};
    return recorder->story == "later 2 rate limited; later: task \"only\" failed: rate limited";
  }));
}

TEST_F(DailyWork, RetryWithoutAnAttemptHasABound) {
  std::atomic<int> runs{0};
  auto runner = make_runner();
  runner.add(Workflow::builder("busy")
                 .task("only",
                       [&](TaskContext& ctx) {
                         EXPECT_EQ(ctx.attempt(), 1);
                         ++runs;
                         throw retry_after::without_attempt(1ms, "busy", 3);
                       },
                       {.retry = {.max_attempts = 1}})
                 .build());
  const Execution execution = runner.execute_async("busy");
  EXPECT_EQ(execution.wait().error, "task \"only\" failed: busy");
  EXPECT_EQ(runs, 4);
  EXPECT_TRUE(execution.retry());
  EXPECT_EQ(execution.wait().status, Status::failed);
  EXPECT_EQ(runs, 8) << "counted anew";
}

// A handler that says its task has failed has failed, though asked to stop, and though it has a transaction.
TEST_F(DailyWork, AVerdictIsNotCommitted) {
  sql_.rows("CREATE TABLE verdict (n int)");
  const Gate gate;
  auto runner = make_runner();
  runner.add(Workflow::builder("w")
                 .batch("only",
                        [&, gate](std::span<TaskContext* const> tasks) {
                          for (TaskContext* task : tasks) {
                            if (task->context().get<bool>("second")) continue;
                            PQclear(PQexec(task->transaction(), "INSERT INTO verdict VALUES (1)"));
                            gate.arrive();
                            gate.wait(task->stop_token());
                            task->fail("stopped halfway");
                          }
                        })
                 .build());
  const Execution execution = runner.execute_async("w");
  gate.wait_for_arrivals(1);
  EXPECT_TRUE(runner.shutdown({.drain = 0ms}).clean());
  EXPECT_EQ(sql_.value("SELECT count(*) FROM verdict"), "0");
  EXPECT_NE(status_of(execution.id()), "completed");
  sql_.rows("SELECT insula.cancel($1)", {std::to_string(execution.id())});
  sql_.rows("DROP TABLE verdict");
}

TEST_F(DailyWork, ATaskRunsWhenTheExecutionFails) {
  auto runner = make_runner();
  runner.add(Workflow::builder("charge")
                 .task("charge",
                       [](TaskContext& ctx) {
                         if (ctx.at<bool>("broke")) throw permanent_error{"no money"};
                       })
                 .task("tell", [](TaskContext& ctx) { ctx.set("told", true); }, {.on_failure = true})
                 .build());
  const Result failed = runner.execute("charge", {{"broke", true}});
  EXPECT_EQ(failed.status, Status::failed);
  EXPECT_EQ(failed.error, "task \"charge\" failed: no money");
  EXPECT_TRUE(failed.final_context.at<bool>("told"));
  const Result paid = runner.execute("charge", {{"broke", false}});
  EXPECT_TRUE(paid.status.is_success());
  EXPECT_EQ(paid.tasks.at(1).status, Status::skipped);
}

// ---- submissions and events ----

TEST_F(DailyWork, ASubmissionSaysWhetherItIsNew) {
  auto runner = make_runner();
  runner.add(one_task("w", [](TaskContext&) {}));
  const Connection conn;
  const Submitted first = enqueue_once(conn, "w", {{"n", 1}}, {.idempotency_key = "k"}, tenant_);
  EXPECT_TRUE(first.is_new);
  const Submitted again = enqueue_once(conn, "w", {}, {.idempotency_key = "k"}, tenant_);
  EXPECT_FALSE(again.is_new);
  EXPECT_EQ(again.execution_id, first.execution_id);
  EXPECT_TRUE(runner.execution(first.execution_id).wait().status.is_success());
  // As another library would send it.
  const auto at = std::chrono::system_clock::now() + 1h;
  const SqlStatement submit = enqueue_statement("w", {{"n", 2}}, {.priority = 3, .run_at = at}, tenant_);
  std::vector<const char*> values;
  for (const auto& parameter : submit.parameters) values.push_back(parameter ? parameter->c_str() : nullptr);
  PGresult* answer = PQexecParams(conn, submit.sql.c_str(), static_cast<int>(values.size()), nullptr, values.data(),
                                  nullptr, nullptr, 0);
  ASSERT_EQ(PQresultStatus(answer), PGRES_TUPLES_OK) << PQerrorMessage(conn);
  const Execution later = runner.execution(std::stoll(PQgetvalue(answer, 0, 0)));
  EXPECT_STREQ(PQgetvalue(answer, 0, 1), "t");
  EXPECT_STREQ(PQfname(answer, 1), "is_new");
  PQclear(answer);
  EXPECT_EQ(later.status(), Status::pending);
  EXPECT_TRUE(later.cancel());
}

TEST_F(DailyWork, AnEventWithAKeyCountsOnce) {
  std::atomic<int> events{0};
  auto runner = make_runner();
  const auto wait = [&](TaskContext& ctx) -> std::optional<Suspend> {
    if (ctx.event() && ctx.event()->payload == Value("last")) return std::nullopt;
    if (ctx.event()) ++events;
    return insula::wait_event("go");
  };
  runner.add(Workflow::builder("w").task("only", wait).build());
  const Execution execution = runner.execute_async("w");
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(execution.send_event("go", i, {.idempotency_key = "first"}));
  EXPECT_TRUE(execution.send_event("go", "last"));
  EXPECT_TRUE(execution.wait().status.is_success());
  EXPECT_EQ(events, 1);
}

// ---- testing kit ----

TEST_F(DailyWork, AHandlerWithATransactionRunsWithoutARuntime) {
  const Connection conn;
  run(conn, "CREATE TEMPORARY TABLE effect (n int)");
  const Workflow workflow = one_task("w", [](TaskContext& ctx) {
    PQclear(PQexec(ctx.transaction(), "INSERT INTO effect VALUES (1)"));
    if (ctx.at<bool>("bad")) throw std::runtime_error{"broken"};
  });
  const auto effects = [&] { return conn.value("SELECT count(*) FROM effect"); };
  using insula::testing::run_task;
  EXPECT_EQ(run_task(workflow, "only", {.context = {{"bad", true}}, .connection = conn}).error, "broken");
  EXPECT_EQ(effects(), "0") << "rolled back";
  EXPECT_EQ(run_task(workflow, "only", {.context = {{"bad", false}}, .connection = conn}).outcome,
            TaskOutcome::completed);
  EXPECT_EQ(effects(), "1");
  run(conn, "BEGIN");
  (void)run_task(workflow, "only", {.context = {{"bad", false}}, .connection = conn});
  EXPECT_EQ(effects(), "2");
  run(conn, "ROLLBACK");
  EXPECT_EQ(effects(), "1") << "the caller's transaction is the caller's";
}

TEST_F(DailyWork, AClusterWithoutTheExtensionSaysWhatToDo) {
  const std::string elsewhere =
      "/usr/lib/postgresql/" + sql_.value("SELECT current_setting('server_version_num')::int / 10000") + "/bin";
  if (access((elsewhere + "/postgres").c_str(), X_OK) != 0) GTEST_SKIP() << "no server at " << elsewhere;
  for (const bool preload : {true, false}) {
    const error e = error_of([&] { insula::testing::Cluster{{.bindir = elsewhere, .preload = preload}}; });
    EXPECT_EQ(e.code(), errc::extension_missing);
    EXPECT_NE(std::string{e.what()}.find("make install"), std::string::npos) << e.what();
  }
}

}  // namespace
