// Concurrency limits of workflows, for a whole workflow or for each value of a key.  A claim takes
// rows in their order and asks for a permit for each (shared/permits.hpp).  When it meets
// many used-up limits it goes from limit to limit instead, by an index of the waiting rows.  It
// gives up when it has read some pages for nothing, and the session's next claim goes on from there,
// so that a hundred thousand used-up limits hold up no other tenant's claims.  Only a claim that is about
// to wait looks at all limits, and claims the task that it finds.
//
// If the numbers of running tasks are not known, a claim counts them under the tenant's permits
// lock and publishes them.  If they cannot be published, each claim counts for itself and holds the
// lock until it commits, so that no permit is counted twice.  A claim that finds the lock held
// takes nothing, and the lock's release wakes it.
#include <algorithm>

#include "operation/operations.hpp"
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

// The source of permits of one claim, or of a look; it is asked for when the first task is met.
enum class PermitSource {
  unasked,
  numbers,  // in shared memory
  count,    // of its own
  locked    // another transaction counts: there are none
};

struct Permits {
  const Tenant &tenant;
  const bool takes;  // else it only looks for them
  // By the numbers several permits are reserved at once, since mostly more rows of the same limit follow.
  int wanted;
  PermitSource source = PermitSource::unasked;
  std::int32_t definition = 0;
  std::int64_t limit = 0;
  Reserved spare = {};
  bool used_up = false;
  // With a count of its own: running tasks, reservations of other claims, and permits of this claim.
  Counts running = {};
  Counts reserved = {};
  std::int64_t *taken = nullptr;
  int taken_count = 0;
  std::int32_t known_definition = 0;  // and what its limit allows
  std::int64_t known_most = 0;

  LimitedWork work() const { return limited_work(tenant, Limited::workflows); }

  bool is_asked() const { return source != PermitSource::unasked; }

  bool admits(std::int32_t of, std::int64_t under) {
    if (!is_asked()) source = find_source();
    if (!takes) return is_free(of, under);
    return source == PermitSource::numbers ? take_known(of, under) : take_counted(of, under);
  }

  bool is_free(std::int32_t of, std::int64_t under) {
    if (source == PermitSource::locked) return false;
    return (source == PermitSource::numbers ? free_permits(work(), under, most(of)) : left(of, under)) > 0;
  }

  void take_back(std::int64_t under) {
    if (source == PermitSource::numbers) {
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

  LimitGate gate() {
    LimitGate gate = {this, nullptr, nullptr};
    gate.admits = [](void *self, std::int32_t of, std::int64_t under) {
      return static_cast<Permits *>(self)->admits(of, under);
    };
    if (takes) gate.takes_back = [](void *self, std::int64_t under) { static_cast<Permits *>(self)->take_back(under); };
    return gate;
  }

 private:
  PermitSource find_source() {
    (void)count_permits_if_wanted(tenant, Limited::workflows);
    return permits_are_known(work()) ? PermitSource::numbers : count_running();
  }

  // A claim counts under the lock, which its transaction keeps.
  PermitSource count_running() {
    if (takes ? !try_lock_permits(tenant) : is_tenant_locked(tenant.number, TenantLock::permits))
      return PermitSource::locked;
    if (!read_reserved(work(), &reserved.items, &reserved.count)) return PermitSource::numbers;
    running.items = running_by_limit(tenant, nullptr, &running.count);
    if (takes) taken = palloc_array_of<std::int64_t>(static_cast<std::size_t>(wanted));
    return PermitSource::count;
  }

  std::int64_t most(std::int32_t of) {
    if (of != known_definition) known_most = definition_of(tenant, of).limit.max;
    known_definition = of;
    return known_most;
  }

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
    if (!is_free(of, under)) return false;
    (void)reserve_permits_ahead(work(), under, 1);
    taken[taken_count++] = under;
    return true;
  }

  std::int64_t left(std::int32_t of, std::int64_t under) {
    return most(of) - running.of(under) - reserved.of(under) - std::count(taken, taken + taken_count, under);
  }
};

// A claim gives up when it has gone past limits without a task for it, and rows that it may not have: about as many
// pages are read.
constexpr int claims_patience = 5000;
constexpr int pages_of_limit = 4;  // a row is one

// From where on the session goes from limit to limit next, for a few tenants; for others it is random.
struct NextPlace {
  std::int32_t tenant;
  LimitPlace place;
};
NextPlace next_places[64] = {};

LimitPlace place_to_start(const Tenant &tenant) {
  const NextPlace &next = next_places[tenant.number % lengthof(next_places)];
  if (next.tenant == tenant.number) return next.place;
  return {static_cast<std::int32_t>(random_fraction() * (last_task_key_of(tenant) + 1)),
          static_cast<std::int64_t>(random_bits())};
}

// A claim of tasks under limits, or a look for one.
struct LimitedSearch {
  Permits &permits;
  const ClaimRequest &request;
  Claimed *claimed;  // nullptr: to be made
  int patience;
  int count = 0;
  bool held = false;  // other transactions hold tasks
  bool knew = false;  // the last run has gone by what was known of where to look

