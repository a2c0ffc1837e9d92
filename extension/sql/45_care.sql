-- The DBA's views and switches: rights that PostgreSQL leaves open to every role, sizes against
-- settings, sessions that hold others back.  They read only catalogs and statistics.

CREATE VIEW insula.open_to_public WITH (security_invoker = true) AS
	SELECT 'temporary' AS kind, 'database ' || pg_catalog.quote_ident(d.datname) AS object,
		'every role may make temporary tables'::text AS finding,
		pg_catalog.format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', d.datname) AS action
	FROM pg_catalog.pg_database d,
	LATERAL pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) a
	WHERE d.datname = pg_catalog.current_database() AND a.grantee = 0 AND a.privilege_type = 'TEMPORARY'
	UNION ALL
	SELECT 'connect', 'database ' || pg_catalog.quote_ident(d.datname), 'every role may connect',
		pg_catalog.format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', d.datname)
	FROM pg_catalog.pg_database d,
	LATERAL pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) a
	WHERE d.datallowconn AND a.grantee = 0 AND a.privilege_type = 'CONNECT'
	UNION ALL
	SELECT 'schema', 'schema ' || pg_catalog.quote_ident(n.nspname),
		CASE a.privilege_type WHEN 'CREATE' THEN 'every role may make objects in it' ELSE 'every role may use what is in it' END,
		pg_catalog.format('REVOKE %s ON SCHEMA %I FROM PUBLIC', a.privilege_type, n.nspname)
	FROM pg_catalog.pg_namespace n,
	LATERAL pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) a
	WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND a.grantee = 0
	UNION ALL
	SELECT CASE WHEN p.proname LIKE '%advisory%' THEN 'advisory_lock' ELSE 'large_object' END,
		CASE WHEN p.proname LIKE '%advisory%' THEN 'functions that take advisory locks' ELSE 'functions that write large objects' END,
		CASE WHEN p.proname LIKE '%advisory%' THEN 'every role may fill the lock table' ELSE 'every role may fill the disk' END,
		pg_catalog.format('REVOKE EXECUTE ON FUNCTION pg_catalog.%I(%s) FROM PUBLIC', p.proname,
			pg_catalog.pg_get_function_identity_arguments(p.oid))
	FROM pg_catalog.pg_proc p,
	LATERAL pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) a
	WHERE p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace AND a.grantee = 0
		AND (p.proname IN ('lo_creat', 'lo_create', 'lo_from_bytea', 'lo_put', 'lowrite')
			OR p.proname ~ '^pg_(try_)?advisory_(xact_)?lock(_shared)?$');
COMMENT ON VIEW insula.open_to_public IS 'what PostgreSQL leaves open to every role, and what insula.harden(false) does about it; kind names what harden() can skip';

