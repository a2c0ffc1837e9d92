// The entries of permits; see permit_table.hpp.
#include "shared/permit_table.hpp"

#include "shared/clock.hpp"
#include "shared/drop_counters.hpp"
#include "shared/shared.hpp"

namespace insula {

HTAB *limited_works = nullptr;
CountBasis *count_bases = nullptr;

static HTAB *limits = nullptr;

static Size bases_size() { return mul_size(sizeof(CountBasis), static_cast<Size>(MaxBackends)); }

static int room_for_works() { return 4 * shared_room.due_tenants; }

WorkEntry *find_work(std::int32_t tenant, Limited what) {
  WorkKey key = {MyDatabaseId, tenant, what};
  return static_cast<WorkEntry *>(hash_search(limited_works, &key, HASH_FIND, nullptr));
}

bool is_full() { return hash_get_num_entries(limited_works) >= room_for_works(); }

WorkEntry *make_work(const LimitedWork &of) {
  WorkKey key = {MyDatabaseId, of.tenant, of.what};
  bool found;
  auto *all = static_cast<WorkEntry *>(hash_search(limited_works, &key, HASH_ENTER_NULL, &found));
  if (!all || found) return all;
  all->known = false;
  all->work = InvalidOid;
  all->counter = -1;
  all->began_at = all->count_from = 0;
  all->refused = all->is_at_least = false;
  all->refused_at = all->refused_limit = all->held_back = 0;
  all->version = 0;
  // Sessions that were turned away before were not counted.
  all->turned_away = waiting_sessions();
  all->turned_away_ever = 1;
  all->own = {};
  all->limits.clear();
  all->limit_count = 0;
  return all;
}

// One tenant may have four fifths of the room: one call claims up to ten thousand tasks.
constexpr int times_the_free = 4;

static bool has_room_for_limit(const WorkEntry &all) {
  return has_share(all.limit_count / times_the_free, shared_room.counted_limits - hash_get_num_entries(limits));
}

static Numbers *numbers_of(WorkEntry &all, std::int64_t limit, HASHACTION action) {
  if (all.key.what != Limited::workflows) return &all.own;
  LimitKey key = {MyDatabaseId, all.key.tenant, limit};
  bool found;
  auto *entry = static_cast<LimitEntry *>(hash_search(limits, &key, action, &found));
  if (!entry) return nullptr;
  if (found) return &entry->numbers;
  entry->numbers = {0, 0, 0, entry};
  entry->all = &all;
  all.limits.append(entry, &entry->of_work);
  ++all.limit_count;
  return &entry->numbers;
}

Numbers *find_numbers(WorkEntry &all, std::int64_t limit) { return numbers_of(all, limit, HASH_FIND); }

Numbers *make_numbers(WorkEntry &all, std::int64_t limit) {
  return numbers_of(all, limit, has_room_for_limit(all) ? HASH_ENTER_NULL : HASH_FIND);
}

void remove_if_idle(const Numbers &numbers) {
  LimitEntry *entry = numbers.entry;
  if (!entry || !numbers.idle()) return;
  entry->of_work.remove();
  --entry->all->limit_count;
  hash_search(limits, &entry->key, HASH_REMOVE, nullptr);
}

void stop_count(WorkEntry &all) {
  all.counter = -1;
  for_all_numbers(all, [](Numbers &numbers) { numbers.recounted = 0; });
}

void lose_count(WorkEntry &all) {
  all.count_from = 0;
  ++all.version;  // a session that has just looked shall look again
  all.known = all.is_at_least = false;
  all.counter = -1;
  for_all_numbers(all, [](Numbers &numbers) { numbers.used = numbers.recounted = 0; });
}

void put_count_off(WorkEntry &all) { all.count_from = passing_time() + USECS_PER_SEC; }

void lose_count_for_room(WorkEntry &all) {
  lose_count(all);
  put_count_off(all);
}

bool is_known(const WorkEntry *all, const LimitedWork &of) { return all && all->known && all->work == of.work; }

const SharedPart permits_part = {
    [] {
      const Size size = add_size(hash_estimate_size(room_for_works(), sizeof(WorkEntry)),
                                 hash_estimate_size(shared_room.counted_limits, sizeof(LimitEntry)));
      return add_size(size, MAXALIGN(bases_size()));
    },
    [](bool) {
      limited_works = make_shared_table("insula permits", room_for_works(), sizeof(WorkKey), sizeof(WorkEntry));
      limits = make_shared_table("insula limits", shared_room.counted_limits, sizeof(LimitKey), sizeof(LimitEntry));
      bool found;
      count_bases = static_cast<CountBasis *>(ShmemInitStruct("insula counts under way", bases_size(), &found));
    }};

void drop_permits_of(Oid database, std::int32_t tenant) {
  drop_entries_of<WorkEntry>(limited_works, database, tenant);
  drop_entries_of<LimitEntry>(limits, database, tenant);
}

long limits_of_tenants() { return limited_works ? hash_get_num_entries(limited_works) : 0; }

long counted_limits() { return limits ? hash_get_num_entries(limits) : 0; }

}  // namespace insula
