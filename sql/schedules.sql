-- Schedules without a scheduler: their settings, rights and errors.
SELECT tenant FROM insula.create_tenant('sched_one');
SELECT tenant FROM insula.create_tenant('sched_two');
SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => 'sched_one');
SET insula.tenant = 'sched_one';
CREATE VIEW public.shown AS
	SELECT name, workflow, cron, timezone, status, next_fire_at, last_fire_at, context, catch_up, max_catch_up, starts_at, ends_at, overlap, jitter
	FROM tenant_sched_one.schedules;

-- Made, put again, paused, resumed, removed.
SELECT insula.schedule('plain', 'w', '0 9 * * MON-FRI') AS id \gset
SELECT insula.schedule('far', 'w', '30 2 29 2 *', 'Europe/Berlin', '{"n": 1}', 'run_all', 7, '2047-06-01+00', '2049-01-01+00', 'queue', '90 s') > :id AS later;
SELECT name, workflow, cron, timezone, status, last_fire_at, context, catch_up, max_catch_up, overlap, jitter FROM public.shown ORDER BY name;
SELECT next_fire_at AT TIME ZONE 'UTC' AS next, starts_at AT TIME ZONE 'UTC' AS starts, ends_at AT TIME ZONE 'UTC' AS ends FROM public.shown WHERE name = 'far';
SELECT next_fire_at = (SELECT insula.next_fires('0 9 * * MON-FRI', n => 1)) AS right_time FROM public.shown WHERE name = 'plain';
SELECT insula.schedule('plain', 'w', '@hourly', overlap => 'skip') = :id AS same, count(*) FROM public.shown;
SELECT insula.pause_schedule('plain'), insula.pause_schedule('plain');
SELECT status, next_fire_at FROM public.shown WHERE name = 'plain';
SELECT insula.schedule('plain', 'w', '@daily') = :id AS same;
SELECT status, cron, overlap FROM public.shown WHERE name = 'plain';
SELECT insula.resume_schedule('plain'), insula.resume_schedule('plain');
SELECT status, next_fire_at > now() AS later FROM public.shown WHERE name = 'plain';
-- All of its window has passed.
SELECT insula.schedule('past', 'w', '@hourly', ends_at => '2020-01-01+00') > 0;
SELECT status, next_fire_at FROM public.shown WHERE name = 'past';
SELECT insula.unschedule('past'), insula.unschedule('past'), insula.unschedule('nothing');
-- Bounds that are none.
SELECT insula.schedule('open', 'w', '@hourly', starts_at => '-infinity', ends_at => 'infinity') > 0;
SELECT starts_at, ends_at, status FROM public.shown WHERE name = 'open';
-- The list says what the view says.
SELECT insula.schedule('past', 'w', '@hourly', ends_at => '2020-01-01+00') > 0;
SELECT insula.pause_schedule('plain');
SELECT name, workflow, cron, timezone, status, next_fire_at AT TIME ZONE 'UTC' AS next, last_fire_at, last_execution, context FROM insula.schedules() WHERE name <> 'open';
SELECT count(*), count(*) FILTER (WHERE ROW(s.name, s.workflow, s.cron, s.timezone, s.status, s.next_fire_at, s.last_fire_at, s.context) IS NOT DISTINCT FROM ROW(v.name, v.workflow, v.cron, v.timezone, v.status, v.next_fire_at, v.last_fire_at, v.context)) AS alike
	FROM insula.schedules() s FULL JOIN public.shown v USING (name);
SELECT insula.resume_schedule('plain'), insula.unschedule('past');
-- It all belongs to the transaction.
BEGIN;
SELECT insula.schedule('gone', 'w', '@hourly') > 0;
SELECT insula.unschedule('plain');
ROLLBACK;
SELECT name FROM public.shown ORDER BY name;

-- Invalid arguments.
SELECT try($$SELECT insula.schedule(NULL, 'w', '@hourly')$$);
SELECT try($$SELECT insula.schedule('s', NULL, '@hourly')$$);
SELECT try($$SELECT insula.schedule('s', 'w', NULL)$$);
SELECT try($$SELECT insula.schedule('s', 'w', '@hourly', NULL)$$);
SELECT try($$SELECT insula.schedule('s', 'w', '@hourly', context => NULL)$$);
SELECT try($$SELECT insula.schedule('s', 'w', '@hourly', catch_up => NULL)$$);
SELECT try($$SELECT insula.schedule('s', 'w', '@hourly', max_catch_up => NULL)$$);
SELECT try($$SELECT insula.schedule('s', 'w', '@hourly', overlap => NULL)$$);
SELECT try($$SELECT insula.schedule('', 'w', '@hourly')$$);
SELECT try($$SELECT insula.schedule('a b', 'w', '@hourly')$$);
SELECT try($$SELECT insula.schedule(repeat('x', 64), 'w', '@hourly')$$);
SELECT try($$SELECT insula.schedule('s', 'nothing', '@hourly')$$);
SELECT try($$SELECT insula.schedule('s', 'w', '61 * * * *')$$);
SELECT try($$SELECT insula.schedule('s', 'w', '0 0 30 2 *')$$);
SELECT try($$SELECT insula.schedule('s', 'w', '@hourly', 'Mars/Olympus')$$);
SELECT try($$SELECT insula.schedule('s', 'w', '@hourly', context => '[1]')$$);
SELECT try($$SELECT insula.schedule('s', 'w', '@hourly', catch_up => 'all')$$);
SELECT try($$SELECT insula.schedule('s', 'w', '@hourly', max_catch_up => 0)$$);
SELECT try($$SELECT insula.schedule('s', 'w', '@hourly', max_catch_up => 1001)$$);
SELECT try($$SELECT insula.schedule('s', 'w', '@hourly', starts_at => 'infinity')$$);
SELECT try($$SELECT insula.schedule('s', 'w', '@hourly', ends_at => '-infinity')$$);
SELECT try($$SELECT insula.schedule('s', 'w', '@hourly', starts_at => '2030-01-02+00', ends_at => '2030-01-01+00')$$);
SELECT try($$SELECT insula.schedule('s', 'w', '@hourly', overlap => 'replace')$$);
SELECT try($$SELECT insula.schedule('s', 'w', '@hourly', jitter => '-1 s')$$);
SELECT try($$SELECT insula.schedule('s', 'w', '@hourly', jitter => '25 h')$$);
SELECT try($$SELECT insula.unschedule(NULL)$$);
SELECT try($$SELECT insula.pause_schedule(NULL)$$);
SELECT try($$SELECT insula.pause_schedule('nothing')$$);
SELECT try($$SELECT insula.resume_schedule('nothing')$$);
SELECT try($$SELECT insula.schedule('s', 'w', '@hourly', tenant => 'nobody')$$);

