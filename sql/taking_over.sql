-- Foreign changes of a tenant's relations, and relations in their place: which are used all the same, which are
-- refused, and which reconcile takes over.
SET client_min_messages = warning;
CREATE ROLE regress_eve;
CREATE ROLE regress_dba;
GRANT insula_admin TO regress_dba;
GRANT CREATE ON SCHEMA public TO regress_eve;
SET ROLE regress_eve;
CREATE FUNCTION public.spy(anyelement) RETURNS anyelement LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN IF current_user = 'insula_owner' THEN RAISE EXCEPTION 'spied'; END IF; RETURN $1; END $$;
CREATE DOMAIN public.spied AS jsonb CHECK (public.spy(VALUE) IS NOT NULL);
CREATE TABLE public.bare ();
RESET ROLE;
SELECT tenant FROM insula.create_tenant('taken');
SET insula.tenant = 'taken';
SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}');
SELECT count(insula.submit('w', '{"n": 1}')) FROM generate_series(1, 3);

-- A column that came and went is borne; what it held goes with the next version of a row.
ALTER TABLE tenant_taken.work ADD COLUMN mine text DEFAULT repeat('x', 5000);
ALTER TABLE tenant_taken.record ADD COLUMN mine text;
SELECT try($$SELECT insula.submit('w')$$);
SELECT level, object, finding FROM insula.audit() WHERE level <> 'advice' ORDER BY 2, 3;
ALTER TABLE tenant_taken.work DROP COLUMN mine;
ALTER TABLE tenant_taken.record DROP COLUMN mine;
SELECT level, object, finding FROM insula.audit() WHERE level <> 'advice' ORDER BY 2, 3;
SELECT count(insula.submit('w', '{"n": 1}')) FROM generate_series(1, 3);
SELECT count(insula.complete(task_id, lease, '{"done": true}')) FROM insula.claim('w', max_tasks => 5);
SELECT count(insula.fail(task_id, lease, 'no')) FROM insula.claim('w');
SELECT status, final_context, error, count(*) FROM tenant_taken.workflow_executions GROUP BY 1, 2, 3 ORDER BY 4;
SELECT insula.register_workflow('{"name": "w2", "tasks": [{"id": "a"}]}');

