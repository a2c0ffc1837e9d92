// Time spent for tenants, in shared memory; see overhead.hpp. What is charged to a tenant moves the moment up to which
// the tenant has used its part of a core; a tenant whose moment lies far ahead rests.
#include "shared/overhead.hpp"

#include <algorithm>

#include "shared/clock.hpp"
#include "shared/memory.hpp"

namespace insula {

namespace {

double max_overhead = 0.5;

// How far ahead the moment may lie before the tenant rests, and at most.
constexpr std::int64_t in_one_go = USECS_PER_SEC;
constexpr std::int64_t furthest = 10 * USECS_PER_MINUTE;

struct OverheadEntry {
  TenantKey key;
  std::int64_t total;
  std::int64_t used_up_to;  // in passing time
};

HTAB *shared_overheads = nullptr;
HTAB *own_overheads = nullptr;

HTAB *overheads() {
  if (shared_memory_available()) return shared_overheads;
  if (!own_overheads) {
    HASHCTL control = {};
    control.keysize = sizeof(TenantKey);
    control.entrysize = sizeof(OverheadEntry);
    control.hcxt = TopMemoryContext;
    own_overheads = hash_create("insula overheads", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
  }
  return own_overheads;
}

OverheadEntry *find_overhead(std::int32_t tenant) {
  const TenantKey key = {MyDatabaseId, tenant};
  return static_cast<OverheadEntry *>(hash_search(overheads(), &key, HASH_FIND, nullptr));
}

}  // namespace

const SharedPart overheads_part = {[] { return hash_estimate_size(shared_room.due_tenants, sizeof(OverheadEntry)); },
                                   [](bool) {
                                     shared_overheads = make_shared_table("insula overheads", shared_room.due_tenants,
                                                                          sizeof(TenantKey), sizeof(OverheadEntry));
                                   }};

void define_overhead_settings() {
  DefineCustomRealVariable("insula.max_overhead",
                           "How much of one core schedulers and calls for several tenants spend for one of them.",
                           "Beyond it the tenant's work is put off.", &max_overhead, 0.5, 0.001, 1000, PGC_SIGHUP, 0,
                           nullptr, nullptr, nullptr);
}

void charge_overhead(std::int32_t tenant, std::int64_t microseconds) {
  if (microseconds <= 0) return;
  const std::int64_t now = passing_time();
  const TenantKey key = {MyDatabaseId, tenant};
  HTAB *table = overheads();
  lock_shared_memory(LW_EXCLUSIVE);
  bool found;
  auto *entry = static_cast<OverheadEntry *>(
      hash_search(table, &key, shared_memory_available() ? HASH_ENTER_NULL : HASH_ENTER, &found));
  if (entry) {
    if (!found) entry->total = entry->used_up_to = 0;
    entry->total += microseconds;
    const auto used = static_cast<std::int64_t>(static_cast<double>(microseconds) / max_overhead);
    entry->used_up_to = std::min(std::max(entry->used_up_to, now) + used, now + furthest);
  }
  unlock_shared_memory();
}

std::int64_t rest_of(std::int32_t tenant) {
  lock_shared_memory(LW_SHARED);
  const OverheadEntry *entry = find_overhead(tenant);
  const std::int64_t used_up_to = entry ? entry->used_up_to : 0;
  unlock_shared_memory();
  return used_up_to ? std::max<std::int64_t>(used_up_to - passing_time() - in_one_go, 0) : 0;
}

std::int64_t overhead_of(std::int32_t tenant) {
  if (!shared_memory_available()) return -1;
  lock_shared_memory(LW_SHARED);
  const OverheadEntry *entry = find_overhead(tenant);
  const std::int64_t total = entry ? entry->total : 0;
  unlock_shared_memory();
  return total;
}

void forget_overhead(std::int32_t tenant) {
  const TenantKey key = {MyDatabaseId, tenant};
  hash_search(overheads(), &key, HASH_REMOVE, nullptr);
}

void forget_overheads_of(Oid database) {
  remove_entries<OverheadEntry>(overheads(),
                                [database](const OverheadEntry &entry) { return entry.key.database == database; });
}

}  // namespace insula
