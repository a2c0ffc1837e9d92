-- Workers: a tenant's role for its own tasks; insula_runner for all.

CREATE FUNCTION insula.claim(
	worker text,
	tasks text[] DEFAULT NULL,
	max_tasks integer DEFAULT 1,
	lease_for interval DEFAULT '60 s',
	tenant text DEFAULT NULL,
	max_per_tenant integer DEFAULT NULL,
	only_tenants text[] DEFAULT NULL,
	except_tenants text[] DEFAULT NULL)
RETURNS SETOF insula.claimed_task
AS 'MODULE_PATHNAME', 'insula_claim' LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION insula.claim IS
'Claims up to max_tasks (1 to 10000) ready tasks whose key, workflow.task, is in tasks (NULL: any); fewer where contexts of a tenant take more than insula.visit_time to put together or come to more than insula.visit_bytes, where all come to more than 64 MB, or where they are of more than 500 tenants.  Each comes with a lease that lasts lease_for (1 s to 1 day, longer with heartbeats) and that complete, fail, defer and heartbeat must show.
A member of insula_runner who names no tenant is served all tenants: of each at most max_per_tenant tasks, and of those only in only_tenants and not in except_tenants, where given.
Errors: 22023 bad argument, IS001 no such tenant, IS007 the tenant is suspended, 25006 in a read-only transaction, as of every call that may write.';

CREATE PROCEDURE insula.wait_for_work(
	timeout interval,
	INOUT ready boolean DEFAULT NULL,
	tasks text[] DEFAULT NULL,
	worker text DEFAULT NULL,
	tenant text DEFAULT NULL,
	only_tenants text[] DEFAULT NULL,
	except_tenants text[] DEFAULT NULL)
AS 'MODULE_PATHNAME', 'insula_wait_for_work' LANGUAGE C;
COMMENT ON PROCEDURE insula.wait_for_work IS
'Returns true at once if a claim with the same tasks and tenant would now return a row; else waits until there is one, the timeout has passed, the worker is nudged, or an execution that it watches has ended.  Holds no snapshot while it waits, so it needs a CALL outside of a transaction block.
only_tenants, except_tenants: as in insula.claim.
With worker, this session is the worker''s life line: when it ends without insula.leave, the worker''s tasks are given back at once.
Without shared_preload_libraries = ''insula'' it looks once a second, and with a worker returns after a second.
Errors: IS010 not a top-level CALL.';

CREATE PROCEDURE insula.claim_when_ready(
	timeout interval,
	worker text,
	tasks text[] DEFAULT NULL,
	max_tasks integer DEFAULT 1,
	lease_for interval DEFAULT '60 s',
	tenant text DEFAULT NULL,
	max_per_tenant integer DEFAULT NULL,
	only_tenants text[] DEFAULT NULL,
	except_tenants text[] DEFAULT NULL,
	INOUT claimed bytea DEFAULT NULL,
	INOUT news boolean DEFAULT NULL,
	INOUT claimed_at timestamptz DEFAULT NULL,
	INOUT waited interval DEFAULT NULL)
AS 'MODULE_PATHNAME', 'insula_claim_when_ready' LANGUAGE C;
COMMENT ON PROCEDURE insula.claim_when_ready IS
'Claims, as insula.claim does, what is ready; where nothing is, it first waits as insula.wait_for_work does.  The quickest way from a commit to a worker: a woken session claims at once, under limits and for all tenants after a look.  What the caller may do is looked at again before each claim.  The wait does not count for statement_timeout.  A task with text that cannot be sent in the client_encoding fails, as insula.fail would have it.  Of a suspended tenant it waits for the end of that.
claimed: what insula.read_claimed reads; no tasks after the timeout, and where there is news alone.  news: the worker was nudged, or an execution that it watches has or may have ended.  The leases begin at claimed_at; waited is the time from the call''s arrival to claimed_at, which no change of the clock affects.
Errors: 22023 bad argument, 42501, IS001 no such tenant, IS010 not a top-level CALL.';

CREATE FUNCTION insula.read_claimed(claimed bytea) RETURNS insula.claimed_task[]
AS 'MODULE_PATHNAME', 'insula_read_claimed' LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION insula.read_claimed IS
'The tasks that insula.claim_when_ready has claimed.  Its answer is insula.claimed_task[] in the binary format of the protocol and the client_encoding of the call, which a client can read by itself.
Errors: 22004 NULL; those of a bad binary parameter where these bytes are none: 22P03, 08P01, 42804, 22021, 22P02, 54000, 54001.';

