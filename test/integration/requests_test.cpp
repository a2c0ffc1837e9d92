// What callers ask and what handlers have left, over a link whose loop is the test's own: in which order
// it is sent, and what becomes of it when the connection breaks.
#include "runtime/requests.hpp"

#include "runtime/outcomes.hpp"
#include "wire/link.hpp"

#include "client_test.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>

namespace {

using namespace insula;
using namespace insula::detail;
using insula_test::Sql;
using namespace std::chrono_literals;
using wire::Link;

class Sending : public ::testing::Test {
 protected:
  void SetUp() override {
    sql_.rows("SET client_min_messages = warning");
    sql_.rows("CREATE EXTENSION IF NOT EXISTS insula");
    open(link_);
  }

  static bool run_until(Link& link, const std::function<bool()>& condition) {
    const auto limit = Clock::now() + 30s;
    while (!condition()) {
      if (Clock::now() > limit) return false;
      pollfd entry = link.poll_entry();
      poll(&entry, 1, 20);
      link.pump(entry.revents, Clock::now());
    }
    return true;
  }
  static void open(Link& link) {
    link.open();
    ASSERT_TRUE(run_until(link, [&] { return link.is_up(); }));
  }
  // The server's session goes; the link has not noticed yet.
  void break_connection() {
    std::string pid;
    link_.send(
        {"SELECT pg_backend_pid()"}, [&](const wire::Reply& reply) { pid = reply.rows.string(0, 0); }, 60s);
    ASSERT_TRUE(run_until(link_, [&] { return !pid.empty(); }));
    sql_.rows("SELECT pg_terminate_backend($1)", {pid});
    ASSERT_TRUE(insula_test::eventually(
        [&] { return sql_.value("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", {pid}) == "0"; }));
  }

  // More than goes over the control connection.
  void ask_much() {
    requests_.add({{"SELECT $1::text", {std::string(2'000'000, 'x')}},
                   [this](const wire::Reply&) { answered_.push_back("much"); },
                   {}});
  }
  void add(Outcomes& outcomes, std::int64_t task) {
    wire::Claimed claimed;
    claimed.tenant = "acme";
    claimed.task_id = task;
    claimed.lease = 1;
    outcomes.add({.attempt = std::make_shared<Attempt>(claimed, nullptr)});
  }
  Outcomes make_outcomes() {
    return {settings_, metrics_, [](const Attempt&) {}, [this](const Attempt&) { ++settled_; }};
  }

  static Settings make_settings() {
    RunnerConfig config;
    config.log = [](LogLevel, std::string_view) {};
    return {wire::ConnInfo{""}, config, "", "w"};
  }

