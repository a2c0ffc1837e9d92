// Taking more than one's share, holding others up, and values that break things.
#include "attack.hpp"

namespace attacks {

std::vector<Attack> attacks_on_resources() {
  const Who t = Who::tenant;
  const Who r = Who::runner;
  const Who s = Who::stranger;
  return {
      refused("StartNever", t, {"SELECT insula.submit('w', run_at => 'infinity')"}, "22008"),
      refused("StartBeforeTime", t, {"SELECT insula.submit('w', run_at => '-infinity')"}, "22008"),
      refused("DeferForEver", t, {"SELECT insula.defer(1, 1, 'infinity')"}, "22008"),
      refused("LeaseForEver", t, {"SELECT insula.claim('m', lease_for => '1000000 years')"}, "22023"),
      refused("LeaseBackwards", t, {"SELECT insula.claim('m', lease_for => '-1 s')"}, "22023"),
      refused("WaitForEver", t, {"CALL insula.wait_for_work('178000000 years')"}, "22023"),
      refused("ClaimTooMany", t, {"SELECT insula.claim('m', max_tasks => 2147483647)"}, "22023"),
      refused("PriorityOutOfRange", t, {"SELECT insula.submit('w', priority => 2147483647)"}, "22003"),
      refused("LargeContext", t, {"SELECT insula.submit('w', jsonb_build_object('x', repeat('x', 5000000)))"}, "54000"),
      refused("DeepContext", t,
              {"SELECT insula.submit('w', ('{\"x\":' || repeat('[', 4000) || repeat(']', 4000) || '}')::jsonb)"},
              "54000"),
      refused("DeepPatch", t,
              {"SELECT insula.complete(1, 1, ('{\"x\":' || repeat('[', 4000) || repeat(']', 4000) || '}')::jsonb)"},
              "54000"),
      refused("DeepDefinition", t, {"SELECT insula.register_workflow((repeat('[', 4000) || repeat(']', 4000))::jsonb)"},
              "IS004"),
      refused("ContextThatIsNoObject", t, {"SELECT insula.submit('w', '[1]')"}, "22023"),
      refused("HugeGraph", t,
              {"SELECT insula.register_workflow(jsonb_build_object('name', 'huge', 'tasks', (SELECT "
               "jsonb_agg(jsonb_build_object('id', 't' || g)) FROM generate_series(1, 10001) g)))"},
              "IS004"),
      refused("CyclicGraph", t,
              {"SELECT insula.register_workflow('{\"name\": \"c\", \"tasks\": [{\"id\": \"a\", \"depends_on\": "
               "[\"b\"]}, {\"id\": \"b\", \"depends_on\": [\"a\"]}]}')"},
              "IS004"),
      refused("TooManyAtOnce", t, {"SELECT insula.submit_many('w', array_fill('{}'::jsonb, ARRAY[1000001]))"}, "54000"),
      refused("LongKey", t, {"SELECT insula.submit('w', idempotency_key => repeat('k', 10000))"}, "22023"),
      refused("LongWorkerName", t, {"SELECT insula.claim(repeat('w', 1000000))"}, "22023"),
      refused("LongTenantName", t, {"SELECT insula.submit('w', tenant => repeat('t', 1000000))"}, "42501"),
      refused("NullsWhereNoneAreMeant", t,
              {"SELECT insula.complete_many(ARRAY[NULL]::bigint[], ARRAY[1]::bigint[], NULL)"}, "22004"),
      refused("ArraysOfArrays", t, {"SELECT insula.watch('m', ARRAY[[1, 2], [3, 4]]::bigint[])"}, "2202E"),
      refused("ArraysThatDoNotMatch", t,
              {"SELECT insula.complete_many(ARRAY[1, 2]::bigint[], ARRAY[1]::bigint[], NULL)"}, "22023"),
      refused("MergeTooDeep", t,
              {"SELECT insula.merge_patch(o, o) FROM (SELECT (repeat('{\"x\":', 30000) || '1' || repeat('}', "
               "30000))::jsonb) d(o)"},
              "54001"),
      bounded("SubmitAFlood", t,
              {"SELECT insula.set_tenant_limits('mallory', -1)",
               "DO $$ BEGIN LOOP PERFORM insula.submit_many('w', array_fill('{\"flood\": 1}'::jsonb, ARRAY[100])); END "
               "LOOP; END $$"},
              "max_queued", "SELECT ready <= 1000 FROM insula.tenant_activity WHERE tenant = 'mallory'"),
      bounded(
          "FanOutAFlood", t,
          {"SELECT insula.register_workflow('{\"name\": \"fan\", \"tasks\": [{\"id\": \"a\", \"for_each\": "
           "{\"items\": \"l\"}}]}')",
           "DO $$ BEGIN FOR i IN 1..20 LOOP PERFORM insula.submit('fan', jsonb_build_object('l', (SELECT jsonb_agg(g) "
           "FROM generate_series(1, 400) g))); END LOOP; END $$"},
          "max_queued", "SELECT ready <= 1000 FROM insula.tenant_activity WHERE tenant = 'mallory'"),
      bounded("RunTooMany", t,
              {"DO $$ BEGIN FOR i IN 1..300 LOOP PERFORM insula.submit('w'); END LOOP; END $$", "BEGIN",
               "SELECT count(*) FROM insula.claim('m', max_tasks => 10000)", "COMMIT"},
              "max_running", "SELECT running <= 100 FROM insula.tenant_activity WHERE tenant = 'mallory'"),
      bounded(
          "FloodTheWatches", t,
          {"SELECT count(*) FROM (SELECT insula.watch('m', array_agg(id)) FROM (SELECT unnest(insula.submit_many('w', "
           "array_fill('{}'::jsonb, ARRAY[500]), run_at => now() + '1 day')) id) i) w"},
          "max_queued, insula.max_watches"),
      bounded("FloodTheWorkers", t,
              {"DO $$ BEGIN FOR i IN 1..20000 LOOP PERFORM insula.nudge('m' || i); PERFORM insula.leave('m' || i); END "
               "LOOP; END $$"},
              "nudging a worker that is not known makes none"),
      bounded("HoldAdvisoryLocks", t,
              {"BEGIN", "SELECT count(pg_advisory_xact_lock(g)) FROM generate_series(1, 1000) g"},
              "Insula takes none of the user's keys"),
      bounded("HoldAdvisoryLocksOfTheCatalogs", t,
              {"BEGIN",
               "SELECT count(pg_advisory_xact_lock(c.oid::int, d.oid::int)) FROM pg_class c, pg_database d WHERE "
               "d.datname = current_database()"},
              "Insula takes none of the user's keys"),
      refused("LockOnesViews", t, {"BEGIN", "LOCK TABLE tenant_mallory.workflow_executions IN ACCESS EXCLUSIVE MODE"},
              "42501"),
      refused("LockAnothersTables", t, {"BEGIN", "LOCK TABLE tenant_victim.work IN ACCESS SHARE MODE"}, "42501"),
      refused("LockTheCatalogs", t, {"BEGIN", "LOCK TABLE insula.tenant IN ACCESS SHARE MODE"}, "42501"),
      refused("LockSystemCatalogs", t, {"BEGIN", "LOCK TABLE pg_catalog.pg_class IN ACCESS EXCLUSIVE MODE"}, "42501"),
      bounded("HoldOnesTasks", t,
              {"SELECT count(insula.submit('w')) FROM generate_series(1, 50)", "BEGIN",
               "SELECT count(*) FROM insula.claim('m', max_tasks => 1000)"},
              "others skip his rows",
              "SELECT count(*) >= 0 FROM insula.claim('proof', max_tasks => 1, tenant => 'mallory')"),
      bounded("HoldASubmission", t, {"BEGIN", "SELECT insula.submit('w', idempotency_key => 'held')"},
              "no other session waits for it"),
      refused("PrepareATransaction", t, {"BEGIN", "SELECT 1", "PREPARE TRANSACTION 'evil'"}, "42501"),
      refused("PrepareASubmission", t, {"BEGIN", "SELECT insula.submit('w')", "PREPARE TRANSACTION 'evil'"}, "42501"),
      refused(
          "EndOnesOwnWait", t,
          {"SET LOCAL statement_timeout = 1", "BEGIN", "SET LOCAL statement_timeout = '20ms'", "SELECT pg_sleep(10)"},
          "57014"),
      bounded(
          "AskALongRuleOfALongArray", t,
          {"SELECT insula.register_workflow(jsonb_build_object('name', 'asks', 'tasks', '[{\"id\": \"a\"}]' || "
           "jsonb_build_object('id', 'b', 'depends_on', '[\"a\"]'::jsonb, 'trigger_rule', jsonb_build_object('any', "
           "(SELECT jsonb_agg(jsonb_build_object('context_value', jsonb_build_object('key', 'l', 'op', 'contains', "
           "'value', g))) FROM generate_series(1, 9900) g)))))",
           "SELECT insula.submit('asks', jsonb_build_object('l', (SELECT jsonb_agg(''::text) FROM "
           "generate_series(1, 1000000))))",
           "SELECT insula.complete(task_id, lease) FROM insula.claim('m', ARRAY['asks.a'])"},
          "a rule may look at 256 MB of a context, else its task fails"),
      refused("WaitInATransaction", t, {"BEGIN", "CALL insula.wait_for_work('1 s')"}, "IS010"),
      refused("AwaitInAFunction", t,
              {"DO $$ DECLARE b boolean; BEGIN BEGIN CALL insula.wait_for_work('0 s', b); EXCEPTION WHEN "
               "division_by_zero THEN NULL; END; "
               "END $$"},
              "IS010"),
      bounded("MakeALargeObject", t, {"SELECT lo_create(0)"}, "harden(false), or the drop of the tenant"),
      bounded("NotifyAFlood", t,
              {"DO $$ BEGIN FOR i IN 1..1000 LOOP PERFORM pg_notify('insula', repeat('x', 1000)); END LOOP; END $$"},
              "Insula does not listen"),
      bounded("WarnAFlood", t, {"DO $$ BEGIN FOR i IN 1..1000 LOOP RAISE WARNING 'flood'; END LOOP; END $$"},
              "log_min_messages"),
      bounded("ClaimInALoop", t, {"DO $$ BEGIN FOR i IN 1..2000 LOOP PERFORM insula.claim('m'); END LOOP; END $$"},
              "his own CPU"),
      bounded("AbortInALoop", t,
              {"DO $$ BEGIN FOR i IN 1..1000 LOOP BEGIN PERFORM insula.submit('w'); RAISE division_by_zero; EXCEPTION "
               "WHEN division_by_zero THEN NULL; END; END LOOP; END $$"},
              "nothing stays of a rollback", "SELECT count(*) = 0 FROM tenant_mallory.workflow_executions"),
      bounded("RunnerClaimsAndKeeps", r, {"BEGIN", "SELECT count(*) FROM insula.claim('r', max_tasks => 10000)"},
              "a transaction's end, and the lease"),
      refused("StrangerLocks", s, {"BEGIN", "LOCK TABLE tenant_victim.task_executions IN ACCESS SHARE MODE"}, "42501"),
  };
}

}  // namespace attacks
