// Random definitions under budgets that hold next to nothing: each execution ends as it does without budgets, and no
// call for all tenants goes far beyond its budget. What fails says its seed; INSULA_BUDGET_SEED repeats it.
#include <cstdlib>
#include <fstream>
#include <memory>
#include <random>

#include "support/session.hpp"

namespace attacks {
namespace {

using namespace insula_test;
using std::to_string;

class Definitions {
 public:
  explicit Definitions(unsigned seed) : random_(seed) {}

  // Now and then as many tasks as it takes for contexts to be kept.
  std::string next() {
    const int tasks = chance(6) ? 280 + below(60) : 2 + below(40);
    std::string text = "{\"name\": \"random\", \"tasks\": [";
    for (int task = 0; task < tasks; ++task) text += (task ? ", " : "") + one(task, tasks);
    return text + "]}";
  }

 private:
  int below(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }
  bool chance(int in) { return below(in) == 0; }

  std::string name(int task) { return "t" + to_string(task); }

  std::string one(int task, int tasks) {
    std::string text = "{\"id\": \"" + name(task) + "\", \"retry\": {\"max_attempts\": 1}";
    if (task > 0 && !(tasks >= 280 && task < 260)) {
      std::vector<int> on;
      const int most = task > 260 && chance(2) ? 260 : 1 + below(3);
      for (int i = 0; i < most; ++i) {
        const int other = most == 260 ? i : below(task);
        if (std::find(on.begin(), on.end(), other) == on.end()) on.push_back(other);
      }
      text += ", \"depends_on\": [";
      for (std::size_t i = 0; i < on.size(); ++i) text += (i ? ", \"" : "\"") + name(on[i]) + "\"";
      text += "]";
      if (chance(3)) text += ", \"trigger_rule\": " + (chance(3) ? "\"always\"" : rule(on));
    }
    if (chance(tasks < 280 ? 4 : 40)) text += ", \"for_each\": {\"items\": \"$.list\", \"as\": \"item\"}";
    return text + "}";
  }

  std::string rule(const std::vector<int>& on) {
    const char* const kinds[] = {"all", "any", "none"};
    std::string text = std::string("{\"") + kinds[below(3)] + "\": [";
    const int conditions = 1 + below(6);
    for (int i = 0; i < conditions; ++i) {
      const std::string of = name(on[static_cast<std::size_t>(below(static_cast<int>(on.size())))]);
      text += i ? ", " : "";
      if (chance(2))
        text += std::string("{\"") + (chance(2) ? "task_success" : "task_failed") + "\": \"" + of + "\"}";
      else if (chance(2))
        text +=
            "{\"context_value\": {\"key\": \"list\", \"op\": \"contains\", \"value\": " + to_string(below(40)) + "}}";
      else
        text += "{\"context_value\": {\"key\": \"" + of + "\", \"op\": \"exists\"}}";
    }
    return text + "]}";
  }

  std::mt19937 random_;
};

class BudgetsFuzz : public ::testing::Test {
 protected:
  void SetUp() override {
    admin.query("SET client_min_messages = error");
    for (const char* tenant : {"tight", "wide"})
      admin.query(std::string("SELECT tenant FROM insula.create_tenant('") + tenant + "', password => 'x')");
    // Reports on what a claim has given: what the outcome is depends on the task alone.  What is to be asked again
    // stays.
    admin.query(R"(
        CREATE TEMP TABLE held (task_id bigint, lease bigint, task text);
        CREATE FUNCTION pg_temp.report() RETURNS int LANGUAGE plpgsql AS $$
        DECLARE
          one record; answers boolean[]; ids bigint[]; leases bigint[]; contexts jsonb[];
        BEGIN
          FOR one IN DELETE FROM held WHERE hashtext(task) % 7 = 0 RETURNING * LOOP
            PERFORM insula.fail(one.task_id, one.lease, 'no', false);
          END LOOP;
          SELECT array_agg(task_id), array_agg(h.lease),
            array_agg(jsonb_build_object(task, 1, 'last', task, 'o', jsonb_build_object(task, repeat('x', 200))))
          INTO ids, leases, contexts FROM held h;
          IF ids IS NULL THEN RETURN 0; END IF;
          answers := insula.complete_many(ids, leases, contexts);
          DELETE FROM held h USING unnest(ids, answers) a(id, done) WHERE h.task_id = a.id AND a.done IS NOT NULL;
          RETURN cardinality(ids);
        END $$)");
  }
  void TearDown() override { admin.query("SELECT insula.drop_tenant(t, '0 s') FROM unnest('{tight,wide}'::text[]) t"); }

