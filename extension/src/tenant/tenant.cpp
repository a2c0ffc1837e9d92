// The per-backend cache of tenants; see tenant.hpp.  Invalidation callbacks only set flags, since
// they may run in the middle of anything; the next lookup acts on them.  Lock order: a tenant's life
// (tenant/lock.hpp) before its relations.
#include "tenant/tenant.hpp"

#include "errors.hpp"
#include "shared/clock.hpp"
#include "shared/shared.hpp"
#include "spi/owner.hpp"
#include "spi/session.hpp"
#include "tenant/home.hpp"
#include "tenant/kept_catalogs.hpp"
#include "tenant/role_changes.hpp"
#include "tenant/shape.hpp"
#include "version.hpp"

namespace insula {

namespace {

constexpr long cache_limit = 16384;

struct NameEntry {
  char name[NAMEDATALEN];
  std::int32_t number;
};

struct RoleEntry {
  Oid role;
  std::int32_t number;
};

MemoryContext cache_context = nullptr;
HTAB *by_number = nullptr;
HTAB *by_name = nullptr;
HTAB *by_role = nullptr;
Oid tenantless_role = InvalidOid;  // the last one that was found to be no tenant's: the caller of claims for all
std::uint32_t tenantless_hash = 0;
bool stale = true;
Oid tenant_table = InvalidOid;
std::uint64_t definitions_clock = 0;
std::uint64_t schemas_clock = 0;  // changes whenever a schema does

HTAB *new_table(const char *name, Size key, Size entry, int flags) {
  HASHCTL control = {};
  control.keysize = key;
  control.entrysize = entry;
  control.hcxt = cache_context;
  return hash_create(name, 64, &control, HASH_ELEM | HASH_CONTEXT | flags);
}

// Removes entries that other backends have announced as changed; the announcement can come before
// the invalidation.
void forget_changed() {
  std::int32_t tenants[changes_remembered];
  bool unknown;
  const int count = take_changed_tenants(tenants, &unknown);
  stale = stale || unknown;
  if (count > 0) tenantless_role = InvalidOid;
  for (int i = 0; i < count && !stale; ++i) hash_search(by_number, &tenants[i], HASH_REMOVE, nullptr);
}

// A tenant may alter its own role: the others are not looked at again.
void note_changed_roles() {
  if (!roles_have_changed()) return;
  RoleHashes changed;
  if (!take_changed_roles(&changed)) stale = true;
  if (stale) return;
  if (changed.has(tenantless_hash)) tenantless_role = InvalidOid;
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, by_number);
  while (auto *tenant = static_cast<Tenant *>(hash_seq_search(&scan)))
    if (changed.has(tenant->role_hash)) tenant->role_changed = true;
}

// Empties the cache after an invalidation, or when it is too large.  Only lookups call this, so
// that no operation loses its tenant half-way.
void refresh_cache() {
  forget_changed();
  note_changed_roles();
  if (by_number && !stale && hash_get_num_entries(by_number) < cache_limit) return;
  if (cache_context)
    MemoryContextReset(cache_context);
  else
    cache_context = AllocSetContextCreate(CacheMemoryContext, "insula tenants", ALLOCSET_DEFAULT_SIZES);
  by_number = new_table("insula tenants by number", sizeof(std::int32_t), sizeof(Tenant), HASH_BLOBS);
  by_name = new_table("insula tenants by name", NAMEDATALEN, sizeof(NameEntry), HASH_STRINGS);
  by_role = new_table("insula tenants by role", sizeof(Oid), sizeof(RoleEntry), HASH_BLOBS);
  tenantless_role = InvalidOid;
  rely_on_no_role();
  stale = false;
}

void relation_changed(Datum, Oid relation) {
  home_changed(relation);
  if (!by_number) return;
  if (relation == InvalidOid || relation == tenant_table) {
    stale = true;
    return;
  }
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, by_number);
  while (auto *tenant = static_cast<Tenant *>(hash_seq_search(&scan))) {
    if (tenant->work != relation && tenant->record != relation && tenant->sequence != relation) continue;
    tenant->checked = false;
    tenant->definitions = ++definitions_clock;
  }
}