  Sql sql_;
  const Settings settings_ = make_settings();
  Metrics metrics_;
  int downs_ = 0;
  Link link_{settings_.conninfo, "sending", 10s, {{}, [this](const error&, bool) { ++downs_; }, {}}};
  Requests requests_{settings_, [] {}};
  std::vector<std::string> answered_;
  std::size_t settled_ = 0;
};

TEST_F(Sending, AHeavyRequestStaysAsideWhenItsConnectionBreaks) {
  ask_much();
  EXPECT_FALSE(requests_.sendable());
  break_connection();
  requests_.send_waiting(link_, true);
  ASSERT_TRUE(run_until(link_, [&] { return downs_ == 1; }));
  EXPECT_FALSE(requests_.sendable()) << "it would hold up all that is said over the control connection";
  EXPECT_TRUE(requests_.has_waiting());
}

TEST_F(Sending, TenantsTakeTurnsAtTheirLocks) {
  sql_.rows("DROP TABLE IF EXISTS turns");
  sql_.rows("CREATE TABLE turns AS SELECT 1 AS n");
  Sql holder;
  holder.rows("BEGIN");
  holder.rows("SELECT FROM turns FOR UPDATE");
  const char* lock = "SELECT FROM turns FOR UPDATE NOWAIT";
  for (const std::string tenant : {"a", "a", "a", "b", "c"})
    requests_.add({{lock}, [this, tenant](const wire::Reply&) { answered_.push_back(tenant); }, {.tenant = tenant}});
  while (requests_.sendable()) {
    requests_.send_next(link_);
    ASSERT_TRUE(run_until(link_, [&] { return link_.idle(); }));
  }
  EXPECT_TRUE(answered_.empty());
  holder.rows("ROLLBACK");
  ask_much();
  while (requests_.has_waiting()) {
    requests_.send_waiting(link_, true);
    ASSERT_TRUE(run_until(link_, [&] { return link_.idle(); }));
  }
  EXPECT_EQ(answered_, (std::vector<std::string>{"much", "a", "b", "c", "a", "a"}));
  sql_.rows("DROP TABLE turns");
}

TEST_F(Sending, AtTheEndThoseInFlightAreTold) {
  for (const bool repeatable : {true, false}) {
    Requests requests{settings_, [] {}};
    std::optional<error> told;
    requests.add({{"SELECT pg_sleep(600)"},
                  [&](const wire::Reply& reply) { told = reply.failure; },
                  {.repeatable = repeatable}});
    requests.send_next(link_);
    link_.close();
    requests.end({errc::shut_down, "over"});
    ASSERT_TRUE(told);
    EXPECT_EQ(told->code(), errc::shut_down);
    EXPECT_EQ(told->outcome_unknown(), !repeatable);
    EXPECT_EQ(requests.size(), 0U);
    open(link_);
  }
}

TEST_F(Sending, ABatchThatBreaksItsConnectionIsHalved) {
  Outcomes outcomes = make_outcomes();
  for (std::int64_t task = 1; task <= 8; ++task) add(outcomes, task);
  break_connection();
  outcomes.send_next(link_);
  ASSERT_TRUE(run_until(link_, [&] { return downs_ == 1 && link_.is_up(); }));
  EXPECT_EQ(outcomes.size(), 8U);
  outcomes.send_next(link_);
  ASSERT_TRUE(run_until(link_, [&] { return settled_ > 0; }));
  EXPECT_EQ(settled_, 4U);
}

TEST_F(Sending, AnOutcomeStaysWhereItsProgressFindsTheConnectionBroken) {
  Outcomes outcomes = make_outcomes();
  wire::Claimed claimed;
  claimed.tenant = "acme";
  claimed.task_id = 1;
  claimed.lease = 1;
  const auto attempt = std::make_shared<Attempt>(claimed, nullptr);
  attempt->add_progress({.checkpoint = "1"});
  outcomes.add({.attempt = attempt, .kind = Outcome::Kind::failed, .error = "broken"});
  ASSERT_EQ(shutdown(link_.poll_entry().fd, SHUT_RDWR), 0);
  outcomes.send_next(link_);
  EXPECT_FALSE(link_.is_up());
  EXPECT_TRUE(outcomes.sendable(Clock::now()));
  ASSERT_TRUE(run_until(link_, [&] { return link_.is_up(); }));
  outcomes.send_next(link_);
  ASSERT_TRUE(run_until(link_, [&] { return settled_ == 1; }));
  EXPECT_EQ(outcomes.size(), 0U);
}

// Outcomes that were sent before, as where the connection breaks between the commit and the answer: the observer learns
// of those that have failed.
class SendingAgain : public Sending {
 protected:
  struct Failures : Observer {
    void task_failed(const LostTask& task, std::string_view error) override {
      told.push_back(std::to_string(task.task_id) + ": " + std::string{error});
    }
    void outcome_refused(const LostTask&) override { told.push_back("refused"); }
    std::vector<std::string> told;
  };

