-- A library of another version than the extension's objects does nothing, and says what to do.
SELECT tenant FROM insula.create_tenant('versioned', login => false);
\connect
BEGIN;
UPDATE pg_extension SET extversion = '0.0.1' WHERE extname = 'insula';
SELECT try($$SELECT insula.submit('w', tenant => 'versioned')$$);
ROLLBACK;
-- Versions are compared as numbers, not as text.
\connect
BEGIN;
UPDATE pg_extension SET extversion = '0.1.0.1' WHERE extname = 'insula';
SELECT try($$SELECT insula.submit('w', tenant => 'versioned')$$);
ROLLBACK;
\connect
BEGIN;
UPDATE pg_extension SET extversion = '0.10.0' WHERE extname = 'insula';
SELECT try($$SELECT insula.submit('w', tenant => 'versioned')$$);
ROLLBACK;
SELECT insula.drop_tenant('versioned');
