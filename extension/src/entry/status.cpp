// insula.status: the state of the extension in this database, and of the shared memory.
#include "entry/answer.hpp"
#include "scheduler/scheduler.hpp"
#include "shared/clock.hpp"
#include "shared/counters.hpp"
#include "shared/due_queue.hpp"
#include "shared/overhead.hpp"
#include "shared/permits.hpp"
#include "shared/ready_tenants.hpp"
#include "shared/schedulers.hpp"
#include "shared/shared.hpp"
#include "tenant/caller.hpp"
#include "tenant/home.hpp"
#include "tenant/tenant.hpp"
#include "tenant/transaction_limit.hpp"
#include "version.hpp"

extern "C" {
#include "catalog/pg_database.h"
}

using namespace insula;

INSULA_FUNCTION(insula_status);

namespace {

bool accepts_connections() {
  HeapTuple row = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(MyDatabaseId));
  if (!HeapTupleIsValid(row)) return false;
  const bool accepts = reinterpret_cast<Form_pg_database>(GETSTRUCT(row))->datallowconn;
  ReleaseSysCache(row);
  return accepts;
}

const char *state_of_scheduler() {
  if (!schedulers_are_on()) return "off: insula.scheduler is off";
  if (const int pid = find_scheduler(); pid != 0) return psprintf("running: process %d", pid);
  if (!version_fits()) return "not running: the extension has another version than its library";
  if (!scheduler_is_wanted()) return "stopped: SELECT insula.start_scheduler()";
  if (why_not_home()) return "idle: the database is a copy that has not been adopted";
  if (!shared_memory_available()) return "not running: SELECT insula.start_scheduler()";
  const SchedulerReport report = report_scheduler();
  if (report.without_place) return "not running: raise insula.max_databases";
  if (RecoveryInProgress()) return "not running: the server is in recovery";
  if (!report.launcher) return "not running: raise max_worker_processes and restart the server";
  if (!accepts_connections()) return "not running: the database accepts no connections";
  if (!report.known) return "about to start";
  if (report.next == DT_NOEND) return "asleep: nothing is due";
  if (report.next <= clock_now()) return "about to start";
  return psprintf("asleep until %s", timestamptz_to_str(report.next));
}

// By which processes the tenant is put off.
const char *state_of(const PutOff &put_off) {
  const TimestampTz now = clock_now();
  const char *state = nullptr;
  for (const Spender spender : {Spender::scheduler, Spender::call}) {
    const TimestampTz until = put_off.until[static_cast<int>(spender)];
    if (until == DT_NOBEGIN) continue;
    const char *what = psprintf("%s %suntil %s", spender == Spender::scheduler ? "schedulers" : "calls for all tenants",
                                until > now ? "" : "were ", timestamptz_to_str(until));
    state = state ? psprintf("%s, %s", state, what) : what;
  }
  return state;
}

// The first few by name.
const char *tenants_put_off() {
  constexpr int most_named = 5;
  int count;
  const PutOff *all = all_put_off_lately(&count);
  StringInfoData text;
  initStringInfo(&text);
  int named = 0;
  for (int i = 0; i < count && named < most_named; ++i) {
    const Tenant *tenant = find_tenant(all[i].tenant);
    if (tenant) appendStringInfo(&text, "%s%s (%s)", named++ ? "; " : "", tenant->name, state_of(all[i]));
  }
  if (count > named) appendStringInfo(&text, "%s%d more", named ? "; " : "", count - named);
  return count == 0 ? "none" : text.data;
}

}  // namespace

Datum insula_status(PG_FUNCTION_ARGS) {
  require_admin();
  ReturnSetInfo *result = begin_rows(fcinfo);
  int tenants;
  (void)all_tenants(&tenants);
  const auto in_shared_memory = [](long number) -> const char * {
    return shared_memory_available() ? psprintf("%ld", number) : nullptr;
  };
  const struct {
    const char *item;
    const char *value;
  } rows[] = {
      {"version", library_version},
      {"adopted", why_not_home() ? psprintf("no: %s", why_not_home()) : "yes"},
      {"shared memory", shared_memory_available() ? "on" : "off: add insula to shared_preload_libraries"},
      {"tenants", psprintf("%d", tenants)},
      {"waiting sessions", in_shared_memory(waiting_sessions())},
      {"workers", in_shared_memory(known_workers())},
      {"watched executions", in_shared_memory(watched_executions())},
      {"scheduler", state_of_scheduler()},
      {"tenants with low-water marks", in_shared_memory(tenants_with_watermarks())},
      {"ready tenants", in_shared_memory(tenants_in_ready_sets())},
      {"wait events",
       has_wait_event_names ? "named" : "all of the name Extension: PostgreSQL before 17 has no others for extensions"},
      {"due tenants", in_shared_memory(due_tenants())},
      {"tenants put off", shared_memory_available() ? tenants_put_off() : nullptr},
      {"limits of tenants", in_shared_memory(limits_of_tenants())},
      {"counted limits", in_shared_memory(counted_limits())},
      {"counted workflows", in_shared_memory(counted_workflows())},
      {"databases", in_shared_memory(databases_in_use())},
      {"transactions of tenants",
       tenant_transaction_limit() > 0
           ? psprintf("end after %s", GetConfigOptionByName("insula.max_tenant_transaction", nullptr, false))
       : shared_memory_available() ? "may last for ever: insula.max_tenant_transaction is 0"
                                   : "may last for ever: add insula to shared_preload_libraries"},
  };
  for (const auto &row : rows) put_row(result, {text_field(row.item), text_field(row.value)});
  return Datum{0};
}
