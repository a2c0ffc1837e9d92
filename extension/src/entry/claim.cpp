// The SQL entry point of claim: for one tenant, or for all of them.
#include "entry/claim.hpp"

#include <algorithm>
#include <cmath>

#include "entry/arguments.hpp"
#include "operation/operations.hpp"
#include "shared/clock.hpp"
#include "shared/shared.hpp"
#include "storage/random.hpp"
#include "tenant/caller.hpp"
#include "tenant/home.hpp"
#include "tenant/in_subtransaction.hpp"
#include "tenant/lock.hpp"

using namespace insula;

INSULA_FUNCTION(insula_claim);

namespace insula {

namespace {

// A claim under way.
struct Claiming {
  const ClaimCall &call;
  TimestampTz now;
  TimestampTz lease_expires;
  std::size_t room;  // of a ClaimSink
  ClaimedRows *rows;
};

// What the tasks of one call may see together.  Ten thousand contexts, each as large as it may
// be, would take more memory than there is, here and in the client.
constexpr std::size_t max_claimed_bytes = std::size_t{64} << 20;

bool put(void *self, const Tenant &tenant, const ClaimedTask &task, std::size_t *bytes) {
  const auto *claiming = static_cast<Claiming *>(self);
  return put_claimed(claiming->rows, tenant, task, claiming->lease_expires, bytes);
}

// Claims up to `wanted` tasks of one tenant; those of a tenant that is going or suspended
// are nobody's.
int claim_of_tenant(Claiming *claiming, const Tenant &tenant, int wanted) {
  const ClaimCall &call = claiming->call;
  const Session session = open_session();
  ClaimRequest request = {
      call.worker, wanted, nullptr, 0, claiming->now, claiming->lease_expires, claiming->lease_expires - call.lease};
  request.keys = claimable_task_keys(tenant, call.tasks, call.task_count, &request.key_count);
  const int count = claim(tenant, request, {claiming, put, &claiming->room});
  close_session(session);
  if (count == wanted) wake_another(tenant.number);
  return count;
}

// Workers of all tenants that have died hold tasks anywhere: once, all are looked at.
void reap_everywhere(const TenantShare *tenants, int count, TimestampTz now) {
  int dead_count;
  const DeadWorker *dead = dead_workers_of(0, &dead_count);
  bool any = false;
  for (int i = 0; i < dead_count; ++i) any = any || dead[i].tenant == 0;
  if (!any) return;
  bool all_dealt_with = true;
  for (int i = 0; i < count; ++i) {
    const bool done = in_subtransaction(tenants[i].number, [&] {
      const Tenant *tenant = open_untouched_tenant(tenants[i].number);
      if (!tenant) return;
      const Session session = open_session();
      if (!reap_dead_workers(*tenant, now)) all_dealt_with = false;
      close_session(session);
    });
    all_dealt_with = all_dealt_with && done;
  }
  for (int i = 0; i < dead_count && all_dealt_with; ++i)
    if (dead[i].tenant == 0) announce_dead_worker_reaped(dead[i].role, dead[i].name);
}

struct Turn {
  TenantShare tenant;
  double at;
};

// A lottery: whoever has twice the weight comes first twice as often, and nothing needs to
// be remembered from one claim to the next.
Turn *draw_turns(const TenantShare *tenants, int count) {
  auto *turns = palloc_array_of<Turn>(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) turns[i] = {tenants[i], -std::log(1 - random_fraction()) / tenants[i].weight};
  std::sort(turns, turns + count, [](const Turn &a, const Turn &b) { return a.at < b.at; });
  return turns;
}

// Serves all tenants: first a share by weight each, then what is left.
int claim_of_all(Claiming *claiming) {
  const ClaimCall &call = claiming->call;
  const int wanted = call.max_tasks;
  int tenant_count;
  const TenantShare *tenants = active_tenants(&tenant_count);
  reap_everywhere(tenants, tenant_count, claiming->now);
  const Turn *turns = draw_turns(tenants, tenant_count);
  auto *claimed = static_cast<int *>(palloc0(sizeof(int) * static_cast<std::size_t>(tenant_count)));
  int left = wanted;
  for (bool shares : {true, false}) {
    for (int i = 0; i < tenant_count && left > 0 && claiming->room > 0; ++i) {
      CHECK_FOR_INTERRUPTS();
      const std::int32_t number = turns[i].tenant.number;
      const int weighed = shares ? turns[i].tenant.weight * (1 + wanted / 16) : wanted;
      const int share = std::min(weighed, call.max_per_tenant - claimed[i]);
      if (share <= 0 || !call.choice.admits(number)) continue;
      const ClaimedMark before = announce_claimed_rows(*claiming->rows);
      const std::size_t room = claiming->room;
      const bool done = in_subtransaction(number, [&] {
        if (!try_share_life(number)) return;
        const Tenant *tenant = open_untouched_tenant(number);
        if (!tenant || tenant->suspended) return;
        const int count = claim_of_tenant(claiming, *tenant, std::min(share, left));
        claimed[i] += count;
        left -= count;
      });
      if (done) {
        keep_claimed(claiming->rows);
        continue;
      }
      take_back(claiming->rows, before);
      claiming->room = room;
    }
  }
  return wanted - left;
}

}  // namespace

int max_tasks_argument(FunctionCallInfo fcinfo, int argument) {
  const int max_tasks = required_int32(fcinfo, argument, "max_tasks");
  if (max_tasks < 1 || max_tasks > 10000)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("max_tasks must be between 1 and 10000")));
  return max_tasks;
}

int max_per_tenant_argument(FunctionCallInfo fcinfo, int argument, int max_tasks) {
  const int max_per_tenant = PG_ARGISNULL(argument) ? max_tasks : PG_GETARG_INT32(argument);
  if (max_per_tenant < 1)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("max_per_tenant must be 1 or more")));
  return max_per_tenant;
}

int claim_now(const ClaimCall &call, const Tenant *tenant, TimestampTz now, ClaimedRows *rows) {
  Claiming claiming = {call, now, count_from(now) + call.lease, max_claimed_bytes, rows};
  const int count = tenant ? claim_of_tenant(&claiming, *tenant, call.max_tasks) : claim_of_all(&claiming);
  keep_claimed(rows);
  note_claim(count);
  if (!tenant && count == call.max_tasks)
    pass_owed_on();
  else if (count > 0)
    pass_permits_on();
  return count;
}

}  // namespace insula

Datum insula_claim(PG_FUNCTION_ARGS) {
  require_writable("insula.claim()");
  ClaimCall call = {};
  call.worker = required_text(fcinfo, 0, "worker");
  check_worker_name(call.worker);
  call.tasks = text_array_argument(fcinfo, 1, "tasks", false, &call.task_count);
  call.max_tasks = max_tasks_argument(fcinfo, 2);
  call.lease = required_lease(fcinfo, 3);
  call.choice = tenant_choice_arguments(fcinfo, 6, 7);
  const char *name = text_argument(fcinfo, 4);
  Tenant *tenant = serves_all() ? resolve_tenant(name, Right::worker) : require_tenant(name, Right::worker);
  call.max_per_tenant = max_per_tenant_argument(fcinfo, 5, call.max_tasks);
  if (tenant && (!PG_ARGISNULL(5) || !call.choice.is_any())) refuse_choice_for_one();
  require_home();
  InitMaterializedSRF(fcinfo, 0);
  auto *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
  ClaimedRows rows = claimed_set(result->setDesc, result->setResult);
  (void)claim_now(call, tenant ? enter_tenant(tenant->number) : nullptr, clock_now(), &rows);
  return Datum{0};
}
