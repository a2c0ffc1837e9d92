-- Copies and restores: reconcile() mends them, adopt() lets a copy work.

CREATE FUNCTION insula.reconcile(dry_run boolean DEFAULT true, OUT tenant text, OUT object text, OUT action text, OUT error text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'insula_reconcile' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.reconcile IS
'Mends what a restore leaves undone: makes missing roles of tenants (without LOGIN until rotate_password), gives schemas and relations back to insula_owner, makes missing views anew, grants what is missing and revokes what does not belong (of the extension''s own objects too), takes settings and a password away from the group roles, drops what insula_tenant owns in this database (up to 1000 objects in a call; what is a tenant''s or the extension''s is named and stays), and drops roles that drop_tenant had to leave behind.  Returns each action, with the error where it failed; with dry_run what it would do.
Roles are made as Insula makes them; owners are changed with the caller''s rights, which takes a superuser where others own the relations.  What another role made in a tenant''s place is not taken over: its owner must be a superuser, the database''s owner or a member of insula_admin, and every relation as Insula makes it; else nothing of that tenant''s schema changes, and error says what is wrong.  Wakes all that wait for work, and lets the scheduler look at each tenant.
Errors: IS008 in a copy that shares its roles with the original and has not been adopted.';

CREATE FUNCTION insula.adopt() RETURNS void
AS 'MODULE_PATHNAME', 'insula_adopt' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.adopt IS
'Says that the tenants of this copy of a database shall work here.  A copy is a database that was restored from a dump, made with TEMPLATE, or (with shared_preload_libraries) recovered to a point in time; what pg_upgrade has made is none.  Until it is adopted, every call that does work raises IS008.
Leases that the original gave out lapse by themselves.  A copy in the original''s own cluster gets user names of its own, which insula.reconcile(false) makes and insula.rotate_password() lets in.  A NOTICE if there is nothing to adopt.';
