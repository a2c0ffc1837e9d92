-- Tenants: for insula_admin.

CREATE FUNCTION insula.create_tenant(
	tenant text,
	schema_name text DEFAULT NULL,
	username text DEFAULT NULL,
	password text DEFAULT NULL,
	login boolean DEFAULT true,
	if_not_exists boolean DEFAULT false)
RETURNS insula.tenant_credentials
AS 'MODULE_PATHNAME', 'insula_create_tenant' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.create_tenant IS
'Makes a tenant: schema (default tenant_<tenant>), login role (default <tenant>_user), tables, grants; all in the caller''s transaction.
password NULL or empty: 32 random characters, returned once and stored only as a SCRAM verifier; a SCRAM verifier may be given instead, then password comes back NULL.
login false: no role unless a username is given, which then is NOLOGIN.
Its tables lie in the database''s own tablespace, whatever default_tablespace says.
if_not_exists: an existing tenant with the same schema is returned as it is, with a NOTICE and without a password.
Errors: 22023 bad tenant id or name, 42710 the tenant or role exists, 42P06 the schema exists.';

CREATE FUNCTION insula.drop_tenant(tenant text, drain interval DEFAULT '30 s', force boolean DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME', 'insula_drop_tenant' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.drop_tenant IS
'Removes a tenant: waits up to drain for running tasks, ends the tenant''s sessions, drops its schema with all its data, and its role.
The sessions stay ended if the transaction is rolled back; all else comes back.  A WARNING says that the role insula_tenant owns objects in this database, which may hold data of the tenant, or that the tenant''s role could not be dropped.
force: what others own and what goes with the schema, because it lies there or depends on what does (a view, a function, a column), is dropped too and named in a WARNING.  Without it, such an object makes the call fail before anything is done.  What the tenant''s own role has made goes either way.
Errors: IS001 no such tenant, 2BP01 objects of others depend on it, 42501 the schema does not belong to insula_owner, 55000 its role is not as Insula made it, 55006 another session still uses the tenant after the drain.';

CREATE FUNCTION insula.suspend_tenant(tenant text) RETURNS void
AS 'MODULE_PATHNAME', 'insula_suspend_tenant' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.suspend_tenant IS
'Suspends a tenant: no submission, no claim, no log-in, and its sessions are ended (which a ROLLBACK does not undo); running tasks may finish.  No execution reaches its timeout and retention removes nothing until it is resumed.  Nothing happens to a tenant that is suspended already.
Errors: IS001 no such tenant.';

CREATE FUNCTION insula.resume_tenant(tenant text) RETURNS void
AS 'MODULE_PATHNAME', 'insula_resume_tenant' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.resume_tenant IS
'Undoes suspend_tenant.  Nothing happens to a tenant that is not suspended.
Errors: IS001 no such tenant.';

CREATE FUNCTION insula.set_tenant_limits(
	tenant text,
	max_running int DEFAULT NULL,
	max_queued bigint DEFAULT NULL,
	max_connections int DEFAULT NULL,
	weight int DEFAULT NULL,
	rate_per_second float8 DEFAULT NULL,
	retain interval DEFAULT NULL,
	retain_count bigint DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'insula_set_tenant_limits' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.set_tenant_limits IS
'Sets a tenant''s limits.  NULL keeps what is there, -1 (of retain interval ''-1'', a second) lifts the limit; a new tenant has none and weight 1.
max_running: tasks that run at the same time, exact.
max_queued: tasks that are ready, delayed, deferred or running; a submission whose tasks would go over it fails with IS006.  Exact with shared_preload_libraries; without, transactions that submit at the same moment do not see each other''s tasks.
max_connections: sessions of the tenant''s role.
weight: 1 to 1000, the tenant''s share of the workers that serve all tenants, while more is ready than they can do: exactly, of claimed tasks; with insula.fairness = time roughly of the time that they run, which is estimated at the claim and settled at the end, and of which runs that are cancelled or lapse cost nothing.  What a tenant leaves goes to the others at once, and is not given to it later.
rate_per_second: task starts a second; up to one second''s worth may start at once after a pause.
retain, retain_count: how long, and how many, finished executions are kept that no rule of insula.set_retention() is for; what is too old or too many is removed, with its history, when the tenant''s workers claim or wait, in sweeps at least a minute apart.
Errors: IS001 no such tenant, 22023 a limit is out of range, as other negative ones are.';

CREATE FUNCTION insula.set_retention(
	tenant text,
	retain interval,
	workflow text DEFAULT NULL,
	status text DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'insula_set_retention' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.set_retention IS
'Says for how long the executions of a workflow, those with a status (completed, failed, cancelled), or both, are kept after they have ended.  retain: 0 to 100 years; ''-1'', and no other negative interval: for ever; NULL takes the rule away.  The view insula.retention has the rules.
Of several rules that fit an execution the one for its workflow and status counts, else that for its workflow, else that for its status.  Limits retain and retain_count remove only what no rule fits; retain_count counts all.
An execution goes as a whole, with its history; a child is an execution of its own.
Errors: IS001 no such tenant, 22004 neither workflow nor status is given, 22023 no such status, or retain is out of range, 42602 bad name of a workflow.';

CREATE FUNCTION insula.rotate_password(tenant text, password text DEFAULT NULL)
RETURNS insula.tenant_credentials
AS 'MODULE_PATHNAME', 'insula_rotate_password' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.rotate_password IS
'Gives the tenant''s role a new password: a generated one (returned once), or the one given, in clear text or as a SCRAM verifier.
Errors: IS001 no such tenant, 55000 the tenant has no login role.';

CREATE FUNCTION insula.current_tenant() RETURNS text
AS 'MODULE_PATHNAME', 'insula_current_tenant' LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.current_tenant IS
'The tenant that a call without a tenant parameter would act for: the one that the setting insula.tenant names, else the one whose login role is the current user; NULL if none.
Errors: IS001 no such tenant, 42501 the setting names a tenant that the current user may not act for.';

CREATE FUNCTION insula.is_valid_tenant_id(id text) RETURNS boolean
AS 'MODULE_PATHNAME', 'insula_is_valid_tenant_id' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION insula.is_valid_tenant_id IS
'Whether id can name a tenant: 3 to 30 characters of [a-z0-9_], starting with a letter, not public, none, postgres, information_schema, pg_* or insula*.';

CREATE FUNCTION insula.status(OUT item text, OUT value text) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'insula_status' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.status IS
'How Insula runs in this database: its version, whether shared memory is there, the number of tenants; and, of the whole server, how many sessions wait, workers are known, executions are watched, tenants have something due, may have claimable tasks, or have watermarks in shared memory, how many of their limits, workflows and limits of workflows are counted there, and how many databases it knows: insula.capacity() has the sizes.  tenants put off: those that schedulers, or calls for all tenants, put off, or have put off in the last five minutes, five of them by name (insula.max_overhead).  transactions of tenants: when those of their logins are ended (insula.max_tenant_transaction).  wait events: whether pg_stat_activity has names for them, which PostgreSQL before 17 has not.';
