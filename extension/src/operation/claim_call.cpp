// Claims for a worker's call; see claim_call.hpp.  A claim from all tenants runs a subtransaction for
// each, so that an error with one tenant undoes only that tenant's share.
#include "operation/claim_call.hpp"

#include <algorithm>
#include <cmath>

#include "shared/clock.hpp"
#include "shared/shared.hpp"
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
  std::size_t room;  // of a ClaimSink
};

// The bytes that one call's tasks may take together.  Ten thousand contexts of the largest size would
// take more memory than the server and the client have.
constexpr std::size_t max_claimed_bytes = std::size_t{64} << 20;

bool put_claimed_task(void *self, const Tenant &tenant, const ClaimedTask &task, std::size_t *bytes) {
  const auto *claiming = static_cast<Claiming *>(self);
  const ClaimOutput &output = claiming->output;
  return output.put(output.self, tenant, task, claiming->lease_expires, bytes);
}

// Claims up to `wanted` tasks of a tenant that is active.
int claim_of_tenant(Claiming *claiming, const Tenant &tenant, int wanted) {
  const ClaimCall &call = claiming->call;
  const Session session = open_session();
  ClaimRequest request = {
      call.worker, wanted, nullptr, 0, claiming->now, claiming->lease_expires, claiming->lease_expires - call.lease};
  request.keys = claimable_task_keys(tenant, call.tasks, call.task_count, &request.key_count);
  const int count = claim(tenant, request, {claiming, put_claimed_task, &claiming->room});
  close_session(session);
  if (count == wanted) wake_another(tenant.number);
  return count;
}

// A dead worker of all tenants may hold tasks of any: reaps it from all tenants, once.
void reap_everywhere(const TenantShare *tenants, int count, TimestampTz now) {
  int dead_count;
  const DeadWorker *dead = dead_workers_of(0, &dead_count);
  bool any = false;
  for (int i = 0; i < dead_count; ++i) any = any || dead[i].tenant == 0;
  if (!any) return;
  bool all_reaped = true;
  for (int i = 0; i < count; ++i) {
    const bool done = in_subtransaction(tenants[i].number, [&] {
      const Tenant *tenant = open_untouched_tenant(tenants[i].number);
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
  TenantShare tenant;
  double at;
};

// Draws the order of the tenants by lot: a tenant with twice the weight comes first twice as often, and
// no claim has to remember the last one.
Turn *draw_turns(const TenantShare *tenants, int count) {
  auto *turns = palloc_array_of<Turn>(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) turns[i] = {tenants[i], -std::log(1 - random_fraction()) / tenants[i].weight};
  std::sort(turns, turns + count, [](const Turn &a, const Turn &b) { return a.at < b.at; });
  return turns;
}

// Claims up to `wanted` tasks of one of all tenants in a subtransaction; 0 where that fails.
int claim_share(Claiming *claiming, std::int32_t number, int wanted) {
  int count = 0;
  const std::size_t room = claiming->room;
  const bool done = in_subtransaction(number, [&] {
    if (!try_share_life(number)) return;
    const Tenant *tenant = open_untouched_tenant(number);
    if (tenant && !tenant->suspended) count = claim_of_tenant(claiming, *tenant, wanted);
  });
  const ClaimOutput &output = claiming->output;
  (done ? output.keep : output.take_back)(output.self);
  if (done) return count;
  claiming->room = room;
  return 0;
}

// Serves all tenants: first gives each a share by weight, then hands out the rest.
int claim_of_all(Claiming *claiming) {
  const ClaimCall &call = claiming->call;
  const int wanted = call.max_tasks;
  int tenant_count;
  const TenantShare *tenants = active_tenants(&tenant_count);
  reap_everywhere(tenants, tenant_count, claiming->now);
  const Turn *turns = draw_turns(tenants, tenant_count);
  auto *claimed = static_cast<int *>(palloc0(sizeof(int) * static_cast<std::size_t>(tenant_count)));
  int left = wanted;
  for (bool by_weight : {true, false}) {
    for (int i = 0; i < tenant_count && left > 0 && claiming->room > 0; ++i) {
      CHECK_FOR_INTERRUPTS();
      const TenantShare &tenant = turns[i].tenant;
      const int most = by_weight ? tenant.weight * (1 + wanted / 16) : wanted;
      const int share = std::min(most, call.max_per_tenant - claimed[i]);
      if (share <= 0 || !call.choice.admits(tenant.number)) continue;
      const int count = claim_share(claiming, tenant.number, std::min(share, left));
      claimed[i] += count;
      left -= count;
    }
  }
  return wanted - left;
}

}  // namespace

bool TenantChoice::admits(std::int32_t tenant) const {
  if (only && !std::binary_search(only, only + only_count, tenant)) return false;
  return !std::binary_search(except, except + except_count, tenant);
}

int claim_for(const ClaimCall &call, const Tenant *tenant, TimestampTz now, const ClaimOutput &output) {
  Claiming claiming = {call, output, now, count_from(now) + call.lease, max_claimed_bytes};
  const int count = tenant ? claim_of_tenant(&claiming, *tenant, call.max_tasks) : claim_of_all(&claiming);
  output.keep(output.self);
  note_claim(count);
  if (!tenant && count == call.max_tasks)
    pass_owed_on();
  else if (count > 0)
    pass_permits_on();
  return count;
}

}  // namespace insula
