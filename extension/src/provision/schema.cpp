// A tenant's schema.  All its relations are made here, by insula_owner.  There are only two tables,
// so that ten thousand tenants stay cheap: `work` for executions and tasks, `record` for all else
// (tenant/columns.hpp lists their columns).  The tenant reads through views, which
// hold the tenant's number and so turn local numbers into ids.
#include "core/ids.hpp"
#include "provision/provision.hpp"
#include "spi/owner.hpp"
#include "spi/words.hpp"
#include "storage/codes.hpp"
#include "tenant/columns.hpp"

extern "C" {
#include "access/nbtree.h"
#include "access/xloginsert.h"
#include "catalog/indexing.h"
#include "commands/tablecmds.h"
#include "commands/view.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "parser/parse_utilcmd.h"
#include "parser/parser.h"
#include "storage/bufmgr.h"
}

namespace insula {

namespace {

// A row of work is rewritten twice, by its claim and by its end.  Inserts fill only a third of each
// page, so that all three versions of each row fit in it: rewriting a row in its page writes a
// third of the WAL, and an old snapshot that keeps the versions alive does not change that.  The
// price is that pages of history stay as empty; with less room, a backlog that is worked off would
// take as many pages in the end.  Each version has its own entry in the primary key, so its pages
// are left as empty.
const char tables[] = R"(
CREATE SEQUENCE {schema}.id START {start};
CREATE TABLE {schema}.work ({work_columns}) USING heap WITH (fillfactor = 33);
CREATE TABLE {schema}.record ({record_columns});
)";

struct Index {
  const char *table;
  bool is_primary_key;
  const char *sql;
};

const Index indexes[] = {
    {"work", true, "CREATE UNIQUE INDEX work_pkey ON {schema}.work (id) WITH (fillfactor = 30)"},
    {"work", false, "CREATE INDEX work_queue ON {schema}.work (lane, due) WHERE lane IS NOT NULL"},
    {"work", false, "CREATE INDEX work_limits ON {schema}.work (key, limit_key, lane, due) WHERE lane < {lane.free}"},
    {"record", true, "CREATE UNIQUE INDEX record_pkey ON {schema}.record (kind, owner, name, seq)"}};

struct View {
  const char *name;
  const char *sql;
};

const View views[] = {{"workflow_executions", R"(
CREATE OR REPLACE VIEW {schema}.workflow_executions AS
SELECT {base} + w.id AS execution_id, d.name COLLATE "default" AS workflow, d.seq::integer AS version,
  CASE w.state WHEN {state.completed} THEN 'completed' WHEN {state.failed} THEN 'failed'
    WHEN {state.cancelled} THEN 'cancelled'
    ELSE CASE WHEN w.paused_at IS NOT NULL THEN 'paused' WHEN t.started_at IS NULL THEN 'pending' ELSE 'running' END
    END AS status,
  w.input AS context,
  CASE WHEN w.state < {state.completed} THEN NULL WHEN w.span > 0 THEN w.output
    WHEN w.state = {state.completed} THEN insula.merge_patch(w.input, w.output) ELSE w.input END AS final_context,
  CASE WHEN w.state IN ({state.failed}, {state.cancelled}) THEN CASE WHEN w.state = {state.failed} AND w.span = 0
    THEN 'task "' || split_part(k.name, '.', 2) || '" failed: ' || w.error ELSE w.error END END AS error,
  w.priority, w.created_at, {first_start} AS started_at, w.finished_at, {base} + w.parent AS parent_task_id
FROM {schema}.work w
JOIN {schema}.record d ON d.kind = {kind.version} AND d.owner = w.def
LEFT JOIN {schema}.record k ON k.kind = {kind.task_key} AND k.owner = w.key
CROSS JOIN LATERAL (SELECT CASE WHEN w.span = 0 THEN w.started_at
  ELSE (SELECT min(r.started_at) FROM {schema}.work r WHERE r.id > w.id AND r.id <= w.id + w.span) END OFFSET 0) t(started_at)
WHERE w.head IS NULL;
)"},
                      {"task_executions", R"(
CREATE OR REPLACE VIEW {schema}.task_executions AS
SELECT {base} + w.id AS task_id, {base} + coalesce(w.head, w.id) AS execution_id,
  d.name COLLATE "default" AS workflow,
  split_part(k.name, '.', 2) COLLATE "default" || coalesce('[' || w.element || ']', '') AS task,
  ({task_states})[w.state + 1] AS status,
  w.attempt, w.worker, w.error, coalesce(w.run_at, w.created_at, h.created_at) AS run_at, w.started_at, w.finished_at,
  (p.body ->> 'progress')::double precision AS progress, p.body ->> 'note' AS note, c.body AS checkpoint
FROM {schema}.work w
JOIN {schema}.record d ON d.kind = {kind.version} AND d.owner = w.def
JOIN {schema}.record k ON k.kind = {kind.task_key} AND k.owner = w.key
LEFT JOIN {schema}.work h ON h.id = w.head
LEFT JOIN {schema}.record p ON p.kind = {kind.progress} AND p.owner = coalesce(w.head, w.id) AND p.name = ''
  AND p.seq = w.id
LEFT JOIN {schema}.record c ON c.kind = {kind.progress} AND c.owner = coalesce(w.head, w.id) AND c.name = 'checkpoint'
  AND c.seq = w.id
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
    ({task_ends})[w.state - {last_open_state}], w.finished_at,
    CASE WHEN w.error IS NOT NULL THEN jsonb_build_object('error', w.error) END
  FROM {schema}.work w WHERE w.task >= 0 AND w.state >= {state.completed}
  UNION ALL
  SELECT (w.id + 562949953421312) * 8 + 3, {base} + w.id, NULL,
    ({execution_ends})[w.state - {last_open_state}], w.finished_at,
    CASE WHEN w.error IS NOT NULL THEN jsonb_build_object('error', w.error) END
  FROM {schema}.work w WHERE w.head IS NULL AND w.state >= {state.completed}
  UNION ALL
  SELECT r.seq * 8 + 7, {base} + r.owner, {base} + r.ref, r.name COLLATE "default", r.at, r.body
  FROM {schema}.record r WHERE r.kind = {kind.history}
) e;
)"},
                      {"schedules", R"(
CREATE OR REPLACE VIEW {schema}.schedules AS
SELECT d.name COLLATE "default" AS name, d.body ->> 'workflow' AS workflow, d.body ->> 'cron' AS cron,
  d.body ->> 'timezone' AS timezone,
  CASE WHEN d.body ? 'paused' THEN 'paused' WHEN n.at IS NULL THEN 'ended' ELSE 'active' END AS status,
  CASE WHEN NOT d.body ? 'paused' THEN n.at END AS next_fire_at, l.fired AS last_fire_at,
  {base} + d.ref AS schedule_id, (
    SELECT c.body FROM {schema}.record c
    WHERE c.kind = {kind.schedule_context} AND c.owner = d.ref AND c.name = '' AND c.seq = 0) AS context,
  d.body ->> 'catch_up' AS catch_up,
  (d.body ->> 'max_catch_up')::integer AS max_catch_up, b.starts_at, b.ends_at, d.body ->> 'overlap' AS overlap,
  (d.body ->> 'jitter')::bigint * interval '1 microsecond' AS jitter
FROM {schema}.record d
CROSS JOIN LATERAL (SELECT
  timestamptz '2000-01-01 00:00:00+00' + (d.body ->> 'starts_at')::bigint * interval '1 microsecond' AS starts_at,
  timestamptz '2000-01-01 00:00:00+00' + (d.body ->> 'ends_at')::bigint * interval '1 microsecond' AS ends_at) b
CROSS JOIN LATERAL (SELECT
  timestamptz '2000-01-01 00:00:00+00' + ((
    SELECT f.seq FROM {schema}.record f WHERE f.kind = {kind.fire} AND f.owner = d.ref AND f.name = ''
    ORDER BY f.seq DESC LIMIT 1))::bigint * interval '1 microsecond' AS dealt_with,
  timestamptz '2000-01-01 00:00:00+00' + ((
    SELECT f.seq FROM {schema}.record f WHERE f.kind = {kind.fire} AND f.owner = d.ref AND f.name = ''
      AND f.ref IS NOT NULL ORDER BY f.seq DESC LIMIT 1))::bigint * interval '1 microsecond' AS fired) l
LEFT JOIN LATERAL insula.next_fires(d.body ->> 'cron', d.body ->> 'timezone', 1,
  greatest(d.at, l.dealt_with, b.starts_at - interval '1 microsecond')) n(at) ON b.ends_at IS NULL OR n.at <= b.ends_at
WHERE d.kind = {kind.schedule} AND d.owner = 0;
)"}};

const char grants[] = R"(
GRANT USAGE ON SCHEMA {schema} TO {user};
GRANT SELECT ON {schema}.workflow_executions, {schema}.task_executions, {schema}.execution_events,
  {schema}.schedules TO {user};
)";

