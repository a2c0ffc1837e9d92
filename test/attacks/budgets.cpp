// Attacks on budgets: what a tenant inside its limits has shared processes do for it, and what becomes of the others'
// work in the same scheduler, claim or batch. What is late is told by order, not by clocks: the others have had their
// turn while much of the tenant's work is still to be done.
#include <algorithm>

#include "greedy.hpp"

namespace attacks {
namespace {

using std::to_string;

class Budgets : public GreedyAndBystander {
 protected:
  // The budgets of turns are tried by themselves, but for what tests set.
  void SetUp() override {
    GreedyAndBystander::SetUp();
    set_for_all("insula.max_overhead", "0");
  }

  // Registers a workflow whose task `a` is followed by many, each with its own options.
  void register_followed_by(int count, const std::string& options) {
    greedy->query(
        "SELECT insula.register_workflow(jsonb_build_object('name', 'w', 'tasks', '[{\"id\": \"a\", \"timeout\": \"1 "
        "h\", \"retry\": {\"max_attempts\": 1}}]'::jsonb || (SELECT jsonb_agg(jsonb_build_object('id', 'b' || g, "
        "'depends_on', '[\"a\"]'::jsonb) || " +
        options + ") FROM generate_series(1, " + to_string(count) + ") g)))");
  }
  // The running attempts of the tenant's tasks are past their timeouts.
  void time_out() {
    make_due();
    admin.query("SELECT insula.start_scheduler()");
  }
  void make_due() { admin.query("UPDATE tenant_greedy.work SET due = 0, deadline = 1 WHERE lane = 100001"); }

  // Until when the tenant is put off by schedulers, or by calls; empty: it is not.
  std::string put_off_until(const std::string& by) {
    return admin.query("SELECT says FROM insula.explain_tenant('greedy') WHERE item LIKE 'put off by " + by +
                       "%' AND says LIKE '%is put off until%'");
  }
  bool is_put_off(const std::string& by) { return !put_off_until(by).empty(); }
  // Tasks whose contexts take a while to merge.
  void submit_great(int tasks) {
    greedy->query(
        "SELECT insula.register_workflow(jsonb_build_object('name', 'w', 'tasks', (SELECT jsonb_agg(jsonb_build_object("
        "'id', 'a' || g)) FROM generate_series(1, 30) g) || (SELECT jsonb_agg(jsonb_build_object('id', 'b' || g, "
        "'depends_on', (SELECT jsonb_agg('a' || g) FROM generate_series(1, 30) g))) FROM generate_series(1, " +
        to_string(tasks) + ") g)))");
    greedy->query("SELECT insula.submit('w')");
    greedy->query(
        "SELECT count(insula.complete(task_id, lease, jsonb_build_object('x', repeat('x', 1000000)))) FROM "
        "insula.claim('w', max_tasks => 30)");
  }

  std::string put_off() { return admin.query("SELECT count(*) FROM tenant_greedy.work WHERE lane = 100005"); }
  std::string count(const std::string& where) {
    return admin.query("SELECT count(*) FROM tenant_greedy.work WHERE " + where);
  }

  // Some groups have elements, and some have yet to get theirs.
  bool has_begun_of_many() {
    return admin.query(
               "SELECT count(*) FILTER (WHERE element >= 0) > 0 AND count(*) FILTER (WHERE lane = 100005) > 0 "
               "FROM tenant_greedy.work") == "t";
  }

  // The scheduler has had a turn for the bystander.
  void expect_turn_of_bystander() {
    admin.query("SELECT insula.submit('w', run_at => clock_timestamp() + interval '50 ms', tenant => 'bystander')");
    EXPECT_TRUE(eventually([&] {
      return admin.query("SELECT count(*) FROM tenant_bystander.work WHERE lane IN (100000, 100005)") == "0";
    }));
  }

