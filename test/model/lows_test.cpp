// No ready task is ever passed over for good: again and again some sessions do at random, and at
// the same time, all that moves tasks, in transactions and savepoints, rolled back, cancelled and
// killed, while somebody holds a snapshot.  As soon as they are done, one claim finds all that is
// ready.  The tenant's claims have doubted what they know of the queue just before: that would hide
// what was lost.  INSULA_SOAK=1 makes it longer, INSULA_MODEL_SEED another one.
#include <libpq-fe.h>

#include <mutex>
#include <random>

#include "../integration/session.hpp"
#include "counted.hpp"

namespace {

using insula_test::eventually;
using insula_test::Session;
using namespace std::chrono_literals;

constexpr int sessions = 6;

// A session whose errors are part of the game.
class Rough {
 public:
  Rough() : conn_(PQconnectdb("application_name=rough")) {
    PQsetNoticeProcessor(
        conn_, [](void*, const char*) {}, nullptr);
    run("SET synchronous_commit = off; SET lock_timeout = '20 ms'; SET deadlock_timeout = '5 ms'");
  }
  ~Rough() { PQfinish(conn_); }
  Rough(const Rough&) = delete;
  Rough& operator=(const Rough&) = delete;

  // The rows, as text; none where it fails.
  std::vector<std::vector<std::string>> run(const std::string& sql) {
    std::vector<std::vector<std::string>> rows;
    PGresult* result = PQexec(conn_, sql.c_str());
    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
      for (int row = 0; row < PQntuples(result); ++row) {
        rows.emplace_back();
        for (int i = 0; i < PQnfields(result); ++i) rows.back().emplace_back(PQgetvalue(result, row, i));
      }
    }
    PQclear(result);
    return rows;
  }
  bool lost() const { return PQstatus(conn_) != CONNECTION_OK; }

 private:
  PGconn* conn_;
};

// What the sessions of a round know of each other.
struct Round {
  std::string tenant;
  std::mutex mutex;
  std::vector<std::string> executions;
};

class Hand {
 public:
  Hand(Round& round, unsigned seed, int number) : round_(round), random_(seed), worker_("w" + std::to_string(number)) {
    connect();
  }

  void play() {
    // What steers makes claims forget what they know, so it must not be there always.
    steers_ = below(12) == 0;
    for (int i = 2 + below(5); i > 0; --i) {
      if (session_->lost()) connect();
      if (below(4) == 0)
        transaction();
      else
        act();
    }
  }

 private:
  void connect() {
    session_ = std::make_unique<Rough>();
    session_->run("SET insula.tenant = '" + round_.tenant + "'");
  }
  int below(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }

  void transaction() {
    session_->run(below(8) == 0 ? "BEGIN ISOLATION LEVEL REPEATABLE READ" : "BEGIN");
    for (int i = 1 + below(4); i > 0; --i) {
      const bool saved = below(2) == 0;
      if (saved) session_->run("SAVEPOINT a");
      act();
      if (saved) session_->run(below(2) == 0 ? "ROLLBACK TO a" : "RELEASE a");
      if (below(4) == 0) std::this_thread::sleep_for(std::chrono::milliseconds(below(4)));
    }
    session_->run(below(3) == 0 ? "ROLLBACK" : "COMMIT");
  }

  void act() {
    const int what = below(100);
    if (what < 20)
      submit();
    else if (what < 50)
      claim();
    else if (what < 75)
      report();
    else if (what < 90)
      steers_ ? steer() : claim();
    else if (what < 98)
      session_->run("SELECT insula.leave('w" + std::to_string(below(sessions)) + "')");
    else if (steers_)
      disturb();
  }

  void submit() {
    static const char* const workflows[] = {"a", "b", "pair", "each"};
    const auto rows =
        session_->run("SELECT unnest(insula.submit_many('" + std::string(workflows[below(4)]) +
                      "', array_fill('{}'::jsonb, ARRAY[" + std::to_string(1 + below(5)) + "]), priority => " +
                      std::to_string(below(2)) + (below(4) == 0 ? ", run_at => now() + '5 ms'" : "") + "))");
    const std::lock_guard lock(round_.mutex);
    for (const auto& row : rows) round_.executions.push_back(row[0]);
  }

  void claim() {
    static const char* const filters[] = {"NULL", "'{a.run}'", "'{b.run,pair.x}'", "'{pair.x,pair.y,each.run}'"};
    if (below(4) == 0) session_->run("SET statement_timeout = '1 ms'");
    const auto rows =
        session_->run("SELECT task_id, lease FROM insula.claim('" + worker_ + "', " + filters[below(4)] + ", " +
                      std::to_string(1 + below(below(2) ? 3 : 30)) + ", '" + (below(2) ? "1 s" : "1 h") + "')");
    session_->run("SET statement_timeout = 0");
    held_.insert(held_.end(), rows.begin(), rows.end());
  }

  void report() {
    if (held_.empty()) return;
    std::swap(held_[static_cast<std::size_t>(below(static_cast<int>(held_.size())))], held_.back());
    const std::string lease = held_.back()[0] + ", " + held_.back()[1];
    held_.pop_back();
    switch (below(5)) {
      case 0:
        session_->run("SELECT insula.fail(" + lease + ", 'by chance')");
        break;
      case 1:
        session_->run("SELECT insula.defer(" + lease + ", clock_timestamp() + '3 ms')");
        break;
      case 2:
        session_->run("SELECT insula.wait_event(" + lease + ", 'go', '5 ms')");
        break;
      default:
        session_->run("SELECT insula.complete(" + lease + ")");
    }
  }

