// What lies in shared memory; for the files of this folder alone.  All of it is a cache:
// it may be absent, and after a crash it starts empty and loses nothing but time, since
// work lives in tables and leases end by themselves.  One lock guards it; nothing is done
// under it but to look and to set latches, so that a commit callback may take it.
#pragma once

#include "postgres.hpp"
#include "shared/activity.hpp"
#include "shared/shared.hpp"
#include "shared/watermarks.hpp"

extern "C" {
#include "lib/pairingheap.h"
}

namespace insula {

inline constexpr int max_filter_keys = 64;
inline constexpr int worker_name_max = 128;
inline constexpr int watchers_per_execution = 4;

struct WorkerKey {
  Oid database;
  Oid role;  // a worker is known to its own role only
  std::uint64_t name_hash;
};

struct WorkerEntry {
  WorkerKey key;
  char name[worker_name_max + 1];
  std::int32_t tenant;     // whose tasks it works on; 0: all tenants'
  std::int32_t life_line;  // slot of the session that is its life line; -1: none
  std::int32_t maker;      // slot of the session that made the entry
  bool dead;               // its life line ended: its tasks are to be given back
  TimestampTz died_at;
  bool kicked;  // ends its wait, the present or the next
  bool blind;   // a watch found no room: it must look by itself
};

struct WatchKey {
  Oid database;
  std::int32_t unused;
  std::int64_t execution;
};

struct WatchEntry {
  WatchKey key;
  int count;
  bool crowded;  // more watchers than fit: kick every worker of the database
  WorkerKey watchers[watchers_per_execution];
};

struct WakeUp {
  std::int32_t tenant;
  std::int32_t key;     // of the task that became ready; 0: any
  std::int32_t origin;  // the slot that was signalled first; passing on ends there
  bool permit;          // it is for permits that came back
};

struct WaiterSlot {
  Latch *latch;  // nullptr: nobody waits here
  int pid;
  Oid database;
  std::int32_t tenant;     // 0: all
  std::int32_t key_count;  // -1: any task, also where the filter had no room
  std::int32_t keys[max_filter_keys];
  bool has_worker;
  WorkerKey worker;
  std::int64_t execution;  // awaited; 0: none
  TimestampTz wakes_at;    // when it will look by itself; DT_NOBEGIN: it is looking
  TimestampTz told_due;    // what became due while it was looking
  bool signalled;
  WakeUp wake_up;  // what it was signalled for
};

struct DueKey {
  Oid database;
  std::int32_t tenant;
};

struct DueEntry {
  DueKey key;
  pairingheap_node node;
  TimestampTz due;  // DT_NOEND: it is not in the heap
  bool in_hand;     // a scheduler looks at the tenant
  bool reload;      // its schedules may have changed
  bool awaits;      // an execution's end makes it due
  bool ended;       // one has ended since it was taken
  bool aside;       // its last turn has failed
  bool afresh;      // it may have been mended since
};

// Of a tenant; see watermarks.hpp.
struct WatermarksEntry {
  DueKey key;
  core::Watermarks watermarks;
  TimestampTz doubted_at[2];  // by kind of lanes
};

struct RaisedWatermark {
  std::int32_t tenant;
  std::uint64_t version;
  core::Searched searched;
  bool of_place;
};

struct RacedWatermarks {
  std::int32_t tenant;
  std::uint64_t version;
};

struct ActivityKey {
  Oid database;
  std::int32_t tenant;
  std::int32_t definition;
};

struct ActivityEntry {
  ActivityKey key;
  Activity counts;
};

// The snapshot that rows were counted with, while others committed.
struct CountBasis {
  std::uint64_t xmax;
  int running_count;
  TransactionId running[65];  // and the one that took it