// The tenant's role, if the role of that name still has the recorded Oid.
Oid trusted_role(const char *username, Oid recorded) {
  const Oid role = get_role_oid(username, true);
  return OidIsValid(role) && role == recorded && !superuser_arg(role) ? role : InvalidOid;
}

void look_up_role(Tenant *tenant) {
  tenant->role = InvalidOid;  // if the look fails
  tenant->role = trusted_role(tenant->username, tenant->recorded_role);
  tenant->role_changed = false;
  if (OidIsValid(tenant->role))
    static_cast<RoleEntry *>(hash_search(by_role, &tenant->role, HASH_ENTER, nullptr))->number = tenant->number;
}

// The entry is made last: an error on the way leaves no half of one.
Tenant *cache_row(HeapTuple row, TupleDesc desc) {
  bool null;
  const std::int32_t number = DatumGetInt32(SPI_getbinval(row, desc, 1, &null));
  Tenant made = {};
  Tenant *tenant = &made;
  tenant->number = number;
  tenant->old_snapshot_of = IsolationUsesXactSnapshot() ? local_transaction() : InvalidLocalTransactionId;
  strlcpy(tenant->name, SPI_getvalue(row, desc, 2), NAMEDATALEN);
  strlcpy(tenant->schema, SPI_getvalue(row, desc, 3), NAMEDATALEN);
  const Oid recorded = DatumGetObjectId(SPI_getbinval(row, desc, 5, &null));
  if (const char *username = SPI_getvalue(row, desc, 4)) {
    strlcpy(tenant->username, username, NAMEDATALEN);
    tenant->recorded_role = null ? InvalidOid : recorded;
    tenant->role_hash = hash_of_role(tenant->recorded_role);
    look_up_role(tenant);
  }
  tenant->login = DatumGetBool(SPI_getbinval(row, desc, 7, &null));
  tenant->suspended = strcmp(SPI_getvalue(row, desc, 6), "active") != 0;
  tenant->definitions = ++definitions_clock;
  Datum limit = SPI_getbinval(row, desc, 8, &null);
  tenant->limits.max_running = null ? -1 : DatumGetInt32(limit);
  limit = SPI_getbinval(row, desc, 9, &null);
  tenant->limits.max_queued = null ? -1 : DatumGetInt64(limit);
  tenant->limits.weight = DatumGetInt32(SPI_getbinval(row, desc, 10, &null));
  limit = SPI_getbinval(row, desc, 11, &null);
  tenant->limits.rate = null ? 0 : DatumGetFloat8(limit);
  limit = SPI_getbinval(row, desc, 12, &null);
  tenant->limits.retain_us = null ? -1 : DatumGetInt64(limit);
  limit = SPI_getbinval(row, desc, 13, &null);
  tenant->limits.retain_count = null ? -1 : DatumGetInt64(limit);
  limit = SPI_getbinval(row, desc, 14, &null);
  tenant->limits.rule_us = null ? -1 : DatumGetInt64(limit);
  tenant->limits.has_rules = DatumGetBool(SPI_getbinval(row, desc, 15, &null));
  limit = SPI_getbinval(row, desc, 16, &null);
  tenant->aside_until = null ? DT_NOBEGIN : DatumGetTimestampTz(limit);

  char key[NAMEDATALEN] = {};
  strlcpy(key, tenant->name, NAMEDATALEN);
  static_cast<NameEntry *>(hash_search(by_name, key, HASH_ENTER, nullptr))->number = number;
  tenant = static_cast<Tenant *>(hash_search(by_number, &number, HASH_ENTER, nullptr));
  *tenant = made;
  return tenant;
}

