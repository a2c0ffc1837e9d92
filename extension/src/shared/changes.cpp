// Tenants that have changed lately.  PostgreSQL sends its invalidations only after the commit
// callbacks, so a session that one wakes may come before the news: the caches of tenants ask here
// as well.  A tenant has one place, however often it changes: only many tenants together make others' changes
// be forgotten.
#include "shared/changes.hpp"

#include <algorithm>

namespace insula {

namespace {

struct ChangedTenant {
  TenantKey key;
  std::uint64_t at;  // counted; 0: a free place
};

struct TenantChanges {
  pg_atomic_uint64 count;   // since the server's start
  std::uint64_t forgotten;  // of changes up to this one it is not known whose they were
  ChangedTenant items[changes_remembered];
};

TenantChanges *changes = nullptr;

std::uint64_t count_one() {
  const std::uint64_t count = pg_atomic_read_u64(&changes->count) + 1;
  pg_atomic_write_u64(&changes->count, count);
  return count;
}

}  // namespace

const SharedPart changes_part = {
    [] { return sizeof(TenantChanges); },
    [](bool first) {
      bool found;
      changes = static_cast<TenantChanges *>(ShmemInitStruct("insula changes", sizeof(TenantChanges), &found));
      if (!first) return;
      memset(changes, 0, sizeof(TenantChanges));
      pg_atomic_init_u64(&changes->count, 0);
    }};

void note_changed(Oid database, std::int32_t tenant) {
  ChangedTenant *const end = changes->items + changes_remembered;
  ChangedTenant *place = std::find_if(changes->items, end, [&](const ChangedTenant &item) {
    return item.key.database == database && item.key.tenant == tenant;
  });
  if (place == end) {
    place = std::min_element(changes->items, end,
                             [](const ChangedTenant &a, const ChangedTenant &b) { return a.at < b.at; });
    changes->forgotten = std::max(changes->forgotten, place->at);
  }
  *place = {{database, tenant}, count_one()};
}

void note_all_changed() { changes->forgotten = count_one(); }

int take_changed_tenants(std::int32_t (&tenants)[changes_remembered], bool *unknown) {
  static std::uint64_t seen = 0;
  *unknown = false;
  if (!shared_memory_available() || pg_atomic_read_u64(&changes->count) == seen) return 0;
  int count = 0;
  lock_shared_memory(LW_SHARED);
  *unknown = changes->forgotten > seen;
  for (const ChangedTenant &changed : changes->items)
    if (!*unknown && changed.at > seen && changed.key.database == MyDatabaseId) tenants[count++] = changed.key.tenant;
  seen = pg_atomic_read_u64(&changes->count);
  unlock_shared_memory();
  return count;
}

}  // namespace insula