CREATE FUNCTION insula.harden(dry_run boolean DEFAULT true, skip text[] DEFAULT NULL, OUT kind text, OUT object text, OUT action text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'insula_harden' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.harden IS
'Revokes what PostgreSQL leaves open to every role (the view insula.open_to_public); returns what it did, or with dry_run what it would do.
skip: kinds to leave alone, of temporary, connect, schema, advisory_lock, large_object.  Other applications of the cluster may need grants of their own afterwards: read the dry run first.
Runs with the caller''s rights: a WARNING says what needs a superuser.
Errors: 22004 dry_run is NULL, 22023 no such kind.';

-- The numbers of removed rows are used again, so only rows that are kept can use them up.
CREATE VIEW insula.numbers_in_use WITH (security_invoker = true) AS
	SELECT t.tenant, pg_catalog.format('%I.%I', n.nspname, c.relname) AS relation,
		greatest(c.reltuples, 0)::bigint AS rows
	FROM insula.tenant t
	JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
	JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = 'work';
COMMENT ON VIEW insula.numbers_in_use IS 'how many rows of executions and tasks each tenant has, as the last VACUUM or ANALYZE has seen, in pg_class alone: each has a number, of which there are 68719476735 a tenant';

-- A size that a setting gives is named by it.
CREATE FUNCTION insula.capacity(OUT item text, OUT used bigint, OUT available bigint, OUT advice text, OUT setting text)
RETURNS SETOF record LANGUAGE sql VOLATILE PARALLEL UNSAFE SET jit = off
BEGIN ATOMIC
	WITH room(locks, tenants) AS (
		SELECT pg_catalog.current_setting('max_locks_per_transaction')::bigint
				* (pg_catalog.current_setting('max_connections')::bigint + pg_catalog.current_setting('max_prepared_transactions')::bigint),
			(SELECT pg_catalog.count(*) FROM insula.tenant)
	),
	size(item, used, available, setting) AS (
		SELECT 'tenant numbers', (SELECT pg_catalog.count(*) FROM insula.tenant_number WHERE dropped_at IS NULL), 131071::bigint, NULL
		UNION ALL
		SELECT 'numbers of a tenant''s executions and tasks', coalesce((SELECT pg_catalog.max(n.rows) FROM insula.numbers_in_use n), 0),
			68719476735, NULL
		UNION ALL
		SELECT 'connections', (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend'),
			pg_catalog.current_setting('max_connections')::bigint, 'max_connections'
		UNION ALL
		SELECT 'replication slots', (SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_slots),
			pg_catalog.current_setting('max_replication_slots')::bigint, 'max_replication_slots'
		UNION ALL
		SELECT 'WAL senders', (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'walsender'),
			pg_catalog.current_setting('max_wal_senders')::bigint, 'max_wal_senders'
		UNION ALL
		-- Workers of parallel queries come and go.
		SELECT 'worker processes', (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity
				WHERE backend_type LIKE 'logical replication %' OR backend_type NOT IN ('client backend', 'walsender', 'walreceiver',
					'autovacuum launcher', 'autovacuum worker', 'checkpointer', 'background writer', 'walwriter', 'walsummarizer',
					'archiver', 'logger', 'startup', 'slotsync worker', 'io worker', 'parallel worker', 'standalone backend')),
			pg_catalog.current_setting('max_worker_processes')::bigint, 'max_worker_processes'
		UNION ALL
		-- A worker of all tenants holds four locks for each tenant that it claims for, of which there are at most 500.
		SELECT 'locks of a claim for all tenants', 4 * least(room.tenants, 500), room.locks, 'max_locks_per_transaction' FROM room
		UNION ALL
		-- It locks each tenant's tables, sequence and views.
		SELECT 'locks of a pg_dump of all tenants', 7 * room.tenants, room.locks, 'max_locks_per_transaction' FROM room
		UNION ALL
		SELECT shared.item, s.value::bigint, shared.times * pg_catalog.current_setting(shared.setting, true)::bigint, shared.setting
		FROM (VALUES ('workers'::text, 1, 'insula.max_workers'::text),
			('watched executions', 1, 'insula.max_watches'),
			('due tenants', 1, 'insula.max_due_tenants'),
			('ready tenants', 1, 'insula.max_due_tenants'),
			('tenants with low-water marks', 1, 'insula.max_due_tenants'),
			('limits of tenants', 4, 'insula.max_due_tenants'),
			('counted limits', 1, 'insula.max_counted_limits'),
			('counted workflows', 1, 'insula.max_counted_workflows'),
			('databases', 1, 'insula.max_databases')) shared(item, times, setting)
		JOIN insula.status() s ON s.item = shared.item
		UNION ALL
		SELECT 'transaction ids', pg_catalog.age(d.datfrozenxid), 2100000000, NULL
		FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()
	)
	SELECT size.item, size.used, size.available,
		-- One role gets half of the workers and of the watches.
		CASE WHEN size.used > CASE WHEN size.setting IN ('insula.max_workers', 'insula.max_watches') THEN 0.4 ELSE 0.8 END * size.available THEN CASE
			WHEN size.setting IS NOT NULL THEN 'raise ' || size.setting
			WHEN size.item LIKE 'numbers of%' THEN 'set retain or retain_count for ' || (SELECT pg_catalog.string_agg(n.tenant, ', ' ORDER BY n.tenant)
				FROM insula.numbers_in_use n WHERE n.rows > 0.8 * size.available)
			WHEN size.item = 'tenant numbers' THEN 'drop tenants, or make new ones in another database'
			ELSE 'this will run out' END END,
		size.setting
	FROM size;
END;
COMMENT ON FUNCTION insula.capacity IS
'Sizes against settings: how much of what is used, of how much, by which setting, and what to do where more than four fifths are, or two fifths of the workers and watches, of which one role gets half.  It reads the rows of pg_class, of which a tenant has 15.  What lies in shared memory is counted for the whole server, and beyond its size things go on more slowly; used and available are NULL without it.  Locks: what a claim for all tenants, and a pg_dump of the database, hold at the same time.';

-- A snapshot begins at the oldest transaction, of any database, that was running when it was taken.  While that one
-- runs, it is the holder, and not each session that has a snapshot.  VACUUM's own snapshot holds nothing back, a parallel
-- worker's is its leader's, and what a walsender asks for is a standby's.  A call that waits has a transaction and neither
-- a snapshot nor an id: it holds nothing.
CREATE VIEW insula.snapshot_holders WITH (security_invoker = true) AS
	SELECT 'session'::text AS kind, t.tenant, 'session ' || a.pid AS object,
		pg_catalog.format('%s has had a transaction open since %s (%s)',
			CASE a.backend_type WHEN 'client backend' THEN a.usename ELSE a.backend_type END, a.xact_start, a.state) AS finding,
		a.xact_start AS since,
		greatest(pg_catalog.age(a.backend_xid), CASE WHEN a.datname = pg_catalog.current_database()
				AND a.backend_xmin NOT IN (SELECT r.backend_xid FROM pg_catalog.pg_stat_activity r WHERE r.backend_xid IS NOT NULL
					UNION ALL SELECT p.transaction FROM pg_catalog.pg_prepared_xacts p)
				AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_vacuum v WHERE v.pid = a.pid)
			THEN pg_catalog.age(a.backend_xmin) END) AS age,
		NULL::integer AS catalog_age
	FROM pg_catalog.pg_stat_activity a LEFT JOIN insula.tenant t ON t.username = a.usename
	WHERE a.backend_type NOT IN ('parallel worker', 'walsender')
		AND (a.backend_xid IS NOT NULL
			OR (a.backend_xmin IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_vacuum v WHERE v.pid = a.pid))
			-- Between statements, or while it waits for a lock, a transaction may have no snapshot, and yet locks.
			OR ((a.state LIKE 'idle in transaction%' OR (a.xact_start IS NOT NULL AND a.wait_event_type = 'Lock'))
				AND a.datname = pg_catalog.current_database()))
	UNION ALL
	SELECT 'prepared transaction', t.tenant, 'prepared transaction ' || pg_catalog.quote_literal(p.gid),
		pg_catalog.format('%s has prepared it at %s', p.owner, p.prepared), p.prepared,
		pg_catalog.age(p.transaction), NULL
	FROM pg_catalog.pg_prepared_xacts p LEFT JOIN insula.tenant t ON t.username = p.owner
	UNION ALL
	SELECT s.slot_type || ' slot', NULL, 'replication slot ' || pg_catalog.quote_ident(s.slot_name),
		CASE WHEN NOT s.active THEN s.slot_type || ', is not used'
			WHEN s.slot_type = 'logical' THEN pg_catalog.format('logical, for %s in database %I, is read by process %s', s.plugin, s.database, s.active_pid)
			ELSE pg_catalog.format('used by standby %L', r.application_name)
				|| CASE WHEN s.xmin IS NULL THEN '' ELSE ', which asks for old rows by hot_standby_feedback' END END,
		NULL, pg_catalog.age(s.xmin), pg_catalog.age(s.catalog_xmin)
	FROM pg_catalog.pg_replication_slots s LEFT JOIN pg_catalog.pg_stat_replication r ON r.pid = s.active_pid
	-- A standby keeps a copy of its primary's slot (PostgreSQL 17), which nothing there uses.
	WHERE NOT (pg_catalog.pg_is_in_recovery() AND coalesce((pg_catalog.to_jsonb(s) ->> 'synced')::boolean, false))
	UNION ALL
	-- A standby without a slot.
	SELECT 'standby', NULL, 'standby ' || pg_catalog.quote_literal(r.application_name),
		pg_catalog.format('it asks process %s for old rows by hot_standby_feedback', r.pid), NULL, pg_catalog.age(r.backend_xmin), NULL
	FROM pg_catalog.pg_stat_replication r
	WHERE r.backend_xmin IS NOT NULL;