  // How long the session's process has run for the statement, in nanoseconds.
  static long ran_for(Session& session, const std::string& sql) {
    const long before = ran(session);
    session.query(sql);
    return ran(session) - before;
  }
};

// A rule that would look at too much of the context fails its task.
TEST_F(Budgets, ARuleLooksAtNoMoreThanItMay) {
  const auto costs = [&](int conditions, const std::string& state) {
    register_followed_by(1,
                         "jsonb_build_object('trigger_rule', jsonb_build_object('any', (SELECT "
                         "jsonb_agg(jsonb_build_object('context_value', jsonb_build_object('key', 'list', 'op', "
                         "'contains', 'value', 'not ' || n))) FROM generate_series(1, " +
                             to_string(conditions) + ") n)))");
    greedy->query(
        "SELECT insula.submit('w', jsonb_build_object('list', (SELECT jsonb_agg('a' || n) FROM generate_series(1, "
        "200000) n)))");
    greedy->query("CREATE TEMP TABLE claimed AS SELECT task_id, lease FROM insula.claim('w')");
    const long took = ran_for(*greedy, "SELECT insula.complete(task_id, lease) FROM claimed");
    greedy->query("DROP TABLE claimed");
    EXPECT_EQ(count("head IS NOT NULL AND state = " + state), "1");
    admin.query("TRUNCATE tenant_greedy.work");
    return took;
  };
  const long few = std::max({costs(20, "6"), costs(21, "6"), costs(22, "6")});
  EXPECT_LT(costs(9900, "5"), 20 * few);
}

// A timeout's decisions are taken in turns, and others have theirs.
TEST_F(Budgets, FanOutsThatATimeoutOpensHaveTurns) {
  constexpr int groups = 60;
  constexpr int elements = 2000;
  set_for_all("insula.visit_time", "20ms");
  register_followed_by(groups, "'{\"for_each\": {\"items\": \"$.list\"}, \"trigger_rule\": \"always\"}'");
  const std::string id = greedy->query(
      "SELECT insula.submit('w', jsonb_build_object('list', (SELECT jsonb_agg(n) FROM generate_series(1, " +
      to_string(elements) + ") n)))");
  EXPECT_EQ(greedy->query("SELECT count(*) FROM insula.claim('w', ARRAY['w.a'], lease_for => '1 h')"), "1");
  time_out();
  EXPECT_TRUE(eventually([&] { return has_begun_of_many(); }));
  expect_turn_of_bystander();
  EXPECT_TRUE(eventually([&] { return count("element >= 0") == to_string(groups * elements); }));
  EXPECT_EQ(put_off(), "0");
  EXPECT_EQ(
      greedy->query("SELECT count(*) FROM insula.explain_execution(" + id + ") WHERE why LIKE '% elements have %'"),
      to_string(groups));
  // The time that this took is the tenant's.
  EXPECT_EQ(admin.query("SELECT g.overhead_seconds > b.overhead_seconds FROM insula.tenant_activity g, "
                        "insula.tenant_activity b WHERE g.tenant = 'greedy' AND b.tenant = 'bystander'"),
            preloaded() ? "t" : "");
}

// A drop ends a tenant's decisions at once.
TEST_F(Budgets, ADropEndsTheTurns) {
  set_for_all("insula.visit_time", "20ms");
  register_followed_by(60, "'{\"for_each\": {\"items\": \"$.list\"}, \"trigger_rule\": \"always\"}'");
  greedy->query(
      "SELECT insula.submit('w', jsonb_build_object('list', (SELECT jsonb_agg(n) FROM generate_series(1, 4000) n)))");
  greedy->query("SELECT count(*) FROM insula.claim('w', ARRAY['w.a'], lease_for => '1 h')");
  time_out();
  EXPECT_TRUE(eventually([&] { return has_begun_of_many(); }));
  EXPECT_EQ(admin.error("SELECT insula.drop_tenant('greedy', '0 s')"), "none");
}

// Decisions of a suspended tenant wait for its return.
TEST_F(Budgets, ASuspendedTenantHasNoTurns) {
  register_followed_by(30, "'{\"for_each\": {\"items\": \"$.list\"}}'");
  greedy->query("SELECT insula.submit('w', jsonb_build_object('list', '[1, 2]'::jsonb, 'x', repeat('x', 100000)))");
  admin.query("CREATE TEMP TABLE claimed AS SELECT task_id, lease FROM insula.claim('w', tenant => 'greedy')");
  admin.query("SELECT insula.suspend_tenant('greedy')");
  admin.query("SET insula.visit_bytes = '1kB'");
  admin.query("SELECT insula.complete(task_id, lease) FROM claimed");
  admin.query("DROP TABLE claimed");
  EXPECT_EQ(put_off(), "29");
  expect_turn_of_bystander();
  EXPECT_EQ(put_off(), "29");
  admin.query("SELECT insula.resume_tenant('greedy')");
  EXPECT_TRUE(eventually([&] { return put_off() == "0"; }));
  EXPECT_EQ(count("element >= 0"), "60");
}

// The elements of an execution whose time is up are cancelled in turns.
TEST_F(Budgets, ElementsOfAnExecutionThatTimesOutAreCancelledInTurns) {
  constexpr int elements = 25000;
  set_for_all("insula.visit_time", "1ms");
  greedy->query(
      "SELECT insula.register_workflow('{\"name\": \"p\", \"timeout\": \"1 h\", \"tasks\": ["
      "{\"id\": \"f\", \"for_each\": {\"items\": \"$.many\"}}, {\"id\": \"g\", \"for_each\": {\"items\": "
      "\"$.many\"}}, {\"id\": \"h\", \"for_each\": {\"items\": \"$.half\"}}, {\"id\": \"j\"}]}')");
  greedy->query(
      "SELECT insula.submit('p', jsonb_build_object('many', (SELECT jsonb_agg(n) FROM generate_series(1, 10000) n), "
      "'half', (SELECT jsonb_agg(n) FROM generate_series(1, 5000) n)))");
  admin.query("SELECT insula.start_scheduler()");
  EXPECT_TRUE(eventually([&] { return count("element >= 0") == to_string(elements); }));
  admin.query("UPDATE tenant_greedy.work SET due = 0 WHERE lane = 100003");
  admin.query("SELECT insula.start_scheduler()");
  EXPECT_TRUE(eventually([&] { return count("state < 4") == "0"; }));
  EXPECT_EQ(count("element >= 0 AND state = 7"), to_string(elements));
  EXPECT_GT(std::stoi(admin.query("SELECT count(DISTINCT xmin::text) FROM tenant_greedy.work WHERE element >= 0")), 2);
  EXPECT_EQ(admin.query("SELECT status FROM tenant_greedy.workflow_executions"), "failed");
  EXPECT_EQ(admin.query("SELECT ready + delayed + running + waiting + paused FROM insula.tenant_activity WHERE tenant "
                        "= 'greedy'"),
            "0");
}

// The executions that an execution's tasks wait for are cancelled in turns.
TEST_F(Budgets, ChildrenAreCancelledInTurns) {
  constexpr int children = 300;
  set_for_all("insula.visit_time", "1ms");
  greedy->query(
      "SELECT insula.register_workflow(jsonb_build_object('name', 'p', 'timeout', '1 h', 'tasks', (SELECT "
      "jsonb_agg(jsonb_build_object('id', 't' || g)) FROM generate_series(1, " +
      to_string(children) + ") g)))");
  greedy->query("SELECT insula.register_workflow('{\"name\": \"c\", \"tasks\": [{\"id\": \"x\"}, {\"id\": \"y\"}]}')");
  greedy->query("SELECT insula.submit('p')");
  EXPECT_TRUE(eventually([&] {
    greedy->query("SELECT insula.submit_child(task_id, lease, 'c') FROM insula.claim('w', '{p.t1}', 1)");
    greedy->query(
        "SELECT count(insula.submit_child(task_id, lease, 'c')) FROM insula.claim('w', (SELECT array_agg('p.t' || g) "
        "FROM generate_series(1, 300) g), 300)");
    return count("child IS NOT NULL") == to_string(children);
  }));
  admin.query("UPDATE tenant_greedy.work SET due = 0 WHERE lane = 100003");
  admin.query("SELECT insula.start_scheduler()");
  EXPECT_TRUE(eventually([&] { return count("state < 4") == "0"; }));
  EXPECT_EQ(put_off(), "0");
  EXPECT_EQ(count("head IS NULL AND state = 7"), to_string(children));
  EXPECT_GT(std::stoi(admin.query("SELECT count(DISTINCT xmin::text) FROM tenant_greedy.work WHERE head IS NULL")), 2);
}

// A claim for all tenants gives one whose contexts are large a part of it, and goes on.
TEST_F(Budgets, LargeContextsOfOneTenantLeaveAClaimToTheOthers) {
  greedy->query(
      "SELECT insula.register_workflow(jsonb_build_object('name', 'w', 'tasks', (SELECT jsonb_agg(jsonb_build_object("
      "'id', 'a' || g)) FROM generate_series(1, 10) g) || (SELECT jsonb_agg(jsonb_build_object('id', 'b' || g, "
      "'depends_on', jsonb_build_array('a' || (1 + g % 10), 'a' || (1 + (g + 1 + g / 10 % 9) % 10)))) FROM "
      "generate_series(1, 90) g)))");
  greedy->query("SELECT insula.submit('w')");
  greedy->query(
      "SELECT count(insula.complete(task_id, lease, jsonb_build_object('x', repeat('x', 1000000)))) FROM "
      "insula.claim('w', max_tasks => 10)");
  admin.query("SELECT cardinality(insula.submit_many('w', array_fill('{}'::jsonb, ARRAY[40]), tenant => 'bystander'))");
  admin.query("SET insula.visit_bytes = '4MB'");
  // Shares by weight come first, so that one claim finds both.
  const std::string claimed = admin.query(
      "SELECT count(*) FILTER (WHERE tenant = 'greedy') || ' ' || count(*) FILTER (WHERE tenant = 'bystander') FROM "
      "insula.claim('w', max_tasks => 1000)");
  const int of_greedy = std::stoi(claimed);
  EXPECT_GT(of_greedy, 0);
  EXPECT_LT(of_greedy, 20);
  EXPECT_EQ(claimed.substr(claimed.find(' ') + 1), "40");
  // Tasks that were not handed out have lost nothing by it.
  EXPECT_EQ(count("state = 1 AND attempt = 0 AND lease IS NULL AND head IS NOT NULL"), to_string(90 - of_greedy));
}

// Texts that are far longer than what is stored of them leave a claim to the others, be it many that fill its answer,
// or few that each do.
TEST_F(Budgets, LongTextsOfOneTenantLeaveAClaimToTheOthers) {
  constexpr int claims = 3;
  constexpr int wanted = 50;
  set_for_all("insula.max_context", "64MB");
  const auto running = [&](const std::string& tenant) {
    return std::stoi(admin.query("SELECT count(*) FROM tenant_" + tenant + ".work WHERE state = 2"));
  };
  for (const int numbers : {31, 450}) {
    SCOPED_TRACE(numbers);
    constexpr int longs = 30;
    greedy->query(
        "SELECT insula.submit_many('w', array_fill(jsonb_build_object('x', (SELECT jsonb_agg(1e131071) FROM "
        "generate_series(1, " +
        to_string(numbers) + "))), ARRAY[" + to_string(longs) + "]))");
    bystander->query("SELECT insula.submit_many('w', array_fill('{}'::jsonb, ARRAY[" + to_string(claims * wanted) +
                     "]))");
    // By 32 MB at most of greedy's in each claim, but for one text that is longer.
    const int most = std::max(1, 32 * 8 / numbers);
    for (int claim = 0; claim < claims; ++claim) {
      const int of_greedy = running("greedy");
      const int of_bystander = running("bystander");
      admin.query("CALL insula.claim_when_ready('0 s', 'w', max_tasks => " + to_string(wanted) +
                  ", lease_for => '1 h')");
      const int taken = running("greedy") - of_greedy;
      EXPECT_LE(taken, most);
      EXPECT_EQ(running("bystander") - of_bystander, wanted - taken);
    }
    // A text that is longer than a share has its claim, too.
    EXPECT_GE(running("greedy"), std::min(longs, claims - 1));
    for (const char* tenant : {"greedy", "bystander"})
      admin.query("SELECT insula.cancel(execution_id) FROM tenant_" + std::string(tenant) +
                  ".workflow_executions WHERE status IN ('pending', 'running')");
  }
}

// A claim writes no more rows for nothing, since they do not fit the budget, than it hands out.
TEST_F(Budgets, AClaimPutsBackNoMoreThanItHandsOut) {
  constexpr int tasks = 100;
  greedy->query("SELECT insula.register_workflow('{\"name\": \"plain\", \"tasks\": [{\"id\": \"a\"}]}')");
  greedy->query(
      "SELECT insula.register_workflow('{\"name\": \"limited\", \"limit\": {\"max\": 1000}, \"tasks\": "
      "[{\"id\": \"a\"}]}')");
  greedy->query(
      "SELECT insula.register_workflow(jsonb_build_object('name', 'merged', 'tasks', (SELECT "
      "jsonb_agg(jsonb_build_object('id', 'a' || g)) FROM generate_series(1, " +
      to_string(tasks) + ") g)))");
  const std::string large = "jsonb_build_object('x', repeat('x', 10000))";
  admin.query("SET insula.visit_bytes = '128kB'");
  for (const std::string workflow : {"plain", "limited", "merged"}) {
    const bool is_one = workflow == "merged";
    // The sizes of contexts that are yet to be merged are not known.
    const int least = is_one ? 32 : 8;
    greedy->query("SELECT cardinality(insula.submit_many('" + workflow + "', array_fill(" + large + ", ARRAY[" +
                  to_string(is_one ? 1 : tasks) + "])))");
    int all = 0;
    for (int claims = 0; all < tasks && claims < tasks; ++claims) {
      // The number is of all transactions since the session has last told it.
      const auto updated = [&] {
        return std::stoi(admin.query("SELECT pg_stat_get_xact_tuples_updated('tenant_greedy.work'::regclass)"));
      };
      admin.query("BEGIN");
      const int before = updated();
      const int claimed =
          std::stoi(admin.query("SELECT count(*) FROM insula.claim('w', max_tasks => 1000, tenant => 'greedy')"));
      const int written = updated() - before;
      admin.query("COMMIT");
      EXPECT_GT(claimed, 0) << workflow;
      EXPECT_LE(written, claimed + 2 * std::max(claimed, least)) << workflow;
      all += claimed;
    }
    EXPECT_EQ(all, tasks) << workflow;
    EXPECT_EQ(count("state = 1 AND lane IS NOT NULL"), "0") << workflow;
    admin.query("TRUNCATE tenant_greedy.work");
  }
  // All that fits is handed out at once.
  greedy->query("SELECT insula.submit('merged')");
  EXPECT_EQ(admin.query("SELECT count(*) FROM insula.claim('w', max_tasks => 1000, tenant => 'greedy')"),
            to_string(tasks));
}

// The ends of tasks of large executions are counted down in steps, between which the budget is looked at.
TEST_F(Budgets, CompletionsOfLargeExecutionsHaveTurns) {
  greedy->query(
      "SELECT insula.register_workflow(jsonb_build_object('name', 'large', 'tasks', '[{\"id\": \"a\"}]'::jsonb || "
      "(SELECT jsonb_agg(jsonb_build_object('id', 'b' || g, 'depends_on', '[\"a\"]'::jsonb)) FROM generate_series(1, "
      "9999) g)))");
  greedy->query("SELECT cardinality(insula.submit_many('large', array_fill('{}'::jsonb, ARRAY[2])))");
  bystander->query("SELECT insula.submit('w')");
  admin.query("CREATE ROLE large_runner LOGIN IN ROLE insula_runner");
  {
    Session runner("user=large_runner");
    runner.query("SET client_min_messages = error");
    runner.query("CREATE TEMP TABLE held AS SELECT * FROM insula.claim('r', max_tasks => 9)");
    EXPECT_EQ(runner.query("SELECT count(*) FROM held"), "3");
    // The first step takes longer.
    set_for_all("insula.visit_time", "1ms");
    const std::string complete =
        "WITH a AS (SELECT array_agg(task_id ORDER BY task_id) ids, array_agg(lease ORDER BY task_id) leases, "
        "array_agg(tenant ORDER BY task_id) tenants FROM held) SELECT string_agg(coalesce(done, 'f')::text, ' ' ORDER "
        "BY tenant <> 'greedy', n) FROM a, unnest(tenants, insula.complete_many(ids, leases, NULL)) WITH ORDINALITY "
        "u(tenant, done, n)";
    EXPECT_EQ(runner.query(complete), "true false true");
    // As a client would: with what is not done alone, of which a call does one at least.
    runner.query("DELETE FROM held WHERE task_id <> (SELECT max(task_id) FROM held WHERE tenant = 'greedy')");
    EXPECT_EQ(runner.query(complete), "true");
    runner.query("DROP TABLE held");
  }
  admin.query("DROP ROLE large_runner");
  EXPECT_EQ(count("state = 1 AND head IS NOT NULL"), to_string(2 * 9999));
}

// Overhead is counted in shared memory.
class PreloadedBudgets : public Budgets {};

// Above the share of a core that schedulers may spend on a tenant its turns wait, and others have theirs.
TEST_F(PreloadedBudgets, TurnsThatCostMuchArePutOff) {
  set_for_all("insula.visit_time", "20ms");
  register_followed_by(60, "'{\"for_each\": {\"items\": \"$.list\"}, \"trigger_rule\": \"always\"}'");
  greedy->query(
      "SELECT insula.submit('w', jsonb_build_object('list', (SELECT jsonb_agg(n) FROM generate_series(1, 4000) n)))");
  greedy->query("SELECT count(*) FROM insula.claim('w', ARRAY['w.a'], lease_for => '1 h')");
  make_due();
  for (bool in_time = false; !in_time;) {
    // By this limit one visit is too much.  None after it is; the tenant stays put off, for half a minute at most.
    set_for_all("insula.max_overhead", "1e-06");
    admin.query("SELECT insula.start_scheduler()");
    ASSERT_TRUE(eventually([&] { return put_off() != "0" && is_put_off("schedulers"); }));
    set_for_all("insula.max_overhead", "0.5");
    const std::string until = put_off_until("schedulers");
    const std::string left = put_off();
    EXPECT_NE(left, "0");
    expect_turn_of_bystander();
    admin.query("SELECT insula.start_scheduler()");
    expect_turn_of_bystander();
    const std::string left_after = put_off();
    in_time = !until.empty() && put_off_until("schedulers") == until;
    EXPECT_TRUE(!in_time || left_after == left) << left_after << " of " << left;
  }
}

// Above the share of a core that calls for several tenants may spend on a tenant they pass it over.
TEST_F(PreloadedBudgets, ClaimsThatCostMuchArePutOff) {
  submit_great(100);
  // By this limit one claim is too much if it takes longer than claims do.
  set_for_all("insula.max_overhead", "1e-06");
  EXPECT_EQ(admin.query("SELECT count(*) FROM insula.claim('w')"), "1");
  EXPECT_TRUE(is_put_off("calls"));
  set_for_all("insula.max_overhead", "0.5");
  admin.query("SELECT cardinality(insula.submit_many('w', array_fill('{}'::jsonb, ARRAY[20]), tenant => 'bystander'))");
  EXPECT_EQ(admin.query("SELECT string_agg(DISTINCT tenant, ' ') || ' ' || count(*) FROM insula.claim('w', max_tasks "
                        "=> 1000)"),
            "bystander 20");
  EXPECT_EQ(admin.query("CALL insula.wait_for_work('0 s')"), "f");
  // The tenant's own sessions go on.
  EXPECT_EQ(greedy->query("SELECT count(*) FROM insula.claim('w')"), "1");
}

// So are calls that the tenant's tasks keep until they time out.
TEST_F(PreloadedBudgets, ClaimsThatTimeOutArePutOff) {
  submit_great(100);
  set_for_all("insula.max_overhead", "1e-06");
  Session worker;
  for (int milliseconds = 8; !is_put_off("calls"); milliseconds += 2) {
    worker.query("SET statement_timeout = " + to_string(milliseconds));
    ASSERT_EQ(worker.error("SELECT count(*) FROM insula.claim('w')"), "57014");
  }
}

// A tenant pays for what its claims cost, if shares are shares of time.  The other's tasks end at once.
TEST_F(PreloadedBudgets, ClaimsThatCostMuchWeighInTheShares) {
  submit_great(150);
  set_for_all("insula.fairness", "time");
  admin.query(
      "SELECT cardinality(insula.submit_many('w', array_fill('{}'::jsonb, ARRAY[500]), tenant => 'bystander'))");
  int of_greedy = 0;
  int of_bystander = 0;
  for (int claims = 0; claims < 60; ++claims) {
    const std::string tenants = admin.query(
        "SELECT string_agg(tenant, '') FROM (SELECT tenant, count(insula.complete(task_id, lease)) FILTER (WHERE "
        "tenant "
        "= 'bystander') FROM insula.claim('w', max_tasks => 2) GROUP BY tenant) c");
    of_greedy += tenants.find('g') != std::string::npos;
    of_bystander += tenants.find('b') != std::string::npos;
  }
  EXPECT_GT(of_greedy, 0);
  EXPECT_LT(2 * of_greedy, of_bystander);
}

// A call may take as long as its tasks are worth, but a share that is undone has completed none.
TEST_F(PreloadedBudgets, ABatchThatIsUndoneHasServedNoTask) {
  greedy->query("SELECT cardinality(insula.submit_many('w', array_fill('{}'::jsonb, ARRAY[2000])))");
  bystander->query("SELECT insula.submit('w')");
  admin.query("CREATE TABLE held AS SELECT * FROM insula.claim('r', max_tasks => 2001)");
  EXPECT_EQ(admin.query("SELECT count(*) FROM held"), "2001");
  // The index divides by 0, after a while.
  admin.query(
      "CREATE INDEX ON tenant_greedy.work ((1 / (CASE WHEN state = 4 THEN length(md5(repeat('x', 50000000 + state))) - "
      "32 ELSE "
      "1 END)))");
  EXPECT_FALSE(is_put_off("calls"));
  set_for_all("insula.max_overhead", "1e-06");
  EXPECT_EQ(admin.query("WITH a AS (SELECT array_agg(task_id ORDER BY task_id) ids, array_agg(lease ORDER BY task_id) "
                        "leases FROM held) SELECT count(done) FROM a, unnest(insula.complete_many(ids, leases, NULL)) "
                        "done"),
            "1");
  EXPECT_TRUE(is_put_off("calls"));
  admin.query("DROP TABLE held");
}

// What a call takes for ids of tenants that the caller has no rights to, or of none, is no tenant's overhead.
TEST_F(PreloadedBudgets, CallsForTasksOfOthersCostTheOthersNothing) {
  set_for_all("insula.fairness", "time");
  const std::string own = greedy->query("SELECT insula.submit('w')");
  const std::string others = bystander->query("SELECT insula.submit('w')");
  const std::string nobodys = admin.query(
      "SELECT (n::bigint << 36) + 1 FROM generate_series(1, 131071) n WHERE n NOT IN (SELECT "
      "tenant_no FROM insula.tenant) LIMIT 1");
  const auto overhead_of = [&](const std::string& tenant) {
    return admin.query("SELECT overhead_seconds FROM insula.tenant_activity WHERE tenant = '" + tenant + "'");
  };
  const auto seen = [&] {
    return overhead_of("bystander") + " " +
           admin.query("SELECT value FROM insula.status() WHERE item = 'ready tenants'");
  };
  const std::string ids = "ARRAY[" + own + ", " + others + ", " + nobodys + "]";
  for (const std::string& call : {"insula.heartbeat(" + ids + ", ARRAY[g, g, g])",
                                  "unnest(insula.complete_many(" + ids + ", ARRAY[g, g, g], NULL::jsonb[]))"}) {
    const std::string before = overhead_of("greedy");
    // A scheduler may have a turn at the same time; each call counts.
    EXPECT_TRUE(eventually([&] {
      const std::string others_before = seen();
      greedy->query("SELECT count(*) FROM generate_series(1, 50) g, " + call);
      return seen() == others_before;
    })) << call;
    EXPECT_NE(overhead_of("greedy"), before) << call;
  }
}

// A claim reads of a task's ancestors what has come since the context that its execution keeps, and tasks with the
// same ancestors share the reading.
TEST_F(Budgets, ThousandsOfAncestorsAreReadOnce) {
  greedy->query(
      "SELECT insula.register_workflow(jsonb_build_object('name', 'w', 'tasks', (SELECT jsonb_agg(jsonb_build_object("
      "'id', 'a' || g)) FROM generate_series(1, 5000) g) || jsonb_build_array(jsonb_build_object('id', 'join', "
      "'depends_on', (SELECT jsonb_agg('a' || g) FROM generate_series(1, 5000) g))) || (SELECT "
      "jsonb_agg(jsonb_build_object('id', 'b' || g, 'depends_on', '[\"join\"]'::jsonb)) FROM generate_series(1, 40) "
      "g)))");
  greedy->query("SELECT insula.submit('w')");
  EXPECT_EQ(greedy->query("SELECT count(insula.complete(task_id, lease, jsonb_build_object(task, 1))) FROM "
                          "insula.claim('w', max_tasks => 5000)"),
            "5000");
  EXPECT_EQ(greedy->query("SELECT insula.complete(task_id, lease) FROM insula.claim('w')"), "t");
  const std::string read =
      "SELECT sum(pg_stat_get_xact_tuples_returned(indexrelid)) FROM pg_index WHERE indrelid = "
      "'tenant_greedy.work'::regclass";
  for (int claim = 0; claim < 2; ++claim) {
    greedy->query("BEGIN");
    const int before = std::stoi(greedy->query(read));
    EXPECT_EQ(greedy->query("SELECT count(*) FROM insula.claim('w', max_tasks => 10) WHERE context ? 'a5000'"), "10");
    EXPECT_LT(std::stoi(greedy->query(read)) - before, 200);
    greedy->query("COMMIT");
  }
}

}  // namespace
}  // namespace attacks
