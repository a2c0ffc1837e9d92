// The plan cache; see plans.hpp.  A plan that has not been used for longest makes room.
// Plans follow their relations by PostgreSQL's own invalidation, and no two tenants have had
// both their number and their table's Oid in common, so an entry can be old but never wrong.
#include "spi/plans.hpp"

#include "spi/owner.hpp"

namespace insula {

namespace {

constexpr long plan_limit = 400;

struct PlanKey {
  Oid work;
  std::int32_t tenant;
  std::int32_t statement;
};

struct PlanEntry {
  PlanKey key;
  SPIPlanPtr plan;
  std::uint64_t used;
};

HTAB *plans = nullptr;
std::uint64_t use_clock = 0;

struct SharedText {
  const char *sql;
  int nargs;
  Oid types[8];
};

#define TENANT_ROW                                                             \
  "SELECT tenant_no, tenant, schema_name, username, role_oid, status, login, " \
  "max_running, max_queued, weight, rate_per_second, "                         \
  "(EXTRACT(epoch FROM retain) * 1000000)::bigint, retain_count "              \
  "FROM insula.tenant "

#define RECORD_HOME                                                                       \
  "ON CONFLICT (the_only) DO UPDATE SET system_identifier = EXCLUDED.system_identifier, " \
  "database_oid = EXCLUDED.database_oid, recovery = EXCLUDED.recovery, recorded_at = EXCLUDED.recorded_at"

// The schema $1, and all that DROP ... CASCADE would drop with it.
#define WHAT_GOES                                                                                           \
  "WITH RECURSIVE gone(classid, objid, objsubid) AS ("                                                      \
  "SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass::oid, $1, 0 "                                      \
  "UNION SELECT n.* FROM gone g CROSS JOIN LATERAL ("                                                       \
  "SELECT d.classid, d.objid, d.objsubid FROM pg_catalog.pg_depend d WHERE d.refclassid = g.classid "       \
  "AND d.refobjid = g.objid AND (g.objsubid = 0 OR d.refobjsubid = g.objsubid) UNION ALL "                  \
  "SELECT d.refclassid, d.refobjid, d.refobjsubid FROM pg_catalog.pg_depend d WHERE d.classid = g.classid " \
  "AND d.objid = g.objid AND d.objsubid = g.objsubid AND d.deptype IN ('i', 'e')) n) "

// Of that: neither parts of other such objects, nor what belongs to the roles $2 and $3.
#define DEPENDENTS                                                                                                  \
  WHAT_GOES                                                                                                         \
  "SELECT pg_catalog.pg_describe_object(classid, objid, objsubid) COLLATE \"C\" AS object, "                        \
  "pg_catalog.count(*) OVER () FROM gone g WHERE (classid, objid) <> "                                              \
  "('pg_catalog.pg_namespace'::pg_catalog.regclass, $1) "                                                           \
  "AND NOT (objsubid <> 0 AND EXISTS (SELECT FROM gone w "                                                          \
  "WHERE w.classid = g.classid AND w.objid = g.objid AND w.objsubid = 0)) "                                         \
  "AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN gone w ON w.classid = d.refclassid "                     \
  "AND w.objid = d.refobjid AND (w.objsubid = 0 OR w.objsubid = d.refobjsubid) WHERE d.classid = g.classid "        \
  "AND d.objid = g.objid AND d.objsubid = g.objsubid AND d.deptype IN ('a', 'i', 'P', 'S', 'e', 'x')) "             \
  "AND NOT EXISTS (SELECT FROM pg_catalog.pg_shdepend s WHERE s.dbid = (SELECT oid FROM pg_catalog.pg_database "    \
  "WHERE datname = pg_catalog.current_database()) AND s.classid = g.classid AND s.objid = g.objid "                 \
  "AND s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.refobjid IN ($2, $3) AND s.deptype = 'o') " \
  "ORDER BY 1 LIMIT $4"

const SharedText shared_texts[static_cast<int>(SharedStatement::count)] = {
    {TENANT_ROW "WHERE tenant_no = $1", 1, {INT4OID}},
    {TENANT_ROW "WHERE tenant = $1", 1, {TEXTOID}},
    {TENANT_ROW "WHERE username = $1", 1, {TEXTOID}},
    {"SELECT tenant_no, weight FROM insula.tenant WHERE status = 'active' OR NOT $1", 1, {BOOLOID}},
    {"INSERT INTO insula.tenant_number (tenant_no) VALUES ($1) ON CONFLICT DO NOTHING", 1, {INT4OID}},
    {"INSERT INTO insula.tenant_number (tenant_no) SELECT n FROM pg_catalog.generate_series(1, $1) n "
     "WHERE NOT EXISTS (SELECT FROM insula.tenant_number t WHERE t.tenant_no = n) ORDER BY pg_catalog.random() LIMIT 1 "
     "ON CONFLICT DO NOTHING RETURNING tenant_no",
     1,
     {INT4OID}},
    {"UPDATE insula.tenant_number n SET dropped_at = NULL WHERE n.tenant_no = (SELECT d.tenant_no "
     "FROM insula.tenant_number d WHERE d.dropped_at IS NOT NULL ORDER BY d.dropped_at, d.tenant_no LIMIT 1 "
     "FOR UPDATE SKIP LOCKED) RETURNING n.tenant_no, n.last_value",
     0,
     {}},
    {"INSERT INTO insula.tenant_number (tenant_no, dropped_at, last_value) VALUES ($1, pg_catalog.clock_timestamp(), "
     "$2) "
     "ON CONFLICT (tenant_no) DO UPDATE SET dropped_at = EXCLUDED.dropped_at, "
     "last_value = greatest(tenant_number.last_value, EXCLUDED.last_value)",
     2,
     {INT4OID, INT8OID}},
    {"INSERT INTO insula.tenant (tenant_no, tenant, schema_name, username, role_oid, login, created_at) "
     "VALUES ($1, $2, $3, $4, $5, $6, pg_catalog.now())",
     6,
     {INT4OID, TEXTOID, TEXTOID, TEXTOID, OIDOID, BOOLOID}},
    {"UPDATE insula.tenant SET status = $2 WHERE tenant_no = $1", 2, {INT4OID, TEXTOID}},
    {"UPDATE insula.tenant SET max_running = CASE WHEN $2 < 0 THEN NULL ELSE coalesce($2, max_running) END, "
     "max_queued = CASE WHEN $3 < 0 THEN NULL ELSE coalesce($3, max_queued) END, "
     "max_connections = CASE WHEN $4 < 0 THEN NULL ELSE coalesce($4, max_connections) END, "
     "weight = CASE WHEN $5 < 0 THEN 1 ELSE coalesce($5, weight) END, "
     "rate_per_second = CASE WHEN $6 < 0 THEN NULL ELSE coalesce($6, rate_per_second) END, "
     "retain = CASE WHEN $7 < '0 s' THEN NULL ELSE coalesce($7, retain) END, "
     "retain_count = CASE WHEN $8 < 0 THEN NULL ELSE coalesce($8, retain_count) END WHERE tenant_no = $1",
     8,
     {INT4OID, INT4OID, INT8OID, INT4OID, INT4OID, FLOAT8OID, INTERVALOID, INT8OID}},
    {"SELECT tenant_no, tenant, layout_version FROM insula.tenant WHERE layout_version < $1 ORDER BY tenant LIMIT $2",
     2,
     {INT4OID, INT8OID}},
    // Where session_replication_role lets no foreign key act, too.
    {"WITH error AS (DELETE FROM insula.tenant_error WHERE tenant_no = $1) "
     "DELETE FROM insula.tenant WHERE tenant_no = $1",
     1,
     {INT4OID}},
    {WHAT_GOES "SELECT DISTINCT classid, objid FROM gone ORDER BY 1, 2", 1, {OIDOID}},
    {DEPENDENTS, 4, {OIDOID, OIDOID, OIDOID, INT4OID}},
    {"INSERT INTO insula.leftover_role VALUES ($1, $2, $3, $4, pg_catalog.now())",
     4,
     {OIDOID, TEXTOID, TEXTOID, TEXTOID}},
    {"SELECT 1 FROM pg_catalog.pg_prepared_xact() p WHERE p.ownerid = $1 LIMIT 1", 1, {OIDOID}},
    {"SELECT system_identifier, database_oid, recovery FROM insula.home", 0, {}},
    {"INSERT INTO insula.home VALUES (true, $1, $2, $3, pg_catalog.now()) " RECORD_HOME, 3, {TEXTOID, OIDOID, TEXTOID}},
    {"INSERT INTO insula.home SELECT true, $1, $2, $3, pg_catalog.now() "
     "WHERE NOT EXISTS (SELECT FROM insula.tenant) " RECORD_HOME,
     3,
     {TEXTOID, OIDOID, TEXTOID}},
    {"SELECT FROM insula.home h, insula.home_mark m WHERE (m.system_identifier, m.database_oid) = "
     "(h.system_identifier, h.database_oid) AND m.database_oid = $1 AND m.relation_oid = $2 AND m.other_oids <> $3",
     3,
     {OIDOID, OIDOID, TEXTOID}},
    {"INSERT INTO insula.home_mark SELECT true, h.system_identifier, $1, $2, $3 FROM insula.home h "
     "ON CONFLICT (the_only) DO UPDATE SET system_identifier = EXCLUDED.system_identifier, "
     "database_oid = EXCLUDED.database_oid, relation_oid = EXCLUDED.relation_oid, other_oids = EXCLUDED.other_oids",
     3,
     {OIDOID, OIDOID, TEXTOID}},
    {"DELETE FROM insula.home_mark", 0, {}},
    {"SELECT role_oid, role_name FROM insula.leftover_role", 0, {}},
    {"DELETE FROM insula.leftover_role WHERE role_oid = $1", 1, {OIDOID}},
    {"UPDATE insula.tenant SET role_oid = $2 WHERE tenant_no = $1", 2, {INT4OID, OIDOID}},
    {"UPDATE insula.tenant SET role_oid = NULL, username = $2 WHERE tenant_no = $1", 2, {INT4OID, TEXTOID}},
    {"INSERT INTO insula.admin_log (at, username, act, tenant, detail) VALUES (pg_catalog.now(), $1, $2, $3, $4)",
     4,
     {TEXTOID, TEXTOID, TEXTOID, TEXTOID}},
    {"SELECT wanted FROM insula.scheduler_wanted", 0, {}},
    {"INSERT INTO insula.scheduler_wanted SELECT true, $1 WHERE NOT $1 OR EXISTS (SELECT FROM "
     "insula.scheduler_wanted) ON CONFLICT (the_only) DO UPDATE SET wanted = "
     "EXCLUDED.wanted WHERE scheduler_wanted.wanted <> EXCLUDED.wanted",
     1,
     {BOOLOID}},
    {"INSERT INTO insula.tenant_error SELECT tenant_no, $2, $3, $4 FROM insula.tenant WHERE tenant_no = $1 "
     "ON CONFLICT (tenant_no) DO UPDATE SET at = EXCLUDED.at, error = EXCLUDED.error, failures = EXCLUDED.failures",
     4,
     {INT4OID, TIMESTAMPTZOID, TEXTOID, INT4OID}},
    {"DELETE FROM insula.tenant_error WHERE tenant_no = $1", 1, {INT4OID}},
    {"SELECT tenant_no, at, failures FROM insula.tenant_error", 0, {}},
};

SPIPlanPtr shared_plans[static_cast<int>(SharedStatement::count)] = {};

SPIPlanPtr keep(SPIPlanPtr plan, const char *sql) {
  if (!plan || SPI_keepplan(plan) != 0) elog(ERROR, "insula: preparing \"%s\" failed", sql);
  return plan;
}

char *fill_in(const TenantTables &tenant, const char *sql) {
  StringInfoData text;
  initStringInfo(&text);
  for (const char *at = sql; *at;) {
    if (strncmp(at, "{work}", 6) == 0) {
      appendStringInfoString(&text, quote_qualified_identifier(tenant.schema, "work"));
      at += 6;
    } else if (strncmp(at, "{record}", 8) == 0) {
      appendStringInfoString(&text, quote_qualified_identifier(tenant.schema, "record"));
      at += 8;
    } else {
      appendStringInfoChar(&text, *at++);
    }
  }
  return text.data;
}

void make_room() {
  if (hash_get_num_entries(plans) < plan_limit) return;
  HASH_SEQ_STATUS scan;
  PlanEntry *oldest = nullptr;
  hash_seq_init(&scan, plans);
  while (auto *entry = static_cast<PlanEntry *>(hash_seq_search(&scan)))
    if (!oldest || entry->used < oldest->used) oldest = entry;
  if (oldest->plan) SPI_freeplan(oldest->plan);
  PlanKey key = oldest->key;
  hash_search(plans, &key, HASH_REMOVE, nullptr);
}

}  // namespace

SPIPlanPtr shared_plan(SharedStatement statement) {
  settle_planner();
  SPIPlanPtr &plan = shared_plans[static_cast<int>(statement)];
  if (!plan) {
    const SharedText &text = shared_texts[static_cast<int>(statement)];
    plan = keep(SPI_prepare(text.sql, text.nargs, const_cast<Oid *>(text.types)), text.sql);
  }
  return plan;
}

SPIPlanPtr tenant_plan(const TenantTables &tenant, Statement statement) {
  settle_planner();
  if (!plans) {
    HASHCTL control = {};
    control.keysize = sizeof(PlanKey);
    control.entrysize = sizeof(PlanEntry);
    control.hcxt = CacheMemoryContext;
    plans = hash_create("insula plans", plan_limit, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
  }
  PlanKey key = {tenant.work, tenant.number, static_cast<std::int32_t>(statement)};
  auto *entry = static_cast<PlanEntry *>(hash_search(plans, &key, HASH_FIND, nullptr));
  if (!entry) {
    const StatementText &text = statement_text(statement);
    const char *sql = fill_in(tenant, text.sql);
    SPIPlanPtr plan =
        keep(SPI_prepare(sql, static_cast<int>(text.arguments.size()), const_cast<Oid *>(text.arguments.begin())), sql);
    make_room();
    entry = static_cast<PlanEntry *>(hash_search(plans, &key, HASH_ENTER, nullptr));
    entry->plan = plan;
  }
  entry->used = ++use_clock;
  return entry->plan;
}

}  // namespace insula
