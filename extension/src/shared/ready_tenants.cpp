// The set of ready tenants in shared memory; see ready_tenants.hpp.
#include "shared/ready_tenants.hpp"

#include <algorithm>

#include "shared/databases.hpp"
#include "shared/waiters.hpp"

extern "C" {
#include "utils/guc.h"
}

namespace insula {

int fairness = static_cast<int>(core::Pricing::by_task);

namespace {

const config_enum_entry fairness_words[] = {{"turns", static_cast<int>(core::Pricing::by_task), false},
                                            {"time", static_cast<int>(core::Pricing::by_time), false},
                                            {nullptr, 0, false}};

// A filter that a visit has found nothing for, as of a version.
struct Nothing {
  std::uint64_t filter;
  std::uint64_t version;
};
constexpr int filters_kept = 4;

// A tenant that is in the set, rests, or has not yet paid for what it was given.
struct ReadyEntry {
  TenantKey key;
  core::Turn turn;
  pairingheap_node resting;
  TimestampTz rests_until;  // DT_NOBEGIN: it does not rest
  std::uint64_t version;
  Nothing nothing[filters_kept];
  int next;  // to be replaced

  bool rests() const { return rests_until != DT_NOBEGIN; }
};

SharedTable<ReadyEntry> shared_ready;

ReadyEntry &entry_of(core::Turn *turn) {
  return *reinterpret_cast<ReadyEntry *>(reinterpret_cast<char *>(turn) - offsetof(ReadyEntry, turn));
}

ReadyEntry &entry_of(pairingheap_node *node) {
  return *reinterpret_cast<ReadyEntry *>(reinterpret_cast<char *>(node) - offsetof(ReadyEntry, resting));
}

int later_first(const pairingheap_node *a, const pairingheap_node *b, void *) {
  const TimestampTz at_a = entry_of(const_cast<pairingheap_node *>(a)).rests_until;
  const TimestampTz at_b = entry_of(const_cast<pairingheap_node *>(b)).rests_until;
  return at_a < at_b ? 1 : at_a > at_b ? -1 : 0;
}

ReadyEntry *find_ready(std::int32_t tenant) { return shared_ready.find({MyDatabaseId, tenant}); }

// nullptr: it has been entered again since, or has been taken out.
ReadyEntry *find_unchanged(const ReadyTenant &visited) {
  ReadyEntry *entry = my_database() ? find_ready(visited.tenant) : nullptr;
  return entry && entry->version == visited.version ? entry : nullptr;
}

// The tenant is in no list of turns.
void forget_unless_resting(core::Turn *turn) {
  ReadyEntry &entry = entry_of(turn);
  if (!entry.rests()) shared_ready.remove(entry);
}

void end_rest(ReadySet &set, ReadyEntry *entry) {
  if (!entry->rests()) return;
  pairingheap_remove(&set.resting, &entry->resting);
  entry->rests_until = DT_NOBEGIN;
}

void remove(ReadySet &set, ReadyEntry *entry) {
  end_rest(set, entry);
  set.turns.remove(&entry->turn);
  shared_ready.remove(*entry);
}

// nullptr: there is no room.
ReadyEntry *make_ready(std::int32_t tenant) {
  return shared_ready.find_or_make({MyDatabaseId, tenant}, [](ReadyEntry &made) {
    made.turn.clear();
    made.rests_until = DT_NOBEGIN;
  });
}

// What the tenants without work still have to pay takes no room from others.
void make_room_for_one(ReadySet &set) {
  if (set.turns.count() == 0) set.turns.forget_debts(forget_unless_resting);
}

enum class Coming { by_event, in_sweep };

// False: there is no room.
bool enter(ReadySet &set, std::int32_t tenant, Coming coming) {
  ReadyEntry *entry = make_ready(tenant);
  if (!entry) {
    make_room_for_one(set);
    if (!(entry = make_ready(tenant))) return false;
  }
  end_rest(set, entry);
  entry->version = ++set.version;
  set.turns.enter(&entry->turn, coming == Coming::by_event);
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
  for (int i = 0; i < 256; ++i) {
    if (!pairingheap_is_empty(&set.resting))
      remove(set, &entry_of(pairingheap_first(&set.resting)));
    else if (core::Turn *turn = set.turns.first())
      remove(set, &entry_of(turn));
  }
  if (shared_ready.count() < shared_room.due_tenants / 2) begin_sweep(set);
}

// Lets tenants in whose time has come, all of them if the clock has been set back.  Sessions read the clock before they
// have the lock, so that their times differ by the time that they wait for it.
void end_rests(ReadySet &set, TimestampTz now) {
  while (!pairingheap_is_empty(&set.resting)) {
    ReadyEntry &first = entry_of(pairingheap_first(&set.resting));
    if (now < first.rests_until && set.rested_at <= now + USECS_PER_SEC) return;
    end_rest(set, &first);
    set.turns.enter(&first.turn, true);
  }
  set.rested_at = DT_NOBEGIN;
}

// Copies the tenants for a filter; returns how many there are, of which only `room` were copied.
int copy_ready(ReadySet &set, std::uint64_t filter, ReadyTenant *tenants, int room) {
  int count = 0;
  set.turns.for_each_with_work([&](core::Turn *turn) {
    const ReadyEntry &entry = entry_of(turn);
    if (has_nothing_for(entry, filter)) return;
    if (count < room) tenants[count] = {entry.key.tenant, entry.version};
    ++count;
  });
  return count;
}

}  // namespace

void define_fairness_settings() {
  DefineCustomEnumVariable(
      "insula.fairness", "What a claim for all tenants counts as a tenant's share.",
      "turns: how many of its tasks were claimed; time: for how long they ran, and what they cost shared "
      "processes.",
      &fairness, fairness, fairness_words, PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
}

const SharedPart ready_tenants_part = {
    [] { return shared_ready.size(shared_room.due_tenants); },
    [](bool) { shared_ready.attach("insula ready tenants", shared_room.due_tenants); }};

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
      if (enter(set, tenants[i].tenant, Coming::in_sweep))
        tenants[i].version = set.version;
      else
        fail_for_room(set);
    }
  }
  unlock_shared_memory();
}

