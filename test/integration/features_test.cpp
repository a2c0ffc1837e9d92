// The engine's promises, one test each and named after it, through SQL alone: what users of
// workflow engines and job queues look for first.  The regression tests go into the depth
// of each; this is the list.
#include "support/session.hpp"

#include <string>

namespace insula_test {
namespace {

class Features : public ::testing::Test {
 protected:
  // The tests' own claims do what has become due: a scheduler could hold the very row.
  static void SetUpTestSuite() {
    Session admin;
    admin.query("SET client_min_messages = error");
    admin.query("CREATE EXTENSION IF NOT EXISTS insula");
    stop_scheduler(admin);
  }
  static void TearDownTestSuite() { Session().query("SELECT insula.start_scheduler()"); }
  static void stop_scheduler(Session& admin) {
    admin.query("SELECT insula.stop_scheduler()");
    EXPECT_TRUE(eventually([&] {
      return admin.query(
                 "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'insula scheduler' AND datname = "
                 "current_database()") == "0";
    }));
  }
  void SetUp() override {
    sql.query("SET client_min_messages = error");
    sql.query("CREATE EXTENSION IF NOT EXISTS insula");
    sql.query("SELECT tenant FROM insula.create_tenant('featured')");
    sql.query("SET insula.tenant = 'featured'");
    sql.query(
        "CREATE TEMP TABLE mine (task_id bigint, lease bigint, task text, attempt int, context jsonb, event jsonb)");
  }
  void TearDown() override {
    sql.query("RESET insula.tenant");
    sql.query("SELECT insula.drop_tenant('featured', '0 s')");
  }

  std::string add(const std::string& tasks, const std::string& more = "") {
    return sql.query("SELECT insula.register_workflow('{\"name\": \"flow\", " + more + "\"tasks\": [" + tasks + "]}')");
  }
  std::string submit(const std::string& context = "{}", const std::string& more = "") {
    return sql.query("SELECT insula.submit('flow', '" + context + "'" + more + ")");
  }
  // Claims into `mine`, in place of what was there; the tasks' names.
  std::string claim(int most = 100, const std::string& worker = "w") {
    sql.query("TRUNCATE mine");
    sql.query("INSERT INTO mine SELECT task_id, lease, task, attempt, context, event FROM insula.claim('" + worker +
              "', max_tasks => " + std::to_string(most) + ")");
    return sql.query("SELECT string_agg(task, ' ' ORDER BY task) FROM mine");
  }
  std::string complete(const std::string& patch = "{}") {
    return sql.query("SELECT bool_and(insula.complete(task_id, lease, '" + patch + "')) FROM mine");
  }
  std::string fail(const std::string& error = "broken") {
    return sql.query("SELECT insula.fail(task_id, lease, '" + error + "') FROM mine");
  }
  std::string status(const std::string& id) { return sql.query("SELECT (insula.result(" + id + ")).status"); }
  std::string final_context(const std::string& id) {
    return sql.query("SELECT (insula.result(" + id + ")).final_context");
  }
  // A moment passes for all that waits for one.
  void let_time_pass(int lane) {
    sql.query(
        "UPDATE tenant_featured.work SET due = 0, deadline = CASE WHEN deadline IS NULL THEN NULL ELSE 1 END "
        "WHERE lane = " +
        std::to_string(lane));
    if (!insula_test::preloaded()) return;
    // No call has told of it, so the test waits until the scheduler is done with it: claims find what its transaction
    // has made ready once that has told them, after its commit.
    sql.query("SELECT insula.start_scheduler()");
    EXPECT_TRUE(insula_test::eventually([&] {
      return sql.query(
                 "SELECT (SELECT count(*) FROM tenant_featured.work WHERE due = 0 AND lane = " + std::to_string(lane) +
                 ") + (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'insula scheduler' AND xact_start "
                 "IS NOT NULL)") == "0";
    }));
  }
  static constexpr int later = 100000, running = 100001, deferred = 100002, timeout = 100003;

