-- DROP EXTENSION: not while there are tenants, unless with CASCADE, and then it leaves
-- their data.  A session that lives through it goes on.
SELECT tenant FROM insula.create_tenant('survivor');
SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => 'survivor');
SELECT insula.submit('w', '{"keep": "me"}', tenant => 'survivor') > 0 AS submitted;
-- Hints are others in PostgreSQL 19.
\set VERBOSITY sqlstate
SELECT substring(try('DROP EXTENSION insula') FROM E'(.*jsonb\\))') AS refused;
BEGIN;
SET LOCAL client_min_messages = warning;
DROP EXTENSION insula CASCADE;
SELECT insula.submit('w', tenant => 'survivor');
ROLLBACK;
SELECT insula.submit('w', '{"keep": "me too"}', tenant => 'survivor') > 0 AS submitted;
SET client_min_messages = warning;
DROP EXTENSION insula CASCADE;
RESET client_min_messages;
SELECT input FROM tenant_survivor.work ORDER BY id;
SELECT insula.submit('w', tenant => 'survivor');

CREATE EXTENSION insula;
SELECT count(*) FROM insula.tenants;
SELECT insula.submit('w', tenant => 'survivor');
SELECT try($$SELECT insula.create_tenant('survivor')$$);
-- The remaining schemas are the DBA's.
SET client_min_messages = warning;
DROP SCHEMA tenant_survivor CASCADE;
RESET client_min_messages;
DROP ROLE survivor_user;
SELECT tenant FROM insula.create_tenant('survivor');
SELECT count(*) FROM tenant_survivor.workflow_executions;
SELECT insula.drop_tenant('survivor');
