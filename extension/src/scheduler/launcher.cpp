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
// A lack of slots that comes back sooner is the same one.
constexpr std::int64_t same_lack = 60 * USECS_PER_SEC;

struct Launched {
  Oid database;
  BackgroundWorkerHandle *handle;
};

Launched *launched = nullptr;  // the newest of each database
int launched_count = 0;
int launched_room = 0;
DatabaseNeed *needs = nullptr;
TimestampTz last_without_slot = DT_NOBEGIN;

// Databases that were there at the start and have not been looked at: most turn out to have
// no extension, and make room for the next.
Oid *unseen = nullptr;
int unseen_count = 0;

void read_databases() {
  int room = 0;
  Relation databases = table_open(DatabaseRelationId, AccessShareLock);
  TableScanDesc scan = table_beginscan_catalog(databases, 0, nullptr);
  while (HeapTuple row = heap_getnext(scan, ForwardScanDirection)) {
    const auto *database = reinterpret_cast<Form_pg_database>(GETSTRUCT(row));
    if (!database->datallowconn || database->datistemplate) continue;
    if (unseen_count == room) {
      room = room ? 2 * room : 64;
      const Size size = sizeof(Oid) * static_cast<Size>(room);
      unseen = static_cast<Oid *>(unseen ? repalloc(unseen, size) : MemoryContextAlloc(TopMemoryContext, size));
    }
    unseen[unseen_count++] = database->oid;
  }
  table_endscan(scan);
  table_close(databases, AccessShareLock);
}

void enter_unseen_databases() {
  while (unseen_count > 0 && enter_database(unseen[unseen_count - 1])) --unseen_count;
}

bool exists(Oid database) {
  bool found = true;
  ErrorData *error;
  (void)in_transaction([&] { found = SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(database)); }, &error);
  return found;
}

void launch_failed(Oid database, const char *why) {
  if (note_launch_failed(database) == 1)
    ereport(LOG, (errmsg("insula scheduler of database %u %s; it will be started again", database, why)));
}

void forget_launched(int i) {
  pfree(launched[i].handle);
  launched[i] = launched[--launched_count];
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
    forget_launched(i);
  }
}

// False: there is no free slot.
bool launch(Oid database) {
  // What becomes of the one before says nothing about this one.
  for (int i = 0; i < launched_count; ++i)
    if (launched[i].database == database) forget_launched(i--);
  if (launched_count == launched_room) return false;
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

// Starts what is due; returns when to look again.  Who has waited longest for a turn comes
// first, however late others are: with too few slots all that is served is late at its next turn.
TimestampTz start_schedulers() {
  const TimestampTz now = GetCurrentTimestamp();
  const int count = survey_databases(now, needs);
  std::sort(needs, needs + count, [](const DatabaseNeed &a, const DatabaseNeed &b) { return a.turn < b.turn; });
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
    if (!full && running < max_schedulers() && !exists(needs[i].database)) {
      forget_database(needs[i].database);
      continue;
    }
    if (!full && running < max_schedulers() && launch(needs[i].database)) {
      ++running;
      continue;
    }
    full = full || running < max_schedulers();
    ++waiting;
  }
  if (full) {
    if (last_without_slot < now - same_lack)
      ereport(LOG, (errmsg("no free slot for an insula scheduler; databases take turns"),
                    errhint("Raise max_worker_processes.")));
    last_without_slot = now;
    // Nobody tells when a slot of somebody else's becomes free.
    next = std::min(next, now + USECS_PER_SEC);
  }
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
  launched_room = room_for_databases() + max_worker_processes;
  launched = palloc_array_of<Launched>(static_cast<std::size_t>(launched_room));
  needs = palloc_array_of<DatabaseNeed>(places);
  ErrorData *error;
  if (!in_transaction(read_databases, &error)) ReThrowError(error);
  while (!must_end()) {
    TimestampTz next = DT_NOEND;
    if (schedulers_are_on()) {
      reap();
      enter_unseen_databases();
      next = start_schedulers();
    }
    sleep_until(next, "waiting until something is due");
  }
  proc_exit(1);
}
