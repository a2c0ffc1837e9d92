// Registration of the background workers, and their settings.
#include "scheduler/scheduler.hpp"
#include "shared/due_queue.hpp"
#include "shared/schedulers.hpp"
#include "shared/shared.hpp"
#include "spi/session.hpp"
#include "version.hpp"

namespace insula {

namespace {

bool schedulers_on = true;
int most_schedulers = 4;

BackgroundWorker describe(const char *type, const char *function) {
  BackgroundWorker worker;
  memset(&worker, 0, sizeof worker);
  worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
  worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
  strlcpy(worker.bgw_library_name, "insula", sizeof worker.bgw_library_name);
  strlcpy(worker.bgw_function_name, function, sizeof worker.bgw_function_name);
  strlcpy(worker.bgw_name, type, sizeof worker.bgw_name);
  strlcpy(worker.bgw_type, type, sizeof worker.bgw_type);
  return worker;
}

constexpr char scheduler_type[] = "insula scheduler";

bool is_scheduler(int pid) {
  const char *type = GetBackgroundWorkerTypeByPid(pid);
  return type && strcmp(type, scheduler_type) == 0;
}

}  // namespace

void define_scheduler_settings() {
  DefineCustomBoolVariable("insula.scheduler", "Whether schedulers do what time makes due.",
                           "Turn it off in a clone of a server that shall do no work.", &schedulers_on, true,
                           PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("insula.max_schedulers", "How many databases are served by a scheduler at the same time.",
                          "Each takes one of max_worker_processes.", &most_schedulers, 4, 1, 1000, PGC_SIGHUP, 0,
                          nullptr, nullptr, nullptr);
}

bool schedulers_are_on() { return schedulers_on; }

int max_schedulers() { return most_schedulers; }

void register_launcher() {
  BackgroundWorker worker = describe("insula launcher", "insula_launcher_main");
  worker.bgw_restart_time = 1;
  RegisterBackgroundWorker(&worker);
}

bool launch_scheduler(Oid database, FullTransactionId after, BackgroundWorkerHandle **handle) {
  BackgroundWorker worker = describe(scheduler_type, "insula_scheduler_main");
  // With shared memory the launcher starts the next scheduler; without, only the postmaster can.
  worker.bgw_restart_time = shared_memory_available() ? BGW_NEVER_RESTART : 5;
  worker.bgw_main_arg = ObjectIdGetDatum(database);
  memcpy(worker.bgw_extra, &after, sizeof after);
  worker.bgw_notify_pid = handle && shared_memory_available() ? MyProcPid : 0;
  return RegisterDynamicBackgroundWorker(&worker, handle);
}

bool scheduler_is_wanted() {
  static constexpr Statement read_wanted = {
      "read_wanted",
      "SELECT wanted FROM insula.scheduler_wanted",
      {},
  };
  const Session session = open_session();
  const bool wanted = run(read_wanted) == 0 || DatumGetBool(get_datum(0, 1));
  close_session(session);
  return wanted;
}

void ask_for_scheduler() {
  if (scheduler_is_wanted()) announce_scheduler_asked();
}

int find_scheduler() {
  if (shared_memory_available()) return report_scheduler().pid;
  const int backends = pgstat_fetch_stat_numbackends();
  for (int i = 1; i <= backends; ++i) {
    const PgBackendStatus *status = backend_status(i);
    if (!status || status->st_backendType != B_BG_WORKER || status->st_databaseid != MyDatabaseId) continue;
    if (is_scheduler(status->st_procpid)) return status->st_procpid;
  }
  return 0;
}

static int to_be_nudged = 0;

void nudge_scheduler_at_commit(int pid) { to_be_nudged = pid; }

static void nudge_if_wanted() {
  if (to_be_nudged) nudge_scheduler(to_be_nudged);
  to_be_nudged = 0;
}

// After PREPARE the session's next commit nudges, which mostly is COMMIT PREPARED.
const TransactionStep scheduler_nudge_step = {
    .committed = nudge_if_wanted, .aborted = [] { to_be_nudged = 0; }, .prepared = [] {}};

void nudge_scheduler(int pid) {
  if (is_scheduler(pid)) (void)kill(pid, SIGHUP);
}

}  // namespace insula