  bool take(const SnapshotData &snapshot);      // false: so many transactions do not fit
  bool shows(std::uint64_t transaction) const;  // one that has committed
};

enum class TallyState { unknown, counting, known };

// Of a tenant: what the count of its queue, which its numbers of tasks start from, has seen.
struct TallyEntry {
  DueKey key;
  TallyState state;
  int versions;          // that have counters of their own
  std::uint64_t ticket;  // of the last count
  CountBasis basis;
};

// Of a tenant; see permits.hpp.
struct PermitEntry {
  DueKey key;
  TallyState state;
  Oid work;  // the table that was counted
  CountBasis basis;
  std::int64_t counted_at;  // in passing time
  std::int64_t asked_at;    // by somebody who was to count
  std::int64_t running;     // as far as transactions have ended
  std::int64_t reserved;    // by claims under way
  std::int64_t turned_away;
};

// Of a tenant, all its limits; see limit_permits.hpp.
struct LimitedEntry {
  DueKey key;
  TallyState state;
  Oid work;  // the table that was counted
  CountBasis basis;
  std::int64_t count_from;  // in passing time: not before
  bool refused;             // somebody was, since the last count
  std::uint64_t version;    // counts permits that have come back
  std::int64_t turned_away;
  std::uint64_t turned_away_ever;
};

struct LimitKey {
  Oid database;
  std::int32_t tenant;
  std::int64_t limit;
};

struct LimitEntry {
  LimitKey key;
  std::int64_t running;
  std::int64_t reserved;
};

// A database, and who looks after what is due in it; see due_queue.hpp.
struct DatabaseSlot {
  Oid database;  // InvalidOid: a free place
  pairingheap dues;
  bool filled;             // it knows all tenants
  bool crowded;            // it had no room for some
  bool troubled;           // some may be set aside
  bool asked;              // a scheduler is to start whatever is due
  bool starting;           // one was launched and is not there yet
  bool failed;             // the last one did not say good-bye
  bool until_told;         // none is to start until somebody asks
  TimestampTz look_again;  // or until then, by the server's clock; DT_NOEND: not by itself
  int pid;                 // of its scheduler; 0: none
  Latch *latch;            // that scheduler's
  TimestampTz wakes_at;    // when it will look by itself; DT_NOBEGIN: it is at work
  int holder;              // process that holds schedulers off; 0: none
  std::uint64_t turn;      // its last scheduler's, counted when that began, ended or failed; 0: it has had none
  bool closed;             // it accepted no connections when a scheduler was to start
  int failures;
  TimestampTz not_before;  // by the server's clock: no start earlier
  std::int64_t ahead;      // of the server's clock, for a test
  TimestampTz clock_target;
};

struct LauncherState {
  int pid;
  Latch *latch;
  TimestampTz wakes_at;  // by the server's clock
  int waiting;           // databases that want a scheduler and have no place
  bool doors_changed;    // a database may have been opened to connections
};

struct TenantChanges {
  pg_atomic_uint64 count;  // since the server's start
  DueKey items[changes_remembered];
};

struct SharedState {
  LWLock *lock;
  int slots;
  int max_workers;
  int max_watches;
  int waiting;    // slots in use
  int awaiting;   // of these, slots with an execution
  int next_slot;  // where the search for a waiter starts
  int dead_workers;
  std::uint64_t watermarks_version;
  LauncherState launcher;
  std::uint64_t turns;  // of schedulers, counted
  TenantChanges changes;
  int max_databases;
  DatabaseSlot *databases;
  WaiterSlot waiters[FLEXIBLE_ARRAY_MEMBER];
};

// nullptr without shared_preload_libraries.
extern SharedState *shared;
extern HTAB *shared_workers;
extern HTAB *shared_watches;
extern HTAB *shared_dues;
extern HTAB *shared_watermarks;

// Counters; they have a lock of their own.
extern HTAB *shared_activity;
extern HTAB *shared_tallies;
extern HTAB *shared_permits;
extern HTAB *shared_limited;
extern HTAB *shared_limits;
extern LWLock *activity_lock;
int max_counted();                    // how many of each there can be
void drop_activity_of(Oid database);  // not under the other lock
void drop_activity_of_tenant(std::int32_t tenant);
int max_limits();            // how many there can be
bool no_room_for_limited();  // for one more tenant with such; under the lock of the counters
bool no_room_for_permits();  // of one more tenant; under the lock of the counters

void forget_rest_of(Oid database);  // of one that goes: its watermarks, workers and watches; under the lock

WorkerKey worker_key(Oid role, const char *name);

// Under the lock:
void note_due(Oid database, std::int32_t tenant, TimestampTz due, bool reload);
void note_all_due(Oid database);    // nobody knows which
void note_aside_due(Oid database);  // those that are set aside
void note_asked(Oid database);
void note_changed(Oid database, std::int32_t tenant);
void note_all_changed();  // nobody knows which
void note_stopped(Oid database);
void note_ended(Oid database, std::int32_t tenant);
void forget_due(Oid database, std::int32_t tenant);
void raise_watermark(Oid database, const RaisedWatermark &raised);
void lower_watermarks(Oid database, std::int32_t tenant, std::int64_t due);
void forget_watermarks_of(Oid database, std::int32_t tenant);
void forget_watermarks_since(Oid database, const RacedWatermarks &raced);  // where somebody has lowered them
void forget_beginnings_of(Oid database, std::int32_t tenant);
void drop_watermarks_of(Oid database, std::int32_t tenant);
void forget_all_watermarks(Oid database);
void signal_one_waiter(Oid database, WakeUp wake_up);
void signal_for_due(Oid database, std::int32_t tenant, TimestampTz due);
void signal_all_of_tenant(Oid database, std::int32_t tenant);
void signal_everyone(Oid database);
void forget_workers_of_tenant(Oid database, std::int32_t tenant);
void register_end_of_session();
void signal_slot(WaiterSlot &slot);
void kick_worker(const WorkerKey &key);
void kick_all_workers(Oid database);
void forget_session(int slot);

}  // namespace insula