  Session sql;
};

TEST_F(Features, WorkflowsAsGraphsWithStableIdsAndACycleCheck) {
  EXPECT_EQ(sql.error("SELECT insula.register_workflow('{\"name\": \"flow\", \"tasks\": ["
                      "{\"id\": \"a\", \"depends_on\": [\"b\"]}, {\"id\": \"b\", \"depends_on\": [\"a\"]}]}')"),
            "IS004");
  add(R"({"id": "a"}, {"id": "b", "depends_on": ["a"]}, {"id": "c", "depends_on": ["a"]}, {"id": "d", "depends_on": ["b", "c"]})");
  const std::string id = submit();
  for (const char* wave : {"a", "b c", "d"}) {
    EXPECT_EQ(claim(), wave);
    EXPECT_EQ(complete(), "t");
  }
  EXPECT_EQ(status(id), "completed");
}

TEST_F(Features, ContextMergedInDeclaredOrder) {
  add(R"({"id": "z"}, {"id": "a"}, {"id": "end", "depends_on": ["a", "z"]})");
  const std::string id = submit(R"({"who": "input", "kept": 1})");
  EXPECT_EQ(claim(), "a z");
  sql.query("SELECT insula.complete(task_id, lease, jsonb_build_object('who', task)) FROM mine ORDER BY task DESC");
  EXPECT_EQ(claim(), "end");
  EXPECT_EQ(sql.query("SELECT context FROM mine"), R"({"who": "a", "kept": 1})");
  complete();
  EXPECT_EQ(final_context(id), R"({"who": "a", "kept": 1})");
}

TEST_F(Features, TriggerRulesWithNestingAndPaths) {
  add(R"({"id": "a", "retry": {"max_attempts": 1}}, {"id": "rescue", "depends_on": ["a"], "trigger_rule": {"all": [)"
      R"({"task_failed": "a"}, {"any": [{"context_value": {"key": "$.n[1]", "op": "greater_or_equal", "value": 2}}, )"
      R"({"task_skipped": "a"}]}]}}, {"id": "usual", "depends_on": ["a"]})");
  const std::string id = submit(R"({"n": [1, 2]})");
  claim();
  fail();
  EXPECT_EQ(claim(), "rescue");
  complete();
  EXPECT_EQ(status(id), "completed");
}

TEST_F(Features, RetriesByPolicyWithAttemptsAsHistory) {
  add(R"({"id": "a", "retry": {"max_attempts": 3, "backoff": "fixed", "initial_delay": "0 s", "jitter": false}})");
  const std::string id = submit();
  for (int attempt = 1; attempt <= 3; ++attempt) {
    // The scheduler may be at the same row.
    ASSERT_TRUE(eventually([&] { return claim() == "a"; }));
    EXPECT_EQ(sql.query("SELECT attempt FROM mine"), std::to_string(attempt));
    EXPECT_EQ(fail("e" + std::to_string(attempt)), attempt < 3 ? "ready" : "failed");
  }
  EXPECT_EQ(status(id), "failed");
  EXPECT_EQ(sql.query("SELECT string_agg(detail->>'error', ' ' ORDER BY event_id) FROM "
                      "tenant_featured.execution_events WHERE event = 'task_attempt_failed'"),
            "e1 e2");
}

TEST_F(Features, BatchClaimsWithLeasesThatFenceLateWorkers) {
  add(R"({"id": "a"})");
  for (int i = 0; i < 10; ++i) submit();
  claim(10, "first");
  sql.query("CREATE TEMP TABLE old AS SELECT * FROM mine");
  EXPECT_EQ(sql.query("SELECT count(DISTINCT lease) FROM old"), "10");
  let_time_pass(running);
  claim(10, "second");
  EXPECT_EQ(sql.query("SELECT count(*) FROM mine JOIN old USING (task_id) WHERE mine.lease <> old.lease"), "10");
  EXPECT_EQ(sql.query("SELECT bool_or(insula.complete(task_id, lease)) FROM old"), "f");
  EXPECT_EQ(complete(), "t");
}

TEST_F(Features, LeasesByTheDatabasesClockWithACapOnTakeovers) {
  add(R"({"id": "a", "retry": {"max_lapses": 1}})");
  const std::string id = submit();
  claim();
  EXPECT_EQ(sql.query("SELECT count(*) FROM mine, insula.heartbeat(ARRAY[task_id], ARRAY[lease], '1 h')"), "0");
  EXPECT_EQ(sql.query("SELECT due > (extract(epoch FROM now() + '59 min') - 946684800) * 1000000 FROM "
                      "tenant_featured.work WHERE lane = 100001"),
            "t");
  for (const char* task : {"a", ""}) {
    let_time_pass(running);
    EXPECT_EQ(claim(), task);
  }
  EXPECT_EQ(status(id), "failed");
}

TEST_F(Features, FanInOfTenThousand) {
  sql.query(
      "CREATE FUNCTION pg_temp.buffers_of(call text) RETURNS bigint LANGUAGE plpgsql AS $$ DECLARE plan json; "
      "BEGIN EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ' || call INTO plan; RETURN "
      "(plan->0->'Plan'->>'Shared Hit Blocks')::bigint + (plan->0->'Plan'->>'Shared Read Blocks')::bigint; END $$");
  const auto blocks_for_one_task = [this](const std::string& name, int wide) {
    sql.query("SELECT insula.register_workflow(jsonb_build_object('name', '" + name +
              "', 'tasks', (SELECT jsonb_agg(jsonb_build_object('id', 't' || n)) FROM generate_series(1, " +
              std::to_string(wide) +
              ") n) || jsonb_build_array(jsonb_build_object('id', 'end', 'depends_on', (SELECT "
              "jsonb_agg('t' || n) FROM generate_series(1, " +
              std::to_string(wide) + ") n)))))");
    const std::string id = sql.query("SELECT insula.submit('" + name + "')");
    claim(10000);
    // The first calls make the plans and read the definition.
    for (int i = 0; i < 2; ++i)
      sql.query("WITH one AS (DELETE FROM mine WHERE task = 't" + std::to_string(i + 1) +
                "' RETURNING *) SELECT insula.complete(task_id, lease) FROM one");
    const int blocks =
        std::stoi(sql.query("SELECT pg_temp.buffers_of(format('SELECT insula.complete(%s, %s)', task_id, lease)) FROM "
                            "mine WHERE task = 't3'"));
    EXPECT_EQ(
        sql.query("SELECT count(*) FILTER (WHERE done) FROM unnest((SELECT insula.complete_many(array_agg(task_id), "
                  "array_agg(lease), NULL) FROM mine WHERE task <> 't3')) done"),
        std::to_string(wide - 3));
    EXPECT_EQ(claim(), "end");
    EXPECT_EQ(complete(R"({"done": true})"), "t");
    EXPECT_EQ(final_context(id), R"({"done": true})");
    return blocks;
  };
  const int narrow = blocks_for_one_task("narrow", 10);
  EXPECT_LE(blocks_for_one_task("wide", 9999), narrow * 2 + 20);
}

TEST_F(Features, ReadinessInTheTransactionThatCompletes) {
  add(R"({"id": "a"}, {"id": "b", "depends_on": ["a"]})");
  submit();
  claim();
  sql.query("BEGIN");
  complete();
  EXPECT_EQ(sql.query("SELECT status FROM tenant_featured.task_executions WHERE task = 'b'"), "ready");
  sql.query("ROLLBACK");
  EXPECT_EQ(sql.query("SELECT status FROM tenant_featured.task_executions WHERE task = 'b'"), "pending");
}

TEST_F(Features, SubmitAwaitAndResult) {
  add(R"({"id": "a"})");
  const std::string id = submit();
  EXPECT_EQ(sql.query("CALL insula.await(" + id + ", '0 s')"), "");
  Session waiter;
  waiter.query("SET client_min_messages = error");
  waiter.send("CALL insula.await(" + id + ", '1 h')");
  claim();
  complete(R"({"done": true})");
  ASSERT_TRUE(waiter.finished());
  EXPECT_NE(waiter.answer().find(R"("final_context": {"done": true})"), std::string::npos);
}

TEST_F(Features, PauseResumeAndCancelReachTheWorkers) {
  add(R"({"id": "a"}, {"id": "b", "depends_on": ["a"]})");
  const std::string id = submit();
  claim();
  const auto told = [this] {
    return sql.query("SELECT reason FROM mine, insula.heartbeat(ARRAY[mine.task_id], ARRAY[lease])");
  };
  EXPECT_EQ(sql.query("SELECT insula.pause(" + id + ")"), "t");
  EXPECT_EQ(told(), "paused");
  EXPECT_EQ(complete(), "t");
  EXPECT_EQ(claim(), "");
  EXPECT_EQ(sql.query("SELECT insula.resume(" + id + ")"), "t");
  EXPECT_EQ(claim(), "b");
  EXPECT_EQ(sql.query("SELECT insula.cancel(" + id + ")"), "t");
  EXPECT_EQ(told(), "cancelled");
  EXPECT_EQ(complete(), "f");
  EXPECT_EQ(sql.query("SELECT insula.resume(" + id + ")"), "f");
  EXPECT_EQ(status(id), "cancelled");
}

TEST_F(Features, TimeoutsOfTasksAndExecutionsByTheServer) {
  add(R"({"id": "a", "timeout": "1 min", "retry": {"max_attempts": 1}})");
  const std::string task = submit();
  claim();
  let_time_pass(running);
  EXPECT_EQ(claim(), "");
  EXPECT_EQ(status(task), "failed");
  add(R"({"id": "a"})", R"("timeout": "1 h", )");
  const std::string execution = submit();
  let_time_pass(timeout);
  EXPECT_EQ(claim(), "");
  EXPECT_EQ(status(execution), "failed");
}

TEST_F(Features, ACallbackWhenTheStatusIsFinal) {
  add(R"({"id": "a"})");
  const std::string first = submit(), second = submit();
  EXPECT_EQ(sql.query("SELECT insula.watch('w', ARRAY[" + first + ", " + second + "])"), "{}");
  Session worker;
  worker.query("SET client_min_messages = error");
  EXPECT_EQ(claim(1), "a");
  worker.query("SET insula.tenant = 'featured'");
  worker.send("CALL insula.wait_for_work('1 h', tasks => '{no.such}', worker => 'w')");
  EXPECT_EQ(complete(), "t");
  ASSERT_TRUE(worker.finished());
  EXPECT_EQ(worker.answer(), "f");
  EXPECT_EQ(sql.query("SELECT insula.watch('w', ARRAY[" + first + ", " + second + "])"), "{" + first + "}");
}

TEST_F(Features, CronWithAPolicyForMissedRuns) {
  add(R"({"id": "a"})");
  // At an hour that is half a day away, and ten days late.
  const std::string cron =
      sql.query("SELECT format('0 %s * * *', extract(hour FROM now() AT TIME ZONE 'UTC' + interval '12 hours'))");
  for (const char* policy : {"skip", "run_once", "run_all"})
    sql.query("SELECT insula.schedule('" + std::string(policy) + "', 'flow', '" + cron + "', catch_up => '" + policy +
              "', max_catch_up => 4, context => '{\"policy\": \"" + policy + "\"}')");
  sql.query("UPDATE tenant_featured.record SET at = at - interval '10 days' WHERE kind = 'd'");
  sql.query("SELECT insula.start_scheduler()");
  ASSERT_TRUE(eventually([this] {
    return sql.query("SELECT count(DISTINCT owner) FROM tenant_featured.record WHERE kind = 'f'") == "3";
  }));
  EXPECT_EQ(sql.query("SELECT string_agg(policy || ' ' || n, ', ' ORDER BY policy) FROM (SELECT context->>'policy' AS "
                      "policy, count(*) AS n FROM tenant_featured.workflow_executions GROUP BY 1) e"),
            "run_all 4, run_once 1");
  stop_scheduler(sql);
}

TEST_F(Features, NamedInstances) {
  add(R"({"id": "a"})", R"("params": {"region": {"type": "string", "required": true}}, )");
  for (const char* region : {"eu", "us"})
    sql.query("SELECT insula.create_trigger('nightly_" + std::string(region) + "', 'flow', '{\"region\": \"" + region +
              "\"}')");
  EXPECT_EQ(sql.query("SELECT string_agg(name || ' ' || (context->>'region'), ', ' ORDER BY name) FROM "
                      "insula.triggers()"),
            "nightly_eu eu, nightly_us us");
  EXPECT_EQ(sql.query("SELECT fresh FROM insula.fire_trigger('nightly_us')"), "t");
  claim();
  EXPECT_EQ(sql.query("SELECT context->>'region' FROM mine"), "us");
  // So has a schedule its own.
  sql.query("SELECT insula.schedule('weekly_eu', 'flow', '@weekly', context => '{\"region\": \"eu\"}')");
  EXPECT_EQ(sql.query("SELECT name || ' ' || context FROM tenant_featured.schedules"), R"(weekly_eu {"region": "eu"})");
}

TEST_F(Features, EventTriggersOnceForEachEvent) {
  add(R"({"id": "a"})");
  sql.query("SELECT insula.create_trigger('uploaded', 'flow', '{\"deep\": true}')");
  const auto fire = [this](const std::string& payload) {
    return sql.query("SELECT fresh FROM insula.fire_trigger('uploaded', '" + payload + "')");
  };
  EXPECT_EQ(fire(R"({"path": "/a", "size": 1})"), "t");
  EXPECT_EQ(fire(R"({"size": 1, "path": "/a"})"), "f");
  EXPECT_EQ(fire(R"({"path": "/b"})"), "t");
  claim(1);
  EXPECT_EQ(sql.query("SELECT context - 'triggered_at' FROM mine"),
            R"({"deep": true, "path": "/a", "size": 1, "trigger_name": "uploaded"})");
  complete();
  EXPECT_EQ(fire(R"({"path": "/a", "size": 1})"), "t");
}

TEST_F(Features, EventsCompleteAndOrderedAndErrorsPerTask) {
  add(R"({"id": "a", "retry": {"max_attempts": 1}}, {"id": "b", "depends_on": ["a"]})");
  const std::string id = submit();
  claim();
  fail("no luck");
  EXPECT_EQ(sql.query("SELECT string_agg(event, ' ' ORDER BY at, event_id) FROM tenant_featured.execution_events"),
            "execution_submitted task_started task_failed task_skipped execution_failed");
  EXPECT_EQ(sql.query("SELECT t->>'error' FROM jsonb_array_elements((insula.result(" + id + ")).tasks) t"), "no luck");
}

TEST_F(Features, LimitsPerTenantAndFairShare) {
  add(R"({"id": "a"})");
  sql.query("SELECT insula.set_tenant_limits('featured', max_running => 2, max_queued => 3)");
  for (int i = 0; i < 3; ++i) submit();
  EXPECT_EQ(sql.error("SELECT insula.submit('flow')"), "IS006");
  EXPECT_EQ(claim(), "a a");
  // One start in a hundred seconds.
  sql.query("SELECT insula.set_tenant_limits('featured', -1, -1, rate_per_second => 0.01)");
  for (int i = 0; i < 3; ++i) submit();
  for (int hundred_seconds = 0; hundred_seconds < 2; ++hundred_seconds) {
    EXPECT_EQ(claim(), "a");
    EXPECT_EQ(claim(), "");
    sql.query("UPDATE tenant_featured.record SET at = at - interval '100 s' WHERE kind = 'r'");
  }
}

TEST_F(Features, FairShareByWeight) {
  add(R"({"id": "a"})");
  sql.query("SELECT tenant FROM insula.create_tenant('heavy', login => false)");
  sql.query(R"(SELECT insula.register_workflow('{"name": "flow", "tasks": [{"id": "a"}]}', tenant => 'heavy'))");
  sql.query("SELECT insula.set_tenant_limits('heavy', weight => 3)");
  for (const char* tenant : {"featured", "heavy"})
    sql.query("SELECT insula.submit_many('flow', array_fill('{}'::jsonb, ARRAY[400]), tenant => '" +
              std::string(tenant) + "')");
  sql.query("RESET insula.tenant");
  int heavy = 0;
  for (int i = 0; i < 400; ++i) heavy += sql.query("SELECT tenant FROM insula.claim('w')") == "heavy" ? 1 : 0;
  EXPECT_NEAR(heavy, 300, 6);
  sql.query("SELECT insula.drop_tenant('heavy', '0 s')");
}

TEST_F(Features, DurableDeferralUntilATimeOrAnEvent) {
  add(R"({"id": "a"})");
  const std::string id = submit();
  claim();
  EXPECT_EQ(sql.query("SELECT insula.defer(task_id, lease, now() + '1 day', '{\"step\": 1}') FROM mine"), "t");
  EXPECT_EQ(claim(), "");
  let_time_pass(deferred);
  EXPECT_EQ(claim(), "a");
  EXPECT_EQ(sql.query("SELECT attempt || ' ' || context FROM mine"), R"(1 {"step": 1})");
  // The event comes first, and is not lost.
  EXPECT_EQ(sql.query("SELECT insula.send_event(" + id + ", 'paid', '7')"), "t");
  EXPECT_EQ(sql.query("SELECT insula.wait_event(task_id, lease, 'paid', '1 h') FROM mine"), "t");
  EXPECT_EQ(claim(), "a");
  EXPECT_EQ(sql.query("SELECT event FROM mine"), R"({"name": "paid", "payload": 7})");
}

TEST_F(Features, DeclaredParamsOnEveryEntryPath) {
  add(R"({"id": "a"})",
      R"("params": {"n": {"type": "integer", "required": true}, "m": {"type": "string", "default": "x"}}, )");
  EXPECT_EQ(sql.error("SELECT insula.submit('flow')"), "22023");
  EXPECT_EQ(sql.error("SELECT insula.submit_many('flow', ARRAY['{\"n\": 1}', '{\"n\": \"1\"}']::jsonb[])"), "22023");
  const std::string id = submit(R"({"n": 1})");
  claim();
  EXPECT_EQ(sql.query("SELECT context FROM mine"), R"({"m": "x", "n": 1})");
  EXPECT_EQ(sql.error("SELECT insula.submit_child(task_id, lease, 'flow', '{}') FROM mine"), "22023");
  complete();
  EXPECT_EQ(status(id), "completed");
}

TEST_F(Features, VersionsByContentPinnedPerExecution) {
  EXPECT_EQ(add(R"({"id": "a"})"), "1");
  submit();
  EXPECT_EQ(add(R"({"id": "a"}, {"id": "b"})"), "2");
  EXPECT_EQ(add(R"({"id": "a"})"), "1");
  submit();
  EXPECT_EQ(sql.query("SELECT string_agg(version::text, ' ' ORDER BY execution_id) FROM "
                      "tenant_featured.workflow_executions"),
            "1 2");
  EXPECT_EQ(sql.query("SELECT string_agg(version || task, ' ' ORDER BY version, task) FROM "
                      "insula.claim('w', ARRAY['flow.a', 'flow.c'], 10)"),
            "1a 2a");
}

TEST_F(Features, IdempotencyKeys) {
  add(R"({"id": "a"})");
  const std::string id = submit("{}", ", idempotency_key => 'once'");
  EXPECT_EQ(submit("{}", ", idempotency_key => 'once'"), id);
  EXPECT_NE(submit("{}", ", idempotency_key => 'twice'"), id);
}

TEST_F(Features, PrioritiesAndDelayedStarts) {
  add(R"({"id": "a"})");
  submit(R"({"n": "low"})", ", priority => -1");
  submit(R"({"n": "later"})", ", priority => 9, run_at => now() + interval '1 h'");
  submit(R"({"n": "high"})", ", priority => 1");
  for (const char* n : {"high", "low", ""}) {
    claim(1);
    EXPECT_EQ(sql.query("SELECT context->>'n' FROM mine"), n);
  }
  let_time_pass(later);
  EXPECT_EQ(claim(), "a");
}

TEST_F(Features, RoutingByTask) {
  add(R"({"id": "cpu"}, {"id": "gpu"})");
  submit();
  EXPECT_EQ(sql.query("SELECT string_agg(task, ' ') FROM insula.claim('w', ARRAY['flow.gpu', 'other.task'], 10)"),
            "gpu");
}

TEST_F(Features, ConcurrencyPerWorkflowAndPerKey) {
  add(R"({"id": "a"})", R"("limit": {"key": "$.customer", "max": 2}, )");
  for (int i = 0; i < 12; ++i) submit(R"({"customer": )" + std::to_string(i % 3) + "}");
  EXPECT_EQ(claim(), "a a a a a a");
  EXPECT_EQ(sql.query("SELECT max(n) FROM (SELECT count(*) n FROM mine GROUP BY context) c"), "2");
}

TEST_F(Features, FanOutOverAnArray) {
  add(R"({"id": "each", "for_each": {"items": "$.list"}}, {"id": "sum", "depends_on": ["each"]})");
  submit(R"({"list": [3, 1, 2]})");
  EXPECT_EQ(claim(), "each each each");
  sql.query(
      "SELECT insula.complete(task_id, lease, jsonb_build_object('twice', (context->>'item')::int * 2)) FROM mine");
  EXPECT_EQ(claim(), "sum");
  EXPECT_EQ(sql.query("SELECT context->'each' FROM mine"), R"([{"twice": 6}, {"twice": 2}, {"twice": 4}])");
}

TEST_F(Features, ChildWorkflows) {
  add(R"({"id": "ask"})");
  sql.query("SELECT insula.register_workflow('{\"name\": \"child\", \"tasks\": [{\"id\": \"work\"}]}')");
  const std::string id = submit();
  claim();
  EXPECT_NE(sql.query("SELECT insula.submit_child(task_id, lease, 'child') FROM mine"), "");
  EXPECT_EQ(claim(), "work");
  complete(R"({"answer": 42})");
  EXPECT_EQ(final_context(id), R"({"ask": {"answer": 42}})");
}

TEST_F(Features, EffectsAndCompletionInOneCommit) {
  add(R"({"id": "a"})");
  const std::string id = submit();
  claim();
  sql.query("CREATE TEMP TABLE effects (n int)");
  sql.query("BEGIN");
  EXPECT_EQ(sql.query("SELECT insula.join_task(task_id, lease) FROM mine"), "t");
  sql.query("INSERT INTO effects VALUES (1)");
  EXPECT_EQ(sql.error("COMMIT"), "IS005");
  sql.query("BEGIN");
  EXPECT_EQ(sql.query("SELECT insula.join_task(task_id, lease) FROM mine"), "t");
  sql.query("INSERT INTO effects VALUES (2)");
  complete();
  EXPECT_EQ(sql.error("COMMIT"), "none");
  EXPECT_EQ(sql.query("SELECT string_agg(n::text, ' ') FROM effects") + " " + status(id), "2 completed");
}

TEST_F(Features, RetentionByAgeAndCount) {
  add(R"({"id": "a"})");
  for (int i = 0; i < 5; ++i) submit();
  claim();
  complete();
  sql.query("SELECT insula.set_tenant_limits('featured', retain_count => 2)");
  // By a claim, or by the scheduler if one serves.
  EXPECT_TRUE(eventually([&] {
    claim();
    return sql.query("SELECT count(*) FROM tenant_featured.workflow_executions") == "2";
  }));
}

TEST_F(Features, VerbsOnManyWithADryRun) {
  add(R"({"id": "a", "retry": {"max_attempts": 1}})");
  for (int i = 0; i < 5; ++i) submit();
  EXPECT_EQ(sql.query("SELECT count(*) FROM insula.cancel_executions('flow')"), "5");
  EXPECT_EQ(sql.query("SELECT count(*) FROM insula.cancel_executions('flow', dry_run => false)"), "5");
  EXPECT_EQ(sql.query("SELECT count(*) FROM insula.retry_executions('flow', dry_run => false)"), "5");
  claim();
  complete();
  EXPECT_EQ(sql.query("SELECT count(*) FROM insula.delete_executions(status => 'completed', dry_run => false)"), "5");
}

}  // namespace
}  // namespace insula_test
