// Loaded into a server, does for a test what SQL cannot: starts a scheduler that a transaction of long ago has asked
// for, and holds a session in the middle of its commit.  The server's headers are C.
extern "C" {
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "utils/builtins.h"
#include "utils/resowner.h"
#if PG_VERSION_NUM < 160000
#include "utils/wait_event.h"
#endif

#include <unistd.h>

PG_MODULE_MAGIC;
PG_FUNCTION_INFO_V1(start_scheduler_of);
PG_FUNCTION_INFO_V1(hold_commits);
PGDLLEXPORT Datum start_scheduler_of(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum hold_commits(PG_FUNCTION_ARGS);
}

#include <cstring>

namespace {

char held_by[MAXPGPATH];

// Others see the transaction as committed, and have not been told to forget what they know.
void hold(ResourceReleasePhase phase, bool committed, bool top_level, void*) {
  if (phase != RESOURCE_RELEASE_BEFORE_LOCKS || !committed || !top_level || !held_by[0]) return;
  pgstat_report_wait_start(PG_WAIT_EXTENSION);
  while (access(held_by, F_OK) == 0) pg_usleep(5000);
  pgstat_report_wait_end();
}

}  // namespace

// start_scheduler_of(age bigint): the starter's transaction id is older than the next one by `age`.
Datum start_scheduler_of(PG_FUNCTION_ARGS) {
  const FullTransactionId starter =
      FullTransactionIdFromU64(U64FromFullTransactionId(ReadNextFullTransactionId()) - PG_GETARG_INT64(0));
  BackgroundWorker worker;
  std::memset(&worker, 0, sizeof worker);
  worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
  worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
  worker.bgw_restart_time = BGW_NEVER_RESTART;
  strlcpy(worker.bgw_library_name, "insula", sizeof worker.bgw_library_name);
  strlcpy(worker.bgw_function_name, "insula_scheduler_main", sizeof worker.bgw_function_name);
  strlcpy(worker.bgw_name, "insula scheduler", sizeof worker.bgw_name);
  strlcpy(worker.bgw_type, "insula scheduler", sizeof worker.bgw_type);
  worker.bgw_main_arg = ObjectIdGetDatum(MyDatabaseId);
  std::memcpy(worker.bgw_extra, &starter, sizeof starter);
  PG_RETURN_BOOL(RegisterDynamicBackgroundWorker(&worker, nullptr));
}

// hold_commits(file text): as long as the file is there.
Datum hold_commits(PG_FUNCTION_ARGS) {
  static bool registered = false;
  if (!registered) RegisterResourceReleaseCallback(hold, nullptr);
  registered = true;
  strlcpy(held_by, text_to_cstring(PG_GETARG_TEXT_PP(0)), sizeof held_by);
  PG_RETURN_VOID();
}
