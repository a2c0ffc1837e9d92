// The testing kit, as its users have it; and observers, metrics, traces of a real runner.
#include "client_test.hpp"

#include <insula/testing.hpp>

#include <atomic>

namespace {

using namespace insula_test;
using namespace insula;

class PreloadedCluster : public ::testing::Test {
 protected:
  // One for all of them: it takes a second.
  static insula::testing::Cluster& cluster() {
    static insula::testing::Cluster cluster;
    return cluster;
  }
};

TEST_F(PreloadedCluster, IsAPostgresOfItsOwn) {
  EXPECT_EQ(cluster().query("SELECT extname FROM pg_extension WHERE extname = $1", {"insula"}).at(0).at(0), "insula");
  EXPECT_NE(cluster().query("SHOW data_directory"), Sql{}.rows("SHOW data_directory"));
  EXPECT_EQ(error_of([] { cluster().query("SELECT 1/0"); }).sqlstate(), "22012");
  EXPECT_EQ(error_of([] { insula::testing::Cluster{{.bindir = "/nonexistent"}}; }).code(), errc::unreachable);
  const auto quiet = insula::testing::ClusterOptions{.preload = false, .settings = {"work_mem = '5MB'"}};
  insula::testing::Cluster other{quiet};
  EXPECT_EQ(other.query("SHOW work_mem").at(0).at(0), "5MB");
}

TEST_F(PreloadedCluster, DrainsAndShowsWhatWasStarted) {
  auto runner = Runner::with_schema(cluster().connection_string(), "drained");
  std::atomic<int> runs{0};
  runner.add(one_task("w", [&](TaskContext&) { ++runs; }));
  for (int i = 0; i < 20; ++i) runner.execute_async("w", {{"n", i}, {"order", Context{{"id", 100 + i}, {"x", 1}}}});
  cluster().drain();
  EXPECT_EQ(runs, 20);
  EXPECT_EQ(cluster().enqueued("drained", "w").size(), 20U);
  const auto found = cluster().require_enqueued("drained", "w", {{"order", Context{{"id", 107}}}});
  EXPECT_EQ(found.context.at<int>("n"), 7);
  EXPECT_EQ(found.status, "completed");
  const error e = error_of([] { cluster().require_enqueued("drained", "w", {{"n", 99}}); });
  EXPECT_EQ(e.code(), errc::not_found);
  EXPECT_NE(std::string{e.what()}.find("\"n\":3"), std::string::npos) << e.what();
  EXPECT_EQ(error_of([] { cluster().require_enqueued("no_such_tenant", "w"); }).code(), errc::not_found);
  runner.shutdown();
  auto submitter = Runner::with_schema(cluster().connection_string(), "drained");
  const Execution left = submitter.execute_async("w");
  EXPECT_EQ(error_of([] { cluster().drain(20ms); }).code(), errc::limit);
  EXPECT_TRUE(left.cancel());
}

TEST_F(PreloadedCluster, HasAClockThatCanBeMoved) {
  auto runner = Runner::with_schema(cluster().connection_string(), "early");
  runner.add(one_task("w", [](TaskContext&) {}));
  const Execution tomorrow = runner.execute_async("w", {}, {.delay = 24h});
  const Execution later = runner.execute_async("w", {}, {.delay = 72h});
  cluster().advance_clock(25h);
  EXPECT_TRUE(tomorrow.wait().status.is_success());
  EXPECT_EQ(later.status(), Status::pending);
  cluster().advance_clock(48h);
  EXPECT_TRUE(later.wait().status.is_success());
}

TEST_F(PreloadedCluster, FiresSchedules) {
  auto runner = Runner::with_schema(cluster().connection_string(), "scheduled");
  runner.add(one_task("report", [](TaskContext&) {}));
  const auto id = runner.schedule("nightly", "report", "0 3 * * *",
                                  {.timezone = "Europe/Rome", .context = {{"kind", "full"}}, .overlap = Overlap::skip});
  EXPECT_EQ(runner.schedule("nightly", "report", "30 3 * * *", {.timezone = "Europe/Rome"}), id) << "changed";
  cluster().advance_clock(72h);
  cluster().drain();
  const auto fired = cluster().enqueued("scheduled", "report");
  ASSERT_EQ(fired.size(), 3U);
  for (const auto& one : fired) {
    EXPECT_EQ(one.context.at<std::int64_t>("schedule_id"), id);
    EXPECT_EQ(one.context.at<std::string>("schedule_expression"), "30 3 * * *");
  }
  runner.schedule("short", "report", "@yearly", {.ends_at = std::chrono::system_clock::now()});
  auto listed = runner.schedules();
  ASSERT_EQ(listed.size(), 2U);
  EXPECT_EQ(listed[0].name + listed[0].workflow + listed[0].cron, "nightlyreport30 3 * * *");
  EXPECT_EQ(listed[0].timezone, "Europe/Rome");
  EXPECT_EQ(name(listed[0].status), "active");
  ASSERT_TRUE(listed[0].next_fire && listed[0].last_fire);
  EXPECT_GT(*listed[0].next_fire - *listed[0].last_fire, 22h) << "a day, and what summer time makes of it";
  EXPECT_LT(*listed[0].next_fire - *listed[0].last_fire, 26h);
  EXPECT_EQ(name(listed[1].status), "ended");
  EXPECT_FALSE(listed[1].next_fire || listed[1].last_fire);
  EXPECT_TRUE(runner.pause_schedule("nightly"));
  EXPECT_FALSE(runner.pause_schedule("nightly"));
  listed = runner.schedules();
  EXPECT_EQ(name(listed[0].status), "paused");
  EXPECT_FALSE(listed[0].next_fire);
  EXPECT_TRUE(listed[0].last_fire);
  cluster().advance_clock(48h);
  cluster().drain();
  EXPECT_EQ(cluster().enqueued("scheduled", "report").size(), 3U);
  EXPECT_TRUE(runner.resume_schedule("nightly"));
  EXPECT_TRUE(runner.unschedule("nightly"));
  EXPECT_FALSE(runner.unschedule("nightly"));
  EXPECT_EQ(error_of([&] { runner.resume_schedule("nightly"); }).code(), errc::not_found);
}

class Observing : public ClientTest {};

struct Counter : Observer {
  void task_started(const TaskContext& task) override {
    ++started;
    traced += task.get<std::string>(traceparent_key).has_value();
  }
  void task_ended(const TaskContext&, const TaskEnd& end) override {
    completed += end.outcome == TaskOutcome::completed;
  }
  void connection_up(std::string_view) override { ++up; }
  void connection_lost(std::string_view, const error&) override { ++lost; }
  std::atomic<int> started{0}, traced{0}, completed{0}, up{0}, lost{0};
};

TEST_F(Observing, ARunnerIsSeenAndCounted) {
  const auto counter = std::make_shared<Counter>();
  sql_.rows("SELECT insula.create_tenant($1, schema_name => $1, login => false)", {tenant_});
  auto runner = Runner::with_schema("application_name=" + tenant_, tenant_,
                                    {.max_concurrent_tasks = 3, .log = log_.hook(), .observer = counter});
  std::atomic<bool> traced{false};
  runner.add(one_task("w", [&](TaskContext& ctx) { traced = ctx.contains(traceparent_key); }));
  EXPECT_TRUE(runner.execute("w").status.is_success());
  EXPECT_FALSE(traced);
  EXPECT_TRUE(runner.execute("w", {}, {.traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"})
                  .status.is_success());
  EXPECT_TRUE(traced);
  EXPECT_EQ(counter->started, 2);
  EXPECT_EQ(counter->completed, 2);
  EXPECT_EQ(counter->traced, 1);
  EXPECT_EQ(counter->up, 2);
  sql_.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", {tenant_});
  EXPECT_TRUE(eventually([&] { return counter->lost == 2 && counter->up == 4; }));
  const auto holds = [&](const std::string& line) { return runner.metrics().find(line + "\n") != std::string::npos; };
  EXPECT_TRUE(eventually([&] {
    return holds("insula_connections 2") && holds("insula_connections_lost_total 2") &&
           holds("insula_tasks_claimed_total 2") && holds("insula_slots 3") && holds("insula_tasks_running 0") &&
           holds("insula_outcomes_unsent 0") &&
           holds("insula_tasks_total{workflow=\"w\",task=\"only\",outcome=\"completed\"} 2");
  })) << runner.metrics();
}

}  // namespace