COMMENT ON VIEW insula.snapshot_holders IS 'the processes, prepared transactions, replication slots and standbys that have a transaction or a snapshot, without the calls that wait, which have neither a snapshot nor a transaction id; age: how many transactions ago it was taken, since when dead rows of this database stay (NULL: they do not), as they do while a transaction of another database runs that is as old; catalog_age: the same of the catalogs of all databases, which are all that a logical slot needs; insula.health() names those that are old';

CREATE FUNCTION insula.read_overdue(
	ready_for interval,
	lapsed_for interval,
	max_tenants integer DEFAULT 100,
	OUT kind text,
	OUT tenant_name text,
	OUT execution_id bigint,
	OUT worker text,
	OUT since timestamptz,
	OUT served boolean)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'insula_read_overdue' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.read_overdue IS
'What no process takes up, for insula.health(): of each tenant that it looks at the oldest ready task, if it has been claimable for longer than ready_for, and the lease that has lapsed first, if that is longer ago than lapsed_for.  served, of a ready task: whether other tasks of the tenant were claimed in the last five to ten minutes; NULL without shared_preload_libraries, and on a standby.
Of a tenant it looks at the 32 highest and the 32 lowest priorities in use, of tasks under a limit and of the others each, and begins no look at another priority after a hundredth of insula.visit_time.
It looks at max_tenants (1 to 10000) tenants for each of the two and at no suspended one.  Shared memory tells which: of those with ready tasks first those of which nothing was claimed in the last minutes, by the number of these tasks; of those with running tasks first those that are due first.  Where it does not tell, as after a start of the server, each minute others come first; without shared_preload_libraries always.
Errors: 22004 an argument is NULL, 22023 bad argument.';