constexpr Word row_words[] = {
    {"tenant_row", R"(
      SELECT tenant_no, tenant, schema_name, username, role_oid, status, login, max_running, max_queued, weight,
        rate_per_second, (EXTRACT(epoch FROM retain) * 1000000)::bigint, retain_count,
        (SELECT (EXTRACT(epoch FROM min(r.retain)) * 1000000)::bigint FROM insula.retention_rule r
         WHERE r.tenant_no = t.tenant_no),
        EXISTS (SELECT FROM insula.retention_rule r WHERE r.tenant_no = t.tenant_no),
        (SELECT e.until FROM insula.tenant_error e WHERE e.tenant_no = t.tenant_no)
      FROM insula.tenant t)"},
};
constexpr Words row_phrases = {row_words, lengthof(row_words)};
constexpr Statement tenant_by_number = {
    "tenant_by_number",
    "{tenant_row} WHERE tenant_no = $1",
    {INT4OID},
    row_phrases,
};
constexpr Statement tenant_by_name = {
    "tenant_by_name",
    "{tenant_row} WHERE tenant = $1",
    {TEXTOID},
    row_phrases,
};
constexpr Statement tenant_by_username = {
    "tenant_by_username",
    "{tenant_row} WHERE username = $1",
    {TEXTOID},
    row_phrases,
};

// Caches one row of insula.tenant.
Tenant *load(const Statement &statement, Datum key) {
  tenant_table = get_relname_relid("tenant", get_namespace_oid("insula", false));
  require_version();
  const Session session = open_session();
  Arguments arguments;
  arguments.add(key);
  const bool found = run(statement, arguments) == 1;
  Tenant *tenant = found ? cache_row(SPI_tuptable->vals[0], SPI_tuptable->tupdesc) : nullptr;
  close_session(session);
  return tenant;
}

// The reaction to a relation that has been changed.
enum class Tampered { refuse, skip };

// How relations are opened.
struct Opening {
  Tampered tampered;
  bool *locked;  // where another transaction locks one: to be set; nullptr: its end is waited for
};

struct Check {
  Oid schema;
  LOCKMODE lock;
  Opening opening;
};

// False: another transaction holds the lock.
bool lock_relation(Oid relation, LOCKMODE lock, const Opening &opening) {
  if (!opening.locked) {
    LockRelationOid(relation, lock);
    return true;
  }
  if (ConditionalLockRelationOid(relation, lock)) return true;
  *opening.locked = true;
  return false;
}

// Locks and checks one relation of the tenant's schema; `table` is the table that an index must
// belong to.
Oid checked_relation(const Check &check, Part part, Oid table) {
  // What belongs to a locked table cannot be checked.
  if (check.opening.locked && *check.opening.locked) return InvalidOid;
  const Oid oid = get_relname_relid(name_of(part), check.schema);
  if (!OidIsValid(oid) || !lock_relation(oid, check.lock, check.opening)) return InvalidOid;
  Relation relation = try_relation_open(oid, NoLock);
  if (!relation) return InvalidOid;
  const char *fault = foreign_owner(relation);
  if (relation->rd_rel->relnamespace != check.schema) fault = "is of another schema";
  if (!fault) fault = foreign_hook(relation);
  if (!fault) fault = fault_of(relation, part, table);
  // That of an index's table keeps it as it is.
  relation_close(relation, OidIsValid(table) ? check.lock : NoLock);
  if (fault && check.opening.tampered == Tampered::refuse)
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("relation \"%s\" of schema \"%s\" is not as Insula made it", name_of(part),
                           get_namespace_name(check.schema)),
                    errdetail("It %s.", fault)));
  return fault ? InvalidOid : oid;
}

