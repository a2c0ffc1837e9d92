// The looks of a wait for work; see look.hpp.
#include "operation/look.hpp"

#include <algorithm>

#include "core/ids.hpp"
#include "errors.hpp"
#include "operation/served_tenants.hpp"
#include "shared/clock.hpp"
#include "shared/shared.hpp"
#include "spi/budget.hpp"
#include "spi/session.hpp"
#include "tenant/caller.hpp"
#include "tenant/in_subtransaction.hpp"
#include "tenant/lock.hpp"

extern "C" {
#include "tcop/pquery.h"
}

namespace insula {

namespace {

// Due rows that another transaction has locked are looked at again after this time.
constexpr std::int64_t locked_recheck = USECS_PER_SEC;
// A look that had more to do than fits its budget is repeated after this time.
constexpr std::int64_t unfinished_recheck = USECS_PER_SEC / 10;

// Does for one tenant what time has made due.
void advance_tenant(const Tenant &tenant, Look *look) {
  const TimestampTz now = clock_now();
  TimestampTz next;
  if (may_need_advance(tenant, now, &next)) {
    advance(tenant, now);
    next = next_due(tenant);
    if (next <= now) next = now + (budget_is_spent() ? unfinished_recheck : locked_recheck);
  }
  look->next = std::min(look->next, next);
}

bool has_work(const WorkWait &wait, const Tenant &tenant, RowKind kind, Prospect *prospect) {
  return would_claim(tenant, wait.tasks, wait.task_count, kind, claims_come_back_empty(), prospect);
}

// The commits that are to wake this session.
WaitFilter filter_of(const WorkWait &wait, const Tenant *tenant) {
  WaitFilter filter = {wait.tenant, nullptr, 0, wait.worker, wait.role, 0};
  if (!wait.tasks || !tenant) return filter;
  filter.keys = resolve_task_keys(*tenant, wait.tasks, wait.task_count, &filter.key_count);
  // A task that is not registered yet has no key, and may be registered at any moment.
  if (filter.key_count < wait.task_count) filter.keys = nullptr;
  return filter;
}

[[noreturn]] void tenant_is_gone() {
  ereport(ERROR, (errcode(INSULA_NO_TENANT), errmsg("the tenant has been dropped")));
  pg_unreachable();
}

// The number of a dropped tenant may have gone to another one.
void require_same_tenant(const WorkWait &wait) {
  const Tenant *tenant = find_tenant(wait.tenant);
  if (!tenant || strcmp(tenant->name, wait.name) != 0) tenant_is_gone();
}

void look_at_one(const WorkWait &wait, Look *look) {
  require_same_tenant(wait);
  const Tenant *tenant = open_tenant(wait.tenant);
  if (!tenant) tenant_is_gone();
  const Session session = open_session();
  begin_budget();
  begin_wait(filter_of(wait, tenant));
  if (try_share_life(wait.tenant)) {
    advance_tenant(*tenant, look);
    Prospect prospect;
    for (RowKind kind : {RowKind::unlimited, RowKind::limited})
      look->ready = look->ready || ((kind == RowKind::unlimited || may_have_limited(*tenant)) &&
                                    has_work(wait, *tenant, kind, &prospect));
    look->next = std::min(look->next, prospect.next);
  } else {
    // The tenant is being dropped: it gives out no work, but the drop may be rolled back.
    look->next = clock_now() + locked_recheck;
  }
  close_session(session);
}

// Looks at one of all tenants; true: it may have rows under limits besides.
bool look_at_one_of_all(const WorkWait &wait, const ServedTenants &served, ServedTenant *visited, const Tenant &tenant,
                        RowKind kind, Look *look) {
  // Time's work is done for each tenant that is visited, even if the caller does not want to serve it.
  if (kind == RowKind::unlimited) advance_tenant(tenant, look);
  if (!wait.choice.admits(tenant.number)) return false;
  look->ready = has_work(wait, tenant, kind, &visited->prospect);
  if (look->ready) return false;
  look->next = std::min(look->next, visited->prospect.next);
  if (kind == RowKind::unlimited && may_have_limited(tenant)) return true;
  // The look may have passed over rows that a transaction has locked, and such a lock may end without a word.
  if (claims_come_back_empty())
    note_if_nothing_claimable(served, *visited, tenant);
  else
    note_nothing_claimable(served, *visited, tenant);
  return false;
}

// Looks under limits last: many limits that are used up take a while to look through.
void look_at_batch(const WorkWait &wait, const ServedTenants &served, ServedTenant *batch, int count, Look *look) {
  for (RowKind kind : {RowKind::unlimited, RowKind::limited}) {
    int with_limits = 0;
    for (int i = 0; i < count && !look->ready; ++i) {
      CHECK_FOR_INTERRUPTS();
      const std::int32_t number = batch[i].ready.tenant;
      bool has_limits = false;
      if (const TimestampTz until = put_off_until(number, Spender::call); until != DT_NOBEGIN) {
        look->next = std::min(look->next, until);
        note_put_off(served, batch[i].ready, until);
        continue;
      }
      (void)serve_in_subtransaction(number, Service{}, [&] {
        if (!try_share_life(number)) return;
        const Tenant *tenant = open_untouched_tenant(number);
        if (!tenant || tenant->suspended) return note_not_served(served, batch[i].ready, tenant);
        const Session session = open_session();
        begin_budget(share_microseconds());
        has_limits = look_at_one_of_all(wait, served, &batch[i], *tenant, kind, look);
        close_session(session);
      });
      if (has_limits) batch[with_limits++] = batch[i];
    }
    count = with_limits;
  }
}

void look_at_all(const WorkWait &wait, Look *look) {
  begin_wait(filter_of(wait, nullptr));
  // A call may wait for years and look often.
  MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "insula look", ALLOCSET_DEFAULT_SIZES);
  MemoryContext callers = MemoryContextSwitchTo(scratch);
  ServedTenants served = begin_serving(wait.tasks, wait.task_count, wait.choice);
  int count;
  while (!look->ready) {
    ServedTenant *batch = next_batch(&served, &count);
    if (!batch) break;
    look_at_batch(wait, served, batch, count, look);
  }
  look->next = std::min(look->next, served.next);
  MemoryContextSwitchTo(callers);
  MemoryContextDelete(scratch);
}

// The caller's rights may have been revoked during the wait.
void require_rights(const WorkWait &wait) {
  if (wait.tenant ? tenant_of_id(core::make_id(wait.tenant, 1), Right::worker) != nullptr : serves_all()) return;
  ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied to claim")));
}

// A claim that must first count the tasks under limits tells other waiters to look even where it gets
// nothing.  Without a look before, two waiters would keep each other awake.
bool wakes_no_other(const Tenant &tenant) {
  return has_permit_at_hand(tenant) &&
         (permits_are_known(limited_work(tenant, Limited::workflows)) || !may_have_limited(tenant));
}

int claim_in_scratch(const Tenant *tenant, WaitingClaim *claim) {
  // A call may wait for years and claim often.
  MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "insula claim", ALLOCSET_DEFAULT_SIZES);
  MemoryContext callers = MemoryContextSwitchTo(scratch);
  const int claimed = claim_for(claim->call, tenant, claim->claimed_at, claim->output);
  MemoryContextSwitchTo(callers);
  MemoryContextDelete(scratch);
  return claimed;
}

