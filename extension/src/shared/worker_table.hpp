// The entries of workers, for workers.cpp and watches.cpp alone.  Under the lock of shared memory.
#pragma once

#include "core/list.hpp"
#include "shared/workers.hpp"

namespace insula {

using core::Link;
using core::List;

// What the workers of a role take of the tables.
struct RoleEntry {
  Oid key;
  int workers;
  int watches;
};

struct WatchEntry;

struct WorkerEntry {
  WorkerKey key;
  char name[worker_name_max + 1];
  std::int32_t tenant;     // the tenant that it works for; 0: all
  std::int32_t life_line;  // slot of the session that is its life line; -1: none
  int pid;                 // of that session
  std::int32_t maker;      // slot of the session that made the entry
  bool dead;               // its life line ended: its tasks are to be given back
  TimestampTz died_at;
  bool kicked;  // ends its wait, the present or the next
  bool blind;   // a watch found no room: it must look by itself
  RoleEntry *of_role;
  Link<WorkerEntry> of_session;  // in the list of its life line, or else of its maker; not of a dead worker
  Link<WorkerEntry> of_tenant;
  Link<WorkerEntry> of_dead;
  List<WatchEntry> watches;
};

// nullptr where there is no such worker.
WorkerEntry *find_worker(const WorkerKey &key);
// nullptr where there is no room.
WorkerEntry *enter_worker(const char *worker);
void kick(WorkerEntry *worker);

}  // namespace insula
