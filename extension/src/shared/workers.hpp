// Workers, for the other files of this folder; shared.hpp has the calls of sessions.  Under the lock of
// shared memory.
#pragma once

#include "shared/memory.hpp"

namespace insula {

inline constexpr int worker_name_max = 128;

struct WorkerKey {
  Oid database;
  Oid role;  // a worker is known to its own role only
  std::uint64_t name_hash;
};

inline bool operator==(const WorkerKey &a, const WorkerKey &b) {
  return a.database == b.database && a.role == b.role && a.name_hash == b.name_hash;
}

WorkerKey worker_key(Oid role, const char *name);
void forget_dead_worker(const WorkerKey &key);
// The session of this slot has ended: workers whose life line it was are dead, and entries that it made
// for workers that never had one go.  Takes the lock itself.
void forget_session(int slot);
void forget_workers_of_tenant(Oid database, std::int32_t tenant);
void forget_workers_of(Oid database);

}  // namespace insula
