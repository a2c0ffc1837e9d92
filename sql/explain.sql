-- Why each task is where it is.
SET client_min_messages = error;
SELECT tenant FROM insula.create_tenant('explained');
SET insula.tenant = 'explained';
CREATE FUNCTION explain(id bigint) RETURNS TABLE (task text, status text, why text) LANGUAGE sql AS $$
	SELECT e.task, e.status, regexp_replace(e.why, '(until|at) [^;,]*$', '\1 ...') FROM insula.explain_execution(id) e
$$;
SELECT try($$SELECT insula.explain_execution(1)$$), try($$SELECT insula.explain_execution(NULL)$$);
SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}, {"id": "b"}, {"id": "c", "depends_on": ["a", "b"]}, {"id": "d", "depends_on": ["c"]},
	{"id": "e", "depends_on": ["a"], "trigger_rule": {"all": [{"task_failed": "a"}]}}]}');
SELECT insula.submit('w') AS id \gset
SELECT * FROM explain(:id);
SELECT insula.pause(:id);
SELECT * FROM explain(:id);
SELECT insula.resume(:id);
SELECT insula.set_tenant_limits('explained', max_running => 1);
SELECT task_id, lease FROM insula.claim('worker-1') \gset
SELECT * FROM explain(:id);
SELECT insula.fail(:task_id, :lease, 'try again');
SELECT insula.set_tenant_limits('explained', max_running => -1, rate_per_second => 0.001);
SELECT insula.wait_event(task_id, lease, 'go') FROM insula.claim('worker-1');
SELECT insula.set_tenant_limits('explained', rate_per_second => 0.0001);
UPDATE tenant_explained.work SET due = 0 WHERE lane = 100000;
SELECT count(*) FROM insula.claim('worker-1');
SELECT * FROM explain(:id);
SELECT insula.set_tenant_limits('explained', rate_per_second => -1);
SELECT insula.complete(task_id, lease) FROM insula.claim('worker-1');
SELECT insula.send_event(:id, 'go');
SELECT insula.defer(task_id, lease, 'tomorrow') FROM insula.claim('worker-1');
SELECT * FROM explain(:id);
UPDATE tenant_explained.work SET due = 0 WHERE lane = 100002;
SELECT task_id, lease FROM insula.claim('worker-1') \gset
UPDATE tenant_explained.work SET due = 0 WHERE lane = 100001;
SELECT * FROM explain(:id);
SELECT insula.fail(:task_id, :lease, 'for good', false);
SELECT * FROM explain(:id);
SELECT insula.register_workflow('{"name": "one", "tasks": [{"id": "a"}]}');
SELECT insula.submit('one', run_at => 'tomorrow') AS id \gset
SELECT * FROM explain(:id);
SELECT insula.suspend_tenant('explained');
SELECT * FROM explain(:id);
SELECT insula.resume_tenant('explained');
SELECT insula.cancel(:id);
SELECT * FROM explain(:id);

-- A tenant's own account, without what only shared memory knows.
SELECT insula.set_tenant_limits('explained', max_queued => 10, weight => 3);
SELECT count(insula.submit('one')) FROM generate_series(1, 5);
SELECT count(insula.fail(task_id, lease, 'it is broken', false)) FROM insula.claim('worker-1', max_tasks => 3);
SELECT count(*) FROM insula.claim('worker-1');
SELECT question, item, value, regexp_replace(says, 'since .*', 'since ...') AS says FROM insula.explain_tenant()
WHERE question <> 'used' AND (question, item) NOT IN (('share', 'claimed')) AND item !~ 'wait p|share of|executions|runs|leases'
	AND (question <> 'held back' OR item = 'max_queued');
-- A pause and a suspension are said.
SELECT insula.pause_workflow('one');
SELECT question, item, value, regexp_replace(says, 'since .*', 'since ...') AS says FROM insula.explain_tenant() WHERE item IN ('ready', 'suspension', 'paused workflows');
SELECT insula.resume_workflow('one'), insula.suspend_tenant('explained');
SELECT question, item, value, regexp_replace(says, 'since .*', 'since ...') AS says FROM insula.explain_tenant() WHERE item IN ('ready', 'suspension', 'paused workflows');
SELECT ready FROM insula.tenant_activity WHERE tenant = 'explained';
SELECT insula.resume_tenant('explained');
SELECT DISTINCT question FROM insula.explain_tenant() ORDER BY 1;
SELECT bool_and(value IS NULL = (says = 'not known: insula is not in shared_preload_libraries')) AS told FROM insula.explain_tenant();
SET ROLE explained_user;
SELECT item FROM insula.explain_tenant() WHERE question = 'share';
RESET ROLE;
SELECT tenant FROM insula.create_tenant('unlike', login => false);
SET ROLE explained_user;
SELECT * FROM insula.explain_tenant('unlike');
SELECT * FROM insula.explain_tenant('none_such');
RESET ROLE;
SELECT insula.drop_tenant('unlike', '0 s');
RESET insula.tenant;
DROP FUNCTION explain;
SELECT insula.drop_tenant('explained', '0 s');
