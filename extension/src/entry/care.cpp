// SQL entry points for who looks after the database: hardening, and bringing the tenants'
// schemas to the present layout.
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

static ReturnSetInfo *start_rows(FunctionCallInfo fcinfo) {
  InitMaterializedSRF(fcinfo, 0);
  return reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
}

// ---- harden ----

namespace {

struct OpenDoor {
  const char *kind;
  const char *object;
  const char *action;
};

const char *const door_kinds[] = {"temporary", "connect", "schema", "advisory_lock", "large_object"};

bool is_among(const char *text, const char *const *texts, int count) {
  for (int i = 0; i < count; ++i)
    if (strcmp(text, texts[i]) == 0) return true;
  return false;
}

OpenDoor *open_doors(const char *const *skip, int skip_count, int *count) {
  if (SPI_execute("SELECT kind, object, action FROM insula.open_to_public ORDER BY 1, 2, 3", false, 0) != SPI_OK_SELECT)
    elog(ERROR, "insula: reading privileges failed");
  auto *doors = palloc_array_of<OpenDoor>(SPI_processed);
  *count = 0;
  for (std::uint64_t i = 0; i < SPI_processed; ++i) {
    const char *kind = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
    if (is_among(kind, skip, skip_count)) continue;
    doors[(*count)++] = {kind, SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2),
                         SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 3)};
  }
  return doors;
}

void close_doors(const OpenDoor *doors, int count) {
  // What cannot be revoked is told once, below.
  (void)set_config_option("client_min_messages", "error", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
  for (int i = 0; i < count; ++i)
    if (SPI_execute(doors[i].action, false, 0) < 0) elog(ERROR, "insula: \"%s\" failed", doors[i].action);
}

}  // namespace

Datum insula_harden(PG_FUNCTION_ARGS) {
  require_admin();
  const bool dry_run = required_bool(fcinfo, 0, "dry_run");
  if (!dry_run) require_writable("insula.harden()");
  int skip_count;
  const char **skip = text_array_argument(fcinfo, 1, "skip", false, &skip_count);
  for (int i = 0; i < skip_count; ++i)
    if (!is_among(skip[i], door_kinds, lengthof(door_kinds)))
      ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("there is no kind \"%s\" to skip", skip[i]),
                      errdetail("Kinds are temporary, connect, schema, advisory_lock and large_object.")));
  ReturnSetInfo *result = start_rows(fcinfo);
  const int level = NewGUCNestLevel();
  (void)set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
                          false);
  SPI_connect();
  int count;
  const OpenDoor *doors = open_doors(skip, skip_count, &count);
  for (int i = 0; i < count; ++i) {
    Datum values[] = {CStringGetTextDatum(doors[i].kind), CStringGetTextDatum(doors[i].object),
                      CStringGetTextDatum(doors[i].action)};
    bool nulls[3] = {};
    tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
  }
  int left = 0;
  if (!dry_run) {
    close_doors(doors, count);
    (void)open_doors(skip, skip_count, &left);
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
  require_writable("insula.upgrade_tenants()");
  const std::int32_t most = PG_ARGISNULL(0) ? PG_INT32_MAX : PG_GETARG_INT32(0);
  if (most < 1) ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("max_tenants must be positive")));
  const std::int64_t timeout = required_duration(fcinfo, 1, "lock_timeout") / 1000;
  ReturnSetInfo *result = start_rows(fcinfo);
  int count;
  const OldLayout *old = tenants_of_old_layout(most, &count);
  for (int i = 0; i < count; ++i) {
    CHECK_FOR_INTERRUPTS();
    const char *error = nullptr;
    const bool done = in_subtransaction(
        old[i].number, [&] { upgrade_layout(old[i], timeout); }, &error);
    Datum values[] = {CStringGetTextDatum(old[i].tenant), Int32GetDatum(old[i].version),
                      Int32GetDatum(done ? layout_version : old[i].version),
                      done ? Datum{0} : CStringGetTextDatum(error)};
    bool nulls[] = {false, false, false, done};
    tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
  }
  return Datum{0};
}

// ---- copies ----

Datum insula_reconcile(PG_FUNCTION_ARGS) {
  require_admin();
  const bool dry_run = required_bool(fcinfo, 0, "dry_run");
  if (!dry_run) {
    require_writable("insula.reconcile()");
    if (shares_roles_with_home()) require_home();
    if (settle_after_upgrade()) ask_for_scheduler();
  }
  reconcile({start_rows(fcinfo), dry_run});
  return Datum{0};
}

Datum insula_adopt(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  require_admin();
  require_writable("insula.adopt()");
  if (why_not_home()) {
    adopt();
  } else {
    if (settle_after_upgrade()) ask_for_scheduler();
    ereport(NOTICE, (errmsg("the tenants of this database are at home already")));
  }
  PG_RETURN_VOID();
}

// ---- audit ----

static void put_fault(void *argument, const char *tenant, const Fault &fault) {
  auto *result = static_cast<ReturnSetInfo *>(argument);
  Datum values[] = {CStringGetTextDatum(fault.level), tenant ? CStringGetTextDatum(tenant) : Datum{0},
                    CStringGetTextDatum(fault.object), CStringGetTextDatum(fault.finding)};
  bool nulls[] = {false, tenant == nullptr, false, false};
  tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

Datum insula_read_faults(PG_FUNCTION_ARGS) {
  require_admin();
  read_faults(put_fault, start_rows(fcinfo));
  return Datum{0};
}
