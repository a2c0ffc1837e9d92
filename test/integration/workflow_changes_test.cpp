// The cost that a change of a tenant's workflows has for the sessions that serve it.  Counted in rows of its records,
// not in time.
#include "support/session.hpp"

#include <algorithm>
#include <string>

namespace insula_test {
namespace {

class WorkflowChanges : public ::testing::Test {
 protected:
  void SetUp() override {
    sql_.query("SET client_min_messages = warning");
    sql_.query("CREATE EXTENSION IF NOT EXISTS insula");
    sql_.query("SELECT tenant FROM insula.create_tenant('one', login => false)");
    add("w", 1);
    add("x", 1);
  }
  void TearDown() override { sql_.query("SELECT insula.drop_tenant(tenant, '0 s') FROM insula.tenants"); }

  void add(const std::string& workflow, int tasks, const std::string& description = "''") {
    sql_.query("SELECT insula.register_workflow(jsonb_build_object('name', '" + workflow + "', 'description', " +
               description +
               ", 'tasks', (SELECT jsonb_agg(jsonb_build_object('id', 't' || g)) FROM generate_series(1, " +
               std::to_string(tasks) + ") g)), tenant => 'one')");
  }

  void change() {
    sql_.query("SELECT insula.pause_workflow('x', 'one')");
    sql_.query("SELECT insula.resume_workflow('x', 'one')");
  }

  long rows_read(Session& session) {
    return std::stol(session.query(
        "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_all_tables WHERE "
        "relid = 'tenant_one.record'::regclass"));
  }
  // The rows of the tenant's records that the session reads to do so.
  long rows(Session& session, const std::string& call) {
    session.query("BEGIN");
    const long before = rows_read(session);
    session.query(call);
    const long read = rows_read(session) - before;
    session.query("COMMIT");
    return read;
  }