bool check_relations(Tenant *tenant, LOCKMODE lock, const Opening &opening) {
  note_catalogs_read();
  tenant->schemas = schemas_clock;
  const Check check = {get_namespace_oid(tenant->schema, true), lock, opening};
  tenant->schema_oid = check.schema;
  if (!OidIsValid(check.schema)) return false;
  const Oid work = tenant->work = checked_relation(check, Part::work, InvalidOid);
  tenant->work_key = checked_relation(check, Part::work_key, work);
  tenant->work_queue = checked_relation(check, Part::work_queue, work);
  tenant->work_limits = checked_relation(check, Part::work_limits, work);
  tenant->record = checked_relation(check, Part::record, InvalidOid);
  const Oid record_key = checked_relation(check, Part::record_key, tenant->record);
  tenant->sequence = checked_relation(check, Part::sequence, InvalidOid);
  tenant->checked = OidIsValid(work) && OidIsValid(tenant->work_key) && OidIsValid(tenant->work_queue) &&
                    OidIsValid(tenant->work_limits) && OidIsValid(tenant->record) && OidIsValid(record_key) &&
                    OidIsValid(tenant->sequence);
  return tenant->checked;
}

}  // namespace

bool Tenant::is_aside() const { return aside_until > clock_now(); }

Tenant *find_tenant(std::int32_t number) {
  refresh_cache();
  if (auto *hit = static_cast<Tenant *>(hash_search(by_number, &number, HASH_FIND, nullptr))) {
    if (hit->role_changed) look_up_role(hit);
    // That snapshot may not have shown a change whose invalidation had come.
    if (hit->old_snapshot_of == InvalidLocalTransactionId || hit->old_snapshot_of == local_transaction()) return hit;
  }
  return load(tenant_by_number, Int32GetDatum(number));
}

const char *tenant_in_log(std::int32_t number) {
  const Tenant *known =
      by_number ? static_cast<Tenant *>(hash_search(by_number, &number, HASH_FIND, nullptr)) : nullptr;
  return known ? psprintf("\"%s\"", known->name) : psprintf("number %d", number);
}

Tenant *find_tenant(const char *name) {
  refresh_cache();
  if (strlen(name) >= NAMEDATALEN) return nullptr;
  char key[NAMEDATALEN] = {};
  strlcpy(key, name, NAMEDATALEN);
  if (auto *hit = static_cast<NameEntry *>(hash_search(by_name, key, HASH_FIND, nullptr)))
    return find_tenant(hit->number);
  return load(tenant_by_name, CStringGetTextDatum(name));
}

Tenant *find_tenant_of_role(Oid role) {
  refresh_cache();
  if (auto *hit = static_cast<RoleEntry *>(hash_search(by_role, &role, HASH_FIND, nullptr))) {
    // It may have been the tenant's only until it was renamed.
    Tenant *known = find_tenant(hit->number);
    if (known && known->role == role) return known;
  }
  if (OidIsValid(role) && role == tenantless_role) return nullptr;
  const char *username = GetUserNameFromId(role, true);
  if (!username) return nullptr;
  Tenant *tenant = load(tenant_by_username, CStringGetTextDatum(username));
  if (tenant && tenant->role == role) return tenant;
  // An older snapshot may not show the row of a tenant whose invalidation has come.  That of a restored row never
  // comes, but no tenant's role serves all.
  if (!IsolationUsesXactSnapshot() && has_privs_of_role(role, runner_role())) {
    tenantless_role = role;
    tenantless_hash = hash_of_role(role);
  }
  return nullptr;
}

// Renaming a schema invalidates none of the relations in it.
static void look_for_schema(Tenant *tenant) {
  if (tenant->schemas == schemas_clock) return;
  tenant->schemas = schemas_clock;
  if (!tenant->checked || get_namespace_oid(tenant->schema, true) == tenant->schema_oid) return;
  tenant->checked = false;
  tenant->definitions = ++definitions_clock;
}

static Tenant *open_relations(std::int32_t number, const Opening &opening) {
  const LOCKMODE lock = RecoveryInProgress() ? AccessShareLock : RowExclusiveLock;
  bound_kept_catalogs();
  for (;;) {
    // Locking a relation that this transaction holds already accepts no invalidations.
    AcceptInvalidationMessages();
    Tenant *tenant = find_tenant(number);
    if (!tenant) return nullptr;
    look_for_schema(tenant);
    if (!tenant->checked && !check_relations(tenant, lock, opening)) return nullptr;
    if (!lock_relation(tenant->work, lock, opening) || !lock_relation(tenant->record, lock, opening)) return nullptr;
    // The locks may have accepted invalidations; then check again.
    if (!stale && !roles_have_changed() && tenant->checked) return tenant;
  }
}