// The columns as CREATE TABLE has them.
template <std::size_t count>
char *list_columns(const ColumnType (&columns)[count]) {
  StringInfoData list;
  initStringInfo(&list);
  for (const ColumnType &column : columns)
    appendStringInfo(&list, "%s%s %s%s", &column == columns ? "" : ",\n  ", column.name, column.type.name,
                     column.nullable == Nullable::no ? " NOT NULL" : "");
  return list.data;
}

// An array of the names of the states from `first` on, in the order of their numbers; NULL in the place of `never`.
char *array_of_states(State first, const char *prefix, State never) {
  StringInfoData array;
  initStringInfo(&array);
  for (int number = static_cast<int>(first); state_name(static_cast<State>(number)); ++number) {
    const auto state = static_cast<State>(number);
    appendStringInfoString(&array, state == first ? "ARRAY[" : ", ");
    if (state == never)
      appendStringInfoString(&array, "NULL");
    else
      appendStringInfo(&array, "'%s%s'", prefix, state_name(state));
  }
  appendStringInfoChar(&array, ']');
  return array.data;
}

struct Schema {
  const char *name;
  const char *user;       // nullptr: none
  std::int32_t tenant;    // its number
  std::int64_t first_id;  // that its sequence gives
};

void append_filled(StringInfo sql, const char *text, const Schema &schema) {
  constexpr auto no_state = static_cast<State>(-1);
  const auto base = static_cast<long long>(core::make_id(schema.tenant, 0));
  const Word words[] = {{"schema", quote_identifier(schema.name)},
                        {"record", psprintf("%s.record", quote_identifier(schema.name))},
                        {"user", schema.user ? quote_identifier(schema.user) : ""},
                        {"base", psprintf("%lld::bigint", base)},
                        {"start", nullptr, schema.first_id},
                        {"work_columns", list_columns(work_columns)},
                        {"record_columns", list_columns(record_columns)},
                        {"task_states", array_of_states(State::pending, "", no_state)},
                        {"task_ends", array_of_states(State::completed, "task_", no_state)},
                        {"execution_ends", array_of_states(State::completed, "execution_", State::skipped)},
                        {"last_open_state", nullptr, static_cast<int>(State::completed) - 1}};
  appendStringInfoString(sql, fill_in(text, {words, lengthof(words)}, storage_words()));
}

