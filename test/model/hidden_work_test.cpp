// No ready task is ever hidden: again and again some sessions do at random, and at the same time, all
// that moves tasks.  At each quiet moment what is ready is claimable at once, and a wait says so.  The
// test knows from the tables what claims must find: ready rows whose limits have permits.
//
// A claim that finds nothing doubts once a minute what it knows of the queue, which would hide what was
// lost.  So that doubt is spent before the game begins, and a game is shorter than a minute; a longer
// test plays more of them.  INSULA_SOAK=1 plays for ten minutes, INSULA_MODEL_SEED seeds another game.
#include <memory>
#include <thread>

#include "counted.hpp"
#include "hand.hpp"
#include "support/session.hpp"

namespace model {
namespace {

using namespace insula_test;
using Clock = std::chrono::steady_clock;

constexpr auto limit_of_each = 2;
constexpr auto limit_of_tenant = 4;

class HiddenWork : public ::testing::Test {
 protected:
  void SetUp() override {
    sql_.query("SET client_min_messages = error");
    sql_.query("CREATE EXTENSION IF NOT EXISTS insula");
  }

  // Games of this kind, one after another, for a sixth of the time that the whole suite takes.
  void play(Game& game, bool tenant_is_limited = false) {
    auto seed = static_cast<unsigned>(std::stol(environment("INSULA_MODEL_SEED", std::to_string(time(nullptr)))));
    tenant_is_limited_ = tenant_is_limited;
    for (int games = soak() ? 2 : 1; games > 0 && !HasFatalFailure(); --games, ++seed) {
      SCOPED_TRACE("INSULA_MODEL_SEED=" + std::to_string(seed));
      play_one(game, seed, soak() ? 50s : 5s);
    }
  }

 private:
  void play_one(Game& game, unsigned seed, std::chrono::seconds how_long) {
    make_tenants(game);
    // Dead entries stay in the queue's index while a snapshot may see them.
    Session old;
    old.query("BEGIN ISOLATION LEVEL REPEATABLE READ");
    if (!game.calm) old.query("SELECT 1");
    game.executions.clear();
    std::vector<std::unique_ptr<Hand>> hands;
    for (int i = 0; i < game.hands; ++i)
      hands.push_back(std::make_unique<Hand>(game, seed * 31 + static_cast<unsigned>(i), i));
    const auto until = Clock::now() + how_long;
    for (int burst = 0; Clock::now() < until && !HasFatalFailure(); ++burst) {
      SCOPED_TRACE("burst " + std::to_string(burst));
      play_burst(hands, game.burst);
      if (!HasFatalFailure()) expect_nothing_hidden(game, burst);
    }
    old.query("COMMIT");
    sql_.query("RESET insula.tenant");
    for (const std::string& tenant : game.tenants) sql_.query("SELECT insula.drop_tenant('" + tenant + "', '0 s')");
  }

  void make_tenants(const Game& game) {
    for (const std::string& tenant : game.tenants) {
      sql_.query("SELECT tenant FROM insula.create_tenant('" + tenant + "', login => false)");
      if (tenant_is_limited_)
        sql_.query("SELECT insula.set_tenant_limits('" + tenant + "', max_running => " +
                   std::to_string(limit_of_tenant) + ")");
      register_workflows(tenant);
      for (const std::string& workflow : game.workflows)
        sql_.query("SELECT insula.submit('" + workflow + "', tenant => '" + tenant + "')");
    }
    if (game.tenants.size() == 1) sql_.query("SET insula.tenant = '" + game.tenants[0] + "'");
    // The one doubt of a minute is spent, in claims and in waits, of rows under limits and of others.
    for (int i = 0; i < 3; ++i) {
      claim_all("NULL");
      waits("NULL");
      if (i == 0) complete_all();
    }
  }

