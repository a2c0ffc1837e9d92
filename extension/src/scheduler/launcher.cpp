// The launcher: one for the cluster.  It runs no statement and belongs to no database; it
// reads the shared catalog once, at its start, to learn which databases there are, starts a
// scheduler in each that has something due, and sleeps until the next one has.  A database
// that turns out to have no extension is forgotten until CREATE EXTENSION asks.
#include <algorithm>

#include "scheduler/scheduler.hpp"
#include "shared/launch.hpp"
#include "shared/shared.hpp"

extern "C" {
#include "access/heapam.h"
#include "access/tableam.h"
#include "catalog/pg_database.h"
#include "postmaster/postmaster.h"
PGDLLEXPORT void insula_launcher_main(Datum);
}

namespace insula {

namespace {

constexpr std::int64_t shortest_sleep = 100000;

struct Launched {
  Oid database;
  BackgroundWorkerHandle *handle;
};

Launched *launched = nullptr;  // so many as there are places
int launched_count = 0;
DatabaseNeed *needs = nullptr;
bool out_of_slots = false;

void enter_all_databases() {
  Relation databases = table_open(DatabaseRelationId, AccessShareLock);
  TableScanDesc scan = table_beginscan_catalog(databases, 0, nullptr);
  while (HeapTuple row = heap_getnext(scan, ForwardScanDirection)) {
    const auto *database = reinterpret_cast<Form_pg_database>(GETSTRUCT(row));
    if (database->datallowconn && !database->datistemplate) enter_database(database->oid);
  }
  table_endscan(scan);
  table_close(databases, AccessShareLock);
}

bool exists(Oid database) {
  bool found = true;
  ErrorData *error;
  (void)in_transaction([&] { found = SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(database)); }, &error);
  return found;
}

void launch_failed(Oid database, const char *why) {
  if (!exists(database))
    forget_database(database);
  else if (note_launch_failed(database) == 1)
    ereport(LOG, (errmsg("insula scheduler of database %u %s; it will be started again", database, why)));
}

// Forgets the handles of schedulers that have ended, and finds those that never came up.
void reap() {
  for (int i = 0; i < launched_count;) {
    pid_t pid;
    if (GetBackgroundWorkerPid(launched[i].handle, &pid) != BGWH_STOPPED) {
      ++i;
      continue;
    }
    if (is_starting(launched[i].database)) launch_failed(launched[i].database, "could not start");
    pfree(launched[i].handle);
    launched[i] = launched[--launched_count];
  }
}

// False: there is no free slot.
bool launch(Oid database) {
  if (!exists(database)) {
    forget_database(database);
    return true;
  }
  BackgroundWorkerHandle *handle = nullptr;
  note_launched(database, true);
  if (!launch_scheduler(database, InvalidTransactionId, &handle)) {
    note_launched(database, false);
    return false;
  }
  // One before it may still be on its way out.
  Launched *last = std::find_if(launched, launched + launched_count,
                                [database](const Launched &known) { return known.database == database; });
  if (last == launched + launched_count)
    ++launched_count;
  else
    pfree(last->handle);
  *last = {database, handle};
  return true;
}

// Starts what is due, the most urgent first; returns when to look again.
TimestampTz start_schedulers() {
  const TimestampTz now = GetCurrentTimestamp();
  const int count = survey_databases(now, needs);
  std::sort(needs, needs + count, [](const DatabaseNeed &a, const DatabaseNeed &b) { return a.start_at < b.start_at; });
  int running = 0;
  for (int i = 0; i < count; ++i) running += needs[i].served ? 1 : 0;
  TimestampTz next = DT_NOEND;
  int waiting = 0;
  bool full = false;
  for (int i = 0; i < count; ++i) {
    if (needs[i].failed) launch_failed(needs[i].database, "has failed");
    if (needs[i].served) continue;
    if (needs[i].start_at > now || needs[i].failed) {
      next = std::min(next, std::max(needs[i].start_at, now + shortest_sleep));
      continue;
    }
    if (!full && running < max_schedulers() && launch(needs[i].database)) {
      ++running;
      continue;
    }
    full = full || running < max_schedulers();
    ++waiting;
  }
  if (full != out_of_slots) {
    out_of_slots = full;
    if (full)
      ereport(LOG, (errmsg("no free slot for an insula scheduler"), errhint("Raise max_worker_processes.")));
    else
      ereport(LOG, (errmsg("insula schedulers find free slots again")));
  }
  // Nobody tells when a slot of somebody else's becomes free.
  if (full) next = std::min(next, now + USECS_PER_SEC);
  plan_launcher_sleep(next, waiting);
  return next;
}

void end_launcher(int, Datum) { detach_launcher(); }

}  // namespace

}  // namespace insula

using namespace insula;

void insula_launcher_main(Datum) {
  start_process("starting");
  BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);
  if (!attach_launcher()) proc_exit(1);
  before_shmem_exit(end_launcher, Datum{0});
  const auto places = static_cast<std::size_t>(room_for_databases());
  MemoryContextSwitchTo(TopMemoryContext);
  launched = palloc_array_of<Launched>(places);
  needs = palloc_array_of<DatabaseNeed>(places);
  ErrorData *error;
  if (!in_transaction(enter_all_databases, &error)) ReThrowError(error);
  while (!must_end()) {
    TimestampTz next = DT_NOEND;
    if (schedulers_are_on()) {
      reap();
      next = start_schedulers();
    }
    sleep_until(next, "waiting until something is due");
  }
  proc_exit(1);
}
