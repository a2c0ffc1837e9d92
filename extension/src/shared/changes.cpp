// Tenants that have changed lately.  PostgreSQL sends its invalidations only after the commit
// callbacks, so a session that one wakes may come before the news: the caches of tenants ask here
// as well.
#include "shared/changes.hpp"

namespace insula {

namespace {

struct TenantChanges {
  pg_atomic_uint64 count;  // since the server's start
  TenantKey items[changes_remembered];
};

TenantChanges *changes = nullptr;

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
  const std::uint64_t count = pg_atomic_read_u64(&changes->count);
  changes->items[count % changes_remembered] = {database, tenant};
  pg_atomic_write_u64(&changes->count, count + 1);
}

void note_all_changed() {
  pg_atomic_write_u64(&changes->count, pg_atomic_read_u64(&changes->count) + changes_remembered + 1);
}

int take_changed_tenants(std::int32_t (&tenants)[changes_remembered], bool *unknown) {
  static std::uint64_t seen = 0;
  *unknown = false;
  if (!shared_memory_available() || pg_atomic_read_u64(&changes->count) == seen) return 0;
  int count = 0;
  lock_shared_memory(LW_SHARED);
  const std::uint64_t last = pg_atomic_read_u64(&changes->count);
  *unknown = last - seen > changes_remembered;
  if (*unknown) seen = last;
  for (; seen < last; ++seen) {
    const TenantKey &changed = changes->items[seen % changes_remembered];
    if (changed.database == MyDatabaseId) tenants[count++] = changed.tenant;
  }
  unlock_shared_memory();
  return count;
}

}  // namespace insula
