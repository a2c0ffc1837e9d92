// The set of ready tenants in shared memory; see ready_tenants.hpp.
#include "shared/ready_tenants.hpp"

#include <algorithm>

#include "shared/databases.hpp"

namespace insula {

namespace {

// A filter that a visit has found nothing for, as of a version.
struct Nothing {
  std::uint64_t filter;
  std::uint64_t version;
};
constexpr int filters_kept = 4;

struct ReadyEntry {
  TenantKey key;
  dlist_node node;
  std::uint64_t version;
  TimestampTz noted_at;    // from then
  TimestampTz not_before;  // until then nothing is claimable
  Nothing nothing[filters_kept];
  int next;  // to be replaced
};

HTAB *shared_ready = nullptr;

ReadyEntry &entry_of(dlist_node *node) {
  return *reinterpret_cast<ReadyEntry *>(reinterpret_cast<char *>(node) - offsetof(ReadyEntry, node));
}

ReadyEntry *find_ready(std::int32_t tenant) {
  TenantKey key = {MyDatabaseId, tenant};
  return static_cast<ReadyEntry *>(hash_search(shared_ready, &key, HASH_FIND, nullptr));
}

// nullptr: it has been entered again since, or has been taken out.
ReadyEntry *find_unchanged(const ReadyTenant &visited) {
  ReadyEntry *entry = my_database() ? find_ready(visited.tenant) : nullptr;
  return entry && entry->version == visited.version ? entry : nullptr;
}

void remove(ReadySet &set, ReadyEntry *entry) {
  dlist_delete(&entry->node);
  --set.count;
  hash_search(shared_ready, &entry->key, HASH_REMOVE, nullptr);
}

// False: there is no room.
bool enter(ReadySet &set, std::int32_t tenant) {
  TenantKey key = {MyDatabaseId, tenant};
  bool found;
  auto *entry = static_cast<ReadyEntry *>(hash_search(shared_ready, &key, HASH_ENTER_NULL, &found));
  if (!entry) return false;
  if (!found) {
    std::fill(entry->nothing, entry->nothing + filters_kept, Nothing{0, 0});
    entry->next = 0;
    dlist_push_tail(&set.tenants, &entry->node);
    ++set.count;
  }
  entry->version = ++set.version;
  entry->noted_at = entry->not_before = DT_NOBEGIN;
  return true;
}

void begin_sweep(ReadySet &set) {
  ++set.round;
  set.swept = 0;
  set.crowded = false;
}

void fail_for_room(ReadySet &set) {
  begin_sweep(set);
  set.crowded = true;
}

bool has_nothing_for(const ReadyEntry &entry, std::uint64_t filter) {
  return std::any_of(entry.nothing, entry.nothing + filters_kept, [&](const Nothing &nothing) {
    return nothing.filter == filter && nothing.version == entry.version;
  });
}

// A set without room for all tenants is of no use.  Each call takes some tenants out, so that no other process waits
// for long, and a sweep begins anew when half of the room is free.
void make_room(ReadySet &set) {
  for (int i = 0; i < 256 && set.count > 0; ++i) remove(set, &entry_of(set.tenants.head.next));
  if (hash_get_num_entries(shared_ready) < shared_room.due_tenants / 2) begin_sweep(set);
}

// Copies the tenants for a filter; returns how many there are, of which only `room` were copied.
int copy_ready(const ReadySet &set, std::uint64_t filter, TimestampTz now, ReadyTenant *tenants, int room,
               TimestampTz *next) {
  int count = 0;
  *next = DT_NOEND;
  const dlist_node *end = &set.tenants.head;
  for (dlist_node *node = end->next; node && node != end; node = node->next) {
    const ReadyEntry &entry = entry_of(node);
    if (has_nothing_for(entry, filter)) continue;
    // The clock may have been set back since.
    if (entry.noted_at <= now && now < entry.not_before) {
      *next = std::min(*next, entry.not_before);
      continue;
    }
    if (count < room) tenants[count] = {entry.key.tenant, entry.version};
    ++count;
  }
  return count;
}

}  // namespace

const SharedPart ready_tenants_part = {[] { return hash_estimate_size(shared_room.due_tenants, sizeof(ReadyEntry)); },
                                       [](bool) {
                                         shared_ready =
                                             make_shared_table("insula ready tenants", shared_room.due_tenants,
                                                               sizeof(TenantKey), sizeof(ReadyEntry));
                                       }};

ReadySweep read_ready_sweep() {
  ReadySweep sweep = {false, 0, 0};
  if (!shared_memory_available()) return sweep;
  lock_shared_memory(LW_EXCLUSIVE);
  if (DatabaseSlot *slot = make_database(MyDatabaseId)) {
    ReadySet &set = slot->ready;
    if (set.round == 0) begin_sweep(set);
    if (set.crowded) make_room(set);
    sweep = {!set.crowded, set.round, set.swept};
  }
  unlock_shared_memory();
  return sweep;
}

void enter_swept_tenants(const ReadySweep &sweep, ReadyTenant *tenants, int count, bool last) {
  lock_shared_memory(LW_EXCLUSIVE);
  DatabaseSlot *slot = my_database();
  if (slot && slot->ready.round == sweep.round && slot->ready.swept == sweep.after) {
    ReadySet &set = slot->ready;
    set.swept = last ? PG_INT32_MAX : tenants[count - 1].tenant;
    for (int i = 0; i < count && !set.crowded; ++i) {
      if (enter(set, tenants[i].tenant))
        tenants[i].version = set.version;
      else
        fail_for_room(set);
    }
  }
  unlock_shared_memory();
}

ReadyTenant *ready_tenants(std::uint64_t filter, TimestampTz now, int *count, TimestampTz *next) {
  ReadyTenant *tenants = nullptr;
  for (int room = 64;; room = *count + 64) {
    *count = 0;
    *next = DT_NOEND;
    tenants = palloc_array_of<ReadyTenant>(static_cast<std::size_t>(room));
    lock_shared_memory(LW_SHARED);
    if (DatabaseSlot *slot = my_database()) *count = copy_ready(slot->ready, filter, now, tenants, room, next);
    unlock_shared_memory();
    if (*count <= room) return tenants;
    pfree(tenants);
  }
}

void note_nothing_ready(const ReadyTenant &visited, std::uint64_t filter) {
  lock_shared_memory(LW_EXCLUSIVE);
  if (ReadyEntry *entry = find_unchanged(visited)) {
    if (filter == 0) {
      remove(my_database()->ready, entry);
    } else {
      entry->nothing[entry->next] = {filter, visited.version};
      entry->next = (entry->next + 1) % filters_kept;
    }
  }
  unlock_shared_memory();
}

void note_nothing_ready_before(const ReadyTenant &visited, TimestampTz now, TimestampTz next) {
  lock_shared_memory(LW_EXCLUSIVE);
  if (ReadyEntry *entry = find_unchanged(visited)) {
    entry->noted_at = now;
    entry->not_before = next;
  }
  unlock_shared_memory();
}

long tenants_in_ready_sets() { return shared_memory_available() ? hash_get_num_entries(shared_ready) : 0; }

// ---- under the lock ----

void enter_ready_tenant(std::int32_t tenant) {
  DatabaseSlot *slot = my_database();
  // Before the first sweep has begun the set is not used.
  if (slot && !slot->ready.crowded && slot->ready.round > 0 && !enter(slot->ready, tenant)) fail_for_room(slot->ready);
}

void remove_ready_tenant(std::int32_t tenant) {
  DatabaseSlot *slot = my_database();
  ReadyEntry *entry = slot ? find_ready(tenant) : nullptr;
  if (entry) remove(slot->ready, entry);
}

void doubt_all_ready_tenants() {
  if (DatabaseSlot *slot = my_database()) begin_sweep(slot->ready);
}

void forget_ready_tenants(Oid database) {
  remove_entries<ReadyEntry>(shared_ready,
                             [database](const ReadyEntry &entry) { return entry.key.database == database; });
  DatabaseSlot *slot = find_database(database);
  if (!slot) return;
  // Visits that are under way keep an older version.
  const std::uint64_t version = slot->ready.version;
  slot->ready = {};
  slot->ready.version = version;
}

}  // namespace insula