  void steer() {
    static const char* const verbs[] = {"cancel(", "pause(", "resume(", "resume(", "retry(", "send_event("};
    const int verb = below(6);
    std::string execution;
    {
      const std::lock_guard lock(round_.mutex);
      const auto count = round_.executions.size();
      if (count == 0) return;
      // Mostly the latest, which are still in the queue.
      execution = round_.executions[count - 1 - random_() % std::min<std::size_t>(count, below(2) ? 20 : 1000)];
    }
    session_->run(std::string("SELECT insula.") + verbs[verb] + execution + (verb == 5 ? ", 'go')" : ")"));
  }

  void disturb() {
    if (below(3) == 0) {
      // What is counted from the beginning while others go on must still come out right.
      session_->run("SELECT insula.stat_reset()");
      session_->run("SELECT sum(ready) FROM insula.tenant_activity");
    } else if (below(2) == 0)
      session_->run("SELECT count(*) FROM insula.cancel_executions('a', dry_run => false, max_executions => 20)");
    else
      session_->run(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'rough' "
          "AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1");
  }

  Round& round_;
  std::mt19937 random_;
  std::string worker_;
  bool steers_ = false;
  std::unique_ptr<Rough> session_;
  std::vector<std::vector<std::string>> held_;
};

class Lows : public ::testing::Test {
 protected:
  void SetUp() override {
    sql_.query("SET client_min_messages = error");
    sql_.query("CREATE EXTENSION IF NOT EXISTS insula");
  }

  void make_tenant(const std::string& tenant) {
    sql_.query("SELECT tenant FROM insula.create_tenant('" + tenant + "', login => false)");
    sql_.query("SET insula.tenant = '" + tenant + "'");
    const std::string again = R"("retry": {"max_attempts": 5, "backoff": "fixed", "initial_delay": "2 ms"}})";
    for (const char* tasks :
         {R"("a", "tasks": [{"id": "run", )", R"("b", "tasks": [{"id": "run", )",
          R"("pair", "tasks": [{"id": "y", "depends_on": ["x"]}, {"id": "x", )",
          R"("each", "params": {"items": {"type": "array", "default": [1, 2, 3]}}, "tasks": [{"id": "run", )"
          R"("for_each": {"items": "$.items"}, )"})
      sql_.query("SELECT insula.register_workflow('{\"name\": " + std::string(tasks) + again + "]}')");
    // The one doubt of a minute is spent.
    sql_.query("SELECT insula.submit('a')");
    for (int i = 0; i < 2; ++i) claim_all("NULL");
  }

  void claim_all(const std::string& filter) {
    sql_.query("SELECT count(*) FROM insula.claim('last', " + filter + ", 10000)");
  }

  // What a claim of the filter has left, all others being done.
  std::string left(const std::string& filter) {
    claim_all(filter);
    return sql_.query(
        "SELECT count(*) FROM tenant_lows.work w WHERE lane < 100000 AND (" + filter +
        "::text[] IS NULL OR key IN (SELECT owner FROM tenant_lows.record WHERE kind = 't' AND name = ANY (" + filter +
        "::text[])))");
  }

  void play(std::vector<std::unique_ptr<Hand>>& hands) {
    std::vector<std::thread> threads;
    for (auto& hand : hands) threads.emplace_back([&hand] { hand->play(); });
    for (std::thread& thread : threads) thread.join();
    ASSERT_TRUE(eventually([this] {
      return sql_.query("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rough' AND state <> 'idle'") ==
             "0";
    }));
  }

  Session sql_;
};

TEST_F(Lows, LoseNothing) {
  const char* chosen = getenv("INSULA_MODEL_SEED");
  const unsigned seed = chosen ? static_cast<unsigned>(atoi(chosen)) : 1;
  const auto until = std::chrono::steady_clock::now() + (getenv("INSULA_SOAK") ? 50s : 4s);
  make_tenant("lows");
  Session old;
  old.query("BEGIN ISOLATION LEVEL REPEATABLE READ");
  old.query("SELECT 1");
  Round round = {"lows", {}, {}};
  std::vector<std::unique_ptr<Hand>> hands;
  for (int i = 0; i < sessions; ++i)
    hands.push_back(std::make_unique<Hand>(round, seed * sessions + static_cast<unsigned>(i), i));
  for (int burst = 0; std::chrono::steady_clock::now() < until; ++burst) {
    SCOPED_TRACE("seed " + std::to_string(seed) + ", burst " + std::to_string(burst));
    play(hands);
    if (HasFatalFailure()) return;
    model::expect_counted(sql_, "lows", "tenant_lows");
    for (const char* filter : {"'{a.run}'", "'{b.run,pair.x}'", "'{pair.x,pair.y,each.run}'", "NULL"})
      ASSERT_EQ(left(filter), "0") << filter;
    sql_.query("SELECT insula.leave('last')");
    // A queue that grows hides little, but takes long.
    if (burst % 3 == 0)
      sql_.query("SELECT count(insula.complete(task_id, lease)) FROM insula.claim('last', NULL, 10000)");
  }
  old.query("COMMIT");
  sql_.query("RESET insula.tenant");
  sql_.query("SELECT insula.drop_tenant('lows', '0 s')");
}

}  // namespace