CREATE FUNCTION insula.watch(worker text, execution_ids bigint[]) RETURNS bigint[]
AS 'MODULE_PATHNAME', 'insula_watch' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.watch IS
'Returns those of the given executions that have ended (or that do not exist for the caller); the end of any other will end the worker''s wait_for_work or claim_when_ready, the present or the next.';

CREATE FUNCTION insula.nudge(worker text) RETURNS void
AS 'MODULE_PATHNAME', 'insula_nudge' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.nudge IS
'Ends the worker''s wait_for_work or claim_when_ready, the present or the next.';

CREATE FUNCTION insula.leave(worker text) RETURNS void
AS 'MODULE_PATHNAME', 'insula_leave' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.leave IS
'Ends the worker: its tasks are ready again at once, without an attempt used, and its session is no life line any more.';

CREATE FUNCTION insula.complete(task_id bigint, lease bigint, context jsonb DEFAULT NULL) RETURNS boolean
AS 'MODULE_PATHNAME', 'insula_complete' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.complete IS
'Completes a task.  context: a merge patch (RFC 7396) that its descendants and the final context see.  Patches apply in topological, then declared order; where that alone decides between different values of one key, the execution''s events say so (context_conflict).  False: no such task for the caller, or the lease is lost; nothing was written.
Errors: 22023 the context is not an object; 55P03, as of insula.fail, defer, wait_event and submit_child: another transaction holds the task or its execution, and the caller''s only right to the tenant is that of insula_runner, or its lock_timeout has passed: nothing was written, ask again.';

CREATE FUNCTION insula.complete_many(task_ids bigint[], leases bigint[], contexts jsonb[]) RETURNS boolean[]
AS 'MODULE_PATHNAME', 'insula_complete_many' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.complete_many IS
'Completes many tasks; see insula.complete.  A context that is not an object, or too large, fails its own task as insula.fail would, and no other.  NULL: another transaction holds the task or its execution, or has locked the tenant''s tables, or the tenant''s other tasks in the call have taken long; nothing was written for it, ask again.  Only a call for tasks of one tenant, by a caller with rights to it beside those of insula_runner, waits for such a transaction.';

