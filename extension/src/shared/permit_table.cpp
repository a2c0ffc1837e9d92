// The entries of permits; see permit_table.hpp.
#include "shared/permit_table.hpp"

#include "shared/clock.hpp"
#include "shared/drop_counters.hpp"
#include "shared/shared.hpp"

namespace insula {

SharedTable<WorkEntry> limited_works;
CountBasis *count_bases = nullptr;

static SharedTable<LimitEntry> limits;

static Size bases_size() { return mul_size(sizeof(CountBasis), static_cast<Size>(MaxBackends)); }

static int room_for_works() { return 4 * shared_room.due_tenants; }

WorkEntry *find_work(std::int32_t tenant, Limited what) { return limited_works.find({MyDatabaseId, tenant, what}); }

bool is_full() { return limited_works.count() >= room_for_works(); }

WorkEntry *make_work(const LimitedWork &of) {
  return limited_works.find_or_make({MyDatabaseId, of.tenant, of.what}, [](WorkEntry &made) {
    made.counter = -1;
    // Sessions that were turned away before were not counted.
    made.turned_away = waiting_sessions();
    made.turned_away_ever = 1;
    made.limits.clear();
  });
}

// One tenant may have four fifths of the room: one call claims up to ten thousand tasks.
constexpr int times_the_free = 4;

static bool has_room_for_limit(const WorkEntry &all) {
  return has_share(all.limit_count / times_the_free, shared_room.counted_limits - limits.count());
}

Numbers *find_numbers(WorkEntry &all, std::int64_t limit) {
  if (all.key.what != Limited::workflows) return &all.own;
  LimitEntry *entry = limits.find({MyDatabaseId, all.key.tenant, limit});
  return entry ? &entry->numbers : nullptr;
}

Numbers *make_numbers(WorkEntry &all, std::int64_t limit) {
  if (all.key.what != Limited::workflows || !has_room_for_limit(all)) return find_numbers(all, limit);
  LimitEntry *entry = limits.find_or_make({MyDatabaseId, all.key.tenant, limit}, [&](LimitEntry &made) {
    made.numbers.entry = &made;
    made.all = &all;
    all.limits.append(&made, &made.of_work);
    ++all.limit_count;
  });
  return entry ? &entry->numbers : nullptr;
}

void remove_if_idle(const Numbers &numbers) {
  LimitEntry *entry = numbers.entry;
  if (!entry || !numbers.idle()) return;
  entry->of_work.remove();
  --entry->all->limit_count;
  limits.remove(*entry);
}

void stop_count(WorkEntry &all) {
  all.counter = -1;
  for_all_numbers(all, [](Numbers &numbers) { numbers.recounted = 0; });
}

void lose_count(WorkEntry &all) {
  all.count_from = 0;
  ++all.version;  // a session that has just looked shall look again
  all.known = all.is_lower_bound = false;
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
      const Size size = add_size(limited_works.size(room_for_works()), limits.size(shared_room.counted_limits));
      return add_size(size, MAXALIGN(bases_size()));
    },
    [](bool) {
      limited_works.attach("insula permits", room_for_works());
      limits.attach("insula limits", shared_room.counted_limits);
      bool found;
      count_bases = static_cast<CountBasis *>(ShmemInitStruct("insula counts under way", bases_size(), &found));
    }};

void drop_permits_of(Oid database, std::int32_t tenant) {
  limited_works.remove_of(database, tenant);
  limits.remove_of(database, tenant);
}

long limits_of_tenants() { return limited_works.count(); }

long counted_limits() { return limits.count(); }

}  // namespace insula
