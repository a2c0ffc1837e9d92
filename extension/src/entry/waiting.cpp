// The calls that wait: wait_for_work, claim_when_ready and await.  They look in a transaction
// of their own, commit it, and only then sleep, so that a waiting session holds no snapshot, no
// transaction and no lock.  They register with shared memory before they look, so that
// what commits after the look wakes them.  Without shared memory they look once a second.
#include <algorithm>

#include "core/ids.hpp"
#include "entry/arguments.hpp"
#include "entry/claim.hpp"
#include "entry/result.hpp"
#include "entry/tenant_choice.hpp"
#include "errors.hpp"
#include "operation/operations.hpp"
#include "shared/clock.hpp"
#include "shared/park.hpp"
#include "shared/shared.hpp"
#include "tenant/caller.hpp"
#include "tenant/home.hpp"
#include "tenant/in_subtransaction.hpp"
#include "tenant/lock.hpp"

extern "C" {
#include "nodes/parsenodes.h"
#include "tcop/pquery.h"
#include "utils/typcache.h"
}

using namespace insula;

INSULA_FUNCTION(insula_wait_for_work);
INSULA_FUNCTION(insula_claim_when_ready);
INSULA_FUNCTION(insula_await);

namespace {

void require_top_level(FunctionCallInfo fcinfo, const char *procedure) {
  if (!fcinfo->context || !IsA(fcinfo->context, CallContext) || castNode(CallContext, fcinfo->context)->atomic)
    ereport(ERROR, (errcode(INSULA_ATOMIC_CONTEXT), errmsg("%s cannot wait inside a transaction block", procedure),
                    errhint("CALL it by itself, outside of BEGIN and of functions.")));
}

void warn_once_without_shared_memory() {
  static bool warned = false;
  if (shared_memory_available() || warned) return;
  warned = true;
  ereport(WARNING, (errmsg("without shared memory, waiting calls look for work once a second"),
                    errhint("Add insula to shared_preload_libraries and restart the server.")));
}

// Ends the look: what it wrote is committed, and no snapshot stays behind.
void commit_look() {
  SPI_commit();
  InvalidateCatalogSnapshot();
}

// A call has its snapshot before it comes here.  Where its transaction would keep to that one, another begins.
void begin_waiting() {
  SPI_connect_ext(SPI_OPT_NONATOMIC);
  if (IsolationUsesXactSnapshot()) commit_look();
}

// Each look must see what has been committed by now, whatever the session's default isolation, rights that
// were taken away among it: its transaction began before the sleep, but has no snapshot yet.
void begin_look() {
  AcceptInvalidationMessages();
  if (IsolationUsesXactSnapshot())
    (void)set_config_option("transaction_isolation", "read committed", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL,
                            true, 0, false);
  EnsurePortalSnapshotExists();
}

Datum one_column_row(TupleDesc desc, Datum value, bool null) {
  return HeapTupleGetDatum(heap_form_tuple(desc, &value, &null));
}

TupleDesc result_desc(FunctionCallInfo fcinfo) {
  TupleDesc desc;
  if (get_call_result_type(fcinfo, nullptr, &desc) != TYPEFUNC_COMPOSITE) elog(ERROR, "insula: unexpected result type");
  return BlessTupleDesc(desc);
}

// The end of a call's timeout, in passing time.
std::int64_t end_after(std::int64_t timeout) { return passing_time() + timeout; }

TimestampTz deadline_of(std::int64_t end) { return clock_now() + end - passing_time(); }

// ---- wait_for_work, claim_when_ready ----

struct WorkWait {
  std::int32_t tenant;  // 0: all
  const char *name;     // the tenant's
  const char *worker;   // nullptr: none
  Oid role;             // whose worker that is
  const char **tasks;   // nullptr: any
  int task_count;
  std::int64_t end;
  TenantChoice choice;  // of all
};

// What claim_when_ready has besides: what it claims, and when it did.
struct Catch {
  ClaimCall call;
  ClaimedRows rows;
  std::int64_t called_at;  // in passing time
  std::int64_t waited;
  TimestampTz claimed_at;
  bool news;  // somebody has something else to tell the worker
};

struct Look {
  bool ready;
  TimestampTz next;  // when time itself will change the answer
};

// What is due but locked by somebody cannot be had yet: look again after a while.
constexpr std::int64_t locked_sleep = USECS_PER_SEC;

// Does at one tenant what time has made due.
void advance_tenant(const Tenant &tenant, Look *look) {
  const TimestampTz now = clock_now();
  TimestampTz next;
  if (may_need_advance(tenant, now, &next)) {
    advance(tenant, now);
    next = next_due(tenant);
    if (next <= now) next = now + locked_sleep;
  }
  look->next = std::min(look->next, next);
}

// Looks for claimable work, under limits of workflows or under none.
void look_at_tenant(const WorkWait &wait, const Tenant &tenant, bool limited, Look *look) {
  if (tenant.suspended) return;
  int key_count = 0;
  const std::int32_t *keys = claimable_task_keys(tenant, wait.tasks, wait.task_count, &key_count);
  const bool work = limited ? has_claimable_limited(tenant, {keys, key_count})
                            : has_claimable(tenant, keys, key_count, claims_come_back_empty());
  if (work && has_permit(tenant, clock_now(), &look->next)) look->ready = true;
}

// What commits must fit for this session to be woken.
WaitFilter filter_of(const WorkWait &wait, const Tenant *tenant) {
  WaitFilter filter = {wait.tenant, nullptr, 0, wait.worker, wait.role, 0};
  if (!wait.tasks || !tenant) return filter;
  filter.keys = resolve_task_keys(*tenant, wait.tasks, wait.task_count, &filter.key_count);
  // A task that nobody has registered yet could become one any moment.
  if (filter.key_count < wait.task_count) filter.keys = nullptr;
  return filter;
}

// Another tenant may have been given the number of the one that the call is for.
void require_tenant_still(const WorkWait &wait) {
  const Tenant *tenant = find_tenant(wait.tenant);
  if (!tenant || strcmp(tenant->name, wait.name) != 0)
    ereport(ERROR, (errcode(INSULA_NO_TENANT), errmsg("the tenant has been dropped")));
}

void look_at_one(const WorkWait &wait, Look *look) {
  require_tenant_still(wait);
  Tenant *tenant = open_tenant(wait.tenant);
  if (!tenant) ereport(ERROR, (errcode(INSULA_NO_TENANT), errmsg("the tenant has been dropped")));
  const Session session = open_session();
  begin_wait(filter_of(wait, tenant));
  // One that is being dropped has no work to give, but may still have time's work to do.
  if (try_share_life(wait.tenant)) {
    advance_tenant(*tenant, look);
    for (bool limited : {false, true})
      if (!look->ready) look_at_tenant(wait, *tenant, limited, look);
  } else {
    look->next = clock_now() + locked_sleep;
  }
  close_session(session);
}

// Many limits that are used up take a while to look through, so all else comes first.
void look_at_all(const WorkWait &wait, Look *look) {
  begin_wait(filter_of(wait, nullptr));
  int count;
  TenantShare *tenants = active_tenants(&count);
  for (bool limited : {false, true}) {
    int with_limits = 0;
    for (int i = 0; i < count && !look->ready; ++i) {
      CHECK_FOR_INTERRUPTS();
      const std::int32_t number = tenants[i].number;
      bool has_limits = false;
      in_subtransaction(number, [&] {
        if (!try_share_life(number)) return;
        const Tenant *tenant = open_untouched_tenant(number);
        if (!tenant) return;
        const Session session = open_session();
        if (!limited) advance_tenant(*tenant, look);
        // What time has made due is done for everybody, but not everybody's work is wanted.
        if (wait.choice.admits(number)) look_at_tenant(wait, *tenant, limited, look);
        has_limits = !limited && may_have_limited(*tenant);
        close_session(session);
      });
      if (has_limits) tenants[with_limits++] = tenants[i];
    }
    count = with_limits;
  }
  pfree(tenants);
}

Look look_for_work(const WorkWait &wait) {
  begin_look();
  Look look = {false, DT_NOEND};
  if (wait.tenant)
    look_at_one(wait, &look);
  else
    look_at_all(wait, &look);
  return look;
}

// What the caller may do can have been taken from him while he waited.
void require_rights_still(const WorkWait &wait) {
  if (wait.tenant ? tenant_of_id(core::make_id(wait.tenant, 1), Right::worker) != nullptr : serves_all()) return;
  ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied to claim")));
}

// A claim that must count what runs under limits and takes nothing tells others to look all the
// same, so it comes after a look that has said ready, or two who wait would keep each other awake.
bool may_claim_without_look(const Tenant &tenant) {
  return has_permit_at_hand(tenant) && (permits_are_known({tenant.number, tenant.work}) || !may_have_limited(tenant));
}

// Claims what there is; unless `looked`, without a look before: mostly there is something for
// who was woken.  What is claimed is committed with the call.
bool claim_at_once(const WorkWait &wait, bool looked, Catch *caught) {
  begin_look();
  require_rights_still(wait);
  const Tenant *tenant = nullptr;
  if (wait.tenant) {
    require_tenant_still(wait);
    tenant = try_share_life(wait.tenant) ? open_tenant(wait.tenant) : nullptr;
    if (!tenant || tenant->suspended || (!looked && !may_claim_without_look(*tenant))) return false;
  }
  caught->claimed_at = clock_now();
  caught->waited = passing_time() - caught->called_at;
  expect_claim();
  // A call may wait for years, and claim often.
  MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "insula claim", ALLOCSET_DEFAULT_SIZES);
  MemoryContext callers = MemoryContextSwitchTo(scratch);
  const int claimed = claim_now(caught->call, tenant, caught->claimed_at, &caught->rows);
  MemoryContextSwitchTo(callers);
  MemoryContextDelete(scratch);
  if (claimed == 0) return false;
  // Whatever came for us before the claim began is in it.  What came later may not be, and our
  // caller may have no room for more: another shall look.
  settle_wake_up();
  end_wait();
  pass_signal_on();
  return true;
}

