// The primary dies under load and its synchronous standby takes over: nothing that was committed
// is lost, nothing happens twice, and everything goes on by itself.
#include "client_test.hpp"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace insula_test;
using namespace insula;

// The answer of the standby's control script.
std::string standby(const std::string& what) { return output_of("\"$INSULA_STANDBY_CTL\" " + what); }

class PreloadedFailover : public ClientTest {
 protected:
  void SetUp() override {
    ClientTest::SetUp();
    const std::string host = standby("start");
    const std::string port = environment("PGPORT");
    ASSERT_FALSE(host.empty()) << "there is no standby";
    hosts_ = "host=" + environment("PGHOST") + "," + host + " port=" + port + "," + port +
             " target_session_attrs=read-write";
    sql_.rows("CREATE TABLE " + effects() + " (execution bigint)");
  }
  // The cluster is as it was, for the tests that follow.
  void TearDown() override {
    EXPECT_TRUE(pg_ctl("crash"));
    standby("stop");
    sql_.rows("SELECT insula.drop_tenant($1, '0 s')", {tenant_});
    sql_.rows("DROP TABLE " + effects());
  }

  std::string effects() const { return "effects_" + tenant_; }
  std::string executions() const { return tenant_ + ".workflow_executions"; }

  std::string hosts_;
};

// Submits until it is told to stop, and keeps what the server has acknowledged.
class Submitter {
 public:
  Submitter(const Runner& runner, std::string keys)
      : thread_{[this, &runner, keys = std::move(keys)](auto stop) {
          for (int i = 0; !stop.stop_requested(); ++i) submit(runner, keys.empty() ? "" : keys + std::to_string(i));
        }} {}

  std::size_t acknowledged() const {
    const std::lock_guard lock{mutex_};
    return executions_.size();
  }
  int refused() const { return refused_; }
  std::vector<Execution> stop() {
    thread_.request_stop();
    thread_.join();
    return executions_;
  }

 private:
  void submit(const Runner& runner, const std::string& key) {
    try {
      const Execution execution = runner.execute_async("load", {}, {.idempotency_key = key});
      const std::lock_guard lock{mutex_};
      executions_.push_back(execution);
    } catch (const error& e) {
      EXPECT_TRUE(e.retryable()) << e.what();
      ++refused_;
    }
  }

  mutable std::mutex mutex_;
  std::vector<Execution> executions_;
  std::atomic<int> refused_{0};
  std::jthread thread_;  // the last member: it uses the others
};

TEST_F(PreloadedFailover, LosesNothingAndDoesNothingTwice) {
  auto runner = Runner::with_schema(
      hosts_, tenant_,
      {.max_concurrent_tasks = 4, .max_connections = 6, .lease = 6s, .call_timeout = 120s, .log = log_.hook()});
  runner.add(one_task("load", [this](TaskContext& ctx) {
    PGconn* conn = ctx.transaction();
    const std::string insert = "INSERT INTO " + effects() + " VALUES (" + std::to_string(ctx.execution_id()) + ")";
    const std::unique_ptr<PGresult, void (*)(PGresult*)> result{PQexec(conn, insert.c_str()), PQclear};
    if (PQresultStatus(result.get()) != PGRES_COMMAND_OK) throw std::runtime_error{PQerrorMessage(conn)};
  }));
  runner.add(one_task("tick", [](TaskContext&) {}));
  runner.schedule("every_second", "tick", "* * * * * *");
  const std::string ticks =
      "SELECT count(*) FROM " + executions() + " WHERE workflow = 'tick' AND status = 'completed'";
  const std::string done = "SELECT count(*) FROM " + effects();

  Submitter with_keys{runner, "k"};
  Submitter without{runner, ""};
  EXPECT_TRUE(eventually([&] { return std::stoi(sql_.value(done)) > 100 && sql_.value(ticks) != "0"; }));
  EXPECT_TRUE(pg_ctl("kill9"));
  standby("promote");
  Sql promoted{hosts_};
  const int ticks_before = std::stoi(promoted.value(ticks));
  const std::size_t before = with_keys.acknowledged();
  EXPECT_TRUE(eventually([&] { return with_keys.acknowledged() > before + 50; })) << log_.text();
  const auto first = with_keys.stop();
  const auto second = without.stop();
  EXPECT_EQ(with_keys.refused(), 0) << "it is sent again until it is known";

  for (const auto* submitted : {&first, &second})
    for (const Execution& execution : *submitted) {
      const auto result = execution.wait_for(patience);
      ASSERT_TRUE(result) << execution.id() << " was lost";
      EXPECT_TRUE(result->status.is_success()) << result->error;
    }
  // Those too whose submitter was not told that they were committed.
  EXPECT_TRUE(eventually([&] {
    return promoted.value("SELECT count(*) FROM " + executions() +
                          " WHERE workflow = 'load' AND status <> 'completed'") == "0";
  }));
  EXPECT_EQ(promoted.value(done), promoted.value("SELECT count(*) FROM " + executions() + " WHERE workflow = 'load'"));
  EXPECT_EQ(promoted.value(done), promoted.value("SELECT count(DISTINCT execution) FROM " + effects()));
  EXPECT_TRUE(eventually([&] { return std::stoi(promoted.value(ticks)) > ticks_before + 1; })) << "schedules fire";
  EXPECT_TRUE(eventually([&] {
    return promoted.value(
               "SELECT count(DISTINCT backend_type) FROM pg_stat_activity "
               "WHERE backend_type IN ('insula launcher', 'insula scheduler')") == "2";
  }));
  EXPECT_TRUE(log_.holds("the control connection is back")) << log_.text();
  EXPECT_TRUE(runner.shutdown().clean());
}

}  // namespace