  void SetUp() override {
    Sending::SetUp();
    telling_.config.observer = observer_;
    sql_.rows("SELECT insula.create_tenant('sends_again', login => false, if_not_exists => true)");
    sql_.rows(R"(SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a", "retry": {"max_attempts": 1}}]}',
                 tenant => 'sends_again'))");
  }
  void TearDown() override {
    EXPECT_EQ(metrics_.leases_lost, 0U);
    sql_.rows("SELECT insula.drop_tenant('sends_again', '0 s')");
  }

  auto claim(const char* count) {
    return sql_.rows(
        "SELECT task_id, lease FROM insula.claim('w', max_tasks => $1, tenant => 'sends_again') ORDER BY task_id",
        {count});
  }

  // `tasks`: ids and leases.
  template <typename Rows>
  void send_again(const Rows& tasks, const Outcome& outcome) {
    Outcomes outcomes{telling_, metrics_, [](const Attempt&) {}, [this](const Attempt&) { ++settled_; },
                      [this](const Attempt& attempt) { failed_.push_back(std::to_string(attempt.info.task_id)); }};
    for (const auto& task : tasks) {
      wire::Claimed claimed;
      claimed.tenant = "sends_again";
      claimed.task_id = std::stoll(task[0]);
      claimed.lease = std::stoll(task[1]);
      Outcome again = outcome;
      again.attempt = std::make_shared<Attempt>(claimed, nullptr);
      again.sent_before = true;
      outcomes.add(again);
    }
    outcomes.send_next(link_);
    ASSERT_TRUE(run_until(link_, [&] { return settled_ == tasks.size(); }));
  }

  const std::shared_ptr<Failures> observer_ = std::make_shared<Failures>();
  Settings telling_ = make_settings();
  std::vector<std::string> failed_;
};

TEST_F(SendingAgain, AFailureIsTold) {
  sql_.rows("SELECT insula.submit('w', tenant => 'sends_again')");
  const auto tasks = claim("1");
  ASSERT_EQ(tasks.size(), 1U);
  EXPECT_EQ(sql_.value("SELECT insula.fail($1, $2, 'broken')", {tasks[0][0], tasks[0][1]}), "failed");
  send_again(tasks, {.attempt = nullptr, .kind = Outcome::Kind::failed, .error = "broken"});
  EXPECT_EQ(observer_->told, std::vector<std::string>{tasks[0][0] + ": broken"});
  EXPECT_EQ(failed_, std::vector<std::string>{tasks[0][0]});
}

TEST_F(SendingAgain, ARefusedContextOfABatchIsTold) {
  sql_.rows(R"(SELECT insula.register_workflow('{"name": "again", "tasks": [{"id": "a"}]}', tenant => 'sends_again'))");
  for (const char* workflow : {"w", "w", "again"})
    sql_.rows("SELECT insula.submit($1, tenant => 'sends_again')", {workflow});
  const auto tasks = claim("3");
  ASSERT_EQ(tasks.size(), 3U);
  EXPECT_EQ(sql_.value("SELECT next_status FROM insula.complete_batch(ARRAY[$1::bigint], ARRAY[$2::bigint], "
                       "ARRAY['[]']::jsonb[])",
                       {tasks[0][0], tasks[0][1]}),
            "failed");
  send_again(tasks, {.attempt = nullptr, .kind = Outcome::Kind::completed, .patch = "[]"});
  // The third has attempts left.
  EXPECT_EQ(observer_->told, (std::vector<std::string>{tasks[0][0] + ": context must be a JSON object",
                                                       tasks[1][0] + ": context must be a JSON object"}));
  EXPECT_EQ(failed_, (std::vector<std::string>{tasks[0][0], tasks[1][0]}));
}

// A standby may be one for long; claims for other tenants go on.
TEST_F(Sending, WhatIsPutOffIsNotNew) {
  const wire::ConnInfo read_only{"options='-c default_transaction_read_only=on'"};
  Link standby{read_only, "sending", 10s, {}};
  open(standby);
  Outcomes outcomes = make_outcomes();
  for (std::int64_t task = 1; task <= 1'200; ++task) add(outcomes, task);
  EXPECT_EQ(outcomes.new_size(), 1'200U);
  outcomes.send_next(standby);
  ASSERT_TRUE(run_until(standby, [&] { return standby.idle(); }));
  EXPECT_EQ(outcomes.new_size(), 0U);
  EXPECT_EQ(outcomes.size(), 1'200U);
  EXPECT_EQ(outcomes.crowded(), std::vector<std::string>{"acme"});
}

}  // namespace