CREATE FUNCTION insula.complete_batch(
	task_ids bigint[],
	leases bigint[],
	contexts jsonb[],
	OUT place integer,
	OUT reason text,
	OUT sqlstate text,
	OUT error text,
	OUT next_status text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'insula_complete_batch' LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION insula.complete_batch IS
'Completes many tasks as insula.complete_many does, and returns those that it did not complete: their place in task_ids, from 1, and the reason.
lost: no such task for the caller, or the lease is lost.  failed: its context is not an object (sqlstate 22023), or too large (54000); the task failed with this error, and next_status is what insula.fail would answer.  later: what is NULL there; only a tenant''s own login waits here.';

CREATE FUNCTION insula.fail(task_id bigint, lease bigint, error text, retryable boolean DEFAULT true, retry_in interval DEFAULT NULL, free_retries integer DEFAULT 0)
RETURNS text
AS 'MODULE_PATHNAME', 'insula_fail' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.fail IS
'Reports that a task failed, and returns its next status: ready (it runs again, after the delay that its retry policy says; see insula.register_workflow) or failed (its attempts are used up, the policy''s condition does not fit the error, or it is not retryable).  NULL: the lease is lost.  Where the task has failed for good by this very call, as before a connection broke, the answer is failed again.
error: up to 64 kB of it are kept.  retry_in: it runs again after that time, whatever the policy''s delays and condition, if it has attempts left.  free_retries (0 to 1000, with retry_in): the first runs of the task that end so use no attempt.
Errors: 22023 bad argument.';

CREATE FUNCTION insula.defer(task_id bigint, lease bigint, until timestamptz, context jsonb DEFAULT NULL) RETURNS boolean
AS 'MODULE_PATHNAME', 'insula_defer' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.defer IS
'Gives a task back until the given time; no attempt is used.  context: a merge patch that the task itself sees when it runs again.  False: the lease is lost.
Errors: 22008 the time is not finite, 22023 the context is not an object, 54000 what the task has handed over comes to more than 16 MB.';

CREATE FUNCTION insula.join_task(task_id bigint, lease bigint) RETURNS boolean
AS 'MODULE_PATHNAME', 'insula_join_task' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.join_task IS
'Ties the current transaction to a task, so that its effects and the task''s outcome come in one commit, or not at all: the COMMIT fails with IS005 unless the task was completed, failed, deferred or made to wait in it, under this lease.  False: the lease is lost already, and the transaction is not tied.
The role that has tied it may also submit (insula.submit, insula.submit_many) for the task''s tenant in this transaction, and does where no tenant is named.
Errors: IS005 at COMMIT; 0A000 at PREPARE TRANSACTION; 54000 more than a thousand tasks.';

CREATE FUNCTION insula.wait_event(task_id bigint, lease bigint, event text, timeout interval DEFAULT NULL, context jsonb DEFAULT NULL) RETURNS boolean
AS 'MODULE_PATHNAME', 'insula_wait_event' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.wait_event IS
'Gives a task back until its execution is sent the event (insula.send_event), or the timeout is over (NULL: for ever); no attempt is used.  When it runs again its event is {"name", "payload"}, or {"name", "timed_out": true}.  An event that was sent before is there at once.
context: a merge patch that the task itself sees when it runs again.  False: the lease is lost.
Errors: 22023 bad event name or context, 54000 what the task has handed over comes to more than 16 MB.';

CREATE FUNCTION insula.submit_child(task_id bigint, lease bigint, workflow text, context jsonb DEFAULT '{}') RETURNS bigint
AS 'MODULE_PATHNAME', 'insula_submit_child' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.submit_child IS
'Submits an execution that the task waits for, and returns its id; it has the priority of the task''s execution.  The task gives its lease back.  When the child completes, so does the task, with the child''s final context under the task''s id as its own patch.  When the child fails, so does this run of the task, which is retried by its policy with a new child; when the child is cancelled, the task fails.  If the task''s execution is cancelled or times out, the child is cancelled.  NULL: the lease is lost, and nothing was submitted.
Errors: IS002 no such workflow, 54000 children nested deeper than 32, and those of insula.submit.';

CREATE FUNCTION insula.heartbeat(
	task_ids bigint[],
	leases bigint[],
	lease_for interval DEFAULT '60 s',
	OUT task_id bigint,
	OUT reason text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'insula_heartbeat' LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION insula.heartbeat IS
'Extends the leases of running tasks to lease_for from now, and returns those whose handlers should stop, with the reason: cancelled, paused (the lease goes on), timeout or lost; and those whose lease could not be extended now, since another transaction holds the task: later, ask again before the lease ends.  It waits for no lock of a task.';

CREATE FUNCTION insula.save_progress(
	task_id bigint,
	lease bigint,
	checkpoint jsonb DEFAULT NULL,
	progress double precision DEFAULT NULL,
	note text DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'insula_save_progress' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.save_progress IS
'Saves how far a running task has come; a NULL leaves what was said before.  checkpoint: any JSON, for the task''s later runs; see insula.checkpoint.  progress (0 to 1) and note: for people; insula.result shows them until the execution ends, and the view task_executions as long as the execution is kept.
False: no such task for the caller, or the lease is lost.  NULL: another transaction holds the task, ask again.  It waits for no lock of a task.
Errors: 22023 bad argument, 54000 the checkpoint is too large.';

CREATE FUNCTION insula.checkpoint(task_id bigint, lease bigint) RETURNS jsonb
AS 'MODULE_PATHNAME', 'insula_checkpoint' LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.checkpoint IS
'What this run of the task, or an earlier one, has saved by insula.save_progress; NULL: nothing, or the lease is lost: insula.save_progress(task_id, lease) tells which.';

CREATE FUNCTION insula.merge_patch(target jsonb, patch jsonb) RETURNS jsonb
AS 'MODULE_PATHNAME', 'insula_merge_patch' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION insula.merge_patch IS
'JSON Merge Patch (RFC 7396): objects merge, arrays and scalars are replaced, null deletes.  patch: an object, or an array of objects that are applied one after the other.  NULL counts as an empty object.';

CREATE FUNCTION insula.append_patch(patches jsonb, patch jsonb) RETURNS jsonb
AS 'MODULE_PATHNAME', 'insula_append_patch' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION insula.append_patch IS
'Returns a patch that does the work of patches and then patch: one merge patch where one can say it, else an array of merge patches.  NULL counts as an empty patch.';
