-- Settings of the caller's, as ALTER ROLE or ALTER DATABASE may make them, change nothing.
SET client_min_messages = warning;
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE regress_elsewhere LOCATION '';

CREATE FUNCTION life_of_a_tenant() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	id bigint;
	done record;
BEGIN
	PERFORM insula.create_tenant('settled');
	PERFORM insula.register_workflow('{"name": "w", "params": {"n": {"type": "integer", "default": 1}}, "tasks": [
		{"id": "a", "timeout": "1 h 30 min", "retry": {"initial_delay": "1.5 s"}},
		{"id": "b", "depends_on": ["a"], "trigger_rule": {"any": [{"task_success": "a"}, {"context_value": {"key": "$.n", "op": "equals", "value": 1}}]}},
		{"id": "c", "depends_on": ["b"], "for_each": {"items": "$.list", "as": "item"}}]}', tenant => 'settled');
	PERFORM insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => 'settled');
	PERFORM insula.register_workflow('{"name": "w", "params": {"n": {"type": "integer", "default": 1}}, "tasks": [
		{"id": "a", "timeout": "1 h 30 min", "retry": {"initial_delay": "1.5 s"}},
		{"id": "b", "depends_on": ["a"], "trigger_rule": {"any": [{"task_success": "a"}, {"context_value": {"key": "$.n", "op": "equals", "value": 1}}]}},
		{"id": "c", "depends_on": ["b"], "for_each": {"items": "$.list", "as": "item"}}]}', true, tenant => 'settled');
	id := insula.submit('w', '{"list": [1.50, "\\ two", null], "at": "it''s"}', idempotency_key => E'a\\b', tenant => 'settled');
	ASSERT id = insula.submit('w', '{}', idempotency_key => E'a\\b', tenant => 'settled');
	PERFORM insula.schedule('s', 'w', '@daily', 'Europe/Vienna', starts_at => '2100-01-01 00:00+00', jitter => '1 min', tenant => 'settled');
	ASSERT (SELECT next_fire_at = '2100-01-01 23:00+00' FROM tenant_settled.schedules);
	PERFORM insula.create_trigger('t', 'w', tenant => 'settled');
	ASSERT (SELECT fresh FROM insula.fire_trigger('t', '{"x": 1}', tenant => 'settled'));
	PERFORM insula.cancel(execution_id) FROM tenant_settled.workflow_executions WHERE context ? 'trigger_name';
	FOR i IN 1..3 LOOP
		PERFORM insula.complete(task_id, lease, jsonb_build_object(task, coalesce(item, to_jsonb(1.0))))
		FROM insula.claim('w', max_tasks => 10, tenant => 'settled');
	END LOOP;
	SELECT status, final_context INTO done FROM insula.result(id);
	PERFORM count(*) FROM insula.explain_execution(id);
	PERFORM count(*) FROM tenant_settled.execution_events;
	PERFORM insula.drop_tenant('settled', '0 s');
	RETURN done.status || ' ' || md5((done.final_context)::text);
END $$;

CREATE FUNCTION with_setting(setting text, value text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text; message text;
BEGIN
	PERFORM set_config(setting, value, true);
	RETURN public.life_of_a_tenant();
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT;
	RETURN state || ': ' || message;
END $$;

CREATE TABLE regress_settings (id int GENERATED ALWAYS AS IDENTITY, setting text, value text);
INSERT INTO regress_settings (setting, value) VALUES
	('default_tablespace', 'regress_elsewhere'), ('temp_tablespaces', 'regress_elsewhere'),
	('default_table_access_method', 'regress_heap'), ('check_function_bodies', 'off'), ('row_security', 'off'),
	('session_replication_role', 'replica'), ('bytea_output', 'escape'), ('DateStyle', 'German, DMY'),
	('IntervalStyle', 'sql_standard'), ('TimeZone', 'Asia/Kathmandu'),
	('array_nulls', 'off'), ('transform_null_equals', 'on'), ('quote_all_identifiers', 'on'),
	('default_transaction_isolation', 'serializable'), ('search_path', ''), ('search_path', 'pg_temp, public'),
	('plan_cache_mode', 'force_custom_plan'), ('role', 'regress_dba');
CREATE ACCESS METHOD regress_heap TYPE TABLE HANDLER heap_tableam_handler;
CREATE ROLE regress_dba SUPERUSER;
GRANT ALL ON regress_settings TO regress_dba;

SELECT life_of_a_tenant();
SELECT setting, value, with_setting(setting, value) FROM regress_settings ORDER BY id;
-- PostgreSQL 19 has it no more.
SELECT CASE WHEN current_setting('server_version_num')::integer < 190000
	THEN with_setting('standard_conforming_strings', 'off') ELSE life_of_a_tenant() END AS with_other_strings;

-- Tablespaces and access methods.
SET default_tablespace = 'regress_elsewhere';
SET default_table_access_method = 'regress_heap';
SELECT count(*) FROM insula.create_tenant('settled');
SELECT DISTINCT reltablespace, amname FROM pg_class c LEFT JOIN pg_am a ON a.oid = c.relam AND a.amtype = 't'
WHERE relnamespace = 'tenant_settled'::regnamespace AND relkind IN ('r', 'i') ORDER BY 1, 2;
DROP VIEW tenant_settled.schedules;
SELECT object, action, error FROM insula.reconcile(false);
-- No foreign key acts for a replica.
INSERT INTO insula.tenant_error SELECT tenant_no, now(), 'none', 1 FROM insula.tenant;
SET session_replication_role = replica;
SELECT insula.drop_tenant('settled', '0 s');
RESET session_replication_role;
SELECT count(*) FROM insula.tenant_error;
RESET default_tablespace;
RESET default_table_access_method;

DROP TABLE regress_settings;
DROP FUNCTION with_setting(text, text), life_of_a_tenant();
DROP ACCESS METHOD regress_heap;
DROP ROLE regress_dba;
DROP TABLESPACE regress_elsewhere;