CREATE FUNCTION insula.health(OUT level text, OUT tenant text, OUT object text, OUT finding text)
RETURNS SETOF record LANGUAGE sql VOLATILE PARALLEL UNSAFE SET jit = off
BEGIN ATOMIC
	-- What is in use is named once it is a minute old, or holds back much.
	SELECT 'warning', h.tenant, h.object,
		h.finding || CASE WHEN h.kind LIKE '% slot' AND h.is_unused THEN ' and holds back dead rows or WAL'
				WHEN h.age IS NULL AND h.catalog_age IS NOT NULL THEN ': dead rows of the catalogs stay'
				WHEN h.age IS NULL THEN ''
				WHEN h.since IS NULL THEN ': dead rows stay' ELSE ': dead rows stay until it ends' END
			|| CASE WHEN h.place = 1 AND h.age IS NOT NULL THEN pg_catalog.format('; it holds the oldest snapshot, %s transactions old', h.age) ELSE '' END
	FROM (SELECT k.*, pg_catalog.row_number() OVER (ORDER BY k.age DESC NULLS LAST) AS place, s.slot_name IS NOT NULL AS is_unused
		FROM insula.snapshot_holders k
		LEFT JOIN pg_catalog.pg_replication_slots s ON k.object = 'replication slot ' || pg_catalog.quote_ident(s.slot_name)
			AND NOT s.active AND (s.xmin IS NOT NULL OR s.catalog_xmin IS NOT NULL OR s.restart_lsn IS NOT NULL)) h
	WHERE h.since < pg_catalog.now() - '1 min'::interval OR h.is_unused OR h.age > 100000 OR h.catalog_age > 100000
	UNION ALL
	SELECT 'error', NULL, 'replication slot ' || pg_catalog.quote_ident(s.slot_name),
		pg_catalog.format('WAL that it needs %s: make what reads it anew, and raise max_slot_wal_keep_size',
			CASE s.wal_status WHEN 'lost' THEN 'is gone' ELSE 'is about to be removed' END)
	FROM pg_catalog.pg_replication_slots s
	WHERE s.wal_status IN ('unreserved', 'lost')
	UNION ALL
	SELECT 'warning', o.tenant_name, 'execution ' || o.execution_id,
		CASE o.kind WHEN 'lease' THEN pg_catalog.format('the lease of worker %s lapsed at %s, and no process has taken its task back: insula.status() tells of the scheduler', o.worker, o.since)
			ELSE pg_catalog.format('its task has been ready since %s%s: %sno worker for it attends, or a limit holds it back, which insula.explain_execution(%s) tells', o.since,
				CASE WHEN o.served THEN ', while others of its tenant are claimed' ELSE '' END,
				CASE WHEN o.served THEN 'workers are behind, ' ELSE '' END, o.execution_id) END
			|| CASE WHEN o.tenants > 1 THEN pg_catalog.format('; at least %s more tenants have such a task', o.tenants - 1) ELSE '' END
	FROM (SELECT r.*, pg_catalog.row_number() OVER (PARTITION BY r.kind, r.served ORDER BY r.since) AS place,
			pg_catalog.count(*) OVER (PARTITION BY r.kind, r.served) AS tenants
		FROM insula.read_overdue('5 min', '1 min') r) o
	WHERE o.place = 1
	UNION ALL
	SELECT 'warning', NULL, s.item,
		s.value || CASE
			WHEN s.item = 'tenants put off' THEN ': shared processes have spent more on each than insula.max_overhead'
			WHEN s.value ~ '^(stopped|off)' THEN ': schedules do not fire, and delays, retries and timeouts wait for calls of workers'
			ELSE ''
		END
	FROM insula.status() s
	WHERE (s.item = 'scheduler' AND NOT pg_catalog.pg_is_in_recovery()
			-- One that has been told to rest is missed where it has something to do.
			AND (s.value LIKE 'not running%' OR (s.value ~ '^(stopped|off)' AND EXISTS (SELECT FROM insula.tenant))))
		OR (s.item = 'tenants put off' AND s.value <> 'none')
	UNION ALL
	SELECT 'warning', t.tenant, pg_catalog.format('%I.%I', n.nspname, c.relname),
		pg_catalog.format('session %s waits for a lock that %s holds', l.pid, pg_catalog.pg_blocking_pids(l.pid))
	FROM pg_catalog.pg_locks l
	JOIN pg_catalog.pg_class c ON c.oid = l.relation
	JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	JOIN insula.tenant t ON t.schema_name = n.nspname
	WHERE NOT l.granted AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
	UNION ALL
	SELECT CASE WHEN pg_catalog.age(d.datfrozenxid) > 1500000000 THEN 'error' ELSE 'warning' END, NULL,
		'database ' || pg_catalog.quote_ident(d.datname),
		pg_catalog.format('its oldest transaction id is %s old: VACUUM does not keep up', pg_catalog.age(d.datfrozenxid))
	FROM pg_catalog.pg_database d
	WHERE pg_catalog.age(d.datfrozenxid) > 2 * pg_catalog.current_setting('autovacuum_freeze_max_age')::bigint
	UNION ALL
	SELECT CASE WHEN n.rows > 0.9 * 68719476735 THEN 'error' ELSE 'warning' END, n.tenant, n.relation,
		pg_catalog.format('about %s of the 68719476735 numbers of executions and tasks are in use: set retain or retain_count', n.rows)
	FROM insula.numbers_in_use n
	WHERE n.rows > 0.5 * 68719476735
	UNION ALL
	SELECT 'error', t.tenant, 'turns of the scheduler',
		pg_catalog.format('%s schedulers have died in its turn, the last at %s: its schedules, timeouts and retries wait until %s, or for insula.resume_tenant()',
			e.deaths, e.at, e.until)
	FROM insula.tenant_error e JOIN insula.tenant t USING (tenant_no)
	WHERE e.until > pg_catalog.clock_timestamp()
	UNION ALL
	SELECT 'warning', NULL, c.item, pg_catalog.format('%s of %s are in use: %s', c.used, c.available, c.advice)
	FROM insula.capacity() c
	WHERE c.advice IS NOT NULL AND c.item NOT LIKE 'numbers of%';
