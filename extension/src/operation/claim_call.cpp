// Claims for a worker's call; see claim_call.hpp.  A claim from all tenants runs a subtransaction for
// each, so that an error with one tenant undoes only that tenant's share.
#include "operation/claim_call.hpp"

#include <algorithm>

#include "operation/served_tenants.hpp"
#include "shared/clock.hpp"
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
  bool for_all;
  std::size_t room;    // of a ClaimSink
  bool takes_long;     // of a ClaimSink: one text in a call, so that each is claimed at some time
  bool passed_over;    // of a ClaimSink: the tenant that was visited last was; it is the first one of the next call
  int visits_left;     // that may claim
  std::int64_t until;  // in passing time: then a call for all tenants ends, if it has claimed something
};

// The bytes that one call's tasks may take together.  Ten thousand contexts of the largest size would
// take more memory than the server and the client have.
constexpr std::size_t max_claimed_bytes = std::size_t{64} << 20;

// A claim holds the locks of the tenants that it has claimed from, and the lock table is everybody's.
constexpr int most_visits = 500;

bool put_claimed_task(void *self, const Tenant &tenant, const ClaimedTask &task, std::size_t *bytes) {
  const auto *claiming = static_cast<Claiming *>(self);
  const ClaimOutput &output = claiming->output;
  return output.put(output.self, tenant, task, claiming->lease_expires, bytes);
}

// Claims up to `wanted` tasks of a tenant that is active.  *bytes: what its tasks take in a call for all, so far.
int claim_of_tenant(Claiming *claiming, const Tenant &tenant, int wanted, std::size_t *bytes) {
  const ClaimCall &call = claiming->call;
  const Session session = open_session();
  begin_budget(claiming->for_all ? share_microseconds() : visit_microseconds());
  bool cut_short = false;
  std::size_t share = claiming->for_all ? visit_bytes() - *bytes : claiming->room;
  bool takes_long = claiming->takes_long && *bytes == 0;
  bool passed_over = false;
  const ClaimSink sink = {claiming,    put_claimed_task, &claiming->room, &share,
                          &takes_long, &passed_over,     &cut_short,      claiming->for_all};
  ClaimRequest request = {
      call.worker, wanted, nullptr, 0, claiming->now, claiming->lease_expires, claiming->lease_expires - call.lease};
  request.keys = claimable_task_keys(tenant, call.tasks, call.task_count, &request.key_count);
  const int count = claim(tenant, request, sink);
  claiming->passed_over = passed_over && *bytes == 0;
  if (*bytes == 0) claiming->takes_long = takes_long;
  if (claiming->for_all) *bytes = visit_bytes() - share;
  close_session(session);
  if (count == wanted || cut_short) wake_another(tenant.number);
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
    const bool done = serve_in_subtransaction(tenants[i].number, Service{}, [&] {
      const Tenant *tenant = open_untouched_tenant(tenants[i].number);
      if (!tenant || tenant->is_aside()) return;
      const Session session = open_session();
      begin_budget(share_microseconds());
      if (!reap_dead_workers(*tenant, now)) all_reaped = false;
      close_session(session);
    });
    all_reaped = all_reaped && done;
  }
  for (int i = 0; i < dead_count && all_reaped; ++i)
    if (dead[i].tenant == 0) announce_dead_worker_reaped(dead[i].role, dead[i].name);
}

bool is_full(const Claiming &claiming, int left) {
  // The claimed tasks' leases run already.
  const bool is_late = left < claiming.call.max_tasks && passing_time() >= claiming.until;
  return left == 0 || claiming.room == 0 || claiming.visits_left == 0 || is_late;
}

