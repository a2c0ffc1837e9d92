// SQL entry points for the scheduler: whether this database has one, and the clock of tests.
#include "scheduler/scheduler.hpp"

#include "entry/arguments.hpp"
#include "errors.hpp"
#include "provision/tenants.hpp"
#include "shared/clock.hpp"
#include "shared/due_queue.hpp"
#include "shared/launch.hpp"
#include "shared/park.hpp"
#include "shared/shared.hpp"
#include "spi/session.hpp"
#include "tenant/caller.hpp"

extern "C" {
#include "nodes/parsenodes.h"
}

using namespace insula;

INSULA_FUNCTION(insula_start_scheduler);
INSULA_FUNCTION(insula_stop_scheduler);
INSULA_FUNCTION(insula_advance_clock);

namespace {

// True if that is news.
bool want(bool wanted) {
  static constexpr Statement want_scheduler = {
      "want_scheduler",
      R"(
        INSERT INTO insula.scheduler_wanted
        SELECT true, $1
        WHERE NOT $1 OR EXISTS (SELECT FROM insula.scheduler_wanted)
        ON CONFLICT (the_only) DO UPDATE SET wanted = EXCLUDED.wanted
        WHERE scheduler_wanted.wanted <> EXCLUDED.wanted)",
      {BOOLOID},
  };
  const Session session = open_session();
  Arguments arguments;
  arguments.add(BoolGetDatum(wanted));
  const bool news = run(want_scheduler, arguments) > 0;
  if (news) log_act(wanted ? "start_scheduler" : "stop_scheduler", nullptr, nullptr);
  close_session(session);
  return news;
}

void warn_without_slot() {
  ereport(WARNING, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED), errmsg("there is no free slot for a scheduler"),
                    errhint("Raise max_worker_processes, then run SELECT insula.start_scheduler().")));
}

void warn_without_place() {
  ereport(WARNING, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
                    errmsg("shared memory has no room for another database with insula; this one has no scheduler"),
                    errhint("Raise insula.max_databases and restart the server.")));
}

void warn_without_launcher() {
  ereport(WARNING, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED), errmsg("there is no free slot for the launcher"),
                    errdetail("No database of this server has a scheduler."),
                    errhint("Raise max_worker_processes and restart the server.")));
}

// One that has just been ended, or that the server has yet to start, comes within a second.
bool launcher_comes() {
  constexpr std::int64_t look_again = 10000;
  const std::int64_t deadline = passing_time() + (max_worker_processes == 0 ? 0 : 2 * USECS_PER_SEC);
  for (;;) {
    if (report_scheduler().launcher) return true;
    if (passing_time() >= deadline) return false;
    park(clock_now() + look_again, "InsulaStartScheduler");
  }
}

// A scheduler moves it; where none is to serve, nobody would.
void wait_for_clock() {
  constexpr std::int64_t look_again = 5000;
  while (clock_target() != DT_NOBEGIN) {
    if (!schedulers_are_on() || waits_until_told())
      ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                      errmsg("without a scheduler, the clock cannot be moved"),
                      errhint("SELECT * FROM insula.status() tells why there is none.")));
    park(clock_now() + look_again, "InsulaAdvanceClock");
  }
}

}  // namespace

Datum insula_start_scheduler(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  require_admin();
  require_writable("insula.start_scheduler()");
  const bool news = want(true);
  if (shared_memory_available()) {
    announce_scheduler_asked();
    const SchedulerReport report = report_scheduler();
    if (report.without_place) warn_without_place();
    const bool comes = report.without_place || launcher_comes();
    if (!comes) warn_without_launcher();
    PG_RETURN_BOOL(report.pid == 0 && !report.without_place && comes && schedulers_are_on());
  }
  // One that was stopped may still be there, but on its way out.
  if (!schedulers_are_on() || (find_scheduler() != 0 && !news)) PG_RETURN_BOOL(false);
  const bool launched = launch_scheduler(MyDatabaseId, GetTopTransactionId(), nullptr);
  if (!launched) warn_without_slot();
  PG_RETURN_BOOL(launched);
}

Datum insula_stop_scheduler(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  require_admin();
  require_writable("insula.stop_scheduler()");
  (void)want(false);
  const int pid = find_scheduler();
  if (shared_memory_available())
    announce_scheduler_stopped();
  else
    nudge_scheduler_at_commit(pid);
  PG_RETURN_BOOL(pid != 0);
}

Datum insula_advance_clock(PG_FUNCTION_ARGS) {
  if (!fcinfo->context || !IsA(fcinfo->context, CallContext) || castNode(CallContext, fcinfo->context)->atomic)
    ereport(ERROR,
            (errcode(INSULA_ATOMIC_CONTEXT), errmsg("insula.advance_clock cannot wait inside a transaction block"),
             errhint("CALL it by itself, outside of BEGIN and of functions.")));
  if (!superuser())
    ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied to move the clock"),
                    errhint("This needs a superuser.")));
  require_writable("insula.advance_clock()");
  if (!shared_memory_available())
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("without shared memory, the clock cannot be moved"),
                    errhint("Add insula to shared_preload_libraries and restart the server.")));
  const TimestampTz target = required_time(fcinfo, 0, "to_time");
  if (target < clock_now())
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("the clock can only be moved ahead")));
  SPI_connect_ext(SPI_OPT_NONATOMIC);
  set_clock_target(target);
  announce_scheduler_asked();
  SPI_commit();
  InvalidateCatalogSnapshot();
  PG_TRY();
  { wait_for_clock(); }
  PG_CATCH();
  {
    set_clock_target(DT_NOBEGIN);
    PG_RE_THROW();
  }
  PG_END_TRY();
  SPI_finish();
  PG_RETURN_VOID();
}