Tenant *open_tenant(std::int32_t number) { return open_relations(number, {Tampered::refuse, nullptr}); }

Tenant *try_open_tenant(std::int32_t number, bool *locked) {
  *locked = false;
  return open_relations(number, {Tampered::refuse, locked});
}

Tenant *open_untouched_tenant(std::int32_t number, bool *locked) {
  bool ignored;
  if (!locked) locked = &ignored;
  *locked = false;
  return open_relations(number, {Tampered::skip, locked});
}

static TenantShare *read_tenants(bool active_only, int *count) {
  static constexpr Statement read_tenants = {
      "read_tenants",
      R"(
        SELECT tenant_no, weight, status = 'active'
        FROM insula.tenant
        WHERE status = 'active' OR NOT $1)",
      {BOOLOID},
  };
  const Session session = open_session();
  Arguments arguments;
  arguments.add(BoolGetDatum(active_only));
  const auto rows = run(read_tenants, arguments);
  auto *tenants = static_cast<TenantShare *>(MemoryContextAlloc(session.caller, sizeof(TenantShare) * (rows + 1)));
  for (std::uint64_t i = 0; i < rows; ++i)
    tenants[i] = {get_int32(i, 1), get_int32(i, 2), DatumGetBool(get_datum(i, 3))};
  *count = static_cast<int>(rows);
  close_session(session);
  return tenants;
}

int active_tenants_after(std::int32_t number, std::int32_t *tenants, int room) {
  static constexpr Statement tenants_after = {
      "tenants_after",
      R"(
        SELECT tenant_no
        FROM insula.tenant
        WHERE tenant_no > $1 AND status = 'active'
        ORDER BY tenant_no
        LIMIT $2)",
      {INT4OID, INT4OID},
  };
  const Session session = open_session();
  Arguments arguments;
  arguments.add(Int32GetDatum(number)).add(Int32GetDatum(room));
  const auto rows = run(tenants_after, arguments);
  for (std::uint64_t i = 0; i < rows; ++i) tenants[i] = get_int32(i, 1);
  close_session(session);
  return static_cast<int>(rows);
}

TenantShare *active_tenants(int *count) { return read_tenants(true, count); }
TenantShare *all_tenants(int *count) { return read_tenants(false, count); }

TenantName *tenant_names(int *count) {
  static constexpr Statement tenant_names = {"tenant_names", "SELECT tenant_no, tenant FROM insula.tenant", {}};
  const Session session = open_session();
  Arguments none;
  const auto rows = run(tenant_names, none);
  auto *names = static_cast<TenantName *>(MemoryContextAlloc(session.caller, sizeof(TenantName) * (rows + 1)));
  for (std::uint64_t i = 0; i < rows; ++i)
    names[i] = {get_int32(i, 1), MemoryContextStrdup(session.caller, get_text(i, 2))};
  *count = static_cast<int>(rows);
  close_session(session);
  return names;
}

void invalidate_tenants() {
  CacheInvalidateRelcacheByRelid(get_relname_relid("tenant", get_namespace_oid("insula", false)));
}

void invalidate_definitions(const Tenant &tenant) {
  CacheInvalidateRelcacheByRelid(tenant.record);
  announce_changed(tenant.number);
}

static void schema_changed(Datum, CacheId, uint32) { ++schemas_clock; }

void initialize_tenant_cache() {
  CacheRegisterRelcacheCallback(relation_changed, Datum{0});
  watch_roles();
  CacheRegisterSyscacheCallback(NAMESPACEOID, schema_changed, Datum{0});
}

}  // namespace insula