// Claims up to `wanted` tasks of one of all tenants in a subtransaction; 0 where that fails.  *bytes: as of
// claim_of_tenant.  `turn`, and `served`: what the set is to be told of it; nullptr: nothing.
int claim_share(Claiming *claiming, std::int32_t number, int wanted, std::size_t *bytes, const ServedTenants *served,
                const ReadyTurn *turn) {
  if (const TimestampTz until = put_off_until(number, Spender::call); until != DT_NOBEGIN) {
    if (!turn) return 0;
    settle_ready_turn(*turn, 0, turn->weight);
    note_put_off(*served, turn->ready, until);
    return 0;
  }
  Service service;
  int &count = service.tasks;
  bool settled = false;
  const std::size_t room = claiming->room;
  const std::size_t bytes_before = *bytes;
  const bool took_long = !claiming->takes_long;
  claiming->passed_over = false;
  const bool done = serve_in_subtransaction(number, service, [&] {
    if (!try_share_life(number)) return;
    const Tenant *tenant = open_untouched_tenant(number);
    if (!tenant || tenant->suspended) {
      if (turn) note_not_served(*served, turn->ready, tenant);
      return;
    }
    count = claim_of_tenant(claiming, *tenant, wanted, bytes);
    if (!turn) return;
    // A long text costs the whole turn, so that the next one is another tenant's.
    const bool has_long = !took_long && !claiming->takes_long;
    settle_ready_turn(*turn, has_long ? turn->tasks : count, tenant->limits.weight, claiming->passed_over);
    settled = true;
    if (count > 0) return;
    const Session session = open_session();
    note_if_nothing_claimable(*served, {turn->ready, {}}, *tenant);
    close_session(session);
  });
  const ClaimOutput &output = claiming->output;
  (done ? output.keep : output.take_back)(output.self);
  if (!done) {
    count = 0;
    claiming->room = room;
    claiming->takes_long = !took_long;
    *bytes = bytes_before;
  }
  if (turn && !settled) settle_ready_turn(*turn, 0, turn->weight);
  if (count > 0) --claiming->visits_left;
  return count;
}

// The least number of tasks of a tenant that is served at all, so that a large claim visits fewer tenants.
int tasks_at_once(const ClaimCall &call) { return 1 + call.max_tasks / 16; }

int claim_in_turns(Claiming *claiming, ServedTenants *served) {
  const ClaimCall &call = claiming->call;
  int left = call.max_tasks;
  ReadyTurn turns[turns_at_once];
  while (!is_full(*claiming, left)) {
    const int count = next_turns(served, {left, call.max_per_tenant, tasks_at_once(call)}, turns);
    if (count == 0) break;
    for (int i = 0; i < count; ++i) {
      CHECK_FOR_INTERRUPTS();
      const ReadyTurn &turn = turns[i];
      if (is_full(*claiming, left)) {
        settle_ready_turn(turn, 0, turn.weight);
        continue;
      }
      // The last call had no room for its long text, nor has this one.
      if (turn.passed_over && !claiming->takes_long) {
        settle_ready_turn(turn, 0, turn.weight, true);
        note_visited(served, turn, 0, true, 0);
        continue;
      }
      const int wanted = std::min(turn.tasks, left);
      std::size_t bytes = bytes_of_visited(*served, turn.ready.tenant);
      const int claimed = claim_share(claiming, turn.ready.tenant, wanted, &bytes, served, &turn);
      note_visited(served, turn, claimed, claimed < wanted || bytes == visit_bytes(), bytes);
      left -= claimed;
    }
  }
  return call.max_tasks - left;
}

// Where the set is not known each session goes through all tenants by itself, from one to the next.
struct Position {
  std::int32_t tenant;  // whose turn it is
  int taken;            // tasks of that turn
};
Position position = {-1, 0};  // a session begins anywhere: many claim once

// The claim has taken `taken` tasks of the tenant's turn, which are all or some of `share`.
void move_position(std::int32_t tenant, int taken, int share) {
  position = taken < share ? Position{tenant, taken} : Position{tenant + 1, 0};
}

struct EachTenant {
  TenantShare tenant;
  int claimed;
  bool done;          // it has no more for this call
  std::size_t bytes;  // that its tasks take
};