// Others are quicker, or hold what was seen: not to be a race without end.
constexpr std::int64_t raced_sleep = USECS_PER_SEC / 10;

bool hear_kick(const WorkWait &wait, Catch *caught, bool *blind) {
  const bool kicked = wait.worker && take_kick(wait.worker, blind);
  if (caught && (kicked || *blind)) caught->news = true;
  return kicked;
}

// Until there is something to claim or, with `caught`, something has been claimed: true; or
// until the deadline or a kick.
bool wait_for_work(const WorkWait &wait, Catch *caught) {
  bool kicked = false;
  bool raced = false;
  // To look at all tenants costs less than to claim of all, where there is nothing.
  bool claim_first = wait.tenant != 0;
  bool looked = false;
  std::int64_t blind_until = 0;  // in passing time
  for (;;) {
    bool blind = !shared_memory_available();
    if (caught && claim_first) {
      if (claim_at_once(wait, looked, caught)) {
        (void)hear_kick(wait, caught, &blind);
        return true;
      }
      commit_look();  // the look needs a snapshot from after it has registered
    }
    Look look = look_for_work(wait);
    commit_look();
    // Who goes to claim looks no more: what comes next is for the others to know.
    if (look.ready) (void)plan_look(look.next);
    if (look.ready && !caught) return true;
    if (look.ready && !raced) {
      raced = looked;
      claim_first = looked = true;
      continue;
    }
    if (look.ready) look.next = std::min(look.next, clock_now() + raced_sleep);
    raced = false;
    pass_signal_on();
    kicked = hear_kick(wait, caught, &blind) || kicked;
    if (kicked) return false;
    const TimestampTz now = clock_now();
    const TimestampTz deadline = deadline_of(wait.end);
    if (now >= deadline || (blind && wait.worker && blind_until && passing_time() >= blind_until)) return false;
    // At the deadline this call returns without a look, so that is no plan to look.
    TimestampTz until = plan_look(look.next <= deadline ? look.next : DT_NOEND);
    until = std::max(now, std::min(until, deadline));
    // Something else may set the latch before the second is over.
    if (blind && passing_time() >= blind_until) blind_until = passing_time() + USECS_PER_SEC;
    if (blind) until = std::min(until, deadline_of(blind_until));
    // A worker waits for as long as it likes, whatever statement_timeout its role has.
    if (!has_signal()) park(until, "InsulaWaitForWork", caught ? Timed::no : Timed::yes);
    kicked = hear_kick(wait, caught, &blind);
    const bool signalled = take_signal();
    claim_first = wait.tenant != 0;
    looked = false;
    // With a signal there is probably something to claim as well.
    if (kicked && !(caught && signalled)) return false;
    if (!blind && !signalled && passing_time() >= wait.end && look.next > deadline) return false;
  }
}

