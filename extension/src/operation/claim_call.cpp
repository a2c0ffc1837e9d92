// Claims for a worker's call; see claim_call.hpp.  A claim from all tenants runs a subtransaction for
// each, so that an error with one tenant undoes only that tenant's share.
#include "operation/claim_call.hpp"

#include <algorithm>
#include <cmath>

#include "operation/served_tenants.hpp"
#include "shared/clock.hpp"
#include "shared/overhead.hpp"
#include "shared/shared.hpp"
#include "spi/budget.hpp"
#include "spi/session.hpp"
#include "storage/random.hpp"
#include "tenant/in_subtransaction.hpp"
#include "tenant/lock.hpp"

namespace insula {

namespace {

struct Claiming {
  const ClaimCall &call;
  const ClaimOutput &output;
  TimestampTz now;
  TimestampTz lease_expires;
  std::size_t room;    // of a ClaimSink
  int tenants_left;    // that may be claimed from besides
  std::int64_t until;  // in passing time: then a call for all tenants ends, if it has claimed something
  bool for_all;
};

// The bytes that one call's tasks may take together.  Ten thousand contexts of the largest size would
// take more memory than the server and the client have.
constexpr std::size_t max_claimed_bytes = std::size_t{64} << 20;

// A claim holds the locks of the tenants that it has claimed from, and the lock table is everybody's.
constexpr int most_tenants = 500;

bool put_claimed_task(void *self, const Tenant &tenant, const ClaimedTask &task, std::size_t *bytes) {
  const auto *claiming = static_cast<Claiming *>(self);
  const ClaimOutput &output = claiming->output;
  return output.put(output.self, tenant, task, claiming->lease_expires, bytes);
}

// Claims up to `wanted` tasks of a tenant that is active.
int claim_of_tenant(Claiming *claiming, const Tenant &tenant, int wanted, bool *cut_short) {
  const ClaimCall &call = claiming->call;
  const Session session = open_session();
  if (claiming->for_all) shorten_budget(share_microseconds());
  ClaimRequest request = {
      call.worker, wanted, nullptr, 0, claiming->now, claiming->lease_expires, claiming->lease_expires - call.lease};
  request.keys = claimable_task_keys(tenant, call.tasks, call.task_count, &request.key_count);
  const int count = claim(tenant, request, {claiming, put_claimed_task, &claiming->room, cut_short, claiming->for_all});
  close_session(session);
  if (count == wanted || *cut_short) wake_another(tenant.number);
  return count;
}

// A dead worker of all tenants may hold tasks of any: reaps it from all tenants, once.
void reap_everywhere(const ServedTenant *tenants, int count, TimestampTz now) {
  int dead_count;
  const DeadWorker *dead = dead_workers_of(0, &dead_count);
  bool any = false;
  for (int i = 0; i < dead_count; ++i) any = any || dead[i].tenant == 0;
  if (!any) return;
  bool all_reaped = true;
  for (int i = 0; i < count; ++i) {
    const std::int32_t number = tenants[i].ready.tenant;
    const bool done = visit_in_subtransaction(number, [&] {
      const Tenant *tenant = open_untouched_tenant(number);
      if (!tenant) return;
      const Session session = open_session();
      if (!reap_dead_workers(*tenant, now)) all_reaped = false;
      close_session(session);
    });
    all_reaped = all_reaped && done;
  }
  for (int i = 0; i < dead_count && all_reaped; ++i)
    if (dead[i].tenant == 0) announce_dead_worker_reaped(dead[i].role, dead[i].name);
}

struct Turn {
  ServedTenant tenant;
  double at;
  int claimed;
  bool done;  // it has no claimable task left, or its tasks take too much of the call
};

// Draws the order of the tenants by lot: a tenant with twice the weight comes first twice as often, and
// no claim has to remember the last one.
Turn *draw_turns(const ServedTenant *tenants, int count) {
  auto *turns = palloc_array_of<Turn>(static_cast<std::size_t>(count) + 1);
  for (int i = 0; i < count; ++i)
    turns[i] = {tenants[i], -std::log(1 - random_fraction()) / tenants[i].weight, 0, false};
  std::sort(turns, turns + count, [](const Turn &a, const Turn &b) { return a.at < b.at; });
  return turns;
}

// Claims up to `wanted` tasks of one of all tenants in a subtransaction; 0 where that fails.
int claim_share(Claiming *claiming, const ServedTenants &served, Turn *turn, int wanted) {
  int count = 0;
  const std::int32_t number = turn->tenant.ready.tenant;
  if (rest_of(number) > 0) return 0;
  const std::size_t room = claiming->room;
  const std::int64_t began = processor_time();
  const bool done = visit_in_subtransaction(number, [&] {
    if (!try_share_life(number)) return;
    const Tenant *tenant = open_untouched_tenant(number);
    if (!tenant) return note_not_open(turn->tenant);
    if (tenant->suspended) return;
    bool cut_short = false;
    count = claim_of_tenant(claiming, *tenant, wanted, &cut_short);
    // A second share of the call would take out of the queue and put back as much again.
    turn->done = cut_short;
    if (count > 0) return;
    const Session session = open_session();
    turn->done = note_if_nothing_claimable(served, turn->tenant, *tenant);
    close_session(session);
  });
  charge_overhead(number, processor_time() - began - common_time(count));
  const ClaimOutput &output = claiming->output;
  (done ? output.keep : output.take_back)(output.self);
  if (done) return count;
  claiming->room = room;
  return 0;
}

// The claimed tasks' leases run already.
bool is_over(const Claiming &claiming, int left) {
  return left < claiming.call.max_tasks && passing_time() >= claiming.until;
}

bool can_go_on(const Claiming &claiming, int left) {
  return claiming.room > 0 && claiming.tenants_left > 0 && !is_over(claiming, left);
}

// First gives each tenant a share by weight, then hands out the rest.
int claim_of_batch(Claiming *claiming, const ServedTenants &served, const ServedTenant *batch, int count, int left) {
  const ClaimCall &call = claiming->call;
  const int wanted = left;
  Turn *turns = draw_turns(batch, count);
  for (bool by_weight : {true, false}) {
    for (int i = 0; i < count && left > 0 && can_go_on(*claiming, left); ++i) {
      CHECK_FOR_INTERRUPTS();
      Turn &turn = turns[i];
      const int most = by_weight ? turn.tenant.weight * (1 + call.max_tasks / 16) : left;
      const int share = std::min({most, call.max_per_tenant - turn.claimed, left});
      if (turn.done || share <= 0 || !call.choice.admits(turn.tenant.ready.tenant)) continue;
      const int claimed = claim_share(claiming, served, &turn, share);
      if (claimed > 0 && turn.claimed == 0) --claiming->tenants_left;
      turn.claimed += claimed;
      left -= claimed;
    }
  }
  return wanted - left;
}

int claim_of_all(Claiming *claiming) {
  const ClaimCall &call = claiming->call;
  ServedTenants served = begin_serving(call.tasks, call.task_count, call.choice);
  int left = call.max_tasks;
  int count;
  while (left > 0 && can_go_on(*claiming, left)) {
    ServedTenant *batch = next_batch(&served, &count);
    if (!batch) break;
    if (!served.are_known) reap_everywhere(batch, count, claiming->now);
    left -= claim_of_batch(claiming, served, batch, count, left);
  }
  return call.max_tasks - left;
}

}  // namespace

bool TenantChoice::admits(std::int32_t tenant) const {
  if (only && !std::binary_search(only, only + only_count, tenant)) return false;
  return !std::binary_search(except, except + except_count, tenant);
}

int claim_for(const ClaimCall &call, const Tenant *tenant, TimestampTz now, const ClaimOutput &output) {
  Claiming claiming = {call, output,           now, count_from(now) + call.lease, max_claimed_bytes, most_tenants,
                       0,    tenant == nullptr};
  claiming.until = passing_time() + visit_microseconds();
  bool cut_short = false;
  const int count = tenant ? claim_of_tenant(&claiming, *tenant, call.max_tasks, &cut_short) : claim_of_all(&claiming);
  output.keep(output.self);
  note_claim(count);
  if (!tenant && (count == call.max_tasks || claiming.tenants_left == 0 || is_over(claiming, call.max_tasks - count)))
    pass_owed_on();
  else if (count > 0)
    pass_permits_on();
  return count;
}

}  // namespace insula
