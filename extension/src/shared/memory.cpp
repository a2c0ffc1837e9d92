// Making and finding the shared memory; see state.hpp.
#include "shared/shared.hpp"
#include "shared/state.hpp"

namespace insula {

SharedState *shared = nullptr;
HTAB *shared_workers = nullptr;
HTAB *shared_watches = nullptr;
HTAB *shared_dues = nullptr;
HTAB *shared_watermarks = nullptr;

namespace {

int max_workers = 4096;
int max_watches = 32768;
int max_due_tenants = 16384;
int max_databases = 256;
int max_counted_workflows = 16384;
int max_counted_limits = 16384;

void (*at_start)() = nullptr;
shmem_request_hook_type previous_request = nullptr;
shmem_startup_hook_type previous_startup = nullptr;

Size waiters_size() {
  return MAXALIGN(offsetof(SharedState, waiters) + sizeof(WaiterSlot) * static_cast<Size>(MaxBackends));
}

Size state_size() { return add_size(waiters_size(), sizeof(DatabaseSlot) * static_cast<Size>(max_databases)); }

void request() {
  if (previous_request) previous_request();
  RequestAddinShmemSpace(state_size());
  RequestAddinShmemSpace(hash_estimate_size(max_workers, sizeof(WorkerEntry)));
  RequestAddinShmemSpace(hash_estimate_size(max_watches, sizeof(WatchEntry)));
  RequestAddinShmemSpace(hash_estimate_size(max_due_tenants, sizeof(DueEntry)));
  RequestAddinShmemSpace(hash_estimate_size(max_due_tenants, sizeof(WatermarksEntry)));
  RequestAddinShmemSpace(hash_estimate_size(max_counted_workflows, sizeof(ActivityEntry)));
  RequestAddinShmemSpace(hash_estimate_size(max_counted_workflows, sizeof(TallyEntry)));
  RequestAddinShmemSpace(hash_estimate_size(max_due_tenants, sizeof(PermitEntry)));
  RequestAddinShmemSpace(hash_estimate_size(max_due_tenants, sizeof(LimitedEntry)));
  RequestAddinShmemSpace(hash_estimate_size(max_counted_limits, sizeof(LimitEntry)));
  RequestNamedLWLockTranche("insula", 2);
}

HTAB *new_shared_table(const char *name, long size, Size key, Size entry) {
  HASHCTL control = {};
  control.keysize = key;
  control.entrysize = entry;
  return ShmemInitHash(name, size, size, &control, HASH_ELEM | HASH_BLOBS | HASH_FIXED_SIZE);
}

void startup() {
  if (previous_startup) previous_startup();
  if (!IsUnderPostmaster) at_start();
  LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
  bool found;
  shared = static_cast<SharedState *>(ShmemInitStruct("insula", state_size(), &found));
  if (!found) {
    memset(shared, 0, state_size());
    pg_atomic_init_u64(&shared->changes.count, 0);
    shared->lock = &GetNamedLWLockTranche("insula")->lock;
    shared->slots = MaxBackends;
    shared->max_workers = max_workers;
    shared->max_watches = max_watches;
    shared->max_databases = max_databases;
    shared->databases = reinterpret_cast<DatabaseSlot *>(reinterpret_cast<char *>(shared) + waiters_size());
  }
  shared_workers = new_shared_table("insula workers", max_workers, sizeof(WorkerKey), sizeof(WorkerEntry));
  shared_watches = new_shared_table("insula watches", max_watches, sizeof(WatchKey), sizeof(WatchEntry));
  shared_dues = new_shared_table("insula due tenants", max_due_tenants, sizeof(DueKey), sizeof(DueEntry));
  shared_watermarks = new_shared_table("insula watermarks", max_due_tenants, sizeof(DueKey), sizeof(WatermarksEntry));
  shared_activity =
      new_shared_table("insula activity", max_counted_workflows, sizeof(ActivityKey), sizeof(ActivityEntry));
  shared_tallies = new_shared_table("insula tallies", max_counted_workflows, sizeof(DueKey), sizeof(TallyEntry));
  shared_permits = new_shared_table("insula permits", max_due_tenants, sizeof(DueKey), sizeof(PermitEntry));
  shared_limited = new_shared_table("insula limited tenants", max_due_tenants, sizeof(DueKey), sizeof(LimitedEntry));
  shared_limits = new_shared_table("insula limits", max_counted_limits, sizeof(LimitKey), sizeof(LimitEntry));
  activity_lock = &GetNamedLWLockTranche("insula")[1].lock;
  LWLockRelease(AddinShmemInitLock);
}

}  // namespace

void request_shared_memory(void (*postmaster_starts)()) {
  at_start = postmaster_starts;
  DefineCustomIntVariable("insula.max_workers", "How many workers shared memory has room for.", nullptr, &max_workers,
                          4096, 16, 1000000, PGC_POSTMASTER, 0, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("insula.max_watches", "How many watched executions shared memory has room for.", nullptr,
                          &max_watches, 32768, 16, 10000000, PGC_POSTMASTER, 0, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("insula.max_due_tenants",
                          "How many tenants at work, in all databases, shared memory has room for.", nullptr,
                          &max_due_tenants, 16384, 16, 10000000, PGC_POSTMASTER, 0, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("insula.max_databases", "How many databases shared memory has room for.", nullptr,
                          &max_databases, 256, 1, 100000, PGC_POSTMASTER, 0, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("insula.max_counted_workflows",
                          "Of how many versions of workflows, in all databases, tasks and events are counted.", nullptr,
                          &max_counted_workflows, 16384, 16, 10000000, PGC_POSTMASTER, 0, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("insula.max_counted_limits",
                          "Under how many limits of workflows, in all databases, tasks that run are counted.", nullptr,
                          &max_counted_limits, 16384, 16, 10000000, PGC_POSTMASTER, 0, nullptr, nullptr, nullptr);
  previous_request = shmem_request_hook;
  shmem_request_hook = request;
  previous_startup = shmem_startup_hook;
  shmem_startup_hook = startup;
}

// A table may grow a little beyond what it was made for.
int max_counted() { return 2 * max_counted_workflows; }

bool no_room_for_limited() { return hash_get_num_entries(shared_limited) >= max_due_tenants; }

int max_limits() { return 2 * max_counted_limits; }

bool no_room_for_permits() { return hash_get_num_entries(shared_permits) >= max_due_tenants; }

bool shared_memory_available() { return shared != nullptr; }

}  // namespace insula
