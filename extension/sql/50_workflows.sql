-- Workflows and executions: for a tenant, or a role that may act for it.

CREATE FUNCTION insula.register_workflow(definition jsonb, activate boolean DEFAULT false, tenant text DEFAULT NULL)
RETURNS integer
AS 'MODULE_PATHNAME', 'insula_register_workflow' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.register_workflow IS
'Registers a workflow and returns its version.  A definition not seen before becomes a new version and the current one; a known one keeps its version, and becomes current only with activate.  Executions stay on the version they were submitted with.
definition: {"name", "description", "timeout", "params", "limit", "tasks": [{"id", "depends_on": [ids], "priority", "timeout", "retry", "trigger_rule", "for_each"}]}; name and the tasks'' ids are required.
The workflow''s timeout, an interval''s text, bounds an execution, from its planned start to its end; one that takes longer fails.
params: {name: {"type": "string", "integer", "number", "boolean", "object" or "array", "required" (false), "default"}}: what the input of an execution must hold, and what it is given where it does not (1 MB in all); other keys are free.
limit: {"max", "key"}: at most max tasks of the workflow, in all its versions, run at once; with key, a key or a path into the input, at most max for each value of it.  Among tasks under limits, priority counts within one value of the key.
priority (0) is added to the execution''s.  timeout, an interval''s text, bounds one run of the task, which then counts as failed.
retry: max_attempts (3, all runs that were reported), max_lapses (10, 0 to 100: runs in a row whose worker died, or did not report before the lease ended; they use no attempt, but fail a task that is never to run again; a run past its own timeout has failed, and uses one), backoff "fixed", "linear" or "exponential" (the default, base 2), initial_delay ("1 s"), max_delay ("60 s"), jitter (true: up to a quarter less), condition "all" (the default), "never", "transient" (errors that speak of timeouts, connections, networks, being busy, unavailable, temporary or rate limited) or an array of texts of which the error must contain one; upper and lower case are alike.
trigger_rule: a task runs once all that it waits for was completed, and is skipped otherwise, unless a rule decides when all of that has ended: "always", {"all": [...]}, {"any": [...]}, {"none": [...]}, {"task_success": id}, {"task_failed": id}, {"task_skipped": id}, or {"context_value": {"key", "op", "value"}} with a key or a path like $.a.b[0] and op equals, not_equals, greater_than, greater_or_equal, less_than, less_or_equal, contains, not_contains, exists, not_exists.  A failure that a task with a rule has run after does not fail the execution.
for_each: {"items", "as" ("item"), "allow_failures" (false)}: the task runs once for each element of the array (up to 10000) that items, a key or a path, leads to in its context, when all that it waits for has ended.  Element n shows as id[n]; it sees its item under "as", in place of the array.  The tasks after it see, under the id, an array of what each element handed over, in the order of the items.  When all have ended, the task has failed if one of them has, unless allow_failures, which leaves a null in its place.
on_failure (false): of one task, which names no depends_on, trigger_rule or for_each: it runs when all others have ended and the execution is about to fail since one of them has failed, and is skipped where it is not.  The execution fails all the same, with the first error.  An execution that is cancelled, or past its timeout, ends at once, without it or in the middle of it; so does one without it whose final context is too large.
Errors: IS004 with every problem of the definition, one a DETAIL line.';