  long pages(Session& session, const std::string& call) {
    const std::string plan = session.query("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + call);
    long total = 0;
    for (const char* name : {"\"Shared Hit Blocks\": ", "\"Shared Read Blocks\": "})
      total += std::atol(plan.c_str() + plan.find(name) + std::string(name).size());
    return total;
  }

  Session sql_;
  Session worker_;
};

TEST_F(WorkflowChanges, OtherDefinitionsAreNotReadAgain) {
  // Text that hardly compresses: hundreds of pages.
  add("large", 1, "(SELECT string_agg(sha256(i::text::bytea)::text, '') FROM generate_series(1, 30000) i)");
  const std::string claim = "SELECT * FROM insula.claim('w', '{large.t1}', tenant => 'one')";
  const auto claim_one = [&] {
    sql_.query("SELECT insula.submit('large', tenant => 'one')");
    return pages(worker_, claim);
  };
  const long first = claim_one();
  const long known = claim_one();
  ASSERT_GT(first, known + 100);
  for (int i = 0; i < 3; ++i) {
    change();
    add("new" + std::to_string(i), 1);
    EXPECT_LT(claim_one(), known + 60);
  }
}

TEST_F(WorkflowChanges, ADefinitionThatWasRolledBackIsForgotten) {
  const std::string number_of_current = "SELECT ref FROM tenant_one.record WHERE kind = 'c' AND name = ";
  worker_.query("BEGIN");
  worker_.query(R"(SELECT insula.register_workflow('{"name": "y", "tasks": [{"id": "old"}]}', tenant => 'one'))");
  worker_.query("SELECT insula.submit('y', tenant => 'one')");
  const std::string number = worker_.query(number_of_current + "'y'");
  worker_.query("SELECT * FROM insula.claim('w', tenant => 'one')");
  worker_.query("ROLLBACK");
  sql_.query(R"(SELECT insula.register_workflow('{"name": "z", "tasks": [{"id": "new"}]}', tenant => 'one'))");
  ASSERT_EQ(sql_.query(number_of_current + "'z'"), number);
  worker_.query("SELECT insula.submit('z', tenant => 'one')");
  EXPECT_EQ(worker_.query("SELECT task FROM insula.claim('w', '{z.new}', tenant => 'one')"), "new");
}

// The tenant has many different tasks; whatever it changes, a session that serves it reads few rows.
TEST_F(WorkflowChanges, KeysAreNotReadAgain) {
  for (int i = 0; i < 3; ++i) add("many" + std::to_string(i), 3000);
  const std::string calls[] = {"SELECT * FROM insula.claim('w', tenant => 'one')",
                               "SELECT * FROM insula.claim('w', '{w.t1}', tenant => 'one')",
                               "SELECT * FROM insula.claim('w', '{w.t1,w.other,many0.t1}', tenant => 'one')",
                               "SELECT * FROM insula.claim('w', '{elsewhere.t1}', tenant => 'one')",
                               "SELECT * FROM insula.claim('w', '{elsewhere.t1}')",
                               "SELECT insula.submit('w', tenant => 'one')"};
  constexpr long few = 25;
  const auto expect_few = [&](const std::string& after) {
    for (const std::string& call : calls) {
      change();
      EXPECT_LT(rows(worker_, call), few) << call << ", " << after;
      Session newcomer;
      EXPECT_LT(rows(newcomer, call), few) << call << ", a new session, " << after;
    }
  };
  expect_few("none is paused");
  for (int i = 0; i < 20; ++i) sql_.query("SELECT insula.submit('w', tenant => 'one')");
  expect_few("tasks are ready");
  sql_.query("SELECT insula.pause_workflow('many0', 'one')");
  expect_few("many are paused");
  add("one_more", 1);
  EXPECT_LT(rows(worker_, calls[0]), few);
  sql_.query("SELECT insula.resume_workflow('many0', 'one')");
  expect_few("all are resumed");
}

TEST_F(WorkflowChanges, TasksOfPausedWorkflowsWaitWhateverTheirNumber) {
  for (const int tasks : {1, 2000}) {
    const std::string workflow = "held" + std::to_string(tasks);
    add(workflow, tasks);
    sql_.query("SELECT insula.pause_workflow('" + workflow + "', 'one')");
    // A version with a task more.
    add(workflow, tasks + 1);
    sql_.query("SELECT insula.submit('" + workflow + "', tenant => 'one')");
    const std::string last = workflow + ".t" + std::to_string(tasks + 1);
    const std::string claims[] = {"SELECT count(*) FROM insula.claim('w', max_tasks => 10000, tenant => 'one')",
                                  "SELECT count(*) FROM insula.claim('w', '{" + last + "," + workflow +
                                      ".t1}', max_tasks => 10000, tenant => "
                                      "'one')"};
    for (const std::string& claim : claims) EXPECT_EQ(worker_.query(claim), "0") << claim;
    sql_.query("SELECT insula.submit('w', tenant => 'one')");
    EXPECT_EQ(worker_.query(claims[0]), "1");
    sql_.query("SELECT insula.resume_workflow('" + workflow + "', 'one')");
    EXPECT_EQ(worker_.query(claims[1]), "2");
    EXPECT_EQ(worker_.query(claims[0]), std::to_string(tasks - 1));
  }
}

TEST_F(WorkflowChanges, ANameThatWasUnknownIsFoundOnceItIsRegistered) {
  add("many", 2000);
  const std::string claim = "SELECT task FROM insula.claim('w', '{later.t1,w.t1}', tenant => 'one')";
  EXPECT_EQ(worker_.query(claim), "");
  add("later", 1);
  sql_.query("SELECT insula.submit('later', tenant => 'one')");
  EXPECT_EQ(worker_.query(claim), "t1");
  worker_.query("BEGIN");
  worker_.query(R"(SELECT insula.register_workflow('{"name": "y", "tasks": [{"id": "old"}]}', tenant => 'one'))");
  EXPECT_EQ(worker_.query("SELECT task FROM insula.claim('w', '{y.old}', tenant => 'one')"), "");
  worker_.query("ROLLBACK");
  add("z", 1);
  sql_.query("SELECT insula.submit('z', tenant => 'one')");
  EXPECT_EQ(worker_.query("SELECT task FROM insula.claim('w', '{y.old}', tenant => 'one')"), "");
  EXPECT_EQ(worker_.query("SELECT task FROM insula.claim('w', '{z.t1}', tenant => 'one')"), "t1");
}

}  // namespace
}  // namespace insula_test