// What both calls are told, in different places.
WorkWait wait_of_call(FunctionCallInfo fcinfo, int tenant_argument, int choice_argument) {
  WorkWait wait = {};
  wait.role = GetUserId();
  wait.end = end_after(required_duration(fcinfo, 0, "timeout"));
  const char *name = text_argument(fcinfo, tenant_argument);
  const Tenant *tenant = serves_all() ? resolve_tenant(name, Right::worker) : require_tenant(name, Right::worker);
  wait.tenant = tenant ? tenant->number : 0;
  wait.name = tenant ? pstrdup(tenant->name) : nullptr;
  wait.choice = tenant_choice_arguments(fcinfo, choice_argument, choice_argument + 1);
  if (tenant && !wait.choice.is_any()) refuse_choice_for_one();
  require_home();
  return wait;
}

}  // namespace

Datum insula_wait_for_work(PG_FUNCTION_ARGS) {
  require_top_level(fcinfo, "insula.wait_for_work");
  require_writable("insula.wait_for_work()");
  int task_count;
  const char **tasks = text_array_argument(fcinfo, 2, "tasks", false, &task_count);
  const char *worker = text_argument(fcinfo, 3);
  if (worker) check_worker_name(worker);
  TupleDesc desc = result_desc(fcinfo);
  WorkWait wait = wait_of_call(fcinfo, 4, 5);
  wait.worker = worker;
  wait.tasks = tasks;
  wait.task_count = task_count;

  warn_once_without_shared_memory();
  begin_waiting();
  if (wait.worker) take_life_line(wait.worker, wait.tenant);
  const bool ready = wait_for_work(wait, nullptr);
  end_wait();
  if (ready)
    expect_claim();
  else
    pass_signal_on();
  SPI_finish();
  PG_RETURN_DATUM(one_column_row(desc, BoolGetDatum(ready), false));
}

