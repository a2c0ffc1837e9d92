// The databases of the cluster and their schedulers, as the launcher sees them, and commands that want a database for
// themselves: which want a scheduler, and when.  Times here are the server's own.
#pragma once

#include "postgres.hpp"

namespace insula {

bool attach_launcher();  // false: there is one already
void detach_launcher();

// A database that may have the extension: a scheduler is to look.  False: there is no room.
bool enter_database(Oid database);
// All that is known of it: it has been dropped.
void forget_database(Oid database);
// It accepts no connections: none starts before then, unless a database is opened.
void note_closed(Oid database, TimestampTz look_again);
void note_doors_changed();  // from the commit of whatever may have opened one
bool take_doors_changed();  // since the last call

struct DatabaseNeed {
  Oid database;
  TimestampTz start_at;  // DT_NOEND: nothing is due, or a command holds schedulers off
  bool served;           // a scheduler runs or has been launched
  bool starting;         // the latter
  bool failed;           // the last one ended without a word; told once
  int failures;          // in a row
  std::uint64_t turn;    // when its last scheduler ended: the higher, the later
};
int room_for_databases();
// `needs` has so much room; returns how many there are.
int survey_databases(TimestampTz now, DatabaseNeed *needs);

void note_launched(Oid database, bool starting);
// It is tried again after a while, longer with each time in a row; returns how many these are.
int note_launch_failed(Oid database);
bool is_starting(Oid database);
// The launcher looks again then; `waiting` databases have found no place.
void plan_launcher_sleep(TimestampTz until, int waiting);

bool is_scheduler_there(Oid database);

// The setting insula.scheduler.
bool schedulers_are_on();

}  // namespace insula