// The active tenants, in the order of their turns.
EachTenant *in_order(TenantShare *tenants, int count) {
  std::sort(tenants, tenants + count, [](const TenantShare &a, const TenantShare &b) { return a.number < b.number; });
  if (position.tenant < 0 && count > 0)
    position = {tenants[static_cast<int>(random_fraction() * count) % count].number, 0};
  TenantShare *first = std::find_if(tenants, tenants + count,
                                    [](const TenantShare &tenant) { return tenant.number >= position.tenant; });
  std::rotate(tenants, first, tenants + count);
  auto *each = palloc_array_of<EachTenant>(static_cast<std::size_t>(count) + 1);
  for (int i = 0; i < count; ++i) each[i] = {tenants[i], 0, false, 0};
  return each;
}

// Gives each tenant a turn, which is `worth` tasks to a tenant of weight 1; returns what is left.
int claim_a_round(Claiming *claiming, EachTenant *each, int count, int worth, int left, std::int32_t *passed_over) {
  const ClaimCall &call = claiming->call;
  for (int i = 0; i < count && !is_full(*claiming, left); ++i) {
    CHECK_FOR_INTERRUPTS();
    const TenantShare &tenant = each[i].tenant;
    const int taken = tenant.number == position.tenant ? position.taken : 0;
    const int share = tenant.weight * worth;
    const int wanted = std::min({std::max(share - taken, 1), call.max_per_tenant - each[i].claimed, left});
    if (each[i].done || wanted <= 0 || !call.choice.admits(tenant.number)) continue;
    const int claimed = claim_share(claiming, tenant.number, wanted, &each[i].bytes, nullptr, nullptr);
    each[i].done = claimed < wanted || each[i].bytes == visit_bytes();
    each[i].claimed += claimed;
    left -= claimed;
    if (claimed > 0) move_position(tenant.number, taken + claimed, share);
    if (claiming->passed_over && *passed_over < 0) *passed_over = tenant.number;
  }
  return left;
}

int claim_from_each(Claiming *claiming, TenantShare *tenants, int count) {
  const ClaimCall &call = claiming->call;
  EachTenant *each = in_order(tenants, count);
  int left = call.max_tasks;
  std::int32_t passed_over = -1;
  for (int worth = tasks_at_once(call), before = left + 1; left < before && !is_full(*claiming, left);) {
    before = left;
    left = claim_a_round(claiming, each, count, worth, left, &passed_over);
    int weights = 1;
    for (int i = 0; i < count; ++i) weights += each[i].done ? 0 : each[i].tenant.weight;
    worth = std::max(tasks_at_once(call), left / weights);
  }
  if (passed_over >= 0) position = {passed_over, 0};
  return call.max_tasks - left;
}

int claim_of_all(Claiming *claiming) {
  const ClaimCall &call = claiming->call;
  ServedTenants served = begin_serving(call.tasks, call.task_count, call.choice);
  if (served.are_known) return claim_in_turns(claiming, &served);
  int count;
  TenantShare *tenants = active_tenants(&count);
  reap_everywhere(tenants, count, claiming->now);
  return claim_from_each(claiming, tenants, count);
}

}  // namespace

bool TenantChoice::admits(std::int32_t tenant) const {
  if (only && !std::binary_search(only, only + only_count, tenant)) return false;
  return !std::binary_search(except, except + except_count, tenant);
}

int claim_for(const ClaimCall &call, const Tenant *tenant, TimestampTz now, const ClaimOutput &output) {
  Claiming claiming = {
      call, output, now,         count_from(now) + call.lease,         tenant == nullptr, max_claimed_bytes,
      true, false,  most_visits, passing_time() + visit_microseconds()};
  std::size_t bytes = 0;
  const int count = tenant ? claim_of_tenant(&claiming, *tenant, call.max_tasks, &bytes) : claim_of_all(&claiming);
  output.keep(output.self);
  note_claim(count);
  if (!tenant && is_full(claiming, call.max_tasks - count))
    pass_owed_on();
  else if (count > 0)
    pass_permits_on();
  return count;
}

}  // namespace insula