-- One change after the other: whether a call is refused, what an audit says, and what reconcile says of a
-- schema that has changed hands.
CREATE FUNCTION pg_temp.look(change text, OUT call text, OUT audit text, OUT reconcile text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE change;
	call := replace(try('SELECT insula.submit(''w'')'), E'55000: relation "work" of schema "tenant_taken" is not as Insula made it\n', '');
	audit := (SELECT string_agg(level || ' ' || object || ' ' || finding, ', ' ORDER BY object, finding) FROM insula.audit() WHERE level <> 'advice');
	ALTER SCHEMA tenant_taken OWNER TO regress_dba;
	reconcile := (SELECT string_agg(concat_ws(' ', object, '->', action, error), ', ') FROM insula.reconcile(false));
	RAISE EXCEPTION 'undo' USING ERRCODE = 'P0099';
EXCEPTION WHEN SQLSTATE 'P0099' THEN
END $$;
\a
\x
SELECT c.change, l.* FROM unnest(ARRAY[
	$$SELECT$$,
	$$ALTER TABLE tenant_taken.work ALTER input SET DEFAULT public.spy('{}'::jsonb)$$,
	$$ALTER TABLE tenant_taken.work ADD COLUMN more jsonb GENERATED ALWAYS AS (public.spy(input)) STORED$$,
	$$ALTER TABLE tenant_taken.work ADD CHECK (public.spy(id) > 0) NOT VALID$$,
	$$ALTER TABLE tenant_taken.work ADD CHECK (input::public.spied IS NOT NULL) NOT VALID$$,
	$$ALTER TABLE tenant_taken.work ADD CHECK (id > 0)$$,
	$$ALTER TABLE tenant_taken.work ALTER def DROP NOT NULL$$,
	$$ALTER TABLE tenant_taken.work ALTER time_limit TYPE integer$$,
	$$CREATE INDEX spying ON tenant_taken.work (id) WHERE id < 0 AND public.spy(id) < 0$$,
	$$CREATE INDEX plain ON tenant_taken.work (state)$$,
	$$CREATE STATISTICS public.counted ON id, head FROM tenant_taken.work$$,
	$$CREATE STATISTICS public.counted ON (public.spy(id)), head FROM tenant_taken.work$$,
	$$CREATE STATISTICS public.counted ON (abs(id)), head FROM tenant_taken.work$$,
	$$ALTER TABLE tenant_taken.work INHERIT public.bare$$,
	$$ALTER SEQUENCE tenant_taken.id CACHE 100$$,
	$$ALTER TABLE tenant_taken.record OWNER TO insula_tenant$$,
	$$DROP INDEX tenant_taken.work_queue; CREATE INDEX work_queue ON tenant_taken.work (lane, due) WHERE lane IS NOT NULL AND id > 0$$,
	$$CREATE RULE r AS ON DELETE TO tenant_taken.work DO INSTEAD NOTHING$$,
	$$ALTER TABLE tenant_taken.work SET UNLOGGED$$,
	$$ALTER SEQUENCE tenant_taken.id CYCLE$$,
	$$ALTER TABLE tenant_taken.work OWNER TO regress_eve$$,
	$$ALTER VIEW tenant_taken.schedules OWNER TO regress_eve$$,
	$$DROP VIEW tenant_taken.schedules; CREATE VIEW tenant_taken.schedules AS SELECT public.spy(1) AS name$$,
	$$CREATE OR REPLACE VIEW tenant_taken.task_executions AS SELECT w.id AS task_id, w.id AS execution_id, public.spy('w'::text) AS workflow,
		'a'::text AS task, 'x'::text AS status, w.attempt, w.worker, w.error, w.run_at, w.started_at, w.finished_at,
		NULL::double precision AS progress, NULL::text AS note, NULL::jsonb AS checkpoint FROM tenant_taken.work w$$,
	$$ALTER TABLE tenant_taken.record RENAME TO other$$
]) c(change), LATERAL pg_temp.look(c.change) l;
\x
\a
-- None of it is left, and the schema is taken over from an administrator.
ALTER SCHEMA tenant_taken OWNER TO regress_dba;
ALTER TABLE tenant_taken.work OWNER TO regress_dba;
ALTER VIEW tenant_taken.execution_events OWNER TO regress_dba;
SELECT object, action, error FROM insula.reconcile();
SELECT object, action, error FROM insula.reconcile(false);
SELECT * FROM insula.audit() WHERE level <> 'advice';
SELECT insula.submit('w') > 0 AS submitted;

-- A stranger's schema in the place of one that is gone, as like as can be.
SELECT tenant FROM insula.create_tenant('model');
DROP SCHEMA tenant_taken CASCADE;
ALTER SCHEMA tenant_model RENAME TO tenant_taken;
ALTER SCHEMA tenant_taken OWNER TO regress_eve;
ALTER TABLE tenant_taken.work OWNER TO regress_eve;
ALTER TABLE tenant_taken.record OWNER TO regress_eve;
SELECT try($$SELECT insula.submit('w')$$);
SELECT object, action, error FROM insula.reconcile(false) WHERE tenant = 'taken';
SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'tenant_taken';
RESET insula.tenant;
SELECT insula.drop_tenant('model', '0 s');
DROP SCHEMA tenant_taken CASCADE;
SELECT insula.drop_tenant('taken', '0 s');
DROP DOMAIN public.spied;
DROP TABLE public.bare;
DROP FUNCTION public.spy;
REVOKE CREATE ON SCHEMA public FROM regress_eve;
DROP ROLE regress_eve, regress_dba;