void enter_late_tenants(const std::int32_t *tenants, int count) {
  lock_shared_memory(LW_EXCLUSIVE);
  for (int i = 0; i < count; ++i) enter_ready_tenant(tenants[i]);
  unlock_shared_memory();
}

ReadyTenant *ready_tenants(std::uint64_t filter, TimestampTz now, int *count, TimestampTz *next) {
  ReadyTenant *tenants = nullptr;
  for (int room = 64;; room = *count + 64) {
    *count = 0;
    *next = DT_NOEND;
    tenants = palloc_array_of<ReadyTenant>(static_cast<std::size_t>(room));
    lock_shared_memory(LW_EXCLUSIVE);
    if (DatabaseSlot *slot = my_database()) {
      ReadySet &set = slot->ready;
      end_rests(set, now);
      set.turns.forget_debts(forget_unless_resting);
      *count = copy_ready(set, filter, tenants, room);
      if (!pairingheap_is_empty(&set.resting)) *next = entry_of(pairingheap_first(&set.resting)).rests_until;
    }
    unlock_shared_memory();
    if (*count <= room) return tenants;
    pfree(tenants);
  }
}

bool look_at_ready_tenants(std::int32_t **tenants, int *count) {
  if (!shared_memory_available()) return false;
  bool is_known = false;
  int room = 64;
  for (;; room = *count + 64) {
    *count = 0;
    *tenants = palloc_array_of<std::int32_t>(static_cast<std::size_t>(room));
    lock_shared_memory(LW_SHARED);
    if (DatabaseSlot *slot = my_database()) {
      ReadySet &set = slot->ready;
      is_known = set.round > 0 && !set.crowded && set.swept == PG_INT32_MAX;
      set.turns.for_each_with_work([&](core::Turn *turn) {
        if (*count < room) (*tenants)[*count] = entry_of(turn).key.tenant;
        ++*count;
      });
    }
    unlock_shared_memory();
    if (*count <= room) return is_known;
    pfree(*tenants);
  }
}

int take_ready_turns(std::uint64_t filter, TimestampTz now, const core::Wish &wish, const MostOfTenant &most,
                     ReadyTurn *turns, int room) {
  auto *shares = palloc_array_of<core::Share>(static_cast<std::size_t>(room));
  const auto most_of = [&](core::Turn *turn) {
    const ReadyEntry &entry = entry_of(turn);
    return has_nothing_for(entry, filter) ? 0 : most.most(most.self, entry.key.tenant);
  };
  int count = 0;
  lock_shared_memory(LW_EXCLUSIVE);
  if (DatabaseSlot *slot = my_database()) {
    ReadySet &set = slot->ready;
    end_rests(set, now);
    set.turns.forget_debts(forget_unless_resting);
    count = set.turns.deal(wish, shares, room, most_of, forget_unless_resting);
    for (int i = 0; i < count; ++i) {
      const ReadyEntry &entry = entry_of(shares[i].turn);
      turns[i] = {{entry.key.tenant, entry.version}, entry.turn.weight, shares[i].tasks, entry.turn.passed_over};
    }
  }
  unlock_shared_memory();
  pfree(shares);
  return count;
}