  void register_workflows(const std::string& tenant) {
    const std::string again = R"("retry": {"max_attempts": 5, "backoff": "fixed", "initial_delay": "2 ms"}})";
    const std::string limit = R"("limit": {"max": )" + std::to_string(limit_of_each);
    const std::string run = R"("tasks": [{"id": "run", )" + again + "]";
    for (const std::string& workflow :
         {R"("a", )" + run, R"("b", )" + run,
          R"("pair", "tasks": [{"id": "y", "depends_on": ["x"]}, {"id": "x", )" + again + "]",
          R"("each", "params": {"items": {"type": "array", "default": [1, 2, 3]}}, "tasks": [{"id": "run", )"
          R"("for_each": {"items": "$.items"}, )" +
              again + "]",
          R"("few", )" + limit + "}, " + run, R"("keyed", )" + limit + R"(, "key": "$.n"}, )" + run,
          R"("steps", )" + limit + R"(}, "tasks": [{"id": "y", "depends_on": ["x"]}, {"id": "x"}])"})
      sql_.query("SELECT insula.register_workflow('{\"name\": " + workflow + "}', tenant => '" + tenant + "')");
  }

  void play_burst(std::vector<std::unique_ptr<Hand>>& hands, std::chrono::milliseconds how_long) {
    std::vector<std::thread> threads;
    for (auto& hand : hands) threads.emplace_back([&hand, how_long] { hand->play(how_long); });
    for (std::thread& thread : threads) thread.join();
    ASSERT_TRUE(eventually([this] {
      return sql_.query("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rough' AND state <> 'idle'") ==
             "0";
    }));
  }

  void expect_nothing_hidden(const Game& game, int burst) {
    // Makes the tasks ready that are due by now; the filter names no task.
    claim_all("'{a.nothing}'");
    if (game.tenants.size() == 1) expect_counted(sql_, game.tenants[0], "tenant_" + game.tenants[0]);
    for (const std::string& filter : game.filters) expect_all_claimed(game, filter);
    // Tasks that are held go back to the queue, or are finished, so that it does not grow without end.
    if (burst % 3 == 1)
      sql_.query("SELECT insula.leave('last')");
    else
      complete_all();
  }

  void expect_all_claimed(const Game& game, const std::string& filter) {
    SCOPED_TRACE(filter);
    const int ready = claimable(game, filter);
    const bool sleeps = waits(filter);
    ASSERT_FALSE(ready > 0 && sleeps) << "a wait sleeps over " << ready << " tasks";
    while (claim_all(filter) > 0) continue;
    // A scheduler may make tasks ready at any moment.
    for (int left = claimable(game, filter); left > 0; left = claimable(game, filter))
      ASSERT_GT(claim_all(filter), 0) << left << " tasks are hidden from claims, of " << ready;
    // Time may have made a task ready since, which the wait has seen to.
    ASSERT_TRUE(waits(filter) || claimable(game, filter) > 0) << "a wait ends for nothing";
  }

  bool waits(const std::string& filter) {
    return sql_.query("CALL insula.wait_for_work('0 s', tasks => " + filter + ")") == "f";
  }

  int claim_all(const std::string& filter) {
    return std::stoi(sql_.query("SELECT count(*) FROM insula.claim('last', " + filter + ", 10000, '1 h')"));
  }

  void complete_all() {
    while (sql_.query("SELECT count(insula.complete(task_id, lease)) FROM insula.claim('last', NULL, 10000)") != "0")
      continue;
    sql_.query("SELECT insula.leave('last')");
    while (sql_.query("SELECT count(insula.complete(task_id, lease)) FROM insula.claim('last', NULL, 10000)") != "0")
      continue;
  }

  // A row is seen an instant before its commit is announced, so a scheduler that makes tasks ready comes to its rest
  // before the count is used.
  int claimable(const Game& game, const std::string& filter) {
    int count = 0;
    for (const std::string& tenant : game.tenants) count += claimable_of(tenant, filter);
    EXPECT_TRUE(eventually([this] {
      return sql_.query("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'insula scheduler' AND "
                        "wait_event_type IS DISTINCT FROM 'Extension'") == "0";
    }));
    return count;
  }

