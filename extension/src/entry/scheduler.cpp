// SQL entry points for the scheduler: whether this database has one, and the clock of tests.
#include "scheduler/scheduler.hpp"

#include "entry/arguments.hpp"
#include "errors.hpp"
#include "provision/tenants.hpp"
#include "shared/board.hpp"
#include "shared/clock.hpp"
#include "shared/launch.hpp"
#include "shared/park.hpp"
#include "shared/shared.hpp"
#include "storage/session.hpp"
#include "tenant/caller.hpp"

extern "C" {
#include "nodes/parsenodes.h"
}

using namespace insula;

INSULA_FUNCTION(insula_start_scheduler);
INSULA_FUNCTION(insula_stop_scheduler);
INSULA_FUNCTION(insula_advance_clock);

namespace {

int to_be_ended = 0;

// What was stopped is ended once it is sure that it was.
void transaction_ends(XactEvent event, void *) {
  if (event == XACT_EVENT_COMMIT && to_be_ended) kill(to_be_ended, SIGTERM);
  if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT) to_be_ended = 0;
}

void hook_in() {
  static bool hooked = false;
  if (!hooked) RegisterXactCallback(transaction_ends, nullptr);
  hooked = true;
}

void want(bool wanted) {
  const Session session = open_session();
  Datum value = BoolGetDatum(wanted);
  if (SPI_execute_plan(shared_plan(SharedStatement::want_scheduler), &value, nullptr, false, 0) < 0)
    elog(ERROR, "insula: writing the scheduler's settings failed");
  if (SPI_processed > 0) log_act(wanted ? "start_scheduler" : "stop_scheduler", nullptr, nullptr);
  close_session(session);
}

void warn_without_slot() {
  ereport(WARNING, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED), errmsg("there is no free slot for a scheduler"),
                    errhint("Raise max_worker_processes, then run SELECT insula.start_scheduler().")));
}

}  // namespace

Datum insula_start_scheduler(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  require_admin();
  PreventCommandDuringRecovery("insula.start_scheduler()");
  want(true);
  if (shared_memory_available()) {
    mark_scheduler_asked();
    PG_RETURN_BOOL(report_scheduler().pid == 0 && schedulers_are_on());
  }
  if (!schedulers_are_on() || find_scheduler() != 0) PG_RETURN_BOOL(false);
  const bool launched = launch_scheduler(MyDatabaseId, GetTopTransactionId(), nullptr);
  if (!launched) warn_without_slot();
  PG_RETURN_BOOL(launched);
}

Datum insula_stop_scheduler(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  require_admin();
  PreventCommandDuringRecovery("insula.stop_scheduler()");
  want(false);
  hook_in();
  to_be_ended = find_scheduler();
  PG_RETURN_BOOL(to_be_ended != 0);
}

Datum insula_advance_clock(PG_FUNCTION_ARGS) {
  if (!fcinfo->context || !IsA(fcinfo->context, CallContext) || castNode(CallContext, fcinfo->context)->atomic)
    ereport(ERROR,
            (errcode(INSULA_ATOMIC_CONTEXT), errmsg("insula.advance_clock cannot wait inside a transaction block"),
             errhint("CALL it by itself, outside of BEGIN and of functions.")));
  if (!superuser())
    ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied to move the clock"),
                    errhint("This needs a superuser.")));
  PreventCommandDuringRecovery("insula.advance_clock()");
  if (!shared_memory_available())
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("without shared memory, the clock cannot be moved"),
                    errhint("Add insula to shared_preload_libraries and restart the server.")));
  if (!schedulers_are_on() || !scheduler_is_wanted())
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("without a scheduler, the clock cannot be moved"),
                    errhint("Turn insula.scheduler on, and run SELECT insula.start_scheduler().")));
  const TimestampTz target = required_time(fcinfo, 0, "to_time");
  if (target < clock_now())
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("the clock can only be moved ahead")));
  SPI_connect_ext(SPI_OPT_NONATOMIC);
  set_clock_target(target);
  mark_scheduler_asked();
  SPI_commit();
  InvalidateCatalogSnapshot();
  constexpr std::int64_t look_again = 5000;
  while (clock_target() != DT_NOBEGIN) park(clock_now() + look_again);
  SPI_finish();
  PG_RETURN_VOID();
}
