// Reading, counting and writing other tenants' rows, or the tenant's own behind Insula's back.
#include "attack.hpp"

namespace attacks {

std::vector<Attack> attacks_on_data() {
  const Who t = Who::tenant;
  const Who r = Who::runner;
  const Who s = Who::stranger;
  return {
      refused("ReadAnothersView", t, {"SELECT * FROM tenant_victim.workflow_executions"}, "42501"),
      refused("ReadAnothersTasks", t, {"SELECT * FROM tenant_victim.task_executions"}, "42501"),
      refused("ReadAnothersTable", t, {"SELECT * FROM tenant_victim.work"}, "42501"),
      refused("ReadAnothersRecord", t, {"SELECT * FROM tenant_victim.record"}, "42501"),
      refused("ReadAnothersSequence", t, {"SELECT last_value FROM tenant_victim.id"}, "42501"),
      refused("ReadOwnTable", t, {"SELECT lease FROM tenant_mallory.work"}, "42501"),
      refused("ReadOwnRecord", t, {"SELECT * FROM tenant_mallory.record"}, "42501"),
      refused("CopyAnothersTable", t, {"COPY tenant_victim.work TO STDOUT"}, "42501"),
      refused("CopyToAProgram", t, {"COPY (SELECT 1) TO PROGRAM 'id'"}, "42501"),
      refused("CopyFromAFile", t, {"CREATE TEMP TABLE f (t text)", "COPY f FROM '/etc/passwd'"}, "42501"),
      refused("ExplainAnothersView", t, {"EXPLAIN SELECT * FROM tenant_victim.workflow_executions"}, "42501"),
      refused("ListTenants", t, {"SELECT * FROM insula.tenants"}, "42501"),
      refused("ListTenantRows", t, {"SELECT * FROM insula.tenant"}, "42501"),
      refused("CountTenantNumbers", t, {"SELECT count(*) FROM insula.tenant_number"}, "42501"),
      refused("ReadAdminLog", t, {"SELECT * FROM insula.admin_log"}, "42501"),
      refused("ReadHome", t, {"SELECT * FROM insula.home"}, "42501"),
      refused("ReadPasswords", t, {"SELECT rolpassword FROM pg_authid"}, "42501"),
      refused("ReadAFile", t, {"SELECT pg_read_file('postgresql.conf')"}, "42501"),
      refused("ListADirectory", t, {"SELECT pg_ls_dir('.')"}, "42501"),
      bounded("SeeAnothersQuery", t,
              {"CREATE TEMP TABLE seen AS SELECT query FROM pg_stat_activity WHERE usename = 'victim_user'",
               "DO $$ BEGIN IF EXISTS (SELECT FROM seen WHERE query <> '<insufficient privilege>') THEN "
               "PERFORM insula.submit('w', '{\"leaked\": true}'); END IF; END $$"},
              "PostgreSQL hides the texts of other roles",
              "SELECT count(*) = 0 FROM tenant_mallory.workflow_executions WHERE context ? 'leaked'"),
      bounded("SeeAnothersStatistics", t,
              {"DO $$ BEGIN IF EXISTS (SELECT FROM pg_stats WHERE schemaname = 'tenant_victim') THEN "
               "PERFORM insula.submit('w', '{\"leaked\": true}'); END IF; END $$"},
              "pg_stats shows what one may read",
              "SELECT count(*) = 0 FROM tenant_mallory.workflow_executions WHERE context ? 'leaked'"),
      refused("InsertIntoOwnTable", t, {"INSERT INTO tenant_mallory.record VALUES ('w', 1, 'x', 1, now())"}, "42501"),
      refused("UpdateOwnTable", t, {"UPDATE tenant_mallory.work SET state = 4"}, "42501"),
      refused("DeleteFromOwnTable", t, {"DELETE FROM tenant_mallory.work"}, "42501"),
      refused("TruncateOwnTable", t, {"TRUNCATE tenant_mallory.work"}, "42501"),
      refused("UpdateAnothersTable", t, {"UPDATE tenant_victim.work SET state = 4"}, "42501"),
      refused("DeleteFromAnothersTable", t, {"DELETE FROM tenant_victim.work"}, "42501"),
      refused("WriteThroughAView", t, {"DELETE FROM tenant_mallory.task_executions"}, "55000"),
      refused("LockRowsThroughAView", t, {"SELECT * FROM tenant_mallory.task_executions FOR UPDATE"}, "42501"),
      refused("AdvanceOwnSequence", t, {"SELECT nextval('tenant_mallory.id')"}, "42501"),
      refused("SetAnothersSequence", t, {"SELECT setval('tenant_victim.id', 1)"}, "42501"),
      refused("WriteTenantRows", t, {"UPDATE insula.tenant SET username = 'mallory_user' WHERE tenant = 'victim'"},
              "42501"),
      refused("WriteTheHome", t, {"DELETE FROM insula.home"}, "42501"),
      refused("ReadAnothersLargeObject", t, {"SELECT lo_get(4711)"}, "42501"),
      refused("ExportALargeObject", t, {"SELECT lo_export(4711, '/tmp/stolen')"}, "42501"),

      refused("RunnerReadsAView", r, {"SELECT * FROM tenant_victim.workflow_executions"}, "42501"),
      refused("RunnerReadsATable", r, {"SELECT * FROM tenant_victim.work"}, "42501"),
      refused("RunnerListsTenants", r, {"SELECT * FROM insula.tenants"}, "42501"),
      refused("RunnerWritesATable", r, {"UPDATE tenant_victim.work SET state = 4"}, "42501"),
      refused("StrangerReadsAView", s, {"SELECT * FROM tenant_victim.workflow_executions"}, "42501"),
      refused("StrangerListsTenants", s, {"SELECT * FROM insula.tenants"}, "42501"),
      refused("StrangerReadsTheGrants", s, {"SELECT * FROM insula.tenant_grant"}, "42501"),
  };
}

}  // namespace attacks
