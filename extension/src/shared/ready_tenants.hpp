// The tenants of a database that may have claimable tasks, so that a claim or a look for all tenants
// visits only these.  Whatever wakes a waiter for a tenant enters the tenant, at the same moment and under
// the same lock.  A session that has visited a tenant and found nothing claimable takes it out, unless
// something has entered it since the session read its version; the version is read before the snapshot.
//
// The set has the order in which claims serve its tenants (core/turns.hpp).  A tenant whose tasks time alone makes
// claimable rests until then.
//
// The set is a cache.  As long as it does not know all tenants it is swept: sessions read the list of
// tenants, a stretch at a time, and enter each.  Where it has no room for a tenant, or there is no
// shared memory, it is not used.
#pragma once

#include "core/turns.hpp"
#include "postgres.hpp"

namespace insula {

struct ReadyTenant {
  std::int32_t tenant;
  std::uint64_t version;
};

// The state of the set before it is read.
struct ReadySweep {
  bool usable;          // else every tenant has to be visited
  std::uint64_t round;  // sweeps begun
  std::int32_t after;   // tenants up to this number have been entered; PG_INT32_MAX: all
};
ReadySweep read_ready_sweep();
// Enters a stretch of the tenants behind `sweep.after`, in ascending order, and fills in their versions; `last`: there
// are no more.  Where another session has swept them, or there is no room, their versions stay as they are.
void enter_swept_tenants(const ReadySweep &sweep, ReadyTenant *tenants, int count, bool last);
// The scheduler is late with them.
void enter_late_tenants(const std::int32_t *tenants, int count);

// The tenants that may have tasks for a filter, 0 being any task, at the time `now`, in the order of their turns.
// *next: the moment at which time alone adds another.
ReadyTenant *ready_tenants(std::uint64_t filter, TimestampTz now, int *count, TimestampTz *next);

// Those in the set as it is, which is not changed, unordered; false: it does not know all tenants.
bool look_at_ready_tenants(std::int32_t **tenants, int *count);

// Tenants for a claim in the order of their turns, and how many tasks it is to take of each.
struct ReadyTurn {
  ReadyTenant ready;
  std::int32_t weight;  // as the last visit found it
  int tasks;
  bool passed_over;  // the last claim had no room for its long text
};
// How many tasks of a tenant a claim would take; 0: it does not serve that tenant.
struct MostOfTenant {
  const void *self;
  int (*most)(const void *self, std::int32_t tenant);
};
int take_ready_turns(std::uint64_t filter, TimestampTz now, const core::Wish &wish, const MostOfTenant &most,
                     ReadyTurn *turns, int room);
// The visit has claimed that number of its tasks.  To be told before what it has found is noted.
// `passed_over`: the claim had no room for a text of it.
void settle_ready_turn(const ReadyTurn &turn, int claimed, std::int32_t weight, bool passed_over = false);
// Tasks of the tenant have ended, and have run so long, in microseconds; where tenants pay for that.
void charge_ready_tenant(std::int32_t tenant, std::int64_t tasks, std::int64_t time);
// Shared processes have spent this time on the tenant besides.  `may_enter`: it exists, so that it may be given room.
void charge_ready_tenant(std::int32_t tenant, std::int64_t time, bool may_enter);

// insula.fairness: what a claim costs its tenant.
void define_fairness_settings();
extern int fairness;
inline core::Pricing pricing() { return static_cast<core::Pricing>(fairness); }

// A visit has found nothing claimable for the filter.
void note_nothing_ready(const ReadyTenant &visited, std::uint64_t filter);
// A visit at `now` has found nothing claimable for any filter, and the next one is to be at `next`.
void note_nothing_ready_before(const ReadyTenant &visited, TimestampTz now, TimestampTz next);
// It was not looked for, and will not be before `until`: then every session that waits for all tenants looks.
void note_put_off_before(const ReadyTenant &visited, TimestampTz now, TimestampTz until);

// In the sets of all databases.
long tenants_in_ready_sets();

// ---- under the lock of shared memory ----

void enter_ready_tenant(std::int32_t tenant);  // of this database
void remove_ready_tenant(std::int32_t tenant);
void doubt_all_ready_tenants();  // of this database
void forget_ready_tenants(Oid database);

}  // namespace insula
