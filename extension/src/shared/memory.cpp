// Making and finding the shared memory; see state.hpp.
#include "shared/shared.hpp"
#include "shared/state.hpp"
#include "tenant/home.hpp"

namespace insula {

SharedState *shared = nullptr;
HTAB *shared_workers = nullptr;
HTAB *shared_watches = nullptr;

namespace {

int max_workers = 4096;
int max_watches = 32768;

shmem_request_hook_type previous_request = nullptr;
shmem_startup_hook_type previous_startup = nullptr;

Size state_size() { return offsetof(SharedState, waiters) + sizeof(WaiterSlot) * static_cast<Size>(MaxBackends); }

void request() {
  if (previous_request) previous_request();
  RequestAddinShmemSpace(add_size(state_size(), add_size(hash_estimate_size(max_workers, sizeof(WorkerEntry)),
                                                         hash_estimate_size(max_watches, sizeof(WatchEntry)))));
  RequestNamedLWLockTranche("insula", 1);
}

HTAB *new_shared_table(const char *name, long size, Size key, Size entry) {
  HASHCTL control = {};
  control.keysize = key;
  control.entrysize = entry;
  return ShmemInitHash(name, size, size, &control, HASH_ELEM | HASH_BLOBS | HASH_FIXED_SIZE);
}

void startup() {
  if (previous_startup) previous_startup();
  if (!IsUnderPostmaster) note_recovery();
  LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
  bool found;
  shared = static_cast<SharedState *>(ShmemInitStruct("insula", state_size(), &found));
  if (!found) {
    memset(shared, 0, state_size());
    shared->lock = &GetNamedLWLockTranche("insula")->lock;
    shared->slots = MaxBackends;
    shared->max_workers = max_workers;
    shared->max_watches = max_watches;
  }
  shared_workers = new_shared_table("insula workers", max_workers, sizeof(WorkerKey), sizeof(WorkerEntry));
  shared_watches = new_shared_table("insula watches", max_watches, sizeof(WatchKey), sizeof(WatchEntry));
  LWLockRelease(AddinShmemInitLock);
}

}  // namespace

void request_shared_memory() {
  DefineCustomIntVariable("insula.max_workers", "How many workers shared memory has room for.", nullptr, &max_workers,
                          4096, 16, 1000000, PGC_POSTMASTER, 0, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("insula.max_watches", "How many watched executions shared memory has room for.", nullptr,
                          &max_watches, 32768, 16, 10000000, PGC_POSTMASTER, 0, nullptr, nullptr, nullptr);
  previous_request = shmem_request_hook;
  shmem_request_hook = request;
  previous_startup = shmem_startup_hook;
  shmem_startup_hook = startup;
}

bool shared_memory_available() { return shared != nullptr; }

}  // namespace insula