  long ran() {
    std::ifstream file("/proc/" + to_string(admin.pid()) + "/schedstat");
    long nanoseconds = 0;
    EXPECT_TRUE(file >> nanoseconds);
    return nanoseconds;
  }

  // Runs an execution to its end; returns what became of it.
  std::string run(const std::string& tenant, const std::string& definition) {
    admin.query("SELECT insula.register_workflow('" + definition + "', true, tenant => '" + tenant + "')");
    const std::string id = admin.query(
        "SELECT insula.submit('random', jsonb_build_object('list', (SELECT jsonb_agg(n) FROM generate_series(1, 20) "
        "n)), tenant => '" +
        tenant + "')");
    EXPECT_TRUE(eventually([&] {
      for (const char* call : {"INSERT INTO held SELECT task_id, lease, task FROM insula.claim('w', max_tasks => 100)",
                               "SELECT pg_temp.report()"}) {
        const long before = ran();
        admin.query(call);
        longest = std::max(longest, ran() - before);
      }
      return admin.query("SELECT finished_at IS NOT NULL FROM insula.result(" + id + ")") == "t";
    }))
        << admin.query(
               "SELECT string_agg(task || ' ' || status || ' ' || coalesce(why, ''), ', ') FROM "
               "insula.explain_execution(" +
               id + ") WHERE status NOT IN ('completed', 'failed', 'skipped')");
    EXPECT_EQ(admin.query("SELECT count(*) FROM tenant_" + tenant + ".work WHERE lane IS NOT NULL"), "0");
    return id;
  }

  // What is not the same in two executions; empty: nothing.
  std::string difference(const std::string& one, const std::string& other) {
    return admin.query("WITH a AS (SELECT * FROM insula.result(" + one + ")), b AS (SELECT * FROM insula.result(" +
                       other +
                       ")), s AS (SELECT 1 AS which, t FROM a, jsonb_array_elements(tasks) t UNION ALL SELECT 2, t "
                       "FROM b, jsonb_array_elements(tasks) t), "
                       "d AS (SELECT t->>'task' AS task, string_agg((t->>'status') || coalesce(t->>'error', ''), ' or "
                       "' ORDER BY which) AS how "
                       "FROM s GROUP BY 1 HAVING count(*) <> 2 OR count(DISTINCT (t->>'status', t->>'error')) <> 1 "
                       "ORDER BY 1 LIMIT 20) "
                       "SELECT concat_ws(', ', CASE WHEN a.status <> b.status THEN 'status' END, "
                       "CASE WHEN a.error IS DISTINCT FROM b.error THEN a.error || ' or ' || b.error END, "
                       "CASE WHEN a.final_context IS DISTINCT FROM b.final_context THEN 'context' END, "
                       "(SELECT string_agg(task || ' ' || how, ', ') FROM d)) FROM a, b");
  }

  Session admin;
  long longest = 0;
};

TEST_F(BudgetsFuzz, ExecutionsEndAsWithoutBudgets) {
  const char* given = std::getenv("INSULA_BUDGET_SEED");
  const auto end = std::chrono::steady_clock::now() + (soak() ? 300s : 8s);
  for (int round = 0; round < 2 || std::chrono::steady_clock::now() < end; ++round) {
    const unsigned seed =
        given ? static_cast<unsigned>(std::stoul(given)) + static_cast<unsigned>(round) : std::random_device{}();
    SCOPED_TRACE("INSULA_BUDGET_SEED=" + to_string(seed));
    const std::string definition = Definitions(seed).next();
    const std::string wide = run("wide", definition);
    admin.query("SET insula.visit_bytes = '8kB'; SET insula.visit_time = '1ms'");
    longest = 0;
    EXPECT_EQ(difference(run("tight", definition), wide), "");
    EXPECT_LT(longest, 500'000'000);
    admin.query("RESET insula.visit_bytes; RESET insula.visit_time");
    if (HasFailure()) break;
  }
}

}  // namespace
}  // namespace attacks
