// Concurrency limits of workflows, for a whole workflow or for each value of a key.  A claim takes
// rows in their order and asks for a permit for each (shared/permits.hpp).  When it meets
// many used-up limits it goes from limit to limit instead, by an index of the waiting rows.  It
// gives up after a fixed number of used-up limits, and the session's next claim goes on from there,
// so that a hundred thousand of them hold up no other tenant's claims.  Only a claim that is about
// to wait looks at all limits, and claims the task that it finds.
//
// If the numbers of running tasks are not known, a claim counts them under the tenant's permits
// lock and publishes them.  If they cannot be published, each claim counts for itself and holds the
// lock until it commits, so that no permit is counted twice.  A claim that finds the lock held
// takes nothing, and the lock's release wakes it.
#include <algorithm>

#include "operation/operations.hpp"
#include "shared/shared.hpp"
#include "storage/limited_rows.hpp"
#include "storage/random.hpp"
#include "tenant/lock.hpp"

extern "C" {
#include "common/hashfn.h"
#include "utils/fmgrprotos.h"
}

namespace insula {

namespace {

// Running tasks by limit, ascending.
struct Counts {
  LimitCount *items = nullptr;
  int count = 0;

  std::int64_t of(std::int64_t limit) const {
    const LimitCount *at = std::lower_bound(
        items, items + count, limit, [](const LimitCount &item, std::int64_t wanted) { return item.limit < wanted; });
    return at != items + count && at->limit == limit ? at->used : 0;
  }
};

Counts count_running(const Tenant &tenant, Snapshot snapshot) {
  Counts counts;
  counts.items = running_by_limit(tenant, snapshot, &counts.count);
  return counts;
}

// The source of permits: the numbers in shared memory, or this claim's own count.
struct PermitSource {
  const Tenant &tenant;
  bool known;
  // With known numbers several permits are reserved at once, since mostly more rows of the same
  // limit follow.
  int wanted = 0;
  std::int32_t definition = 0;
  std::int64_t limit = 0;
  Reserved spare = {};
  bool used_up = false;
  // With a count of its own: running tasks, reservations of other claims, and permits of this
  // claim.
  Counts running = {};
  Counts reserved = {};
  std::int64_t *taken = nullptr;
  int taken_count = 0;

  LimitedWork work() const { return limited_work(tenant, Limited::workflows); }
  std::int64_t most(std::int32_t of) const { return definition_of(tenant, of).limit.max; }

  bool is_free(std::int32_t of, std::int64_t under) const {
    return (known ? free_permits(work(), under, most(of)) : left(of, under)) > 0;
  }

  bool take(std::int32_t of, std::int64_t under) { return known ? take_known(of, under) : take_counted(of, under); }

  bool take_known(std::int32_t of, std::int64_t under) {
    const bool same = of == definition && under == limit;
    if (same && used_up) return false;
    if (!same || spare.count == 0) {
      return_spare();
      definition = of;
      limit = under;
      spare = reserve_permits(work(), under, most(of), 1, wanted);
      used_up = spare.count == 0;
      if (used_up) return false;
    }
    --spare.count;
    --wanted;
    return true;
  }

  bool take_counted(std::int32_t of, std::int64_t under) {
    if (left(of, under) <= 0) return false;
    (void)reserve_permits_ahead(work(), under, 1);
    taken[taken_count++] = under;
    return true;
  }

  void take_back(std::int64_t under) {
    if (known) {
      ++spare.count;
      ++wanted;
    } else {
      return_permits(work(), under, {1});
      --taken_count;
    }
  }

  void return_spare() {
    return_permits(work(), limit, spare);
    spare = {};
  }

  std::int64_t left(std::int32_t of, std::int64_t under) const {
    return most(of) - running.of(under) - reserved.of(under) - std::count(taken, taken + taken_count, under);
  }

