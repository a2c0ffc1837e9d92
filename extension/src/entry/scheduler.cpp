// SQL entry points that start and stop this database's scheduler, and that move the clock of tests.
#include "scheduler/scheduler.hpp"

#include "entry/arguments.hpp"
#include "entry/prologue.hpp"
#include "provision/tenants.hpp"
#include "shared/clock.hpp"
#include "shared/due_queue.hpp"
#include "shared/schedulers.hpp"
#include "shared/park.hpp"
#include "shared/shared.hpp"
#include "spi/session.hpp"
#include "tenant/caller.hpp"
#include "version.hpp"

using namespace insula;

INSULA_FUNCTION(insula_start_scheduler);
INSULA_FUNCTION(insula_stop_scheduler);
INSULA_FUNCTION(insula_advance_clock);

namespace {

// Records whether the database is to have a scheduler; false: that was recorded already.
bool set_scheduler_wanted(bool wanted) {
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
  return in_session([wanted] {
    Arguments arguments;
    arguments.add(BoolGetDatum(wanted));
    const bool changed = run(want_scheduler, arguments) > 0;
    if (changed) log_act(wanted ? "start_scheduler" : "stop_scheduler", nullptr, nullptr);
    return changed;
  });
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

// True once the launcher runs.  A launcher that has just ended, or that the server has yet to start,
// runs within a second.
bool await_launcher() {
  constexpr std::int64_t look_again = 10000;
  const std::int64_t deadline = passing_time() + (max_worker_processes == 0 ? 0 : 2 * USECS_PER_SEC);
  for (;;) {
    if (report_scheduler().launcher) return true;
    if (passing_time() >= deadline) return false;
    park(clock_now() + look_again, "InsulaStartScheduler");
  }
}

// Sleeps until a scheduler has moved the clock; raises where no scheduler is going to.
void await_clock() {
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
  // Scripts that make or update the extension end with this call or the next: a library that is older than they must
  // fail them.
  require_version();
  require_writable("insula.start_scheduler()");
  const bool changed = set_scheduler_wanted(true);
  if (shared_memory_available()) {
    announce_scheduler_asked();
    const SchedulerReport report = report_scheduler();
    if (report.without_place) warn_without_place();
    const bool launcher = report.without_place || await_launcher();
    if (!launcher) warn_without_launcher();
    PG_RETURN_BOOL(report.pid == 0 && !report.without_place && launcher && schedulers_are_on());
  }
  // A scheduler that was stopped may still run, but it is about to end.
  if (!schedulers_are_on() || (find_scheduler() != 0 && !changed)) PG_RETURN_BOOL(false);
  const bool launched = launch_scheduler(MyDatabaseId, GetTopFullTransactionId(), nullptr);
  if (!launched) warn_without_slot();
  PG_RETURN_BOOL(launched);
}

Datum insula_stop_scheduler(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  require_admin();
  require_version();
  require_writable("insula.stop_scheduler()");
  (void)set_scheduler_wanted(false);
  const int pid = find_scheduler();
  if (shared_memory_available())
    announce_scheduler_stopped();
  else
    nudge_scheduler_at_commit(pid);
  PG_RETURN_BOOL(pid != 0);
}

Datum insula_advance_clock(PG_FUNCTION_ARGS) {
  require_top_level(fcinfo, "insula.advance_clock");
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
  { await_clock(); }
  PG_CATCH();
  {
    set_clock_target(DT_NOBEGIN);
    PG_RE_THROW();
  }
  PG_END_TRY();
  SPI_finish();
  PG_RETURN_VOID();
}