bool claim_once(const WorkWait &wait, ClaimAfter after, WaitingClaim *claim) {
  begin_look();
  require_rights(wait);
  const Tenant *tenant = nullptr;
  if (wait.tenant) {
    require_same_tenant(wait);
    tenant = try_share_life(wait.tenant) ? open_tenant(wait.tenant) : nullptr;
    if (!tenant || tenant->suspended || (after == ClaimAfter::wake_up && !wakes_no_other(*tenant))) return false;
  }
  claim->claimed_at = clock_now();
  claim->waited = passing_time() - claim->called_at;
  expect_claim();
  if (claim_in_scratch(tenant, claim) == 0) return false;
  // The claim has answered each wake-up that came before it began.  A later wake-up may be for work that it
  // did not see, and the caller may have no room for more: the wake-up goes to another waiter.
  answer_wake_up();
  end_wait();
  pass_wake_up_on();
  return true;
}

}  // namespace

// The call took a snapshot before it came here.  Where its transaction would keep that one, another
// transaction begins.
void begin_looks() {
  SPI_connect_ext(SPI_OPT_NONATOMIC);
  if (IsolationUsesXactSnapshot()) end_look();
}

// The transaction began before the sleep, but has no snapshot yet.  It needs a new one for each look,
// whatever the session's default isolation.
void begin_look() {
  AcceptInvalidationMessages();
  if (IsolationUsesXactSnapshot())
    (void)set_config_option("transaction_isolation", "read committed", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL,
                            true, 0, false);
  EnsurePortalSnapshotExists();
}

void end_look() {
  SPI_commit();
  InvalidateCatalogSnapshot();
}

Look look_for_work(const WorkWait &wait) {
  begin_look();
  Look look = {false, DT_NOEND};
  if (wait.tenant)
    look_at_one(wait, &look);
  else
    look_at_all(wait, &look);
  end_look();
  return look;
}

bool try_claim(const WorkWait &wait, ClaimAfter after, WaitingClaim *claim) {
  if (claim_once(wait, after, claim)) return true;
  end_look();
  return false;
}

}  // namespace insula
