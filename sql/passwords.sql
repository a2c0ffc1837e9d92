-- A module that judges passwords lets a generated one pass, and judges a chosen one as for CREATE ROLE.
SET client_min_messages = error;
CREATE ROLE regress_known PASSWORD 'checked_user';
SELECT rolpassword AS verifier FROM pg_authid WHERE rolname = 'regress_known' \gset
DROP ROLE regress_known;
LOAD 'passwordcheck';
CREATE FUNCTION try_state(statement text) RETURNS text LANGUAGE sql AS $$ SELECT substr(try(statement), 1, 5) $$;
SELECT password ~ '^[A-Za-z0-9]{32}$' AS generated FROM insula.create_tenant('checked');
SELECT password ~ '^[A-Za-z0-9]{32}$' AS generated FROM insula.rotate_password('checked');
CREATE TABLE password_before AS SELECT rolpassword FROM pg_authid WHERE rolname = 'checked_user';
-- Too short, letters only, with the user's name; the user's name as a verifier.
SELECT password, try_state(format('SELECT insula.rotate_password(%L, %L)', 'checked', password)),
	try_state(format('SELECT insula.create_tenant(%L, password => %L)', 'unchecked', password))
FROM unnest(ARRAY['a1', 'onlyletters', 'unchecked_user1']) password;
SELECT try_state(format('SELECT insula.rotate_password(%L, %L)', 'checked', :'verifier'));
-- Nothing of it was done.
SELECT count(*) FROM password_before b, pg_authid a WHERE a.rolname = 'checked_user' AND a.rolpassword = b.rolpassword;
SELECT count(*) FROM insula.tenants;
SELECT count(*) FROM pg_roles WHERE rolname = 'unchecked_user';
SELECT password FROM insula.rotate_password('checked', 'chosen-4711');
SELECT count(*) FROM password_before b, pg_authid a WHERE a.rolname = 'checked_user' AND a.rolpassword = b.rolpassword;
SELECT insula.suspend_tenant('checked'), insula.resume_tenant('checked');
DROP TABLE password_before;
DROP FUNCTION try_state;
SELECT insula.drop_tenant('checked', '0 s');
