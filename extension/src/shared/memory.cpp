// Making and finding the shared memory; see memory.hpp.
#include "shared/memory.hpp"

namespace insula {

bool shared_memory_made = false;
SharedRoom shared_room;
LWLock *counters_lock = nullptr;

namespace {

const SharedPart *const parts[] = {&waiters_part, &workers_part,  &watches_part,  &databases_part, &watermarks_part,
                                   &changes_part, &counters_part, &overhead_part, &permits_part,   &ready_tenants_part};

LWLock *common_lock = nullptr;
void (*before_attach)() = nullptr;
shmem_request_hook_type previous_request = nullptr;
shmem_startup_hook_type previous_startup = nullptr;

void request() {
  if (previous_request) previous_request();
  for (const SharedPart *part : parts) RequestAddinShmemSpace(part->size());
  RequestNamedLWLockTranche("insula", 2);
}

void startup() {
  if (previous_startup) previous_startup();
  if (!IsUnderPostmaster) before_attach();
  LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
  bool found;
  (void)ShmemInitStruct("insula", sizeof(int), &found);
  LWLockPadded *locks = GetNamedLWLockTranche("insula");
  common_lock = &locks[0].lock;
  counters_lock = &locks[1].lock;
  for (const SharedPart *part : parts) part->attach(!found);
  shared_memory_made = true;
  LWLockRelease(AddinShmemInitLock);
}

void define_room(const char *name, const char *what, int *room, int least, int most) {
  DefineCustomIntVariable(name, what, nullptr, room, *room, least, most, PGC_POSTMASTER, 0, nullptr, nullptr, nullptr);
}

}  // namespace

void lock_shared_memory(LWLockMode mode) {
  if (shared_memory_made) LWLockAcquire(common_lock, mode);
}

void unlock_shared_memory() {
  if (shared_memory_made) LWLockRelease(common_lock);
}

void request_shared_memory(void (*in_postmaster)()) {
  define_room("insula.max_workers", "How many workers shared memory has room for.", &shared_room.workers, 16, 1000000);
  define_room("insula.max_watches", "How many watched executions shared memory has room for.", &shared_room.watches, 16,
              10000000);
  define_room("insula.max_due_tenants", "How many tenants at work, in all databases, shared memory has room for.",
              &shared_room.due_tenants, 16, 10000000);
  define_room("insula.max_databases", "How many databases shared memory has room for.", &shared_room.databases, 1,
              100000);
  define_room("insula.max_counted_workflows",
              "Of how many versions of workflows, in all databases, tasks and events are counted.",
              &shared_room.counted_workflows, 16, 10000000);
  define_room("insula.max_counted_limits",
              "Under how many limits of workflows, in all databases, tasks that run are counted.",
              &shared_room.counted_limits, 16, 10000000);
  before_attach = in_postmaster;
  previous_request = shmem_request_hook;
  shmem_request_hook = request;
  previous_startup = shmem_startup_hook;
  shmem_startup_hook = startup;
}

}  // namespace insula
