// Insula's own calls, in another tenant's name or with another tenant's ids.
#include "attack.hpp"

namespace attacks {

namespace {

// A call answers to an id of the victim's as to an id that does not exist.
Attack same_as_unknown(const char* name, Who who, const std::string& call) {
  const auto with = [&call](const std::string& id) {
    std::string text = call;
    for (std::size_t at; (at = text.find("{id}")) != std::string::npos;) text.replace(at, 4, id);
    return text;
  };
  return bounded(name, who,
                 {"DO $$ DECLARE a text; b text; BEGIN "
                  "BEGIN EXECUTE $q$" +
                  with("{task}") +
                  "$q$ INTO a; EXCEPTION WHEN OTHERS THEN "
                  "a := SQLSTATE || replace(SQLERRM, '{task}', 'id'); END; "
                  "BEGIN EXECUTE $q$" +
                  with("{unknown}") +
                  "$q$ INTO b; EXCEPTION WHEN OTHERS THEN "
                  "b := SQLSTATE || replace(SQLERRM, '{unknown}', 'id'); END; "
                  "a := replace(a, '{task}', 'id'); b := replace(b, '{unknown}', 'id'); "
                  "IF a IS DISTINCT FROM b THEN RAISE 'told apart: % and %', a, b; END IF; END $$"},
                 "both are unknown", "SELECT {failed} = 0");
}

}  // namespace

std::vector<Attack> attacks_on_calls() {
  const Who t = Who::tenant;
  const Who r = Who::runner;
  const Who s = Who::stranger;
  std::vector<Attack> list = {
      refused("SubmitForAnother", t, {"SELECT insula.submit('w', tenant => 'victim')"}, "42501"),
      refused("SubmitManyForAnother", t, {"SELECT insula.submit_many('w', ARRAY['{}']::jsonb[], tenant => 'victim')"},
              "42501"),
      refused(
          "RegisterForAnother", t,
          {"SELECT insula.register_workflow('{\"name\": \"w\", \"tasks\": [{\"id\": \"a\"}]}', tenant => 'victim')"},
          "42501"),
      refused("ClaimForAnother", t, {"SELECT * FROM insula.claim('m', tenant => 'victim')"}, "42501"),
      refused("WaitForAnother", t, {"CALL insula.wait_for_work('1 s', tenant => 'victim')"}, "42501"),
      refused("ClaimWhenReadyForAnother", t, {"CALL insula.claim_when_ready('1 s', 'm', tenant => 'victim')"}, "42501"),
      refused("SetAnother", t, {"BEGIN", "SET LOCAL insula.tenant = 'victim'", "SELECT insula.submit('w')"}, "42501"),
      refused("SetOneThatIsNot", t,
              {"BEGIN", "SET LOCAL insula.tenant = 'no_such_tenant'", "SELECT insula.submit('w')"}, "42501"),
      bounded("TellTenantsApartByName", t,
              {"DO $$ DECLARE a text; b text; BEGIN "
               "BEGIN PERFORM insula.submit('w', tenant => 'victim'); EXCEPTION WHEN OTHERS THEN a := SQLSTATE || "
               "replace(SQLERRM, 'victim', ''); END; "
               "BEGIN PERFORM insula.submit('w', tenant => 'no_such_tenant'); EXCEPTION WHEN OTHERS THEN b := SQLSTATE "
               "|| replace(SQLERRM, 'no_such_tenant', ''); END; "
               "IF a IS DISTINCT FROM b THEN RAISE 'told apart'; END IF; END $$"},
              "both are refused alike", "SELECT {failed} = 0"),
      bounded("ClaimEverything", t, {"BEGIN", "SELECT * FROM insula.claim('m', max_tasks => 10000)", "COMMIT"},
              "a tenant's claim is of his own tasks",
              "SELECT count(*) = 1 FROM tenant_victim.task_executions WHERE status = 'running'"),
      bounded("CompleteWithAGuess", t, {"SELECT insula.complete({task}, g) FROM generate_series(1, 1000) g"},
              "ids of others are unknown"),
      bounded("CompleteWithTheLease", t, {"SELECT insula.complete({task}, {lease}, '{\"forged\": true}')"},
              "the id's tenant must be one's own"),
      bounded("FailWithTheLease", t, {"SELECT insula.fail({task}, {lease}, 'forged', false)"},
              "the id's tenant must be one's own"),
      bounded("DeferWithTheLease", t, {"SELECT insula.defer({task}, {lease}, now() + '1 day')"},
              "the id's tenant must be one's own"),
      bounded("CompleteABatchWithTheLease", t,
              {"SELECT insula.complete_many(ARRAY[{task}, 0, -1, 9223372036854775807], ARRAY[{lease}, 0, 0, 0], NULL)"},
              "the id's tenant must be one's own"),
      bounded("CompleteABatchAndAskWhy", t,
              {"SELECT * FROM insula.complete_batch(ARRAY[{task}, 0], ARRAY[{lease}, 0], ARRAY['[]', NULL]::jsonb[])"},
              "the id's tenant must be one's own"),
      bounded("GiveBackAnothersWorker", t,
              {"SELECT insula.leave('victims-worker')", "SELECT insula.nudge('victims-worker')"},
              "a worker belongs to its role",
              "SELECT count(*) = 1 FROM tenant_victim.task_executions WHERE status = 'running'"),
      bounded("TakeAnothersWorkersName", t,
              {"SELECT * FROM insula.claim('victims-worker')",
               "CALL insula.wait_for_work('0 s', worker => 'victims-worker')",
               "CALL insula.claim_when_ready('0 s', 'victims-worker')", "SELECT insula.leave('victims-worker')"},
              "a worker belongs to its role",
              "SELECT count(*) = 1 FROM tenant_victim.task_executions WHERE status = 'running'"),
      same_as_unknown("TellResultsApart", t, "SELECT (insula.result({id}))::text"),
      same_as_unknown("TellCancelsApart", t, "SELECT insula.cancel({id})::text"),
      same_as_unknown("TellPausesApart", t, "SELECT insula.pause({id})::text"),
      same_as_unknown("TellResumesApart", t, "SELECT insula.resume({id})::text"),
      same_as_unknown("TellRetriesApart", t, "SELECT insula.retry({id})::text"),
      same_as_unknown("TellEventsApart", t, "SELECT insula.send_event({id}, 'e')::text"),
      same_as_unknown("TellWaitsApart", t, "SELECT insula.wait_event({id}, 1, 'e')::text"),
      same_as_unknown("TellExplanationsApart", t, "SELECT insula.explain_execution({id})::text"),
      bounded("WaitWithTheLease", t, {"SELECT insula.wait_event({task}, {lease}, 'never')"},
              "the id's tenant must be one's own"),
      same_as_unknown("TellChildrenApart", t, "SELECT insula.submit_child({id}, 1, 'w')::text"),
      bounded("SubmitAChildWithTheLease", t, {"SELECT insula.submit_child({task}, {lease}, 'w')"},
              "the id's tenant must be one's own",
              "SELECT count(*) = 1 FROM tenant_victim.task_executions WHERE status = 'running'"),
      refused("CancelAllOfAnother", t, {"SELECT insula.cancel_executions(dry_run => false, tenant => 'victim')"},
              "42501"),
      refused("RetryAllOfAnother", t, {"SELECT insula.retry_executions(dry_run => false, tenant => 'victim')"},
              "42501"),
      refused("DeleteAllOfAnother", t, {"SELECT insula.delete_executions(tenant => 'victim')"}, "42501"),
      refused("RunnerCancelsAll", r, {"SELECT insula.cancel_executions(tenant => 'victim')"}, "42501"),
      refused("RunnerRetriesAll", r, {"SELECT insula.retry_executions(tenant => 'victim')"}, "42501"),
      refused("RunnerDeletesAll", r, {"SELECT insula.delete_executions(tenant => 'victim')"}, "42501"),
      refused("RunnerPauses", r, {"SELECT insula.pause({execution})"}, "42501"),
      refused("RunnerRetries", r, {"SELECT insula.retry({execution})"}, "42501"),
      refused("RunnerSendsEvents", r, {"SELECT insula.send_event({execution}, 'e')"}, "42501"),
      refused("RunnerExplains", r, {"SELECT insula.explain_execution({execution})"}, "42501"),
      same_as_unknown("TellHeartbeatsApart", t, "SELECT insula.heartbeat(ARRAY[{id}], ARRAY[1::bigint])::text"),
      same_as_unknown("TellWatchesApart", t, "SELECT insula.watch('m', ARRAY[{id}])::text"),
      same_as_unknown("TellCompletionsApart", t, "SELECT insula.complete({id}, 1)::text"),
      same_as_unknown("TellFailuresApart", t, "SELECT insula.fail({id}, 1, 'x')::text"),
      same_as_unknown("TellDeferralsApart", t, "SELECT insula.defer({id}, 1, now())::text"),
      refused("AwaitAnothers", t, {"CALL insula.await({execution}, '1 s')"}, "IS003"),
      bounded("RunAsTheOwner", t,
              {"CREATE FUNCTION pg_temp.who() RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN "
               "jsonb_build_object('who', current_user); END $$",
               "SELECT insula.submit('w', pg_temp.who())"},
              "arguments are evaluated as the caller",
              "SELECT count(*) = 0 FROM tenant_mallory.workflow_executions WHERE context->>'who' <> 'mallory_user'"),
      bounded("RunADomainsCheckAsTheOwner", t,
              {"CREATE FUNCTION pg_temp.spy(jsonb) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN current_user = "
               "'mallory_user'; END $$",
               "CREATE DOMAIN pg_temp.context AS jsonb CHECK (pg_temp.spy(VALUE))",
               "SELECT insula.submit('w', '{\"domain\": 1}'::pg_temp.context)"},
              "a domain's check runs before the call, as the caller",
              "SELECT count(*) = 1 FROM tenant_mallory.workflow_executions WHERE context ? 'domain'"),

      refused("RunnerSubmits", r, {"SELECT insula.submit('w', tenant => 'victim')"}, "42501"),
      refused(
          "RunnerRegisters", r,
          {"SELECT insula.register_workflow('{\"name\": \"w\", \"tasks\": [{\"id\": \"a\"}]}', tenant => 'victim')"},
          "42501"),
      refused("RunnerReadsResults", r, {"SELECT insula.result({execution})"}, "42501"),
      refused("RunnerCancels", r, {"SELECT insula.cancel({execution})"}, "42501"),
      refused("RunnerAwaits", r, {"CALL insula.await({execution}, '1 s')"}, "42501"),
      bounded("RunnerGuessesLeases", r, {"SELECT insula.complete({task}, g) FROM generate_series(1, 1000) g"},
              "63 random bits"),
      refused("StrangerSubmits", s, {"SELECT insula.submit('w', tenant => 'victim')"}, "42501"),
      refused("StrangerClaims", s, {"SELECT insula.claim('s')"}, "42501"),
      refused("StrangerCompletes", s, {"SELECT insula.complete({task}, {lease})"}, "42501"),
      refused("StrangerWaits", s, {"CALL insula.wait_for_work('1 s')"}, "42501"),
      refused("StrangerWaitsAndClaims", s, {"CALL insula.claim_when_ready('1 s', 'm')"}, "42501"),
      refused("StrangerAsksForNames", s, {"SELECT insula.is_valid_tenant_id('abc')"}, "42501"),
  };
  // An administrator's calls are refused to all others.
  for (const char* call :
       {"create_tenant('evil')", "drop_tenant('victim')", "suspend_tenant('victim')", "resume_tenant('victim')",
        "rotate_password('mallory')", "set_tenant_limits('mallory', -1)", "audit()", "status()", "harden(false)",
        "reconcile(false)", "adopt()", "health()", "capacity()", "read_activity()", "upgrade_tenants()"}) {
    static std::vector<std::string> names;
    names.reserve(256);
    const std::string function(call, std::string(call).find('('));
    for (const auto& [who, title] : {std::pair{t, "Tenant"}, {r, "Runner"}, {s, "Stranger"}}) {
      std::string name = std::string(title) + "Calls";
      bool upper = true;
      for (char c : function) {
        if (c != '_') name += upper ? static_cast<char>(c - 32) : c;
        upper = c == '_';
      }
      names.push_back(name);
      list.push_back(refused(names.back().c_str(), who, {"SELECT insula." + std::string(call)}, "42501"));
    }
  }
  return list;
}

}  // namespace attacks
