-- Legal deletion: executions are emptied, and stay for the books.

CREATE FUNCTION insula.scrub(
	execution_id bigint,
	OUT receipt bigint,
	OUT executions bigint,
	OUT tasks bigint,
	OUT open bigint,
	OUT parents bigint)
RETURNS record
AS 'MODULE_PATHNAME', 'insula_scrub' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.scrub IS
'Empties an execution that has ended, and all that its tasks have submitted and waited for: input, outputs, items, events, errors, checkpoints, notes, idempotency keys, and what people or handlers have said in its history.  Rows, times, statuses, attempts and workers stay, and insula.usage() tells the same as before.  Contexts read {} afterwards and errors scrubbed.  It cannot be undone; a scrubbed execution is not retried, and its key is free again.
receipt: the row of insula.admin_log that says so, without what was in it; NULL: nothing was emptied, as it was scrubbed already.  executions: how many were emptied; tasks: how many rows of executions, tasks and elements these have.  open: how many children were left out, as they have not ended.  parents: how many executions that are not scrubbed have waited for one of these, and so have its result.
What was there stays in old row versions until VACUUM has run, and in backups and WAL.
Errors: IS003 no such execution, 55000 it has not ended.';

CREATE FUNCTION insula.erase(
	tenant text,
	path jsonpath,
	value jsonb,
	after bigint DEFAULT NULL,
	max_executions integer DEFAULT 10000,
	dry_run boolean DEFAULT false,
	OUT receipt bigint,
	OUT executions bigint,
	OUT tasks bigint,
	OUT open bigint,
	OUT open_example bigint,
	OUT parents bigint,
	OUT schedules bigint,
	OUT next bigint)
RETURNS record
AS 'MODULE_PATHNAME', 'insula_erase' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.erase IS
'Empties, as insula.scrub does, all executions of a tenant in which path finds value: in the input, in what a task has handed over, has saved as a checkpoint or was given as an event''s payload, or in an element''s item.  A tenant may erase its own, an administrator any tenant''s; tenant NULL: the caller''s.
path: SQL/JSON, as $.customer.email, $.customers[*].id or $.**.email.  value: a text, a number or a boolean; a value that path finds must be equal to it, or be an array with it.
A call reads all rows of the tenant in their order, since no index knows what is in a context, and ends when it has emptied max_executions (1 to 10000) and their children or has used insula.visit_time; next is then what to give as after to the next call, and NULL when all was read.  What is submitted while calls go on may be missed: erase when nothing submits it any more.
receipt, executions, tasks, parents: as of insula.scrub.  open, open_example: executions that match and have not ended, or that another transaction holds, which are left as they are: cancel them and erase again.  schedules: schedules and subscriptions to triggers whose context has the value; they stay, and are counted by the first call alone.  Definitions of workflows are not looked at.
dry_run: the call counts what it would empty, and changes, locks and logs nothing; receipt is NULL, and open is without the executions that another transaction holds.  In the sum over several calls an execution with matching rows on both sides of a next, and a child that matches too, may be counted more than once.
Errors: 22004 path, value, max_executions or dry_run is NULL, 22023 bad argument, 42601 or 42704 bad path, IS001 no such tenant, 42501.';
