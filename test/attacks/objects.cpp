// Objects that another role would run, look at, or trip over.
#include "attack.hpp"

namespace attacks {

namespace {

const char* const works_here = "SELECT count(*) > 0 FROM tenant_mallory.workflow_executions WHERE context ? 'planted'";

// Whatever was planted, a submission of one's own goes where it belongs.
std::vector<std::string> plant(std::vector<std::string> statements) {
  statements.insert(statements.begin(), "BEGIN");
  statements.emplace_back("SELECT insula.submit('w', '{\"planted\": 1}')");
  statements.emplace_back("SELECT insula.complete(task_id, lease) FROM insula.claim('m')");
  statements.emplace_back("COMMIT");
  return statements;
}

}  // namespace

std::vector<Attack> attacks_on_objects() {
  const Who t = Who::tenant;
  const Who s = Who::stranger;
  return {
      refused("TriggerOnOwnTable", t,
              {"CREATE FUNCTION pg_temp.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
               "CREATE TRIGGER evil BEFORE UPDATE ON tenant_mallory.work FOR EACH ROW EXECUTE FUNCTION pg_temp.f()"},
              "42501"),
      refused("TriggerOnOwnView", t,
              {"CREATE FUNCTION pg_temp.of_view() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
               "CREATE TRIGGER evil INSTEAD OF UPDATE ON tenant_mallory.task_executions FOR EACH ROW EXECUTE FUNCTION "
               "pg_temp.of_view()"},
              "42501"),
      refused("RuleOnOwnTable", t, {"CREATE RULE evil AS ON INSERT TO tenant_mallory.work DO INSTEAD NOTHING"},
              "42501"),
      refused("PolicyOnOwnTable", t, {"CREATE POLICY evil ON tenant_mallory.work USING (true)"}, "42501"),
      refused("ColumnInOwnTable", t, {"ALTER TABLE tenant_mallory.work ADD COLUMN evil text DEFAULT 'x'"}, "42501"),
      refused("DefaultInOwnTable", t, {"ALTER TABLE tenant_mallory.work ALTER COLUMN error SET DEFAULT 'x'"}, "42501"),
      refused("IndexOnOwnTable", t, {"CREATE INDEX evil ON tenant_mallory.work ((md5(error)))"}, "42501"),
      refused("ChildOfOwnTable", t, {"CREATE TEMP TABLE child () INHERITS (tenant_mallory.work)"}, "42501"),
      refused("PartOfOwnTable", t, {"CREATE TEMP TABLE part PARTITION OF tenant_mallory.work DEFAULT"}, "42809"),
      bounded("ReferenceToOwnTable", t, {"CREATE TEMP TABLE r (id bigint REFERENCES tenant_mallory.work (id))"},
              "no REFERENCES and no TRIGGER",
              "SELECT NOT has_table_privilege('mallory_user', 'tenant_mallory.work', 'REFERENCES, TRIGGER')"),
      refused("StatisticsOnOwnTable", t, {"CREATE STATISTICS pg_temp.evil ON id, head FROM tenant_mallory.work"},
              "42501"),
      refused("ViewReplaced", t, {"CREATE OR REPLACE VIEW tenant_mallory.task_executions AS SELECT 1"}, "42501"),
      refused("TableInOwnSchema", t, {"CREATE TABLE tenant_mallory.evil (x int)"}, "42501"),
      refused("FunctionInOwnSchema", t,
              {"CREATE FUNCTION tenant_mallory.evil() RETURNS int LANGUAGE sql AS 'SELECT 1'"}, "42501"),
      refused("FunctionInInsula", t,
              {"CREATE FUNCTION insula.submit(text) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'"}, "42501"),
      refused("OperatorInOwnSchema", t,
              {"CREATE OPERATOR tenant_mallory.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = int8ne)"}, "42501"),
      refused("TableInPublic", t, {"CREATE TABLE public.tenant (x int)"}, "42501"),
      refused("SchemaOfOnesOwn", t, {"CREATE SCHEMA evil"}, "42501"),
      refused("SchemaOfALaterTenant", s, {"CREATE SCHEMA tenant_future"}, "42501"),
      refused("EventTrigger", t,
              {"CREATE FUNCTION pg_temp.of_event() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
               "CREATE EVENT TRIGGER evil ON ddl_command_end EXECUTE FUNCTION pg_temp.of_event()"},
              "42501"),
      refused("CastOfABuiltInType", t,
              {"CREATE FUNCTION pg_temp.f(jsonb) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'",
               "CREATE CAST (jsonb AS bigint) WITH FUNCTION pg_temp.f(jsonb) AS IMPLICIT"},
              "42501"),
      refused("FunctionInC", t,
              {"CREATE FUNCTION pg_temp.evil() RETURNS void LANGUAGE c AS 'insula', 'insula_drop_tenant'"}, "42501"),
      refused("Extension", t, {"CREATE EXTENSION pg_trgm"}, "42501"),
      refused("Server", t, {"CREATE SERVER evil FOREIGN DATA WRAPPER postgres_fdw"}, "42704"),
      refused("Publication", t, {"CREATE PUBLICATION evil FOR TABLE tenant_mallory.work"}, "42501"),
      refused("CommentOnOwnSchema", t, {"COMMENT ON SCHEMA tenant_mallory IS 'evil'"}, "42501"),
      refused("ReindexOwnTable", t, {"REINDEX TABLE tenant_mallory.work"}, "42501"),
      refused("VacuumAll", t, {"CLUSTER tenant_mallory.work USING work_pkey"}, "42501"),
      bounded("ShadowTables", t,
              plant({"CREATE TEMP TABLE work (id bigint)", "CREATE TEMP TABLE tenant (tenant_no int)",
                     "CREATE TEMP TABLE record (kind text)", "SET LOCAL search_path = pg_temp, pg_catalog"}),
              "every name is qualified, and pg_temp comes last", works_here),
      bounded("ShadowCatalogs", t,
              plant({"CREATE TEMP TABLE pg_class (oid oid)", "CREATE TEMP TABLE pg_namespace (oid oid)",
                     "CREATE TEMP VIEW pg_extension AS SELECT '9'::text AS extversion, 'insula'::text AS extname",
                     "SET LOCAL search_path = pg_temp, public"}),
              "every name is qualified, and pg_temp comes last", works_here),
      bounded("ShadowFunctions", t,
              plant({"CREATE FUNCTION pg_temp.unnest(bigint[]) RETURNS SETOF bigint LANGUAGE plpgsql AS 'BEGIN RAISE "
                     "''ran as %'', current_user; END'",
                     "CREATE FUNCTION pg_temp.coalesce(jsonb, jsonb) RETURNS jsonb LANGUAGE plpgsql AS 'BEGIN RAISE "
                     "''ran as %'', current_user; END'",
                     "SET LOCAL search_path = pg_temp, pg_catalog"}),
              "functions are never looked up in pg_temp", works_here),
      bounded("ShadowTypes", t,
              plant({"CREATE TYPE pg_temp.jsonb AS (x int)", "CREATE DOMAIN pg_temp.int8 AS text",
                     "SET LOCAL search_path = pg_temp, pg_catalog"}),
              "every name is qualified, and pg_temp comes last", works_here),
      bounded("ShadowOperators", t,
              plant({"CREATE FUNCTION pg_temp.ne(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE "
                     "''ran''; END'",
                     "CREATE OPERATOR pg_temp.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = pg_temp.ne)",
                     "SET LOCAL search_path = pg_temp, pg_catalog"}),
              "operators are never looked up in pg_temp", works_here),
      bounded("SettingsThatTurnPlans", t,
              plant({"SET LOCAL enable_indexscan = off", "SET LOCAL enable_seqscan = on",
                     "SET LOCAL plan_cache_mode = force_custom_plan", "SET LOCAL work_mem = '64kB'",
                     "SET LOCAL from_collapse_limit = 1", "SET LOCAL join_collapse_limit = 1"}),
              "Insula's statements have their own settings", works_here),
      bounded("SettingsThatTurnTexts", t,
              plant({"SET LOCAL bytea_output = 'escape'", "SET LOCAL intervalstyle = 'sql_standard'",
                     "SET LOCAL datestyle = 'German'",
                     // PostgreSQL 19 has it no more.
                     "SELECT set_config('standard_conforming_strings', CASE WHEN "
                     "current_setting('server_version_num')::integer < 190000 THEN 'off' ELSE 'on' END, true)",
                     "SET LOCAL quote_all_identifiers = on", "SET LOCAL timezone = 'Asia/Kathmandu'",
                     "SET LOCAL transform_null_equals = on"}),
              "values are never read back from text", works_here),
      bounded("SettingsThatTurnReplication", t,
              plant({"SET LOCAL row_security = off", "SET LOCAL default_table_access_method = 'heap'",
                     "SET LOCAL xmloption = 'document'", "SET LOCAL check_function_bodies = off"}),
              "none of them matters", works_here),
      bounded("SerializableAll", t,
              {"BEGIN ISOLATION LEVEL SERIALIZABLE", "SELECT insula.submit('w', '{\"planted\": 1}')",
               "SELECT insula.complete(task_id, lease) FROM insula.claim('m')", "COMMIT"},
              "every isolation level is served", works_here),
      refused("WriteInAReadOnlyTransaction", t, {"BEGIN READ ONLY", "SELECT insula.submit('w')"}, "25006"),
      bounded("SettingsOfTheRole", t,
              {"ALTER ROLE mallory_user SET search_path = pg_temp", "ALTER ROLE mallory_user RESET search_path"},
              "they are only for his own sessions"),
      bounded("SecurityDefinerOfOnesOwn", t,
              plant({"CREATE FUNCTION pg_temp.def() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT "
                     "current_user::text'",
                     "SELECT pg_temp.def()"}),
              "it runs as its maker", works_here),
      bounded("PreparedStatements", t,
              plant({"PREPARE s AS SELECT insula.submit('w', '{\"planted\": 2}')", "EXECUTE s", "DEALLOCATE s"}),
              "nothing of them is kept", works_here),
      bounded("HeldCursors", t,
              {"BEGIN", "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM tenant_mallory.workflow_executions", "COMMIT",
               "CLOSE c"},
              "they hold rows of one's own"),
  };
}

}  // namespace attacks
