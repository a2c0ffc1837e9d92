CREATE TYPE insula.tenant_credentials AS (
	tenant text,
	schema_name text,
	username text,
	password text,
	connection_string text
);
COMMENT ON TYPE insula.tenant_credentials IS 'the answer of create_tenant and rotate_password, given once; password is NULL if the caller gave a verifier';

CREATE TYPE insula.claimed_task AS (
	tenant text,
	task_id bigint,
	lease bigint,
	execution_id bigint,
	workflow text,
	version integer,
	task text,
	attempt integer,
	max_attempts integer,
	context jsonb,
	deadline timestamptz,
	lease_expires timestamptz,
	event jsonb,
	item jsonb
);
COMMENT ON TYPE insula.claimed_task IS 'a task that a worker has claimed, with the lease that every later call for it must bring';

CREATE TYPE insula.execution_result AS (
	execution_id bigint,
	workflow text,
	version integer,
	status text,
	final_context jsonb,
	error text,
	created_at timestamptz,
	started_at timestamptz,
	finished_at timestamptz,
	tasks jsonb
);
COMMENT ON TYPE insula.execution_result IS 'an execution and its tasks, as insula.result returns them';
