-- The list of tenants, and other tables that all tenants share; the customer's own rows are in the
-- tenant's schema.  Rows name roles and schemas by name, since Oids mean nothing after a restore;
-- role_oid only tells whether the role of that name is still the one that was made for the tenant.
CREATE TABLE insula.tenant (
	tenant_no integer PRIMARY KEY CHECK (tenant_no BETWEEN 1 AND 131071),
	tenant text NOT NULL UNIQUE,
	schema_name text NOT NULL UNIQUE,
	username text UNIQUE,
	role_oid oid,
	login boolean NOT NULL,
	status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
	layout_version integer NOT NULL DEFAULT 1,
	created_at timestamptz NOT NULL,
	-- Limits; NULL: none.
	max_running integer CHECK (max_running >= 0),
	max_queued bigint CHECK (max_queued >= 0),
	max_connections integer CHECK (max_connections >= 0),
	weight integer NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 1000),
	rate_per_second double precision CHECK (rate_per_second > 0 AND rate_per_second <= 1000000),
	retain interval CHECK (retain >= '0 s'),
	retain_count bigint CHECK (retain_count >= 0)
);
COMMENT ON TABLE insula.tenant IS 'the tenants of this database; read it through the view insula.tenants';

-- For how long executions of a workflow, or with a status, are kept; what no rule fits goes by the tenant's own limits.
CREATE TABLE insula.retention_rule (
	tenant_no integer NOT NULL REFERENCES insula.tenant ON DELETE CASCADE,
	workflow text COLLATE "C" NOT NULL,  -- '': any
	status text COLLATE "C" NOT NULL CHECK (status IN ('', 'completed', 'failed', 'cancelled')),
	retain interval CHECK (retain >= '0 s'),  -- NULL: for ever
	PRIMARY KEY (tenant_no, workflow, status),
	CHECK (workflow <> '' OR status <> '')
);
COMMENT ON TABLE insula.retention_rule IS 'for how long executions are kept, by workflow and status; read it through the view insula.retention';

-- Ids of executions and tasks carry the tenant's number.  So a number is given again only when all have been given,
-- first that of the tenant dropped longest ago, and the new tenant's ids go on where the old one's ended.  A row
-- without a tenant and without dropped_at reserves its number for ever.
CREATE TABLE insula.tenant_number (
	tenant_no integer PRIMARY KEY CHECK (tenant_no BETWEEN 1 AND 131071),
	dropped_at timestamptz,
	last_value bigint
);
COMMENT ON TABLE insula.tenant_number IS 'every tenant number that was given out in this database; dropped_at: when its tenant was dropped; last_value: the last value of that tenant''s sequence';

-- The home of these tenants.  The row is inserted with the first tenant, so that a restore never
-- meets another row.
CREATE TABLE insula.home (
	the_only boolean PRIMARY KEY DEFAULT true CHECK (the_only),
	system_identifier text NOT NULL,
	database_oid oid NOT NULL,
	recovery text NOT NULL,
	recorded_at timestamptz NOT NULL
);
COMMENT ON TABLE insula.home IS 'the cluster and database that the tenants work in; a copy of them idles until insula.adopt()';

-- Tells a cluster that pg_upgrade has made from a copy.  No dump holds the row, so only a cluster with the same files
-- has it.  pg_upgrade keeps the Oids of databases and relations and assigns all others anew; a copy of the files
-- keeps all Oids.
CREATE TABLE insula.home_mark (
	the_only boolean PRIMARY KEY DEFAULT true CHECK (the_only),
	system_identifier text NOT NULL,
	database_oid oid NOT NULL,
	relation_oid oid NOT NULL,
	other_oids text NOT NULL
);
COMMENT ON TABLE insula.home_mark IS 'tells a cluster that pg_upgrade has made of the tenants'' home from a copy of it';

-- Roles of dropped tenants that own objects which could not be dropped with the tenant.
CREATE TABLE insula.leftover_role (
	role_oid oid PRIMARY KEY,
	role_name text NOT NULL,
	tenant text NOT NULL,
	username text NOT NULL,
	left_at timestamptz NOT NULL
);
COMMENT ON TABLE insula.leftover_role IS 'roles of dropped tenants that still own objects elsewhere; insula.reconcile(false) removes them once they own nothing';

CREATE TABLE insula.admin_log (
	log_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	at timestamptz NOT NULL,
	username text NOT NULL,
	act text NOT NULL,
	tenant text,
	detail text
);
COMMENT ON TABLE insula.admin_log IS 'administrative acts: the time, the role, the act; detail: what was set, -1 for a limit that was lifted, or what has gone';

-- Errors of visits by the scheduler; a row is deleted once a visit succeeds, or an hour after the last death.
CREATE TABLE insula.tenant_error (
	tenant_no integer PRIMARY KEY REFERENCES insula.tenant ON DELETE CASCADE,
	at timestamptz NOT NULL,
	error text NOT NULL,
	failures integer NOT NULL,  -- in a row
	deaths integer NOT NULL DEFAULT 0,  -- of schedulers in the tenant's turn
	until timestamptz,  -- after several: no process does what time causes until then
	died_at timestamptz  -- the last
);
COMMENT ON TABLE insula.tenant_error IS 'tenants, or schedules of theirs, that the scheduler could not serve; read it through the view insula.tenants';

CREATE TABLE insula.scheduler_wanted (
	the_only boolean PRIMARY KEY DEFAULT true CHECK (the_only),
	wanted boolean NOT NULL
);
COMMENT ON TABLE insula.scheduler_wanted IS 'whether this database is to have a scheduler: true after start_scheduler, false after stop_scheduler; no row: true';

SELECT pg_catalog.pg_extension_config_dump('insula.tenant', '');
SELECT pg_catalog.pg_extension_config_dump('insula.retention_rule', '');
SELECT pg_catalog.pg_extension_config_dump('insula.tenant_number', '');
SELECT pg_catalog.pg_extension_config_dump('insula.home', '');
SELECT pg_catalog.pg_extension_config_dump('insula.leftover_role', '');
SELECT pg_catalog.pg_extension_config_dump('insula.admin_log', '');
SELECT pg_catalog.pg_extension_config_dump('insula.admin_log_log_id_seq', '');

CREATE VIEW insula.tenants AS
	SELECT tenant, schema_name, username, status, layout_version, created_at,
		max_running, max_queued, max_connections, weight, rate_per_second, retain, retain_count,
		e.error, e.at AS error_at
	FROM insula.tenant t LEFT JOIN insula.tenant_error e USING (tenant_no);
COMMENT ON VIEW insula.tenants IS 'the tenants of this database; error: why the scheduler has set the tenant, or one of its schedules, aside';

CREATE VIEW insula.retention AS
	SELECT t.tenant, nullif(r.workflow, '') AS workflow, nullif(r.status, '') AS status, r.retain
	FROM insula.retention_rule r JOIN insula.tenant t USING (tenant_no);
COMMENT ON VIEW insula.retention IS 'for how long executions are kept, by tenant, workflow and status, as insula.set_retention() has set it; what no rule fits goes by retain and retain_count of insula.tenants';
COMMENT ON COLUMN insula.retention.tenant IS 'the tenant';
COMMENT ON COLUMN insula.retention.workflow IS 'the workflow; NULL: any';
COMMENT ON COLUMN insula.retention.status IS 'completed, failed or cancelled; NULL: any';
COMMENT ON COLUMN insula.retention.retain IS 'how long after its end an execution is kept; NULL: for ever';
