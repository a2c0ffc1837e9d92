// A tenant's schema.  All its relations are made here, by insula_owner.  There are only two tables,
// so that ten thousand tenants stay cheap: `work` for executions and tasks, `record` for all else
// (storage/work.hpp and storage/record.hpp describe them).  The tenant reads through views, which
// hold the tenant's number and so turn local numbers into ids.
#include "core/ids.hpp"
#include "provision/provision.hpp"
#include "spi/owner.hpp"

namespace insula {

namespace {

// A row of work is rewritten twice, by its claim and by its end.  Inserts fill only a third of each
// page, so that all three versions of each row fit in it: rewriting a row in its page writes a
// third of the WAL, and an old snapshot that keeps the versions alive does not change that.  The
// price is that pages of history stay as empty; with less room, a backlog that is worked off would
// take as many pages in the end.  Each version has its own entry in the primary key, so its pages
// are left as empty.
//
// WAL of a row that is rewritten in its page omits the bytes that the new version shares with the
// old at its beginning and at its end.  So first come the columns that stay, then those that
// change, then those that the claim sets for good, and the input last. tenant/columns.hpp repeats
// this order.
const char tables[] = R"(
CREATE SEQUENCE {schema}.id START {start};
CREATE TABLE {schema}.work (
  id bigint NOT NULL,
  head bigint,
  parent bigint,
  parent_head bigint,
  time_limit bigint,
  limit_key bigint,
  created_at timestamptz,
  def integer NOT NULL,
  task integer NOT NULL,
  key integer NOT NULL,
  priority integer NOT NULL,
  span integer NOT NULL,
  remaining integer NOT NULL,
  element integer,
  first_element bigint,
  child bigint,
  run_at timestamptz,
  started_at timestamptz,
  deadline bigint,
  due bigint,
  lease bigint,
  finished_at timestamptz,
  paused_at timestamptz,
  attempt integer NOT NULL,
  lane integer,
  state smallint NOT NULL,
  error text,
  output jsonb,
  event jsonb,
  waits_for text COLLATE "C",
  worker text,
  idempotency_key text COLLATE "C",
  input jsonb,
  CONSTRAINT work_pkey PRIMARY KEY (id) WITH (fillfactor = 30)
) USING heap WITH (fillfactor = 33);
CREATE INDEX work_queue ON {schema}.work (lane, due) WHERE lane IS NOT NULL;
CREATE INDEX work_limits ON {schema}.work (key, limit_key, lane, due) WHERE lane < -100000;
CREATE TABLE {schema}.record (
  kind "char" NOT NULL,
  owner bigint NOT NULL,
  name text COLLATE "C" NOT NULL,
  seq bigint NOT NULL,
  at timestamptz NOT NULL,
  ref bigint,
  hash bytea,
  body jsonb,
  CONSTRAINT record_pkey PRIMARY KEY (kind, owner, name, seq)
);
)";

struct View {
  const char *name;
  const char *sql;
};

const View views[] = {{"workflow_executions", R"(
CREATE OR REPLACE VIEW {schema}.workflow_executions AS
SELECT {base} + w.id AS execution_id, d.name COLLATE "default" AS workflow, d.seq::integer AS version,
  CASE w.state WHEN 4 THEN 'completed' WHEN 5 THEN 'failed' WHEN 7 THEN 'cancelled'
    ELSE CASE WHEN w.paused_at IS NOT NULL THEN 'paused' WHEN t.started_at IS NULL THEN 'pending' ELSE 'running' END
    END AS status,
  w.input AS context,
  CASE WHEN w.state < 4 THEN NULL WHEN w.span > 0 THEN w.output
    WHEN w.state = 4 THEN insula.merge_patch(w.input, w.output) ELSE w.input END AS final_context,
  CASE WHEN w.state IN (5, 7) THEN CASE WHEN w.state = 5 AND w.span = 0
    THEN 'task "' || split_part(k.name, '.', 2) || '" failed: ' || w.error ELSE w.error END END AS error,
  w.priority, w.created_at, t.started_at, w.finished_at, {base} + w.parent AS parent_task_id
FROM {schema}.work w
JOIN {schema}.record d ON d.kind = 'w' AND d.owner = w.def
LEFT JOIN {schema}.record k ON k.kind = 't' AND k.owner = w.key
CROSS JOIN LATERAL (SELECT CASE WHEN w.span = 0 THEN w.started_at
  ELSE (SELECT min(r.started_at) FROM {schema}.work r WHERE r.id > w.id AND r.id <= w.id + w.span) END) t(started_at)
WHERE w.head IS NULL;
)"},
                      {"task_executions", R"(
CREATE OR REPLACE VIEW {schema}.task_executions AS
SELECT {base} + w.id AS task_id, {base} + coalesce(w.head, w.id) AS execution_id,
  d.name COLLATE "default" AS workflow, split_part(k.name, '.', 2) COLLATE "default" || coalesce('[' || w.element || ']', '') AS task,
  (ARRAY['pending', 'ready', 'running', 'waiting', 'completed', 'failed', 'skipped', 'cancelled'])[w.state + 1]
    AS status,
  w.attempt, w.worker, w.error, coalesce(w.run_at, w.created_at, h.created_at) AS run_at, w.started_at, w.finished_at
FROM {schema}.work w
JOIN {schema}.record d ON d.kind = 'w' AND d.owner = w.def
JOIN {schema}.record k ON k.kind = 't' AND k.owner = w.key
LEFT JOIN {schema}.work h ON h.id = w.head
WHERE w.task >= 0;
)"},
                      {"execution_events", R"(
CREATE OR REPLACE VIEW {schema}.execution_events AS
SELECT e.event_id, e.execution_id, e.task_id, e.event, e.at, e.detail FROM (
  SELECT w.id * 8 AS event_id, {base} + w.id AS execution_id, NULL::bigint AS task_id,
    'execution_submitted'::text AS event, w.created_at AS at, NULL::jsonb AS detail
  FROM {schema}.work w WHERE w.head IS NULL
  UNION ALL
  SELECT w.id * 8 + 1, {base} + coalesce(w.head, w.id), {base} + w.id, 'task_started', w.started_at,
    jsonb_build_object('attempt', w.attempt, 'worker', w.worker)
  FROM {schema}.work w WHERE w.task >= 0 AND w.started_at IS NOT NULL
  UNION ALL
  SELECT w.id * 8 + 2, {base} + coalesce(w.head, w.id), {base} + w.id,
    (ARRAY['task_completed', 'task_failed', 'task_skipped', 'task_cancelled'])[w.state - 3], w.finished_at,
    CASE WHEN w.error IS NOT NULL THEN jsonb_build_object('error', w.error) END
  FROM {schema}.work w WHERE w.task >= 0 AND w.state >= 4
  UNION ALL
  SELECT (w.id + 562949953421312) * 8 + 3, {base} + w.id, NULL,
    (ARRAY['execution_completed', 'execution_failed', NULL, 'execution_cancelled'])[w.state - 3], w.finished_at,
    CASE WHEN w.error IS NOT NULL THEN jsonb_build_object('error', w.error) END
  FROM {schema}.work w WHERE w.head IS NULL AND w.state >= 4
  UNION ALL
  SELECT r.seq * 8 + 7, {base} + r.owner, {base} + r.ref, r.name COLLATE "default", r.at, r.body
  FROM {schema}.record r WHERE r.kind = 'h'
) e;
)"},
                      {"schedules", R"(
CREATE OR REPLACE VIEW {schema}.schedules AS
SELECT d.name COLLATE "default" AS name, d.body ->> 'workflow' AS workflow, d.body ->> 'cron' AS cron,
  d.body ->> 'timezone' AS timezone,
  CASE WHEN d.body ? 'paused' THEN 'paused' WHEN n.at IS NULL THEN 'ended' ELSE 'active' END AS status,
  CASE WHEN NOT d.body ? 'paused' THEN n.at END AS next_fire_at, l.fired AS last_fire_at,
  {base} + d.ref AS schedule_id, d.body -> 'context' AS context, d.body ->> 'catch_up' AS catch_up,
  (d.body ->> 'max_catch_up')::integer AS max_catch_up, b.starts_at, b.ends_at, d.body ->> 'overlap' AS overlap,
  (d.body ->> 'jitter')::bigint * interval '1 microsecond' AS jitter
FROM {schema}.record d
CROSS JOIN LATERAL (SELECT timestamptz '2000-01-01 00:00:00+00' + (d.body ->> 'starts_at')::bigint * interval '1 microsecond' AS starts_at, timestamptz '2000-01-01 00:00:00+00' + (d.body ->> 'ends_at')::bigint * interval '1 microsecond' AS ends_at) b
CROSS JOIN LATERAL (SELECT
  timestamptz '2000-01-01 00:00:00+00' + ((SELECT f.seq FROM {schema}.record f WHERE f.kind = 'f' AND f.owner = d.ref AND f.name = ''
    ORDER BY f.seq DESC LIMIT 1))::bigint * interval '1 microsecond' AS dealt_with,
  timestamptz '2000-01-01 00:00:00+00' + ((SELECT f.seq FROM {schema}.record f WHERE f.kind = 'f' AND f.owner = d.ref AND f.name = ''
    AND f.ref IS NOT NULL ORDER BY f.seq DESC LIMIT 1))::bigint * interval '1 microsecond' AS fired) l
LEFT JOIN LATERAL insula.next_fires(d.body ->> 'cron', d.body ->> 'timezone', 1,
  greatest(d.at, l.dealt_with, b.starts_at - interval '1 microsecond')) n(at) ON b.ends_at IS NULL OR n.at <= b.ends_at
WHERE d.kind = 'd' AND d.owner = 0;
)"}};

const char grants[] = R"(
GRANT USAGE ON SCHEMA {schema} TO {user};
GRANT SELECT ON {schema}.workflow_executions, {schema}.task_executions, {schema}.execution_events, {schema}.schedules TO {user};
)";

struct Words {
  const char *schema;  // quoted
  const char *user;    // quoted; nullptr: none
  std::int64_t base;   // a local number plus this is an id
  std::int64_t start;  // the first value of the sequence
};

void append_filled(StringInfo text, const char *sql, const Words &words) {
  for (const char *at = sql; *at;) {
    if (strncmp(at, "{schema}", 8) == 0) {
      appendStringInfoString(text, words.schema);
      at += 8;
    } else if (strncmp(at, "{user}", 6) == 0) {
      appendStringInfoString(text, words.user);
      at += 6;
    } else if (strncmp(at, "{base}", 6) == 0) {
      appendStringInfo(text, "%lld::bigint", static_cast<long long>(words.base));
      at += 6;
    } else if (strncmp(at, "{start}", 7) == 0) {
      appendStringInfo(text, "%lld", static_cast<long long>(words.start));
      at += 7;
    } else {
      appendStringInfoChar(text, *at++);
    }
  }
}

void set_local(const char *name, const char *value) {
  (void)set_config_option(name, value, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

// Settings of the caller must not apply to relations that it does not own: in another tablespace
// the owner may have no rights, and storage/ cannot work with another access method.
void execute_as_owner(const char *sql) {
  const Owner owner = enter_owner();
  set_local("default_tablespace", "");
  set_local("default_table_access_method", "heap");
  // The caller of drop_tenant has asked for the cascade, and needs no notice of it.
  set_local("client_min_messages", "warning");
  SPI_connect();
  const int status = SPI_execute(sql, false, 0);
  if (status < 0) elog(ERROR, "insula: tenant DDL failed: %s", SPI_result_code_string(status));
  SPI_finish();
  leave_owner(owner);
}

// ---- rights ----

// Revokes all rights that default privileges gave to other roles, and grants the owner the rights
// that they took: the rights of an object that is made without default privileges.
void append_own_rights(StringInfo sql, const char *kind, const char *object, Datum acl) {
  const Oid owner = owner_role();
  const Acl *rights = DatumGetAclP(acl);
  const AclItem *items = ACL_DAT(rights);
  for (int i = 0; i < ACL_NUM(rights); ++i) {
    if (items[i].ai_grantee == owner) continue;
    const char *grantee = items[i].ai_grantee == ACL_ID_PUBLIC
                              ? "PUBLIC"
                              : quote_identifier(GetUserNameFromId(items[i].ai_grantee, false));
    appendStringInfo(sql, "REVOKE ALL ON %s %s FROM %s CASCADE;", kind, object, grantee);
  }
  appendStringInfo(sql, "GRANT ALL ON %s %s TO insula_owner;", kind, object);
}

void append_own_rights_of(StringInfo sql, int cache, Oid oid, AttrNumber column, const char *kind, const char *object) {
  HeapTuple row = SearchSysCache1(cache, ObjectIdGetDatum(oid));
  if (!HeapTupleIsValid(row)) return;
  bool null;
  const Datum acl = SysCacheGetAttr(cache, row, column, &null);
  if (!null) append_own_rights(sql, kind, object, acl);
  ReleaseSysCache(row);
}

// Default privileges of insula_owner, which a superuser may set, must not open a tenant's
// relations.
void undo_default_privileges(const char *schema) {
  const Oid oid = get_namespace_oid(schema, false);
  StringInfoData sql;
  initStringInfo(&sql);
  append_own_rights_of(&sql, NAMESPACEOID, oid, Anum_pg_namespace_nspacl, "SCHEMA", quote_identifier(schema));
  for (const char *name : tenant_relations) {
    const Oid relation = get_relname_relid(name, oid);
    const char *kind = get_rel_relkind(relation) == RELKIND_SEQUENCE ? "SEQUENCE" : "TABLE";
    append_own_rights_of(&sql, RELOID, relation, Anum_pg_class_relacl, kind, quote_qualified_identifier(schema, name));
  }
  if (sql.len > 0) execute_as_owner(sql.data);
}

}  // namespace

void create_tenant_schema(const TenantNumber &number, const char *schema, const char *username) {
  const Words words = {quote_identifier(schema), username ? quote_identifier(username) : nullptr,
                       core::make_id(number.number, 0), number.last_value + 1};
  StringInfoData sql;
  initStringInfo(&sql);
  // CREATE SCHEMA with elements would run them under other rules.
  appendStringInfo(&sql, "CREATE SCHEMA %s;", words.schema);
  append_filled(&sql, tables, words);
  for (const View &view : views) append_filled(&sql, view.sql, words);
  execute_as_owner(sql.data);
  CommandCounterIncrement();
  for (const char *name : tenant_relations) comment_on(schema, name);
  undo_default_privileges(schema);
  if (!words.user) return;
  resetStringInfo(&sql);
  append_filled(&sql, grants, words);
  execute_as_owner(sql.data);
}

void create_tenant_view(std::int32_t number, const char *schema, const char *name) {
  StringInfoData sql;
  initStringInfo(&sql);
  for (const View &view : views)
    if (strcmp(view.name, name) == 0)
      append_filled(&sql, view.sql, {quote_identifier(schema), nullptr, core::make_id(number, 0), 1});
  execute_as_owner(sql.data);
  CommandCounterIncrement();
  comment_on(schema, name);
}

void drop_tenant_schema(const char *schema) {
  execute_as_owner(psprintf("DROP SCHEMA %s CASCADE", quote_identifier(schema)));
}

}  // namespace insula
