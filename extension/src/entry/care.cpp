// SQL entry points for administrators of the database: hardening, the layout of the tenants'
// schemas, mending after a restore, and the audit.
#include "entry/answer.hpp"
#include "entry/arguments.hpp"
#include "provision/inspect.hpp"
#include "provision/provision.hpp"
#include "provision/reconcile.hpp"
#include "scheduler/scheduler.hpp"
#include "spi/owner.hpp"
#include "storage/work.hpp"
#include "tenant/caller.hpp"
#include "tenant/home.hpp"
#include "tenant/in_subtransaction.hpp"
#include "version.hpp"

using namespace insula;

INSULA_FUNCTION(insula_harden);
INSULA_FUNCTION(insula_upgrade_tenants);
INSULA_FUNCTION(insula_reconcile);
INSULA_FUNCTION(insula_adopt);
INSULA_FUNCTION(insula_read_faults);

// ---- harden ----

namespace {

// A privilege that PUBLIC holds and that hardening revokes.
struct PublicGrant {
  const char *kind;
  const char *object;
  const char *action;
};

const char *const grant_kinds[] = {"temporary", "connect", "schema", "advisory_lock", "large_object"};

bool is_among(const char *text, const char *const *texts, int count) {
  for (int i = 0; i < count; ++i)
    if (strcmp(text, texts[i]) == 0) return true;
  return false;
}

PublicGrant *public_grants(const char *const *skip, int skip_count, int *count) {
  if (SPI_execute("SELECT kind, object, action FROM insula.open_to_public ORDER BY 1, 2, 3", false, 0) != SPI_OK_SELECT)
    elog(ERROR, "insula: reading privileges failed");
  auto *grants = palloc_array_of<PublicGrant>(SPI_processed);
  *count = 0;
  for (std::uint64_t i = 0; i < SPI_processed; ++i) {
    const char *kind = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
    if (is_among(kind, skip, skip_count)) continue;
    grants[(*count)++] = {kind, SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2),
                          SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 3)};
  }
  return grants;
}

void revoke_all(const PublicGrant *grants, int count) {
  // One warning below tells how many privileges could not be revoked.
  (void)set_config_option("client_min_messages", "error", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
  for (int i = 0; i < count; ++i)
    if (SPI_execute(grants[i].action, false, 0) < 0) elog(ERROR, "insula: \"%s\" failed", grants[i].action);
}

}  // namespace

Datum insula_harden(PG_FUNCTION_ARGS) {
  require_admin();
  require_version();
  const bool dry_run = required_bool(fcinfo, 0, "dry_run");
  if (!dry_run) require_writable("insula.harden()");
  int skip_count;
  const char **skip = text_array_argument(fcinfo, 1, "skip", false, &skip_count);
  for (int i = 0; i < skip_count; ++i)
    if (!is_among(skip[i], grant_kinds, lengthof(grant_kinds)))
      ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("there is no kind \"%s\" to skip", skip[i]),
                      errdetail("Kinds are temporary, connect, schema, advisory_lock and large_object.")));
  ReturnSetInfo *result = begin_rows(fcinfo);
  const int level = NewGUCNestLevel();
  (void)set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
                          false);
  SPI_connect();
  int count;
  const PublicGrant *grants = public_grants(skip, skip_count, &count);
  for (int i = 0; i < count; ++i)
    put_row(result, {text_field(grants[i].kind), text_field(grants[i].object), text_field(grants[i].action)});
  int left = 0;
  if (!dry_run) {
    revoke_all(grants, count);
    (void)public_grants(skip, skip_count, &left);
  }
  SPI_finish();
  AtEOXact_GUC(false, level);
  if (left > 0)
    ereport(WARNING,
            (errcode(ERRCODE_WARNING_PRIVILEGE_NOT_REVOKED), errmsg("%d privileges could not be revoked", left),
             errhint("Run insula.harden(false) as a superuser.")));
  return Datum{0};
}

// ---- layouts ----

Datum insula_upgrade_tenants(PG_FUNCTION_ARGS) {
  require_admin();
  require_version();
  require_writable("insula.upgrade_tenants()");
  const std::int32_t most = PG_ARGISNULL(0) ? PG_INT32_MAX : PG_GETARG_INT32(0);
  if (most < 1) ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("max_tenants must be positive")));
  const std::int64_t timeout = required_duration(fcinfo, 1, "lock_timeout") / 1000;
  ReturnSetInfo *result = begin_rows(fcinfo);
  int count;
  const OldLayout *old = tenants_of_old_layout(most, &count);
  for (int i = 0; i < count; ++i) {
    CHECK_FOR_INTERRUPTS();
    const char *error = nullptr;
    const bool done = in_subtransaction(
        old[i].number, [&] { upgrade_layout(old[i], timeout); }, &error);
    put_row(result, {text_field(old[i].tenant), int32_field(old[i].version),
                     int32_field(done ? layout_version : old[i].version), done ? null_field() : text_field(error)});
  }
  return Datum{0};
}

// ---- copies ----

Datum insula_reconcile(PG_FUNCTION_ARGS) {
  require_admin();
  require_version();
  const bool dry_run = required_bool(fcinfo, 0, "dry_run");
  if (!dry_run) {
    require_writable("insula.reconcile()");
    if (shares_roles_with_home()) require_home();
    if (record_home_after_upgrade()) ask_for_scheduler();
  }
  reconcile({begin_rows(fcinfo), dry_run});
  return Datum{0};
}

Datum insula_adopt(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  require_admin();
  require_version();
  require_writable("insula.adopt()");
  if (why_not_home()) {
    adopt();
  } else {
    if (record_home_after_upgrade()) ask_for_scheduler();
    ereport(NOTICE, (errmsg("the tenants of this database are at home already")));
  }
  PG_RETURN_VOID();
}

// ---- audit ----

static void put_fault(void *argument, const char *tenant, const Fault &fault) {
  put_row(static_cast<ReturnSetInfo *>(argument),
          {text_field(fault.level), text_field(tenant), text_field(fault.object), text_field(fault.finding)});
}

Datum insula_read_faults(PG_FUNCTION_ARGS) {
  require_admin();
  read_faults(put_fault, begin_rows(fcinfo));
  return Datum{0};
}
