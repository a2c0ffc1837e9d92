-- Progress of running tasks: checkpoints for their later runs, and what people see.
SET client_min_messages = error;
SELECT tenant FROM insula.create_tenant('moving');
SET insula.tenant = 'moving';
SELECT insula.register_workflow('{"name": "one", "tasks": [{"id": "a", "retry": {"initial_delay": "0 s"}}]}');
SELECT insula.register_workflow('{"name": "many", "tasks": [{"id": "a"}, {"id": "b"}, {"id": "each", "for_each": {"items": "l"}}]}');
SELECT insula.submit('one') AS e \gset
SELECT task_id, lease FROM insula.claim('w') \gset
SELECT insula.checkpoint(:task_id, :lease) IS NULL AS none;
SELECT insula.save_progress(:task_id, :lease, '{"row": 7, "gone": null}', 0.25, 'a quarter');
SELECT insula.checkpoint(:task_id, :lease);
SELECT t - 'started_at' FROM insula.result(:e), jsonb_array_elements(tasks) t;
-- What is NULL stays.
SELECT insula.save_progress(:task_id, :lease, progress => 0.5);
-- A call that says nothing writes nothing.
BEGIN;
SELECT insula.save_progress(:task_id, :lease), insula.save_progress(:task_id, :lease + 1), pg_current_xact_id_if_assigned() IS NULL AS has_written_nothing;
COMMIT;
SELECT status, progress, note, checkpoint FROM tenant_moving.task_executions WHERE task_id = :task_id;
SELECT insula.save_progress(:task_id, :lease, '[1]', note => 'all of it');
-- The next run sees it, the earlier one says nothing more.
SELECT insula.fail(:task_id, :lease, 'broken');
SELECT insula.save_progress(:task_id, :lease, '2'), insula.checkpoint(:task_id, :lease);
SELECT lease AS next_lease, attempt FROM insula.claim('w') \gset
SELECT insula.save_progress(:task_id, :lease, '3'), insula.checkpoint(:task_id, :lease), insula.checkpoint(:task_id, :next_lease);
SELECT insula.save_progress(:task_id, :next_lease, 'null', 1);
SELECT insula.checkpoint(:task_id, :next_lease);
SELECT insula.complete(:task_id, :next_lease);
SELECT status, t ? 'progress' AS told FROM insula.result(:e), jsonb_array_elements(tasks) t;
SELECT status, progress, note FROM tenant_moving.task_executions WHERE task_id = :task_id;
-- Tasks and elements of a larger execution, each its own.
SELECT insula.submit('many', '{"l": [1, 2]}') AS e \gset
SELECT task_id, lease, item, task INTO TEMPORARY claimed FROM insula.claim('w', max_tasks => 10);
SELECT bool_and(insula.save_progress(task_id, lease, to_jsonb(task || coalesce(item::text, '')), 0.1)) FROM claimed WHERE task <> 'b';
SELECT task, item, insula.checkpoint(task_id, lease) FROM claimed ORDER BY task_id;
SELECT t ->> 'task' AS task, t ->> 'progress' AS progress FROM insula.result(:e), jsonb_array_elements(tasks) t;
SELECT task, progress, checkpoint FROM tenant_moving.task_executions WHERE execution_id = :e ORDER BY task_id;
-- Bad arguments, and tasks that are none.
SELECT task_id, lease FROM claimed LIMIT 1 \gset
SELECT try(format('SELECT insula.save_progress(%s, %s, progress => 1.1)', :task_id, :lease)), try(format('SELECT insula.save_progress(%s, %s, progress => -0.1)', :task_id, :lease)),
	try(format('SELECT insula.save_progress(%s, %s, progress => ''NaN'')', :task_id, :lease)), try('SELECT insula.save_progress(NULL, 1)'), try('SELECT insula.save_progress(1, NULL)'), try('SELECT insula.checkpoint(NULL, 1)');
SELECT try(format('SELECT insula.save_progress(%s, %s, to_jsonb(repeat(''x'', 5000000)))', :task_id, :lease));
SELECT insula.save_progress(1, 1), insula.save_progress(-1, 1), insula.save_progress(9223372036854775807, 1), insula.checkpoint(-1, 1);
-- Another tenant's task is none.
SELECT tenant FROM insula.create_tenant('standing');
SET ROLE standing_user;
RESET insula.tenant;
SELECT insula.save_progress(:task_id, :lease, '1'), insula.checkpoint(:task_id, :lease);
RESET ROLE;
SET insula.tenant = 'moving';
-- It goes with its execution.
SELECT insula.cancel(:e);
SELECT count(*) FROM insula.delete_executions(dry_run => false);
SELECT count(*) FROM tenant_moving.record WHERE kind = 'p';
RESET insula.tenant;
SELECT insula.drop_tenant('moving'), insula.drop_tenant('standing');
