// Tenants that have changed lately.  PostgreSQL sends its invalidations only after the commit
// callbacks, so who is woken by one may come before the news: the caches of tenants ask here
// as well.
#include <algorithm>

#include "shared/shared.hpp"
#include "shared/state.hpp"

namespace insula {

void note_changed(Oid database, std::int32_t tenant) {
  const std::uint64_t count = pg_atomic_read_u64(&shared->changes.count);
  shared->changes.items[count % changes_remembered] = {database, tenant};
  pg_atomic_write_u64(&shared->changes.count, count + 1);
}

void note_all_changed() {
  pg_atomic_write_u64(&shared->changes.count, pg_atomic_read_u64(&shared->changes.count) + changes_remembered + 1);
}

int take_changed_tenants(std::int32_t (&tenants)[changes_remembered], bool *unknown) {
  static std::uint64_t seen = 0;
  *unknown = false;
  if (!shared || pg_atomic_read_u64(&shared->changes.count) == seen) return 0;
  int count = 0;
  LWLockAcquire(shared->lock, LW_SHARED);
  const std::uint64_t last = pg_atomic_read_u64(&shared->changes.count);
  *unknown = last - seen > changes_remembered;
  if (*unknown) seen = last;
  for (; seen < last; ++seen) {
    const DueKey &changed = shared->changes.items[seen % changes_remembered];
    if (changed.database == MyDatabaseId) tenants[count++] = changed.tenant;
  }
  LWLockRelease(shared->lock);
  return count;
}

}  // namespace insula
