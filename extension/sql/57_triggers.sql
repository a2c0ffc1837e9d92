-- Triggers: executions that the application starts by firing a name.

CREATE FUNCTION insula.create_trigger(
	name text,
	workflow text,
	context jsonb DEFAULT '{}',
	allow_concurrent boolean DEFAULT false,
	tenant text DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'insula_create_trigger' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.create_trigger IS
'Lets a trigger start a workflow; one trigger may start up to 1000.  True: it is new; false: the workflow was started by the trigger already, and is now so.
context: the input of the executions, over which a fire lays its payload, trigger_name and triggered_at (UTC).
allow_concurrent: whether a fire starts an execution while the one that the same fire has started still runs.
Errors: IS001 no such tenant, IS002 no such workflow, IS007 the tenant is suspended, 22023 bad argument.';

CREATE FUNCTION insula.drop_trigger(name text, workflow text DEFAULT NULL, tenant text DEFAULT NULL) RETURNS boolean
AS 'MODULE_PATHNAME', 'insula_drop_trigger' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.drop_trigger IS
'Lets the trigger start the workflow no more (NULL: none); executions that it has started go on.  False: it did not.';

CREATE FUNCTION insula.fire_trigger(
	name text,
	payload jsonb DEFAULT '{}',
	dedupe_key text DEFAULT NULL,
	tenant text DEFAULT NULL,
	OUT workflow text,
	OUT execution_id bigint,
	OUT fresh boolean)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'insula_fire_trigger' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.fire_trigger IS
'Fires a trigger: submits an execution of each workflow that it starts, in the caller''s transaction.  Where the workflow does not allow_concurrent and an execution that the same fire has started still runs, that one is returned, with fresh false.
payload: a JSON object.  dedupe_key (up to 255 bytes): fires with the same one are the same; NULL: those with an equal payload, whatever the order of its keys and the way its numbers are written (1, 1.0 and 1e0 are one).
Errors: IS003 no such trigger, 22023 bad argument, and those of insula.submit.';

CREATE FUNCTION insula.triggers(
	tenant text DEFAULT NULL,
	OUT name text,
	OUT workflow text,
	OUT context jsonb,
	OUT allow_concurrent boolean)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'insula_triggers' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.triggers IS 'The tenant''s triggers, and the workflows that each starts.';