-- The tenant itself and an administrator may, no other role.
SET ROLE sched_one_user;
SET insula.tenant = '';
SELECT insula.schedule('own', 'w', '@daily') > 0;
SELECT count(*) FROM tenant_sched_one.schedules;
SELECT count(*) FROM insula.schedules();
SELECT insula.unschedule('own');
SELECT try($$SELECT * FROM tenant_sched_two.schedules$$);
SELECT try($$SELECT insula.schedule('s', 'w', '@daily', tenant => 'sched_two')$$);
SELECT try($$SELECT * FROM insula.schedules('sched_two')$$);
SELECT try($$SELECT insula.start_scheduler()$$);
SELECT try($$SELECT insula.stop_scheduler()$$);
SELECT try($$CALL insula.advance_clock(now() + interval '1 day')$$);
SELECT try($$SELECT * FROM insula.status()$$);
SELECT try($$UPDATE tenant_sched_one.record SET at = now()$$);
SET ROLE sched_two_user;
SELECT try($$SELECT insula.schedule('s', 'w', '@daily')$$);
SELECT insula.unschedule('plain');
SELECT try($$SELECT insula.pause_schedule('plain')$$);
SELECT try($$SELECT insula.unschedule('plain', 'sched_one')$$);
SELECT count(*) FROM insula.schedules();
SELECT count(*) FROM tenant_sched_two.schedules;
SET ROLE insula_runner;
SELECT try($$SELECT * FROM insula.schedules('sched_one')$$);
SELECT try($$SELECT insula.schedule('s', 'w', '@daily', tenant => 'sched_one')$$);
SET ROLE insula_admin;
SELECT insula.schedule('by_admin', 'w', '@daily', tenant => 'sched_one') > 0;
SELECT name FROM insula.schedules('sched_one') WHERE name LIKE 'by%';
SELECT insula.unschedule('by_admin', 'sched_one');
RESET ROLE;

-- A suspended tenant changes nothing.
SET insula.tenant = 'sched_one';
SELECT insula.suspend_tenant('sched_one');
SELECT try($$SELECT insula.schedule('s', 'w', '@daily')$$);
SELECT try($$SELECT insula.unschedule('plain')$$);
SELECT count(*) FROM insula.schedules();
SELECT insula.resume_tenant('sched_one');

-- What schedulers read of all schedules holds no context; the context goes with its schedule.
SELECT insula.schedule('large', 'w', '@yearly', context => jsonb_build_object('x', repeat('x', 100000))) > 0 AS made;
SELECT kind, count(*) > 0 AS rows, max(length(body::text)) > 100000 AS large FROM tenant_sched_one.record WHERE kind IN ('d', 'i') GROUP BY kind ORDER BY kind;
SELECT length(context ->> 'x') FROM tenant_sched_one.schedules WHERE name = 'large';
SELECT insula.pause_schedule('large'), insula.resume_schedule('large');
SELECT length(context ->> 'x') FROM insula.schedules() WHERE name = 'large';
SELECT name, context FROM insula.schedules(with_context => false) WHERE name = 'large';
SELECT try($$SELECT * FROM insula.schedules(with_context => NULL)$$);
SELECT insula.schedule('large', 'w', '@yearly', context => '{"x": "small"}') > 0 AS put_again;
SELECT context FROM insula.schedules() WHERE name = 'large';
SELECT insula.unschedule('large');
SELECT count(*) FROM tenant_sched_one.record i WHERE kind = 'i' AND NOT EXISTS (SELECT FROM tenant_sched_one.record d WHERE d.kind = 'd' AND d.ref = i.owner);

-- The number of schedules is bounded.
INSERT INTO tenant_sched_one.record (kind, owner, name, seq, at, ref, body)
	SELECT d.kind, d.owner, 'n' || g, d.seq, d.at, d.ref + g, d.body FROM tenant_sched_one.record d, generate_series(1, 9997) g WHERE d.kind = 'd' AND d.name = 'plain';
SELECT try($$SELECT insula.schedule('one_more', 'w', '@yearly')$$);
SELECT insula.schedule('plain', 'w', '@yearly') = :id AS put_again;

-- The scheduler is off, and says so.
SELECT value FROM insula.status() WHERE item = 'scheduler';
SELECT insula.start_scheduler(), insula.stop_scheduler(), insula.start_scheduler();
SELECT act FROM insula.admin_log WHERE act LIKE '%scheduler' ORDER BY log_id;
SELECT count(*) FROM insula.audit() WHERE level <> 'advice';

DROP VIEW public.shown;
RESET insula.tenant;
SELECT insula.drop_tenant('sched_one', '0 s'), insula.drop_tenant('sched_two', '0 s');
