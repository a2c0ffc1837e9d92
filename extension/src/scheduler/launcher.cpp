// The launcher of the cluster.  It runs no statement and belongs to no database.  At its start it
// reads the list of databases once from the shared catalog; then it starts a scheduler in each
// database that has something due, and sleeps until the next moment.  It forgets a database that
// turns out to have no extension until CREATE EXTENSION asks again.  It looks at a database that is
// closed to connections once a minute, and when ALTER DATABASE may have opened one.
#include <algorithm>

#include "scheduler/scheduler.hpp"
#include "shared/schedulers.hpp"
#include "shared/shared.hpp"

extern "C" {
#include "access/genam.h"
#include "access/heapam.h"
#include "access/tableam.h"
#include "catalog/pg_database.h"
#include "postmaster/postmaster.h"
#include "utils/fmgroids.h"
#include "utils/relcache.h"
PGDLLEXPORT void insula_launcher_main(Datum);
}

namespace insula {

namespace {

constexpr std::int64_t shortest_sleep = 100000;
// A lack of slots is logged again only after this time.
constexpr std::int64_t same_lack = 60 * USECS_PER_SEC;
constexpr std::int64_t between_looks_at_closed = 60 * USECS_PER_SEC;

struct Launched {
  Oid database;
  BackgroundWorkerHandle *handle;
};

Launched *launched = nullptr;  // the newest scheduler of each database
int launched_count = 0;
int launched_room = 0;
DatabaseNeed *needs = nullptr;
TimestampTz last_without_slot = DT_NOBEGIN;

// Databases that existed at the launcher's start and have had no scheduler yet.  They enter shared
// memory as room allows: most turn out to have no extension and make room for the next.
struct Unseen {
  Oid database;
  bool closed;
};

Unseen *unseen = nullptr;
int unseen_count = 0;
TimestampTz next_look_at_closed = DT_NOBEGIN;

// The server's own templates hold no extension; other templates that allow connections may hold
// one.
void read_databases() {
  int room = 0;
  Relation databases = table_open(DatabaseRelationId, AccessShareLock);
  TableScanDesc scan = table_beginscan_catalog(databases, 0, nullptr);
  while (HeapTuple row = heap_getnext(scan, ForwardScanDirection)) {
    const auto *database = reinterpret_cast<Form_pg_database>(GETSTRUCT(row));
    if (database->oid == Template0DbOid || database->oid == Template1DbOid) continue;
    if (unseen_count == room) {
      room = room ? 2 * room : 64;
      const Size size = sizeof(Unseen) * static_cast<Size>(room);
      unseen = static_cast<Unseen *>(unseen ? repalloc(unseen, size) : MemoryContextAlloc(TopMemoryContext, size));
    }
    unseen[unseen_count++] = {database->oid, !database->datallowconn};
  }
  table_endscan(scan);
  table_close(databases, AccessShareLock);
}

enum class Door { gone, closed, open };

// Reads the catalog, not the cache, which may lack a change that was committed a moment ago.  A
// process without a database can use the index only after another process has left the index's
// description.
Door look_at_door(Oid database) {
  ScanKeyData key;
  ScanKeyInit(&key, Anum_pg_database_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(database));
  Relation databases = table_open(DatabaseRelationId, AccessShareLock);
  SysScanDesc scan = systable_beginscan(databases, DatabaseOidIndexId, criticalSharedRelcachesBuilt, nullptr, 1, &key);
  HeapTuple row = systable_getnext(scan);
  Door door = Door::gone;
  if (HeapTupleIsValid(row)) {
    const auto *form = reinterpret_cast<Form_pg_database>(GETSTRUCT(row));
    // An interrupted DROP DATABASE leaves one that nothing can connect to.
    constexpr int invalid = -2;
    door = form->datallowconn && form->datconnlimit != invalid ? Door::open : Door::closed;
  }
  systable_endscan(scan);
  table_close(databases, AccessShareLock);
  return door;
}

Door door_of(Oid database) {
  Door door = Door::open;
  ErrorData *error;
  (void)in_transaction([&] { door = look_at_door(database); }, &error);
  return door;
}

// Returns when to look at the closed databases again.
TimestampTz enter_unseen_databases() {
  const TimestampTz now = GetCurrentTimestamp();
  // A moment further ahead than one interval dates from before the clock was set back.
  const bool look =
      take_doors_changed() || now >= next_look_at_closed || next_look_at_closed > now + between_looks_at_closed;
  if (look) next_look_at_closed = now + between_looks_at_closed;
  bool room = true;
  bool any_closed = false;
  for (int i = 0; i < unseen_count;) {
    Door door = unseen[i].closed ? Door::closed : Door::open;
    if (unseen[i].closed && look) door = door_of(unseen[i].database);
    room = room && (door != Door::open || enter_database(unseen[i].database));
    if (door == Door::gone || (door == Door::open && room)) {
      unseen[i] = unseen[--unseen_count];
      continue;
    }
    unseen[i].closed = door == Door::closed;
    any_closed = any_closed || unseen[i].closed;
    ++i;
  }
  return any_closed ? next_look_at_closed : DT_NOEND;
}

void launch_failed(Oid database, const char *why) {
  if (note_launch_failed(database) == 1)
    ereport(LOG, (errmsg("insula scheduler of database %u %s; it will be started again", database, why)));
}

void forget_launched(int i) {
  pfree(launched[i].handle);
  launched[i] = launched[--launched_count];
}

// Forgets the handles of schedulers that have ended, and reports those that ended before they came
// up.
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

// False: no background worker slot is free.
bool launch(Oid database) {
  // The earlier scheduler of this database need not be watched any more.
  for (int i = 0; i < launched_count; ++i)
    if (launched[i].database == database) forget_launched(i--);
  if (launched_count == launched_room) return false;
  BackgroundWorkerHandle *handle = nullptr;
  note_launched(database, true);
  if (!launch_scheduler(database, InvalidFullTransactionId, &handle)) {
    note_launched(database, false);
    return false;
  }
  // An earlier scheduler of this database may still be ending.
  Launched *last = std::find_if(launched, launched + launched_count,
                                [database](const Launched &known) { return known.database == database; });
  if (last == launched + launched_count)
    ++launched_count;
  else
    pfree(last->handle);
  *last = {database, handle};
  return true;
}

void turn_away_from(Oid database, Door door, TimestampTz now) {
  if (door == Door::closed)
    note_closed(database, now + between_looks_at_closed);
  else
    forget_database(database);
}

// Starts the schedulers that are due; returns when to look again.  The database that has waited
// longest for a turn comes first, not the one with the oldest due moment: with too few slots every
// database is late at its next turn.
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
    if (!full && running < max_schedulers()) {
      if (const Door door = door_of(needs[i].database); door != Door::open) {
        if (door == Door::closed) next = std::min(next, now + between_looks_at_closed);
        turn_away_from(needs[i].database, door, now);
        continue;
      }
      if (launch(needs[i].database)) {
        ++running;
        continue;
      }
    }
    full = full || running < max_schedulers();
    ++waiting;
  }
  if (full) {
    if (last_without_slot < now - same_lack)
      ereport(LOG, (errmsg("no free slot for an insula scheduler; databases take turns"),
                    errhint("Raise max_worker_processes.")));
    last_without_slot = now;
    // No process tells the launcher when another extension's worker frees a slot.
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
      const TimestampTz look = enter_unseen_databases();
      next = std::min(look, start_schedulers());
    }
    sleep_until(next, "waiting until something is due");
  }
  proc_exit(1);
}
