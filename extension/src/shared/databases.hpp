// Databases with insula, each with its part of the due queue, and the launcher; for the files of this
// folder alone.  Under the lock of shared memory, but for what says otherwise.
#pragma once

#include "core/turns.hpp"
#include "shared/memory.hpp"

extern "C" {
#include "lib/pairingheap.h"
}

namespace insula {

// A scheduler is launched this long, in microseconds, before its database has something due.
inline constexpr std::int64_t launch_lead = 200000;

// The tenants of a database that may have claimable tasks: ready_tenants.hpp.
struct ReadySet {
  core::Turns turns;
  pairingheap resting;    // until time makes a task claimable
  TimestampTz rested_at;  // when the last of them began, by a clock that may be set back
  std::uint64_t version;  // counts entries
  std::uint64_t round;    // sweeps begun; 0: none
  std::int32_t swept;     // tenants up to this number have been entered; PG_INT32_MAX: all
  bool crowded;           // it has no room for all
};

// A database, and the process that looks after what is due in it.
struct DatabaseSlot {
  Oid database;  // InvalidOid: a free place
  ReadySet ready;
  pairingheap dues;
  bool filled;             // it knows all tenants
  bool crowded;            // it had no room for some
  bool troubled;           // some may be set aside
  bool asked;              // a scheduler is to start whatever is due
  bool hand_full;          // its scheduler has taken a tenant and not put it back
  TimestampTz hand_at;     // when
  bool starting;           // one was launched and is not there yet
  bool failed;             // the last one did not say good-bye
  bool until_told;         // none is to start until start_scheduler
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

struct Databases {
  LauncherState launcher;
  std::uint64_t turns;  // of schedulers, counted
  DatabaseSlot slots[FLEXIBLE_ARRAY_MEMBER];
};
extern Databases *databases;  // nullptr without shared memory

// nullptr: the database has no slot, or there is no room for one.
DatabaseSlot *find_database(Oid database);
DatabaseSlot *make_database(Oid database);
// This database's slot, which never moves.  Without the lock, too.
DatabaseSlot *my_database();
// The same; nullptr without shared memory, too, where a scheduler has one of its own.
inline const DatabaseSlot *my_shared_database() { return shared_memory_available() ? my_database() : nullptr; }
TimestampTz first_due(DatabaseSlot &slot);
void forget_dues(DatabaseSlot &slot);
void wake_launcher();
// Watermarks, workers, watches and ready tenants of a database that goes.
void forget_rest_of(Oid database);

// ---- what commits tell ----

void note_due(Oid database, std::int32_t tenant, TimestampTz due, bool reload);
void note_all_due(Oid database);    // it is not known which
void note_aside_due(Oid database);  // those that are set aside
void note_asked(Oid database);
void note_stopped(Oid database);
void note_ended(Oid database, std::int32_t tenant);
void forget_due(Oid database, std::int32_t tenant);

}  // namespace insula