void settle_ready_turn(const ReadyTurn &turn, int claimed, std::int32_t weight, bool passed_over) {
  const bool is_as_dealt = claimed == turn.tasks && weight == turn.weight && !turn.passed_over;
  if (turn.ready.version == 0 || is_as_dealt) return;
  lock_shared_memory(LW_EXCLUSIVE);
  if (DatabaseSlot *slot = my_database())
    if (ReadyEntry *entry = find_ready(turn.ready.tenant)) {
      slot->ready.turns.settle(&entry->turn, turn.tasks - claimed, weight, pricing());
      if (passed_over) slot->ready.turns.pass_over(&entry->turn);
    }
  unlock_shared_memory();
}

template <typename Charge>
static void charge_entry(std::int32_t tenant, bool may_enter, Charge charge) {
  if (!shared_memory_available()) return;
  lock_shared_memory(LW_EXCLUSIVE);
  if (DatabaseSlot *slot = my_database()) {
    ReadyEntry *entry = may_enter ? make_ready(tenant) : find_ready(tenant);
    // One that has no work, and nothing to pay, is forgotten.
    if (entry && !charge(&slot->ready.turns, &entry->turn) && !entry->rests()) shared_ready.remove(*entry);
  }
  unlock_shared_memory();
}

void charge_ready_tenant(std::int32_t tenant, std::int64_t tasks, std::int64_t time) {
  charge_entry(tenant, true, [=](core::Turns *turns, core::Turn *turn) { return turns->charge(turn, tasks, time); });
}

void charge_ready_tenant(std::int32_t tenant, std::int64_t time, bool may_enter) {
  charge_entry(tenant, may_enter, [=](core::Turns *turns, core::Turn *turn) { return turns->spend(turn, time); });
}

void note_nothing_ready(const ReadyTenant &visited, std::uint64_t filter) {
  lock_shared_memory(LW_EXCLUSIVE);
  if (ReadyEntry *entry = find_unchanged(visited)) {
    if (filter != 0) {
      entry->nothing[entry->next] = {filter, visited.version};
      entry->next = (entry->next + 1) % filters_kept;
    } else if (my_database()->ready.turns.rest(&entry->turn)) {
      forget_unless_resting(&entry->turn);
    }
  }
  unlock_shared_memory();
}

// False: the tenant has changed since the visit.
static bool rest_until(const ReadyTenant &visited, TimestampTz now, TimestampTz next) {
  ReadyEntry *entry = find_unchanged(visited);
  if (!entry) return false;
  ReadySet &set = my_database()->ready;
  end_rest(set, entry);
  (void)set.turns.rest(&entry->turn);
  entry->rests_until = next;
  set.rested_at = std::max(set.rested_at, now);
  set.resting.ph_compare = later_first;
  pairingheap_add(&set.resting, &entry->resting);
  return true;
}

void note_nothing_ready_before(const ReadyTenant &visited, TimestampTz now, TimestampTz next) {
  lock_shared_memory(LW_EXCLUSIVE);
  (void)rest_until(visited, now, next);
  unlock_shared_memory();
}

// The visit may have been the answer to a wake-up, and which of the other sessions want the tasks is not known.
void note_put_off_before(const ReadyTenant &visited, TimestampTz now, TimestampTz until) {
  lock_shared_memory(LW_EXCLUSIVE);
  if (rest_until(visited, now, until)) let_fleets_look_by(MyDatabaseId, until);
  unlock_shared_memory();
}

long tenants_in_ready_sets() {
  if (!shared_memory_available()) return 0;
  long count = 0;
  lock_shared_memory(LW_SHARED);
  for (int i = 0; i < shared_room.databases; ++i)
    if (OidIsValid(databases->slots[i].database)) count += databases->slots[i].ready.turns.count();
  unlock_shared_memory();
  return count;
}

// ---- under the lock ----

void enter_ready_tenant(std::int32_t tenant) {
  DatabaseSlot *slot = my_database();
  // Before the first sweep has begun the set is not used.
  if (slot && !slot->ready.crowded && slot->ready.round > 0 && !enter(slot->ready, tenant, Coming::by_event))
    fail_for_room(slot->ready);
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
  shared_ready.remove_of(database);
  DatabaseSlot *slot = find_database(database);
  if (!slot) return;
  // Visits that are under way keep an older version.
  const std::uint64_t version = slot->ready.version;
  slot->ready = {};
  slot->ready.version = version;
}

}  // namespace insula