END;
COMMENT ON FUNCTION insula.health IS
'What holds something back, or will: transactions open or prepared for more than a minute, unused replication slots, and whatever else, slots and standbys in use too, holds back the dead rows of a hundred thousand transactions, or of the catalogs, with the oldest snapshot marked; slots that lose their WAL; the task that has been claimable longest, if for more than five minutes, of a tenant whose tasks are claimed, whose workers may be behind, and of one whose tasks are not, and the lease that lapsed first, if more than a minute ago, among those of the tenants that insula.read_overdue() looks at; a scheduler that cannot run, or that is stopped or off in a database with tenants; tenants that are put off, or were in the last five minutes (insula.max_overhead), five of them by name; sessions that wait for a lock on a tenant''s relation, transaction ids that run out, tenants whose rows have more than half of the numbers that there are for executions and tasks, and tenants in whose turn schedulers have died; and what insula.capacity() has advice for.  No row: nothing does.  It reads pg_class and what shared memory knows, and of the tenants'' own tables only those that read_overdue() chooses.';

CREATE FUNCTION insula.upgrade_tenants(max_tenants int DEFAULT NULL, lock_timeout interval DEFAULT '1 s',
	OUT tenant text, OUT from_version int, OUT to_version int, OUT error text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'insula_upgrade_tenants' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.upgrade_tenants IS
'Brings tenants'' schemas to the layout of this version, after ALTER EXTENSION insula UPDATE: at most max_tenants of them (NULL: all), one that cannot be locked within lock_timeout or fails being left as it is and named in error.  This version''s library serves the present layout and the one before.
Errors: 22023 max_tenants is not positive.';
