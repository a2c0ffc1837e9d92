// What the administrators' looks cost with many idle tenants, and a page of executions behind many of them.  Counted in
// buffers, not in time.
#include "support/session.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <string>

namespace insula_test {
namespace {

class PreloadedLooks : public ::testing::Test {
 protected:
  void SetUp() override {
    sql_.query("SET client_min_messages = warning");
    sql_.query("CREATE EXTENSION IF NOT EXISTS insula");
  }
  void TearDown() override { sql_.query("SELECT insula.drop_tenant(tenant, '0 s') FROM insula.tenants"); }

  void create(const std::string& tenant) {
    sql_.query("SELECT tenant FROM insula.create_tenant('" + tenant + "', login => false)");
    sql_.query(R"(SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => ')" + tenant +
               "')");
  }

  std::string submit(const std::string& tenant) {
    return sql_.query("SELECT insula.submit('w', tenant => '" + tenant + "')");
  }

  long buffers_once(const std::string& from) {
    const std::string plan = sql_.query("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM " + from);
    long total = 0;
    for (const char* name : {"\"Shared Hit Blocks\": ", "\"Shared Read Blocks\": "})
      total += std::atol(plan.c_str() + plan.find(name) + std::string(name).size());
    return total;
  }
  // A session reads some of the catalogs once, and autovacuum may have it read them again at any moment.
  long buffers(const std::string& from) {
    long least = buffers_once(from);
    for (int i = 0; i < 4; ++i) least = std::min(least, buffers_once(from));
    return least;
  }

