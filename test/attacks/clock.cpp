// Schedules and the scheduler: other tenants' schedules, the clock of all, and fires without
// end.
#include "attack.hpp"

namespace attacks {

std::vector<Attack> attacks_on_clock() {
  const Who t = Who::tenant;
  const Who r = Who::runner;
  const Who s = Who::stranger;
  return {
      refused("ScheduleForTheVictim", t, {"SELECT insula.schedule('s', 'w', '@hourly', tenant => 'victim')"}, "42501"),
      refused("UnscheduleOfTheVictim", t, {"SELECT insula.unschedule('s', 'victim')"}, "42501"),
      refused("PauseOfTheVictim", t, {"SELECT insula.pause_schedule('s', 'victim')"}, "42501"),
      refused("ResumeOfTheVictim", t, {"SELECT insula.resume_schedule('s', 'victim')"}, "42501"),
      refused("ScheduleInTheVictimsName", t,
              {"BEGIN", "SET LOCAL insula.tenant = 'victim'", "SELECT insula.schedule('s', 'w', '@hourly')"}, "42501"),
      refused("ReadTheVictimsSchedules", t, {"SELECT * FROM tenant_victim.schedules"}, "42501"),
      refused("ListTheVictimsSchedules", t, {"SELECT * FROM insula.schedules('victim')"}, "42501"),
      refused("RunnerSchedules", r, {"SELECT insula.schedule('s', 'w', '@hourly', tenant => 'victim')"}, "42501"),
      refused("StrangerSchedules", s, {"SELECT insula.schedule('s', 'w', '@hourly', tenant => 'victim')"}, "42501"),
      refused("StopTheScheduler", t, {"SELECT insula.stop_scheduler()"}, "42501"),
      refused("StartTheScheduler", t, {"SELECT insula.start_scheduler()"}, "42501"),
      refused("RunnerStopsTheScheduler", r, {"SELECT insula.stop_scheduler()"}, "42501"),
      refused("MoveTheClock", t, {"CALL insula.advance_clock(now() + interval '1 year')"}, "42501"),
      refused("TurnSchedulersOff", t, {"SET insula.scheduler = off"}, "55P02"),
      refused("ShortenTheGrace", t, {"SET insula.fire_grace = 1"}, "55P02"),
      refused("ForgeAFire", t, {"INSERT INTO tenant_mallory.record (kind, owner, name, seq) VALUES ('f', 1, '', 1)"},
              "42501"),
      refused("MoveAScheduleBack", t, {"UPDATE tenant_mallory.schedules SET last_fire_at = NULL"}, "55000"),
      refused("FireMoreThanCanBeCaughtUpWith", t,
              {"SELECT insula.schedule('s', 'w', '* * * * * *', catch_up => 'run_all', max_catch_up => 2147483647)"},
              "22023"),
      refused("AnExpressionThatNeverEnds", t, {"SELECT insula.schedule('s', 'w', repeat('*,', 1000000))"}, "22023"),
      refused("JitterForEver", t, {"SELECT insula.schedule('s', 'w', '@hourly', jitter => '99 years')"}, "22023"),
      refused("AZoneThatIsAFile", t, {"SELECT insula.schedule('s', 'w', '@hourly', '../../../../etc/passwd')"},
              "22023"),
      bounded("FireAFlood", t,
              {"SELECT count(insula.schedule('s' || g, 'w', '* * * * * *')) FROM generate_series(1, 1500) g",
               "SELECT pg_sleep(1.5)"},
              "max_queued", "SELECT ready <= 1000 FROM insula.tenant_activity WHERE tenant = 'mallory'"),
      bounded("ChangeAFlood", t,
              {"DO $$ BEGIN FOR i IN 1..1000 LOOP PERFORM insula.schedule('s', 'w', '* * * * * *'); COMMIT; PERFORM "
               "insula.unschedule('s'); COMMIT; END LOOP; END $$"},
              "his own turn"),
      bounded("FailAFlood", t,
              {"SELECT insula.register_workflow('{\"name\": \"strict\", \"params\": {\"n\": {\"type\": \"integer\", "
               "\"required\": true}}, \"tasks\": [{\"id\": \"a\"}]}')",
               "SELECT count(insula.schedule('s' || g, 'strict', '* * * * * *')) FROM generate_series(1, 100) g",
               "SELECT pg_sleep(1.5)"},
              "each is tried again after a while", "SELECT count(*) = 0 FROM tenant_mallory.workflow_executions"),
      bounded("HoldWhatAFireCancels", t,
              {"SELECT insula.schedule('s', 'w', '* * * * * *', overlap => 'cancel')", "SELECT pg_sleep(1.2)", "BEGIN",
               "SELECT insula.cancel(execution_id) FROM tenant_mallory.workflow_executions", "SELECT pg_sleep(1.2)"},
              "the fire is tried again later"),
      bounded("PretendToBeAnotherFire", t,
              {"SELECT insula.schedule('s', 'w', '* * * * * *', context => '{\"schedule_id\": 1, \"scheduled_time\": "
               "\"2000-01-01\"}')",
               "SELECT pg_sleep(1.2)"},
              "what a fire says of itself comes last",
              "SELECT count(*) = 0 FROM tenant_mallory.workflow_executions WHERE context ->> 'schedule_id' = '1' OR "
              "context ->> 'scheduled_time' = '2000-01-01'"),
  };
}

}  // namespace attacks
