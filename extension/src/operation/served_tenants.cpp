// The tenants of a call for all tenants; see served_tenants.hpp.
#include "operation/served_tenants.hpp"

#include <algorithm>

#include "shared/clock.hpp"
#include "shared/counters.hpp"
#include "shared/due_queue.hpp"
#include "shared/shared.hpp"

extern "C" {
#include "common/hashfn.h"
}

namespace insula {

namespace {

constexpr int swept_at_once = 256;
constexpr std::int64_t between_helps = USECS_PER_SEC;

// Running rows that were changed by hand free permits without a word, so a tenant without a permit is visited again
// after this time.
constexpr std::int64_t between_refusals = 60 * USECS_PER_SEC;

std::uint64_t filter_of(const char *const *tasks, int count) {
  if (!tasks) return 0;
  std::uint64_t hash = 1;
  for (int i = 0; i < count; ++i) {
    const auto *name = reinterpret_cast<const unsigned char *>(tasks[i]);
    hash = hash_bytes_extended(name, static_cast<int>(strlen(tasks[i])), hash);
  }
  return hash | 1;
}

// What the transaction itself has made claimable is not in the set yet.  False: there is more than room for.
bool add_touched(ServedTenants *served) {
  if (announces_changes()) return false;
  const int count = touched_tenants(served->others, lengthof(served->others));
  served->other_count = std::min<int>(count, lengthof(served->others));
  return count <= static_cast<int>(lengthof(served->others));
}

// A claim serves them in their turns.
bool add_late(ServedTenants *served) {
  static std::int64_t helped_at = PG_INT64_MIN / 2;
  if (passing_time() - helped_at < between_helps) return true;
  std::int32_t *late = served->others + served->other_count;
  const int room = lengthof(served->others) - served->other_count;
  const int count = late_tenants(clock_now(), late, room);
  if (count == 0) return true;
  helped_at = passing_time();
  if (count > room) return false;
  served->other_count += count;
  enter_late_tenants(late, count);
  std::sort(served->others, served->others + served->other_count);
  served->other_count =
      static_cast<int>(std::unique(served->others, served->others + served->other_count) - served->others);
  return true;
}

ServedTenant *all_active(int *count) {
  const TenantShare *tenants = active_tenants(count);
  auto *batch = palloc_array_of<ServedTenant>(static_cast<std::size_t>(*count) + 1);
  for (int i = 0; i < *count; ++i) batch[i] = {{tenants[i].number, 0}, {}};
  return batch;
}

// Reads the next stretch of the list of tenants, and enters it into the set.
int sweep_on(ServedTenants *served, ReadyTenant (&tenants)[swept_at_once]) {
  std::int32_t numbers[swept_at_once];
  const int found = active_tenants_after(served->sweep.after, numbers, swept_at_once);
  const bool last = found < swept_at_once;
  for (int i = 0; i < found; ++i) tenants[i] = {numbers[i], 0};
  if (served->may_note) enter_swept_tenants(served->sweep, tenants, found, last);
  served->sweep.after = last ? PG_INT32_MAX : numbers[found - 1];
  return found;
}

bool is_swept(const ServedTenants &served) { return served.sweep.after == PG_INT32_MAX; }

// A call that the set alone could fill also sweeps a stretch: else a busy tenant in the set would keep those that are
// not yet swept from all calls.
bool sweeps_first(const ServedTenants &served) { return served.may_note && !is_swept(served); }

ServedTenant *first_batch(ServedTenants *served, int *count) {
  ReadyTenant swept[swept_at_once];
  const int swept_count = sweeps_first(*served) ? sweep_on(served, swept) : 0;
  int ready_count;
  const ReadyTenant *ready = ready_tenants(served->filter, clock_now(), &ready_count, &served->next);
  served->next = std::min(served->next, scheduler_late_at());
  const auto most = static_cast<std::size_t>(ready_count + served->other_count + swept_count);
  auto *batch = palloc_array_of<ServedTenant>(most + 1);
  auto *numbers = palloc_array_of<std::int32_t>(most + 1);
  int all = 0;
  *count = 0;
  const auto add_missing = [&](const ReadyTenant *added, int added_count) {
    const int known = all;
    for (int i = 0; i < added_count; ++i) {
      if (std::binary_search(numbers, numbers + known, added[i].tenant)) continue;
      numbers[all++] = added[i].tenant;
      // Time's work is done for those that are late, even if the caller does not want to serve them.
      if (added[i].version == 0 || served->choice.admits(added[i].tenant)) batch[(*count)++] = {added[i], {}};
    }
    std::sort(numbers, numbers + all);
  };
  add_missing(ready, ready_count);
  ReadyTenant others[lengthof(served->others)];
  for (int i = 0; i < served->other_count; ++i) others[i] = {served->others[i], 0};
  add_missing(others, served->other_count);
  // Those that another session has swept, or for which there was no room.
  add_missing(swept, swept_count);
  served->begun_with = numbers;
  served->begun_count = all;
  return batch;
}

ServedTenant *swept_batch(ServedTenants *served, int *count) {
  ReadyTenant tenants[swept_at_once];
  const int found = sweep_on(served, tenants);
  auto *batch = palloc_array_of<ServedTenant>(swept_at_once);
  *count = 0;
  for (int i = 0; i < found; ++i)
    if (!std::binary_search(served->begun_with, served->begun_with + served->begun_count, tenants[i].tenant))
      batch[(*count)++] = {tenants[i], {}};
  return batch;
}

bool by_number(const VisitedTenant &a, const VisitedTenant &b) { return a.tenant < b.tenant; }

VisitedTenant *find_visited(const ServedTenants &served, std::int32_t tenant) {
  VisitedTenant *end = served.visited + served.visited_count;
  VisitedTenant *found = std::lower_bound(served.visited, end, VisitedTenant{tenant, 0, false}, by_number);
  return found < end && found->tenant == tenant ? found : nullptr;
}

struct Wanting {
  const ServedTenants &served;
  int most_per_tenant;

