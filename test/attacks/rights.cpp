// Becoming somebody else, and raising one's own rights.
#include "attack.hpp"

namespace attacks {

std::vector<Attack> attacks_on_rights() {
  const Who t = Who::tenant;
  const Who r = Who::runner;
  return {
      refused("BecomeTheOwner", t, {"SET ROLE insula_owner"}, "42501"),
      refused("BecomeAdmin", t, {"SET ROLE insula_admin"}, "42501"),
      refused("BecomeRunner", t, {"SET ROLE insula_runner"}, "42501"),
      refused("BecomeAnotherTenant", t, {"SET ROLE victim_user"}, "42501"),
      refused("BecomeSuperuser", t, {"SET ROLE postgres"}, "42501"),
      refused("AuthorizeAsAnother", t, {"SET SESSION AUTHORIZATION victim_user"}, "42501"),
      refused("ActAsTheGroup", t,
              {"BEGIN", "SET LOCAL ROLE insula_tenant", "SELECT insula.submit('w', tenant => 'victim')"}, "42501"),
      refused("BeNobodyAsTheGroup", t, {"BEGIN", "SET LOCAL ROLE insula_tenant", "SELECT insula.submit('w')"}, "IS001"),
      refused("MakeOneselfSuperuser", t, {"ALTER ROLE mallory_user SUPERUSER"}, "42501"),
      refused("BypassRowSecurity", t, {"ALTER ROLE mallory_user BYPASSRLS"}, "42501"),
      refused("LiftOwnConnectionLimit", t, {"ALTER ROLE mallory_user CONNECTION LIMIT -1"}, "42501"),
      refused("ChangeAnothersPassword", t, {"ALTER ROLE victim_user PASSWORD 'x'"}, "42501"),
      refused("ChangeAnothersSettings", t, {"ALTER ROLE victim_user SET search_path = pg_temp"}, "42501"),
      refused("ChangeEveryonesSettings", t, {"ALTER ROLE ALL SET search_path = pg_temp"}, "42501"),
      refused("GrantOneselfAdmin", t, {"GRANT insula_admin TO mallory_user"}, "42501"),
      refused("GrantOneselfTheOwner", t, {"GRANT insula_owner TO mallory_user"}, "42501"),
      refused("GrantOneselfTheVictim", t, {"GRANT victim_user TO mallory_user"}, "42501"),
      refused("MakeARole", t, {"CREATE ROLE accomplice LOGIN"}, "42501"),
      refused("DropAnothersRole", t, {"DROP ROLE victim_user"}, "42501"),
      refused("DropOwnedByAnother", t, {"DROP OWNED BY victim_user"}, "42501"),
      refused("ReassignTheOwners", t, {"REASSIGN OWNED BY insula_owner TO mallory_user"}, "42501"),
      refused("OwnOnesSchema", t, {"ALTER SCHEMA tenant_mallory OWNER TO mallory_user"}, "42501"),
      refused("OwnOnesTable", t, {"ALTER TABLE tenant_mallory.work OWNER TO mallory_user"}, "42501"),
      refused("DropOnesSchema", t, {"DROP SCHEMA tenant_mallory CASCADE"}, "42501"),
      bounded("GrantOnesRights", t, {"GRANT SELECT ON tenant_mallory.workflow_executions TO PUBLIC"},
              "without grant option there is nothing to grant",
              "SELECT NOT has_table_privilege('victim_user', 'tenant_mallory.workflow_executions', 'SELECT')"),
      bounded("GrantOnesSchema", t, {"GRANT USAGE ON SCHEMA tenant_mallory TO victim_user"},
              "without grant option there is nothing to grant",
              "SELECT NOT has_schema_privilege('victim_user', 'tenant_mallory', 'USAGE')"),
      refused("DefaultsOfTheOwner", t, {"ALTER DEFAULT PRIVILEGES FOR ROLE insula_owner GRANT ALL ON TABLES TO PUBLIC"},
              "42501"),
      refused("AlterTheExtension", t, {"ALTER EXTENSION insula UPDATE"}, "42501"),
      refused("DropTheExtension", t, {"DROP EXTENSION insula CASCADE"}, "42501"),
      refused("ReplaceACall", t,
              {"CREATE OR REPLACE FUNCTION insula.current_tenant() RETURNS text LANGUAGE sql AS 'SELECT NULL::text'"},
              "42501"),
      refused("OpenACall", t, {"ALTER FUNCTION insula.audit() SECURITY DEFINER"}, "42501"),
      refused("ChangeTheServer", t, {"ALTER SYSTEM SET shared_preload_libraries = ''"}, "42501"),
      refused("ChangeTheDatabase", t, {"ALTER DATABASE postgres SET search_path = pg_temp"}, "42501"),
      refused("TurnTriggersOff", t, {"SET session_replication_role = replica"}, "42501"),
      refused("RaiseTheContextLimit", t, {"SET insula.max_context = '1GB'"}, "55P02"),
      refused("SetTheConnectionBase", t, {"SET insula.connection_base = 'host=evil'"}, "42501"),
      refused("InventASetting", t, {"SET insula.made_up = 'x'"}, "42602"),
      refused("LoadALibrary", t, {"LOAD '/tmp/evil.so'"}, "42501"),
      refused("EndAnothersSession", t,
              {"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres' AND pid <> "
               "pg_backend_pid() LIMIT 1"},
              "42501"),
      refused("RunnerBecomesATenant", r, {"SET ROLE victim_user"}, "42501"),
      refused("RunnerBecomesAdmin", r, {"SET ROLE insula_admin"}, "42501"),
      refused("RunnerBecomesTheOwner", r, {"SET ROLE insula_owner"}, "42501"),
      refused("RunnerGrantsItself", r, {"GRANT insula_runner TO stranger"}, "42501"),
  };
}

}  // namespace attacks