  Session sql_;
};

// A look, and the pages that it may read for each idle tenant.  All read insula.tenant, and health() and capacity()
// pg_class.
struct Look {
  std::string from;
  double pages_per_tenant;
};
constexpr long pages_of_an_execution = 12;  // its row, and by an index its workflow and key

TEST_F(PreloadedLooks, IdleTenantsCostAtMostTheirPart) {
  for (const char* tenant : {"one", "two", "three"}) create(tenant);
  const std::string id = submit("one");
  // Its lease outlasts a slow machine's run: a task that is ready again costs a look at the queue.
  sql_.query("SELECT insula.claim('w', max_tasks => 1, lease_for => '1 day')");
  const Look looks[] = {{"insula.workers()", 0},
                        {"insula.leases()", 0},
                        {"insula.timeline(" + id + ")", 0},
                        {"insula.usage('one')", 0},
                        {"insula.executions(tenant => 'one')", 0},
                        {"insula.failures(tenant => 'one')", 0},
                        {"insula.explain_tenant('one')", 0},
                        {"insula.tenant_activity", 0},
                        {"insula.pg_stat_insula", 0},
                        {"insula.status()", 0},
                        {"insula.metrics()", 0},
                        {"insula.read_overdue('0 s', '0 s')", 0},
                        {"insula.capacity()", 1},
                        {"insula.health()", 2},
                        {"insula.failures()", 4},
                        {"insula.executions()", 4},
                        {"insula.usage()", 4},
                        {"insula.workflows()", 5}};
  // The scheduler has looked at all tenants.
  const auto settle = [this] {
    EXPECT_TRUE(eventually([this] {
      return sql_.query("SELECT value FROM insula.status() WHERE item = 'scheduler'").find("asleep") == 0 &&
             buffers_once("insula.leases()") < 100;
    }));
  };
  settle();
  std::map<std::string, long> few;
  for (const Look& look : looks) few[look.from] = buffers(look.from);
  constexpr int idle = 300;
  for (int i = 0; i < idle; i += 100) {
    const std::string names = "(SELECT 'idle_' || i AS name FROM generate_series(" + std::to_string(i) + ", " +
                              std::to_string(i + 99) + ") i) n";
    sql_.query("SELECT count(insula.create_tenant(name, login => false)) FROM " + names);
    sql_.query(
        R"(SELECT sum(insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => name)) FROM )" +
        names);
  }
  sql_.query("VACUUM ANALYZE");
  settle();
  // Earlier tests' tenants have left it larger than it need be; and a few pages of indexes.
  const long pages_of_tenants = 4 + std::stol(sql_.query("SELECT pg_relation_size('insula.tenant') / 8192"));
  // Nothing has counted the idle tenants' queues yet: no more of them are looked at than a call may visit, each at the
  // cost of a look at its queue.
  sql_.query("SELECT insula.stat_reset()");
  constexpr long visits = 200;
  constexpr long pages_of_a_visit = 40;
  for (const char* from : {"insula.read_overdue('0 s', '0 s')", "insula.health()"})
    EXPECT_LE(buffers(from), few[from] + pages_of_tenants + 2 * idle + visits * pages_of_a_visit) << from;
  for (const Look& look : looks)
    EXPECT_LE(buffers(look.from), few[look.from] + pages_of_tenants + std::lround(look.pages_per_tenant * idle))
        << look.from << ", with few tenants " << few[look.from];
}

TEST_F(PreloadedLooks, OnlySomeOfATenantsPrioritiesAreLookedAt) {
  create("one");
  const auto submit_with_priorities = [this](int from, int to) {
    sql_.query("SELECT count(insula.submit('w', priority => p, tenant => 'one')) FROM generate_series(" +
               std::to_string(from) + ", " + std::to_string(to) + ") p");
    sql_.query("VACUUM ANALYZE tenant_one.work");
  };
  submit_with_priorities(1, 400);
  const long few = buffers("insula.read_overdue('0 s', '0 s')");
  submit_with_priorities(401, 2000);
  EXPECT_LE(buffers("insula.read_overdue('0 s', '0 s')"), few + few / 2 + 10);
}

TEST_F(PreloadedLooks, APageCostsTheSameBehindAnyHistory) {
  create("one");
  const auto finish = [this](int executions) {
    sql_.query("SELECT insula.submit_many('w', array_fill('{}'::jsonb, ARRAY[" + std::to_string(executions) +
               "]), tenant => 'one')");
    while (sql_.query("SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 1000, tenant "
                      "=> 'one')") != "0") {
    }
    sql_.query("VACUUM ANALYZE tenant_one.work, tenant_one.record");
  };
  finish(1200);
  const std::string middle =
      sql_.query("SELECT min(execution_id) FROM insula.executions(max_executions => 600, tenant => 'one')");
  const std::string looks[] = {"insula.executions(max_executions => 50, tenant => 'one')",
                               "insula.executions(max_executions => 50)",
                               "insula.executions('w', 'completed', max_executions => 50, tenant => 'one')",
                               "insula.executions(before => " + middle + ", max_executions => 50, tenant => 'one')",
                               "insula.timeline(" + middle + ")",
                               "insula.result(" + middle + ")",
                               "insula.leases('one')",
                               "insula.workflows('one')",
                               "insula.explain_tenant('one')"};
  std::map<std::string, long> few;
  for (const std::string& look : looks) few[look] = buffers(look);
  EXPECT_LT(few[looks[0]], 50 * pages_of_an_execution);
  finish(10000);
  // A tree is a page higher.
  for (const std::string& look : looks) EXPECT_LE(buffers(look), few[look] + few[look] / 2 + 10) << look;
}

TEST_F(PreloadedLooks, CountersCostNoDefinition) {
  create("one");
  sql_.query("SELECT insula.cancel(" + submit("one") + ")");
  const long few = buffers("insula.pg_stat_insula");
  // Text that hardly compresses: more than a hundred pages.
  sql_.query(
      "SELECT insula.register_workflow(jsonb_build_object('name', 'w', 'description', (SELECT "
      "string_agg(sha256(i::text::bytea)::text, '') FROM generate_series(1, 30000) i), 'tasks', '[{\"id\": "
      "\"a\"}]'::jsonb), tenant => 'one')");
  sql_.query("SELECT insula.cancel(" + submit("one") + ")");
  ASSERT_EQ(sql_.query("SELECT count(*) FROM insula.pg_stat_insula WHERE tenant = 'one'"), "2");
  ASSERT_GT(buffers("insula.workflows('one')"), few + 100);
  EXPECT_LE(buffers("insula.pg_stat_insula"), few + 10);
  EXPECT_LE(buffers("insula.explain_tenant('one')"), 100);
}

// Planned while the tenant had few.
TEST_F(PreloadedLooks, AKeyedSubmissionReadsNoOtherKeys) {
  create("one");
  const auto submit_keyed = [&] {
    static int number = 0;
    return buffers("insula.submit('w', idempotency_key => 'single-" + std::to_string(++number) +
                   "', tenant => 'one') submitted");
  };
  const long few = submit_keyed();
  sql_.query(
      "SELECT count(insula.submit_many('w', array_fill('{}'::jsonb, ARRAY[1000]), tenant => 'one', idempotency_keys => "
      "(SELECT array_agg(t || '-' || i) FROM generate_series(1, 1000) i))) FROM generate_series(1, 10) t");
  EXPECT_LE(submit_keyed(), few + 30) << "of 10,000 other keys";
}

TEST_F(PreloadedLooks, RunsThatFailedBeforeAreFewToRead) {
  create("one");
  submit("one");
  sql_.query("SELECT insula.fail(task_id, lease, 'no') FROM insula.claim('w', tenant => 'one')");
  const std::string look = "insula.failures('1 day', 'one')";
  const long few = buffers(look);
  sql_.query(
      "INSERT INTO tenant_one.record (kind, owner, name, seq, ref, at) SELECT r.kind, r.owner, r.name, r.seq + i, "
      "r.ref, "
      "r.at + interval '1 s' FROM tenant_one.record r, generate_series(1, 20000) i WHERE r.name = "
      "'task_attempt_failed'");
  sql_.query("VACUUM ANALYZE tenant_one.record");
  EXPECT_LE(buffers(look), few + 20);
  EXPECT_EQ(
      sql_.query("SELECT retrying || ' ' || (last_at = (SELECT max(at) FROM tenant_one.record))::text FROM " + look),
      "1 true");
}

// Rows times events would be minutes.
TEST_F(PreloadedLooks, ManyTasksThatRunAgainAreReadOnce) {
  create("one");
  submit("one");
  sql_.query("SELECT insula.fail(task_id, lease, 'no') FROM insula.claim('w', tenant => 'one')");
  sql_.query("SELECT insula.submit_many('w', array_fill('{}'::jsonb, ARRAY[80000]), tenant => 'one')");
  sql_.query("UPDATE tenant_one.work SET error = 'no', attempt = 1, started_at = created_at");
  sql_.query(
      "INSERT INTO tenant_one.record (kind, owner, name, seq, ref, at) SELECT r.kind, w.id, r.name, 1, w.id, r.at FROM "
      "tenant_one.work w, tenant_one.record r WHERE r.name = 'task_attempt_failed' AND r.owner <> w.id");
  sql_.query("SET statement_timeout = '30 s'");
  EXPECT_EQ(sql_.query("SELECT retrying FROM insula.failures('1 day', 'one')"), "80001");
  sql_.query("RESET statement_timeout");
}

TEST_F(PreloadedLooks, WhatFailsCostsNoOldHistory) {
  create("one");
  const auto finish = [this](int executions) {
    sql_.query("SELECT insula.submit_many('w', array_fill('{}'::jsonb, ARRAY[" + std::to_string(executions) +
               "]), tenant => 'one')");
    while (sql_.query("SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 1000, tenant "
                      "=> 'one')") != "0") {
    }
    sql_.query(
        "UPDATE tenant_one.work SET created_at = created_at - interval '9 days', finished_at = finished_at - "
        "interval '9 days' WHERE created_at > now() - interval '1 day'");
    sql_.query("VACUUM ANALYZE tenant_one.work");
  };
  finish(200);
  const std::string look = "insula.failures('1 day', 'one')";
  const long few = buffers(look);
  finish(8000);
  EXPECT_LE(buffers(look), few + few / 2 + 10);
  submit("one");
  sql_.query("SELECT insula.fail(task_id, lease, 'no', false) FROM insula.claim('w', tenant => 'one')");
  EXPECT_EQ(sql_.query("SELECT failed FROM " + look), "1");
}

}  // namespace
}  // namespace insula_test