  int most_of(std::int32_t tenant) const {
    if (!served.choice.admits(tenant)) return 0;
    const VisitedTenant *visited = find_visited(served, tenant);
    return visited ? (visited->done ? 0 : most_per_tenant - visited->claimed) : most_per_tenant;
  }
};

// Sweeps a stretch; those of it that another session has swept, or for which there was no room, are strangers.
void sweep_for_turns(ServedTenants *served) {
  ReadyTenant tenants[swept_at_once];
  const int found = sweep_on(served, tenants);
  auto *strangers = palloc_array_of<std::int32_t>(swept_at_once);
  served->stranger_count = 0;
  for (int i = 0; i < found; ++i)
    if (tenants[i].version == 0) strangers[served->stranger_count++] = tenants[i].tenant;
  served->strangers = strangers;
}

int turns_of_strangers(ServedTenants *served, const ClaimWish &wish, const Wanting &wanting,
                       ReadyTurn (&turns)[turns_at_once]) {
  int count = 0;
  while (served->stranger_count > 0 && count < turns_at_once) {
    const std::int32_t tenant = served->strangers[--served->stranger_count];
    const int most = std::min(wish.tasks, wanting.most_of(tenant));
    if (most > 0) turns[count++] = {{tenant, 0}, 0, most, false};
  }
  return count;
}

}  // namespace

ServedTenants begin_serving(const char **tasks, int task_count, const TenantChoice &choice) {
  ServedTenants served = {tasks, task_count, choice, filter_of(tasks, task_count)};
  // A snapshot that is older than what the set says may not see what has entered a tenant.
  if (IsolationUsesXactSnapshot() || !time_is_left_to_scheduler()) return served;
  served.may_note = !TransactionIdIsValid(GetTopTransactionIdIfAny());
  if ((!served.may_note && !add_touched(&served)) || !add_late(&served)) return served;
  served.sweep = read_ready_sweep();
  served.are_known = served.sweep.usable;
  return served;
}

ServedTenant *next_batch(ServedTenants *served, int *count) {
  if (!served->begun) {
    served->begun = true;
    return served->are_known ? first_batch(served, count) : all_active(count);
  }
  if (!served->are_known || is_swept(*served)) return nullptr;
  return swept_batch(served, count);
}

int next_turns(ServedTenants *served, const ClaimWish &wish, ReadyTurn (&turns)[turns_at_once]) {
  if (!served->begun && sweeps_first(*served)) sweep_for_turns(served);
  served->begun = true;
  const Wanting wanting = {*served, wish.most_per_tenant};
  const MostOfTenant most = {&wanting, [](const void *self, std::int32_t tenant) {
                               return static_cast<const Wanting *>(self)->most_of(tenant);
                             }};
  for (;;) {
    int count = take_ready_turns(served->filter, clock_now(), {wish.tasks, wish.at_once, pricing()}, most, turns,
                                 turns_at_once);
    if (count == 0) count = turns_of_strangers(served, wish, wanting, turns);
    if (count > 0) return count;
    if (!is_swept(*served)) {
      sweep_for_turns(served);
    } else if (served->other_count > 0) {
      served->strangers = served->others;
      served->stranger_count = served->other_count;
      served->other_count = 0;
    } else {
      return 0;
    }
  }
}

std::size_t bytes_of_visited(const ServedTenants &served, std::int32_t tenant) {
  const VisitedTenant *visited = find_visited(served, tenant);
  return visited ? visited->bytes : 0;
}

void note_visited(ServedTenants *served, const ReadyTurn &turn, int claimed, bool done, std::size_t bytes) {
  if (VisitedTenant *visited = find_visited(*served, turn.ready.tenant)) {
    visited->claimed += claimed;
    visited->done = visited->done || done;
    visited->bytes = bytes;
    return;
  }
  if (served->visited_count == served->visited_room) {
    served->visited_room = std::max(2 * served->visited_room, turns_at_once);
    const Size size = sizeof(VisitedTenant) * static_cast<Size>(served->visited_room);
    served->visited =
        static_cast<VisitedTenant *>(served->visited ? repalloc_huge(served->visited, size) : palloc(size));
  }
  VisitedTenant *end = served->visited + served->visited_count++;
  VisitedTenant *place = std::lower_bound(served->visited, end, VisitedTenant{turn.ready.tenant, 0, false}, by_number);
  std::copy_backward(place, end, end + 1);
  *place = {turn.ready.tenant, claimed, done, bytes};
}

void note_if_nothing_claimable(const ServedTenants &served, const ServedTenant &visited, const Tenant &tenant) {
  if (visited.ready.version == 0 || !served.may_note) return;
  ServedTenant found = visited;
  found.prospect = {};
  if (!would_claim(tenant, served.tasks, served.task_count, &found.prospect))
    note_nothing_claimable(served, found, tenant);
}

void note_nothing_claimable(const ServedTenants &served, const ServedTenant &visited, const Tenant &tenant) {
  if (visited.ready.version == 0 || !served.may_note) return;
  // Visits do what time causes for a tenant that the scheduler has set aside.
  if (visited.prospect.unsure || is_aside_in_queue(tenant.number)) return;
  const TimestampTz now = clock_now();
  if (visited.prospect.next != DT_NOEND) return note_nothing_ready_before(visited.ready, now, visited.prospect.next);
  Prospect of_any = visited.prospect;
  if (served.filter != 0) {
    of_any = {};
    if (would_claim(tenant, nullptr, 0, &of_any) || of_any.unsure || of_any.next != DT_NOEND)
      return note_nothing_ready(visited.ready, served.filter);
  }
  if (of_any.refused)
    note_nothing_ready_before(visited.ready, now, now + between_refusals);
  else
    note_nothing_ready(visited.ready, 0);
}

void note_put_off(const ServedTenants &served, const ReadyTenant &visited, TimestampTz until) {
  if (visited.version != 0 && served.may_note) note_put_off_before(visited, clock_now(), until);
}

void note_not_served(const ServedTenants &served, const ReadyTenant &visited, const Tenant *tenant) {
  if (visited.version == 0 || !served.may_note) return;
  // Nothing tells when the relations of a tenant that exists are as they were made again.
  if (tenant ? tenant->suspended : !find_tenant(visited.tenant)) note_nothing_ready(visited, 0);
}

}  // namespace insula
