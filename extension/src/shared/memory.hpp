// The parts of shared memory, and their locks; for the files of this folder alone.  Each part belongs to
// one file, which says what lies in it.  All of it is a cache: it may be absent, and after a crash it
// starts empty and loses nothing but time, since work lives in tables and leases end by themselves.
// One lock guards all parts but the counters (counters.hpp), overhead and permits, which have another.  Under
// either a process only looks, adds and sets latches, so that a commit callback may take them; one that
// holds the lock of the counters takes no other but for a snapshot.
#pragma once

#include "postgres.hpp"
#include "shared/shared.hpp"
#include "shared/table.hpp"

namespace insula {

struct SharedPart {
  Size (*size)();
  // In each process, with the memory that is there or, if `first`, is to be filled.
  void (*attach)(bool first);
};
extern const SharedPart waiters_part;
extern const SharedPart workers_part;
extern const SharedPart watches_part;
extern const SharedPart databases_part;
extern const SharedPart watermarks_part;
extern const SharedPart ready_tenants_part;
extern const SharedPart changes_part;
extern const SharedPart counters_part;
extern const SharedPart overhead_part;
extern const SharedPart permits_part;

// The settings that say for how much there is room.
struct SharedRoom {
  int workers = 4096;
  int watches = 32768;
  int due_tenants = 16384;
  int databases = 256;
  int counted_workflows = 16384;
  int counted_limits = 16384;
};
extern SharedRoom shared_room;

// No role or tenant may fill a table for the others: it takes an entry only while it has fewer than are
// free.  One alone gets a half, and ten greedy ones leave an eleventh to the others.
inline bool has_share(long taken, long free) { return taken < free; }

// Nothing where there is no shared memory.
void lock_shared_memory(LWLockMode mode);
void unlock_shared_memory();

// The answer of `read`, which has the lock.
template <typename Read>
auto read_shared_memory(Read read) {
  lock_shared_memory(LW_SHARED);
  const auto answer = read();
  unlock_shared_memory();
  return answer;
}

extern LWLock *counters_lock;

// The same with the lock of the counters.
template <typename Read>
auto read_counters(Read read) {
  LWLockAcquire(counters_lock, LW_SHARED);
  const auto answer = read();
  LWLockRelease(counters_lock);
  return answer;
}

// Most tables have an entry a tenant.
struct TenantKey {
  Oid database;
  std::int32_t tenant;
};

}  // namespace insula