  // It has met tasks that it may not have, or not now.
  bool is_refused() const { return count == 0 && (held || permits.is_asked()); }

  void run() {
    const LimitsWalked walked = walk(nullptr);
    knew = walked.knew;
    if (!walked.whole && !has_enough() && permits.source != PermitSource::locked) go_from_limit_to_limit();
  }

 private:
  bool has_enough() const { return count == request.max_tasks || request.has_enough(); }

  LimitsWalked walk(const LimitPlace *place) {
    ClaimRequest rest = request;
    rest.max_tasks -= count;
    const LimitsWalked walked = walk_limits(permits.tenant, rest, permits.gate(), place, &claimed, count);
    count += walked.count;
    held = held || walked.held;
    return walked;
  }

  // Each once.
  void go_from_limit_to_limit() {
    const Tenant &tenant = permits.tenant;
    // The numbers may have been lost since.
    if (permits.source == PermitSource::numbers && !permits_are_known(permits.work())) return;
    const LimitPlace start = place_to_start(tenant);
    LimitPlace at = start;
    bool wrapped = false;
    LimitTour *tour = begin_limit_tour(tenant, request);
    while (patience >= 0 && !has_enough()) {
      CHECK_FOR_INTERRUPTS();
      std::int32_t definition;
      if (next_limit(tour, &at, &definition, &patience)) {
        if (wrapped && start < at) break;
        visit(at, definition);
      } else {
        if (wrapped || patience < 0) break;
        wrapped = true;
        at = first_place;
      }
    }
    end_limit_tour(tour);
    // The claim that follows a look takes what that has found.
    next_places[tenant.number % lengthof(next_places)] = {tenant.number, permits.takes ? at : just_before(at)};
  }

  void visit(const LimitPlace &at, std::int32_t definition) {
    const int before = count;
    const bool may_be_free = definition == 0 || permits.is_free(definition, at.limit);
    if (may_be_free) patience -= walk(&at).others;
    if (count == before) patience -= pages_of_limit;
  }
};

enum class Seen { nothing, refused, claimable };

Seen look_at_limited(const Tenant &tenant, const ClaimFilter &filter, Prospect *prospect) {
  const ClaimRequest request = {nullptr, 1, filter.keys, filter.count, 0, 0, 0};
  Permits permits = {tenant, false, 1};
  Claimed found;
  LimitedSearch search = {permits, request, &found, PG_INT32_MAX};
  search.run();
  if (search.count > 0) return Seen::claimable;
  prospect->unsure = prospect->unsure || permits.source == PermitSource::locked;
  return search.is_refused() ? Seen::refused : Seen::nothing;
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
  Permits permits = {tenant, true, request.max_tasks};
  LimitedSearch search = {permits, request, nullptr, claims_patience};
  search.run();
  const bool nothing = search.knew && search.count == 0 && !search.is_refused();
  if (nothing && recheck_limited_lanes(tenant, {request.keys, request.key_count})) search.run();
  permits.return_spare();
  *count = search.count;
  return search.claimed;
}

bool has_claimable_limited(const Tenant &tenant, const ClaimFilter &filter, Prospect *prospect) {
  if (filter.keys && filter.count == 0) return false;
  const LimitedWork work = limited_work(tenant, Limited::workflows);
  const std::uint64_t version = permits_version(work);
  Seen seen = look_at_limited(tenant, filter, prospect);
  if (seen != Seen::claimable && recheck_limited_lanes(tenant, filter))
    seen = look_at_limited(tenant, filter, prospect);
  if (seen != Seen::refused) return seen == Seen::claimable;
  prospect->refused = true;
  // From here on a returned permit wakes this session.  One that was returned before is seen by
  // this look alone, so the look is repeated.
  const bool came_back = !await_permit(work, version);
  const bool counted = count_permits_if_wanted(tenant, Limited::workflows);
  return (came_back || counted) && look_at_limited(tenant, filter, prospect) == Seen::claimable;
}

}  // namespace insula
