// The entries of permits in shared memory, for permits.cpp and permit_counts.cpp alone.  Under the lock of the
// counters.
#pragma once

#include "core/list.hpp"
#include "shared/count_basis.hpp"
#include "shared/memory.hpp"
#include "shared/pending.hpp"
#include "shared/permits.hpp"

namespace insula {

using core::Link;
using core::List;

struct LimitEntry;

struct Numbers {
  std::int64_t used;       // as far as transactions have ended
  std::int64_t recounted;  // the same as of the count under way, without the rows that it will find
  std::int64_t reserved;   // by transactions under way
  LimitEntry *entry;       // nullptr: they are those of limit_of_tenant, which stay

  bool idle() const { return used == 0 && recounted == 0 && reserved == 0; }
};

struct WorkKey {
  Oid database;
  std::int32_t tenant;
  Limited what;
};

struct WorkEntry {
  WorkKey key;
  bool known;
  Oid work;                 // the table that was counted
  CountBasis basis;         // of `used`
  int counter;              // the backend that counts, -1: none; its basis is that of `recounted`
  std::int64_t began_at;    // the last count, in passing time
  std::int64_t count_from;  // no count before that
  bool refused;             // permits were, since the last count
  bool is_lower_bound;         // more may be used than was counted
  std::uint64_t version;    // counts permits that have come back
  std::int64_t turned_away;
  std::uint64_t turned_away_ever;
  std::int64_t refused_at;     // in passing time: a permit was last; 0: one has been given since
  std::int64_t refused_limit;  // under this limit
  std::int64_t held_back;      // microseconds
  Numbers own;                 // under limit_of_tenant
  List<LimitEntry> limits;
  int limit_count;
};

struct LimitKey {
  Oid database;
  std::int32_t tenant;
  std::int64_t limit;
};

// A limit of a workflow or of a key.
struct LimitEntry {
  LimitKey key;
  WorkEntry *all;
  Link<LimitEntry> of_work;
  Numbers numbers;
};

extern SharedTable<WorkEntry> limited_works;
extern CountBasis *count_bases;  // of counts under way, by backend

WorkEntry *find_work(std::int32_t tenant, Limited what);
// nullptr: there is no room.
WorkEntry *make_work(const LimitedWork &of);
bool is_full();
// nullptr: the limit has none.
Numbers *find_numbers(WorkEntry &all, std::int64_t limit);
// nullptr: there is no room, or the tenant has its share.
Numbers *make_numbers(WorkEntry &all, std::int64_t limit);
void remove_if_idle(const Numbers &numbers);

template <typename Change>
void for_all_numbers(WorkEntry &all, Change change) {
  change(all.own);
  all.limits.for_each([&](LimitEntry *entry) {
    change(entry->numbers);
    remove_if_idle(entry->numbers);
  });
}

bool is_known(const WorkEntry *all, const LimitedWork &of);
// A count under way comes to nothing.
void stop_count(WorkEntry &all);
// The numbers are unknown until they are counted.
void lose_count(WorkEntry &all);
// To count again at once would end the same way.
void put_count_off(WorkEntry &all);
void lose_count_for_room(WorkEntry &all);

// ---- what the current transaction holds; not under the lock ----

struct HeldKey {
  std::int32_t tenant;
  Limited what;
  std::int64_t limit;
};

// A reservation and the tasks that it becomes are one entry, and so published under one lock.
struct Held {
  HeldKey key;
  int level;
  int outer;
  std::int64_t reserved;
  std::int64_t used;  // more tasks, or fewer
  bool wakes;         // its end is to wake a waiter
};

extern Pending<Held> held_permits;
extern bool holds_unreserved;  // it uses permits for which there was no room

// Gives up the count that this session has begun and not ended.
void abandon_count();

}  // namespace insula