  // Takes permits.
  LimitGate gate() {
    return {this,
            [](void *self, std::int32_t of, std::int64_t under) {
              return static_cast<PermitSource *>(self)->take(of, under);
            },
            [](void *self, std::int64_t under) { static_cast<PermitSource *>(self)->take_back(under); }};
  }
  // Only looks for permits.
  LimitGate window() {
    return {this,
            [](void *self, std::int32_t of, std::int64_t under) {
              return static_cast<PermitSource *>(self)->is_free(of, under);
            },
            nullptr};
  }
};

// Counts under the lock, which this transaction keeps; false: another transaction holds it.
bool count_for_claim(PermitSource *permits) {
  const Tenant &tenant = permits->tenant;
  if (!try_lock_tenant(tenant.number, TenantLock::permits)) return false;
  announce_permits_lock(tenant.number);
  Counts &reserved = permits->reserved;
  permits->known = !read_reserved(permits->work(), &reserved.items, &reserved.count);
  if (permits->known) return true;
  permits->running = count_running(tenant, nullptr);
  permits->taken = palloc_array_of<std::int64_t>(static_cast<std::size_t>(permits->wanted));
  return true;
}

bool is_wanted(const ClaimFilter &filter, std::int32_t key) {
  return !filter.keys || std::binary_search(filter.keys, filter.keys + filter.count, key);
}

// Moves the place to the next wanted key, unless its own key is wanted.
void skip_unwanted(const ClaimFilter &filter, LimitPlace *place) {
  if (!filter.keys) return;
  const std::int32_t *next = std::lower_bound(filter.keys, filter.keys + filter.count, place->key);
  if (next == filter.keys + filter.count)
    *place = {PG_INT32_MAX, PG_INT64_MAX};
  else if (*next != place->key)
    *place = {*next, PG_INT64_MIN};
}

// The used-up limits, and index entries of dead rows, that a claim walks over before it gives up.
constexpr int claims_patience = 1000;

// The place where the session's next look begins, for a few tenants; for others it is random.
struct NextLook {
  std::int32_t tenant;
  LimitPlace after;
};
NextLook next_looks[64] = {};

NextLook &next_look_at(const Tenant &tenant) { return next_looks[tenant.number % lengthof(next_looks)]; }

LimitPlace place_to_start(const Tenant &tenant) {
  NextLook &next = next_look_at(tenant);
  if (next.tenant != tenant.number)
    return {static_cast<std::int32_t>(random_fraction() * (last_task_key_of(tenant) + 1)),
            static_cast<std::int64_t>(random_bits())};
  next.tenant = 0;
  return next.after;
}

// The bounds of a tour.
struct TourPatience {
  int limits;   // without a claimable row
  int entries;  // index entries of dead rows
};

// Visits limits with waiting rows and perhaps a free permit, each once per task, until `wanted`
// rows are found: `visit(at, &entries)` returns how many it found.
template <typename Visit>
void tour_limits(const PermitSource &permits, const ClaimFilter &filter, int wanted, TourPatience left, Visit visit) {
  const Tenant &tenant = permits.tenant;
  const LimitPlace start = place_to_start(tenant);
  LimitPlace after = start;
  bool wrapped = false;
  for (int batch = 8;; batch = std::min(batch * 2, 512)) {
    CHECK_FOR_INTERRUPTS();
    skip_unwanted(filter, &after);
    int count;
    LimitPlace next = after;
    const WaitingLimit *limits = waiting_limits(tenant, &next, batch, &left.entries, &count);
    bool skips = false;
    for (int i = 0; i < count && !skips; ++i) {
      const WaitingLimit &limit = limits[i];
      after = limit.at;
      if (wrapped && start < after) return;
      skips = !is_wanted(filter, after.key);
      if (skips) continue;
      const bool may_be_free = limit.definition == 0 || permits.is_free(limit.definition, after.limit);
      const int found = may_be_free ? visit(after, &left.entries) : 0;
      wanted -= found;
      if (found == 0) --left.limits;
      if (wanted <= 0) return;
      if (left.limits > 0 && left.entries >= 0) continue;
      next_look_at(tenant) = {tenant.number, after};
      return;
    }
    if (skips) {
      batch = 4;
      continue;
    }
    if (left.entries < 0) {
      next_look_at(tenant) = {tenant.number, next};
      return;
    }
    if (count > 0) continue;
    if (wrapped) return;
    wrapped = true;
    after = {0, PG_INT64_MIN};
  }
}

bool would_claim_limited(const Tenant &tenant, const ClaimFilter &filter, Prospect *prospect) {
  (void)count_permits_if_wanted(tenant, Limited::workflows);
  PermitSource permits = {tenant, permits_are_known(limited_work(tenant, Limited::workflows))};
  if (!permits.known) {
    if (is_tenant_locked(tenant.number, TenantLock::permits)) {
      prospect->unsure = true;
      return false;
    }
    (void)read_reserved(permits.work(), &permits.reserved.items, &permits.reserved.count);
    permits.running = count_running(tenant, nullptr);
  }
  const ClaimRequest look = {nullptr, 1, filter.keys, filter.count, 0, 0, 0};
  Claimed found;
  LimitsWalked walked;
  if (walk_limits(tenant, look, permits.window(), nullptr, &found, &walked) > 0) return true;
  if (walked.whole) return false;
  bool any = false;
  tour_limits(permits, filter, 1, {PG_INT32_MAX, PG_INT32_MAX}, [&](const LimitPlace &at, int *entries) {
    any = walk_limits(tenant, look, permits.window(), &at, &found, &walked) > 0;
    *entries -= walked.others;
    if (any) next_look_at(tenant) = {tenant.number, just_before(at)};
    return any ? 1 : 0;
  });
  return any;
}

int claim_limit_by_limit(PermitSource *permits, const ClaimRequest &request, Claimed *claimed, int first) {
  // The numbers may have been lost since.
  if (permits->known && !permits_are_known(permits->work())) return 0;
  const ClaimFilter filter = {request.keys, request.key_count};
  int count = first;
  const TourPatience patience = {claims_patience, claims_patience};
  tour_limits(*permits, filter, request.max_tasks - first, patience, [&](const LimitPlace &at, int *entries) {
    ClaimRequest rest = request;
    rest.max_tasks -= count;
    LimitsWalked walked;
    const int found = walk_limits(permits->tenant, rest, permits->gate(), &at, claimed + count, &walked);
    *entries -= walked.others;
    count += found;
    return request.has_enough() ? request.max_tasks : found;
  });
  return count - first;
}

}  // namespace

std::int64_t limit_key_of(const Definition &definition, Jsonb *input) {
  const auto *name = reinterpret_cast<const unsigned char *>(definition.workflow);
  const std::uint64_t workflow = hash_bytes_extended(name, static_cast<int>(strlen(definition.workflow)), 0);
  Jsonb *value = definition.limit.has_key ? value_at(definition.limit.key, input) : nullptr;
  if (!value) return static_cast<std::int64_t>(workflow);
  return DatumGetInt64(DirectFunctionCall2(jsonb_hash_extended, PointerGetDatum(value), UInt64GetDatum(workflow)));
}

Claimed *claim_limited(const Tenant &tenant, const ClaimRequest &request, int *count) {
  *count = 0;
  (void)count_permits_if_wanted(tenant, Limited::workflows);
  PermitSource permits = {tenant, permits_are_known(limited_work(tenant, Limited::workflows)), request.max_tasks};
  if (!permits.known && !count_for_claim(&permits)) return nullptr;
  auto *claimed = palloc_array_of<Claimed>(static_cast<std::size_t>(request.max_tasks));
  LimitsWalked walked;
  *count = walk_limits(tenant, request, permits.gate(), nullptr, claimed, &walked);
  if (!walked.whole && *count < request.max_tasks && !request.has_enough())
    *count += claim_limit_by_limit(&permits, request, claimed, *count);
  permits.return_spare();
  return claimed;
}

bool has_claimable_limited(const Tenant &tenant, const ClaimFilter &filter, Prospect *prospect) {
  if (filter.keys && filter.count == 0) return false;
  if (!has_waiting_limits(tenant, filter)) return false;
  const LimitedWork work = limited_work(tenant, Limited::workflows);
  const std::uint64_t version = permits_version(work);
  if (would_claim_limited(tenant, filter, prospect)) return true;
  prospect->refused = true;
  // From here on a returned permit wakes this session.  One that was returned before is seen by
  // this look alone, so the look is repeated.
  const bool came_back = !await_permit(work, version);
  const bool counted = count_permits_if_wanted(tenant, Limited::workflows);
  return (came_back || counted || recheck_limited_lanes(tenant, filter)) &&
         would_claim_limited(tenant, filter, prospect);
}

}  // namespace insula