  // Ready rows that the filter wants, as far as their limits and the tenant's let them run.
  int claimable_of(const std::string& tenant, const std::string& filter) {
    const std::string schema = "tenant_" + tenant;
    const std::string wanted = "(" + filter + "::text[] IS NULL OR key IN (SELECT owner FROM " + schema +
                               ".record WHERE kind = 't' AND name = ANY (" + filter + "::text[])))";
    return std::stoi(
        sql_.query("SELECT least(sum(least(ready, CASE WHEN limit_key IS NULL THEN ready ELSE greatest(" +
                   std::to_string(limit_of_each) + " - running, 0) END)), " +
                   (tenant_is_limited_ ? std::to_string(limit_of_tenant) + " - sum(running)" : std::string("NULL")) +
                   ") FROM (SELECT limit_key, count(*) FILTER (WHERE lane < 100000 AND " + wanted +
                   ") AS ready, count(*) FILTER (WHERE lane = 100001) AS running FROM " + schema +
                   ".work GROUP BY limit_key) AS limits"));
  }

  Session sql_;
  bool tenant_is_limited_ = false;
};

const std::vector<std::string> free_workflows = {"a", "b", "pair", "each"};
const std::vector<std::string> free_filters = {"'{a.run}'", "'{b.run,pair.x}'", "'{pair.x,pair.y,each.run}'", "NULL"};
const std::vector<std::string> all_workflows = {"a", "pair", "few", "keyed", "steps"};
const std::vector<std::string> all_filters = {"'{a.run,few.run}'", "'{keyed.run,steps.x}'", "'{pair.x,pair.y,steps.y}'",
                                              "NULL"};

// Nothing but submissions, claims and completions, as fast as can be.
TEST_F(HiddenWork, OfOneKind) {
  Game game = {{"hide"}, {"a"}, {"NULL"}, true, 3};
  play(game);
}

TEST_F(HiddenWork, OfCalmHands) {
  Game game = {{"hide"}, free_workflows, free_filters, true, 4};
  play(game);
}

TEST_F(HiddenWork, UnderLimits) {
  Game game = {{"hide"}, all_workflows, all_filters, true, 4};
  play(game);
}

TEST_F(HiddenWork, OfAllTenants) {
  Game game = {{"hide", "seek"}, all_workflows, all_filters, true, 4};
  play(game);
}

TEST_F(HiddenWork, OfRoughHands) {
  Game game = {{"hide"}, free_workflows, free_filters};
  play(game);
}

TEST_F(HiddenWork, OfRoughHandsUnderLimits) {
  Game game = {{"hide"}, all_workflows, all_filters};
  play(game, true);
}

// Beside a scheduler, so that claims and waits for all tenants visit only those that may have claimable tasks.
class HiddenFleet : public HiddenWork {};

// The last submission to each tenant may come while a claim visits it.
TEST_F(HiddenFleet, OfManyTenants) {
  Game game = {{}, {"a"}, {"NULL"}, true, 4, 30ms};
  for (int i = 0; i < 20; ++i) game.tenants.push_back("hide_" + std::to_string(i));
  play(game);
}

TEST_F(HiddenFleet, OfCalmHands) {
  Game game = {{"hide", "seek", "rest"}, all_workflows, all_filters, true, 4};
  play(game);
}

TEST_F(HiddenFleet, OfRoughHands) {
  Game game = {{"hide", "seek", "rest"}, free_workflows, free_filters};
  play(game);
}

TEST_F(HiddenFleet, OfRoughHandsUnderLimits) {
  Game game = {{"hide", "seek"}, all_workflows, all_filters};
  play(game, true);
}

}  // namespace
}  // namespace model