CREATE FUNCTION insula.submit(
	workflow text,
	context jsonb DEFAULT '{}',
	priority integer DEFAULT 0,
	run_at timestamptz DEFAULT pg_catalog.now(),
	idempotency_key text DEFAULT NULL,
	tenant text DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'insula_submit' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.submit IS
'Submits an execution of the workflow''s current version and returns its id; it commits or rolls back with the caller''s transaction.  A tenant''s ids begin again after 68719476735 executions and tasks, past those that are still there: an id that has gone means another execution then.
context: a JSON object.  priority: -32767 to 32767, higher first.  run_at: not before.  idempotency_key (up to 255 bytes): the first submission of (tenant, workflow, key) counts, a later one returns its id.
Errors: IS002 no such workflow, 22023 bad argument or an input that lacks what params ask for, 22004 a NULL where none is meant, IS006 max_queued is reached, IS007 the tenant is suspended, 54000 the rows that the tenant keeps have left no free numbers.';

CREATE FUNCTION insula.submit_once(
	workflow text,
	context jsonb DEFAULT '{}',
	priority integer DEFAULT 0,
	run_at timestamptz DEFAULT pg_catalog.now(),
	idempotency_key text DEFAULT NULL,
	tenant text DEFAULT NULL,
	OUT execution_id bigint,
	OUT is_new boolean)
RETURNS record
AS 'MODULE_PATHNAME', 'insula_submit_once' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.submit_once IS
'Submits as insula.submit does, and says whether the execution is new: false where its idempotency key was known.';

CREATE FUNCTION insula.submit_many(
	workflow text,
	contexts jsonb[],
	priority integer DEFAULT 0,
	run_at timestamptz DEFAULT pg_catalog.now(),
	idempotency_keys text[] DEFAULT NULL,
	tenant text DEFAULT NULL)
RETURNS bigint[]
AS 'MODULE_PATHNAME', 'insula_submit_many' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.submit_many IS
'Submits one execution for each context, and returns their ids in that order; see insula.submit.';

CREATE FUNCTION insula.cancel(execution_id bigint, reason text DEFAULT NULL) RETURNS boolean
AS 'MODULE_PATHNAME', 'insula_cancel' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.cancel IS
'Cancels an execution: no further task of it starts, a running handler learns of it at its next heartbeat, and what it reports afterwards changes nothing.  False: it had already ended.
reason: goes into its history, as that of pause, resume and retry does; up to 64 kB of it are kept.
Errors: IS003 no such execution.';

CREATE FUNCTION insula.pause(execution_id bigint, reason text DEFAULT NULL) RETURNS boolean
AS 'MODULE_PATHNAME', 'insula_pause' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.pause IS
'Pauses an execution: no further task of it starts; a running handler is told at its next heartbeat, and may end all the same.  False: it was paused already, or has ended.
Errors: IS003 no such execution.';

CREATE FUNCTION insula.resume(execution_id bigint, reason text DEFAULT NULL) RETURNS boolean
AS 'MODULE_PATHNAME', 'insula_resume' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.resume IS
'Lets a paused execution go on.  False: it was not paused.
Errors: IS003 no such execution.';

CREATE FUNCTION insula.retry(execution_id bigint, reason text DEFAULT NULL) RETURNS boolean
AS 'MODULE_PATHNAME', 'insula_retry' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.retry IS
'Opens an execution that failed or was cancelled again: what failed or was cancelled runs again, with all its attempts, and what was skipped because of it; what was completed stays.  False: it has not ended, was completed, or failed though none of its tasks did: its final context would be too large.
Errors: IS003 no such execution, IS006 max_queued is reached.';

CREATE FUNCTION insula.pause_workflow(workflow text, tenant text DEFAULT NULL) RETURNS boolean
AS 'MODULE_PATHNAME', 'insula_pause_workflow' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.pause_workflow IS
'Pauses a workflow: no task of it is claimed any more; what runs may end, and submissions wait.  False: it was paused already.
Errors: IS002 no such workflow.';

CREATE FUNCTION insula.resume_workflow(workflow text, tenant text DEFAULT NULL) RETURNS boolean
AS 'MODULE_PATHNAME', 'insula_resume_workflow' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.resume_workflow IS
'Lets a paused workflow go on.  False: it was not paused.
Errors: IS002 no such workflow.';

CREATE FUNCTION insula.cancel_executions(
	workflow text DEFAULT NULL,
	status text DEFAULT NULL,
	older_than interval DEFAULT NULL,
	reason text DEFAULT NULL,
	dry_run boolean DEFAULT true,
	max_executions integer DEFAULT 10000,
	tenant text DEFAULT NULL)
RETURNS SETOF bigint
AS 'MODULE_PATHNAME', 'insula_cancel_executions' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.cancel_executions IS
'Cancels all executions that fit, as insula.cancel does, and returns their ids, oldest first; with dry_run, which is the default, it only returns them.
workflow and status (pending, running or paused): NULL for any.  older_than: submitted longer ago.  max_executions (1 to 100000): call it again until it returns nothing.
Errors: 22023 bad argument, IS001 no such tenant.';

CREATE FUNCTION insula.pause_executions(
	workflow text DEFAULT NULL,
	status text DEFAULT NULL,
	older_than interval DEFAULT NULL,
	reason text DEFAULT NULL,
	dry_run boolean DEFAULT true,
	max_executions integer DEFAULT 10000,
	tenant text DEFAULT NULL)
RETURNS SETOF bigint
AS 'MODULE_PATHNAME', 'insula_pause_executions' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.pause_executions IS
'Pauses all executions that fit, as insula.pause does, and returns their ids; see insula.cancel_executions.  status: pending or running.
Errors: 22023 bad argument, IS001 no such tenant.';

CREATE FUNCTION insula.resume_executions(
	workflow text DEFAULT NULL,
	status text DEFAULT NULL,
	older_than interval DEFAULT NULL,
	reason text DEFAULT NULL,
	dry_run boolean DEFAULT true,
	max_executions integer DEFAULT 10000,
	tenant text DEFAULT NULL)
RETURNS SETOF bigint
AS 'MODULE_PATHNAME', 'insula_resume_executions' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.resume_executions IS
'Resumes all executions that fit, as insula.resume does, and returns their ids; see insula.cancel_executions.  status: paused.
Errors: 22023 bad argument, IS001 no such tenant.';

CREATE FUNCTION insula.retry_executions(
	workflow text DEFAULT NULL,
	status text DEFAULT NULL,
	older_than interval DEFAULT NULL,
	reason text DEFAULT NULL,
	dry_run boolean DEFAULT true,
	max_executions integer DEFAULT 10000,
	tenant text DEFAULT NULL)
RETURNS SETOF bigint
AS 'MODULE_PATHNAME', 'insula_retry_executions' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.retry_executions IS
'Retries all executions that fit, as insula.retry does, and returns their ids; see insula.cancel_executions.  status: failed or cancelled.  older_than: ended longer ago.
Errors: 22023 bad argument, IS001 no such tenant, IS006 max_queued is reached.';

CREATE FUNCTION insula.delete_executions(
	workflow text DEFAULT NULL,
	status text DEFAULT NULL,
	older_than interval DEFAULT NULL,
	dry_run boolean DEFAULT true,
	max_executions integer DEFAULT 10000,
	tenant text DEFAULT NULL)
RETURNS SETOF bigint
AS 'MODULE_PATHNAME', 'insula_delete_executions' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.delete_executions IS
'Removes all ended executions that fit, with their tasks, history and idempotency keys, and returns their ids; see insula.cancel_executions.  status: completed, failed or cancelled.  older_than: ended longer ago.';

CREATE FUNCTION insula.send_event(execution_id bigint, event text, payload jsonb DEFAULT NULL, idempotency_key text DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'insula_send_event' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.send_event IS
'Sends an event to an execution: the task of it that waits for the event runs on, with {"name", "payload"} as its event; where none waits, the event is kept for the first that will.  False: the execution has ended.
idempotency_key (up to 255 bytes): of the events of the execution that are sent with it the first counts, and a later one changes nothing and returns true; also after insula.retry, of events that a task has had before.
Errors: IS003 no such execution, 22023 bad event name, 54000 the payload is too large, or a thousand events, or 16 MB of them, are kept already.';

CREATE FUNCTION insula.result(execution_id bigint) RETURNS insula.execution_result
AS 'MODULE_PATHNAME', 'insula_result' LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.result IS
'An execution and its tasks.  status: pending, running, paused, completed, failed or cancelled.  started_at: as insula.executions() has it, the first start; in tasks the start of the last run.  tasks: an array of {task, status, attempt, error, started_at, finished_at} in topological, then declared order; with progress and note where a task of an open execution has said so (insula.save_progress).
Errors: IS003 no such execution.';

CREATE FUNCTION insula.explain_execution(execution_id bigint, OUT task text, OUT status text, OUT why text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'insula_explain_execution' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.explain_execution IS
'Tells, for each task of an execution, why it is where it is: which dependency it waits for, which limit or pause holds it up, which worker has its lease, when it runs again, which event it waits for, why it failed or was skipped.
Errors: IS003 no such execution.';

CREATE PROCEDURE insula.await(execution_id bigint, timeout interval, INOUT result jsonb DEFAULT NULL)
AS 'MODULE_PATHNAME', 'insula_await' LANGUAGE C;
COMMENT ON PROCEDURE insula.await IS
'Waits until the execution has ended and returns what insula.result returns, as JSON; NULL after the timeout.  Holds no snapshot while it waits, so it needs a CALL outside of a transaction block.
Errors: IS003 no such execution, IS010 not a top-level CALL.';
