// The link's pipeline against a real server: what several statements under way at once do to
// each other, which is nothing, and what becomes of them when the connection breaks.
#include "wire/link.hpp"

#include "client_test.hpp"

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>

namespace {

using namespace insula::wire;
using namespace std::chrono_literals;
using insula_test::Sql;

// A link with a loop of its own, and what it was told.
class Pipeline : public ::testing::Test {
 protected:
  void SetUp() override {
    sql_.rows("SET client_min_messages = warning");
    sql_.rows("CREATE EXTENSION IF NOT EXISTS insula");
    link_.open();
    ASSERT_TRUE(run_until([&] { return link_.is_up(); }));
  }

  bool run_until(const std::function<bool()>& condition) {
    const auto limit = Clock::now() + insula_test::patience;
    while (!condition()) {
      if (Clock::now() > limit) return false;
      pollfd entry = link_.poll_entry();
      const auto wake_at = std::min(link_.wake_at(), Clock::now() + 100ms);
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(wake_at - Clock::now());
      poll(&entry, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
      link_.pump(entry.revents, Clock::now());
    }
    return true;
  }

  // Notes the first value of the answer, its SQLSTATE, or "lost".
  void send(const char* sql, Clock::duration patience = 60s, std::vector<Param> params = {}) {
    ++sent_;
    link_.send(
        {sql, std::move(params)},
        [this](const Reply& reply) {
          answers_.push_back(reply.lost          ? "lost"
                             : reply.failure     ? std::string{reply.failure->sqlstate()}
                             : reply.rows.size() ? reply.rows.string(0, 0)
                                                 : "");
        },
        patience);
  }
  bool all_answered() {
    return run_until([&] { return answers_.size() == sent_; });
  }

  std::string pid() {
    send("SELECT pg_backend_pid()");
    EXPECT_TRUE(all_answered());
    const std::string pid = answers_.back();
    answers_.clear();
    sent_ = 0;
    return pid;
  }

  Sql sql_;
  const ConnInfo conninfo_{""};
  int ups_ = 0;
  int downs_ = 0;
  Link link_{conninfo_, "pipeline", 10s, {[this] { ++ups_; }, [this](const insula::error&, bool) { ++downs_; }, {}}};
  std::vector<std::string> answers_;
  std::size_t sent_ = 0;
};

using Answers = std::vector<std::string>;

TEST_F(Pipeline, AnswersComeInTheOrderOfSending) {
  for (const char* sql : {"SELECT 1", "SELECT pg_sleep(0.05), 2", "SELECT 3"}) send(sql);
  EXPECT_TRUE(link_.busy());
  ASSERT_TRUE(all_answered());
  EXPECT_EQ(answers_, (Answers{"1", "", "3"}));
  EXPECT_TRUE(link_.idle());
}

TEST_F(Pipeline, AFailedStatementHarmsNoOther) {
  sql_.rows("CREATE TABLE pipelined (i int)");
  send("INSERT INTO pipelined VALUES (1)");
  send("SELECT 1 / 0");
  send("no statement at all");
  send("INSERT INTO pipelined VALUES (2) RETURNING i");
  ASSERT_TRUE(all_answered());
  EXPECT_EQ(answers_, (Answers{"", "22012", "42601", "2"}));
  EXPECT_EQ(sql_.value("SELECT count(*) FROM pipelined"), "2");
  sql_.rows("DROP TABLE pipelined");
  EXPECT_EQ(downs_, 0);
}

// Both sides have more to send than the sockets hold, and neither waits for the other to read.
TEST_F(Pipeline, LargeStatementsAndAnswersDoNotBlockEachOther) {
  const std::string large(1'000'000, 'x');
  for (int i = 0; i < 20; ++i) send("SELECT $1::text", 60s, {large});
  ASSERT_TRUE(all_answered());
  EXPECT_EQ(std::count(answers_.begin(), answers_.end(), large), 20);
}

TEST_F(Pipeline, AnAnswerMaySendTheNextStatement) {
  link_.send(
      {"SELECT 1"}, [this](const Reply&) { send("SELECT 2"); }, 60s);
  send("SELECT 3");
  ASSERT_TRUE(run_until([&] { return answers_.size() == 2; }));
  EXPECT_EQ(answers_, (Answers{"3", "2"}));
}

TEST_F(Pipeline, AnAnswerMayCloseTheLink) {
  link_.send(
      {"SELECT 1"}, [this](const Reply&) { link_.close(); }, 60s);
  send("SELECT 2");
  ASSERT_TRUE(run_until([&] { return !link_.is_open(); }));
  EXPECT_TRUE(answers_.empty());
  EXPECT_EQ(downs_, 0);
}

TEST_F(Pipeline, ABrokenConnectionIsToldToAllAndReplaced) {
  const std::string server = pid();
  send("SELECT 1");
  send("SELECT pg_sleep(600)");
  send("SELECT 3");
  ASSERT_TRUE(run_until([&] { return answers_.size() == 1; }));
  sql_.rows("SELECT pg_terminate_backend($1)", {server});
  ASSERT_TRUE(all_answered());
  EXPECT_EQ(answers_, (Answers{"1", "lost", "lost"}));
  EXPECT_EQ(downs_, 1);
  ASSERT_TRUE(run_until([&] { return link_.is_up(); }));
  EXPECT_EQ(ups_, 2);
  EXPECT_NE(pid(), server);
}

TEST_F(Pipeline, AServerThatStopsAnsweringIsLeft) {
  const std::string server = pid();
  kill(std::stoi(server), SIGSTOP);
  send("SELECT 1", 300ms);
  send("SELECT 2", 60s);
  EXPECT_TRUE(all_answered());
  kill(std::stoi(server), SIGCONT);
  EXPECT_EQ(answers_, (Answers{"lost", "lost"}));
  ASSERT_TRUE(run_until([&] { return link_.is_up(); }));
}

// Time runs from when the server gets round to a statement: those ahead cost it nothing.
TEST_F(Pipeline, TheTimeoutBeginsWithTheTurn) {
  for (int i = 0; i < 20; ++i) send("SELECT pg_sleep(0.2), 1", 3500ms);
  ASSERT_TRUE(all_answered());
  EXPECT_EQ(std::count(answers_.begin(), answers_.end(), "lost"), 0);
  EXPECT_EQ(downs_, 0);
}

// Each row fills the server's buffer, and so comes by itself.
TEST_F(Pipeline, ALargeAnswerThatIsOnItsWayIsWaitedFor) {
  send("SELECT repeat('x', 20000), pg_sleep(0.5) FROM generate_series(1, 12)", 3s);
  ASSERT_TRUE(all_answered());
  EXPECT_NE(answers_, Answers{"lost"});
  EXPECT_EQ(downs_, 0);
}

TEST_F(Pipeline, ARestartOfTheServerIsSurvived) {
  for (int i = 0; i < 3; ++i) send("SELECT pg_sleep(600)");
  EXPECT_TRUE(insula_test::pg_ctl("restart fast"));
  ASSERT_TRUE(all_answered());
  EXPECT_EQ(answers_, Answers(3, "lost"));
  ASSERT_TRUE(run_until([&] { return link_.is_up(); }));
  send("SELECT 1");
  ASSERT_TRUE(run_until([&] { return answers_.size() == 4; }));
  EXPECT_EQ(answers_.back(), "1");
}

}  // namespace