Datum insula_claim_when_ready(PG_FUNCTION_ARGS) {
  require_top_level(fcinfo, "insula.claim_when_ready");
  require_writable("insula.claim_when_ready()");
  Catch caught = {};
  caught.called_at = passing_time();
  ClaimCall &call = caught.call;
  call.worker = required_text(fcinfo, 1, "worker");
  check_worker_name(call.worker);
  call.tasks = text_array_argument(fcinfo, 2, "tasks", false, &call.task_count);
  call.max_tasks = max_tasks_argument(fcinfo, 3);
  call.lease = required_lease(fcinfo, 4);
  call.max_per_tenant = max_per_tenant_argument(fcinfo, 6, call.max_tasks);
  WorkWait wait = wait_of_call(fcinfo, 5, 7);
  if (wait.tenant && !PG_ARGISNULL(6)) refuse_choice_for_one();
  wait.worker = call.worker;
  wait.tasks = call.tasks;
  wait.task_count = call.task_count;
  call.choice = wait.choice;
  TupleDesc desc = result_desc(fcinfo);
  caught.rows = claimed_packed();

  warn_once_without_shared_memory();
  begin_waiting();
  take_life_line(wait.worker, wait.tenant);
  const bool ready = wait_for_work(wait, &caught);
  end_wait();
  if (!ready) pass_signal_on();
  SPI_finish();
  Interval waited = {caught.waited, 0, 0};
  Datum values[] = {claimed_bytes(&caught.rows), BoolGetDatum(caught.news), TimestampTzGetDatum(caught.claimed_at),
                    IntervalPGetDatum(&waited)};
  bool nulls[] = {false, false, !ready, !ready};
  PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

// ---- await ----

namespace {

// The report as JSON once the execution has ended, allocated in `memory`; else nullptr.
Jsonb *look_at_execution(std::int64_t id, MemoryContext memory) {
  begin_look();
  Tenant *tenant = tenant_of_id(id, Right::tenant);
  if (tenant) tenant = open_tenant(tenant->number);
  if (!tenant) no_such_execution(id);
  begin_wait({tenant->number, nullptr, 0, nullptr, InvalidOid, id});
  const Session session = open_session();
  ExecutionReport report;
  if (!report_execution(*tenant, core::local_of(id), &report)) no_such_execution(id);
  Jsonb *json = nullptr;
  if (report.ended) {
    MemoryContext inner = MemoryContextSwitchTo(memory);
    json = report_as_json(report);
    MemoryContextSwitchTo(inner);
  }
  close_session(session);
  return json;
}

}  // namespace

Datum insula_await(PG_FUNCTION_ARGS) {
  require_top_level(fcinfo, "insula.await");
  const std::int64_t id = required_int64(fcinfo, 0, "execution_id");
  const std::int64_t end = end_after(required_duration(fcinfo, 1, "timeout"));
  TupleDesc desc = result_desc(fcinfo);
  MemoryContext memory = CurrentMemoryContext;

  warn_once_without_shared_memory();
  begin_waiting();
  Jsonb *result = nullptr;
  for (;;) {
    result = look_at_execution(id, memory);
    commit_look();
    const TimestampTz now = clock_now();
    if (result || passing_time() >= end) break;
    const TimestampTz deadline = deadline_of(end);
    const TimestampTz until = shared_memory_available() ? deadline : std::min(deadline, now + USECS_PER_SEC);
    if (!has_signal()) park(until, "InsulaAwait");
    (void)take_signal();
  }
  end_wait();
  SPI_finish();
  PG_RETURN_DATUM(one_column_row(desc, PointerGetDatum(result), result == nullptr));
}
