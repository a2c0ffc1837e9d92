// What a change of a tenant's workflows costs the sessions that serve it.  Counted in rows of its records, not in time.
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

}  // namespace
}  // namespace insula_test