void set_local(const char *name, const char *value) {
  (void)set_config_option(name, value, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

// Settings of the caller must not apply to relations that it does not own: in another tablespace
// the owner may have no rights, and storage/ cannot work with another access method.
Owner become_maker() {
  const Owner owner = enter_owner();
  set_local("default_tablespace", "");
  set_local("default_table_access_method", "heap");
  // The caller of drop_tenant has asked for the cascade, and needs no notice of it.
  set_local("client_min_messages", "warning");
  // Views are long texts in the catalog, which pglz takes its time for.  A server may lack lz4.
  (void)set_config_option("default_toast_compression", "lz4", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, DEBUG5,
                          false);
  return owner;
}

void execute_as_owner(const char *sql) {
  const Owner owner = become_maker();
  SPI_connect();
  const int status = SPI_execute(sql, false, 0);
  if (status < 0) elog(ERROR, "insula: tenant DDL failed: %s", SPI_result_code_string(status));
  SPI_finish();
  leave_owner(owner);
}

// ---- indexes ----

// What a build makes of an empty table: the pages of the catalog, too, since plans go by them.
void note_one_page(Oid index) {
  Relation catalog = table_open(RelationRelationId, RowExclusiveLock);
  HeapTuple row = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(index));
  if (!HeapTupleIsValid(row)) elog(ERROR, "insula: index %u has gone", index);
  reinterpret_cast<Form_pg_class>(GETSTRUCT(row))->relpages = 1;
  CatalogTupleUpdate(catalog, &row->t_self, row);
  table_close(catalog, RowExclusiveLock);
}

void write_empty_btree(Oid oid) {
  Relation index = index_open(oid, AccessExclusiveLock);
  const bool equal_images = _bt_allequalimage(index, false);
  const Buffer buffer = ReadBufferExtended(index, MAIN_FORKNUM, P_NEW, RBM_ZERO_AND_LOCK, nullptr);
  START_CRIT_SECTION();
  _bt_initmetapage(BufferGetPage(buffer), P_NONE, 0, equal_images);
  MarkBufferDirty(buffer);
  if (RelationNeedsWAL(index)) (void)log_newpage_buffer(buffer, true);
  END_CRIT_SECTION();
  UnlockReleaseBuffer(buffer);
  note_one_page(oid);
  index_close(index, NoLock);
}

// CREATE INDEX would wait for the disk to have written the index, and a tenant has four.
void create_index(const Index &index, const Schema &schema) {
  StringInfoData sql;
  initStringInfo(&sql);
  append_filled(&sql, index.sql, schema);
  auto *statement = castNode(IndexStmt, linitial_node(RawStmt, raw_parser(sql.data, RAW_PARSE_DEFAULT))->stmt);
  statement->primary = statement->isconstraint = index.is_primary_key;
  const Oid table = get_relname_relid(index.table, get_namespace_oid(schema.name, false));
  const Oid made = define_unbuilt_index(table, transformIndexStmt(table, statement, sql.data));
  CommandCounterIncrement();
  write_empty_btree(made);
}

void create_indexes(const Schema &schema) {
  const Owner owner = become_maker();
  for (const Index &index : indexes) create_index(index, schema);
  leave_owner(owner);
}

// ---- views ----

struct ViewWithoutRule {
  Oid oid;
  Query *rule;
};

// CREATE VIEW, but for the rule: a session reads a new view's rule again after each command that changes the view, and
// that takes as long as to make it.
ViewWithoutRule create_view(const View &view, const Schema &schema) {
  StringInfoData sql;
  initStringInfo(&sql);
  append_filled(&sql, view.sql, schema);
  const auto *statement = castNode(ViewStmt, linitial_node(RawStmt, raw_parser(sql.data, RAW_PARSE_DEFAULT))->stmt);
  auto *query = makeNode(RawStmt);
  query->stmt = statement->query;
  Query *rule = parse_analyze_fixedparams(query, sql.data, nullptr, 0, nullptr);
  auto *relation = makeNode(CreateStmt);
  relation->relation = statement->view;
  relation->oncommit = ONCOMMIT_NOOP;
  ListCell *cell;
  foreach (cell, rule->targetList) {
    const auto *column = lfirst_node(TargetEntry, cell);
    Node *value = reinterpret_cast<Node *>(column->expr);
    relation->tableElts = lappend(
        relation->tableElts, makeColumnDef(column->resname, exprType(value), exprTypmod(value), exprCollation(value)));
  }
  return {DefineRelation(relation, RELKIND_VIEW, InvalidOid, nullptr, nullptr).objectId, rule};
}

struct Views {
  ViewWithoutRule view[lengthof(views)];
};

Views create_views(const Schema &schema) {
  const Owner owner = become_maker();
  Views made;
  for (std::size_t i = 0; i < lengthof(views); ++i) made.view[i] = create_view(views[i], schema);
  leave_owner(owner);
  return made;
}

void store_rules(const Views &made) {
  const Owner owner = become_maker();
  for (const ViewWithoutRule &view : made.view) StoreViewQuery(view.oid, view.rule, false);
  CommandCounterIncrement();
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

void append_own_rights_of(StringInfo sql, CacheId cache, Oid oid, AttrNumber column, const char *kind,
                          const char *object) {
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
  const Schema made = {schema, username, number.number, number.last_value + 1};
  StringInfoData sql;
  initStringInfo(&sql);
  // CREATE SCHEMA with elements would run them under other rules.
  appendStringInfo(&sql, "CREATE SCHEMA %s;", quote_identifier(schema));
  append_filled(&sql, tables, made);
  execute_as_owner(sql.data);
  CommandCounterIncrement();
  create_indexes(made);
  const Views made_views = create_views(made);
  CommandCounterIncrement();
  for (const char *name : tenant_relations) comment_on(schema, name);
  undo_default_privileges(schema);
  if (username) {
    resetStringInfo(&sql);
    append_filled(&sql, grants, made);
    execute_as_owner(sql.data);
  }
  CommandCounterIncrement();
  store_rules(made_views);
}

void create_tenant_view(std::int32_t number, const char *schema, const char *name) {
  StringInfoData sql;
  initStringInfo(&sql);
  for (const View &view : views)
    if (strcmp(view.name, name) == 0) append_filled(&sql, view.sql, {schema, nullptr, number, 1});
  execute_as_owner(sql.data);
  CommandCounterIncrement();
  comment_on(schema, name);
}

void drop_tenant_schema(const char *schema) {
  execute_as_owner(psprintf("DROP SCHEMA %s CASCADE", quote_identifier(schema)));
}

}  // namespace insula
