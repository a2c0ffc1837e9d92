// SQL entry points that report on claimed tasks: complete, fail, defer, join, heartbeat.
#include <algorithm>

#include "core/ids.hpp"
#include "entry/answer.hpp"
#include "entry/arguments.hpp"
#include "entry/prologue.hpp"
#include "entry/tenant_groups.hpp"
#include "operation/operations.hpp"
#include "shared/clock.hpp"
#include "shared/shared.hpp"
#include "spi/budget.hpp"
#include "storage/progress.hpp"
#include "tenant/caller.hpp"
#include "tenant/in_subtransaction.hpp"

using namespace insula;

INSULA_FUNCTION(insula_complete);
INSULA_FUNCTION(insula_complete_many);
INSULA_FUNCTION(insula_complete_batch);
INSULA_FUNCTION(insula_fail);
INSULA_FUNCTION(insula_defer);
INSULA_FUNCTION(insula_join_task);
INSULA_FUNCTION(insula_heartbeat);

namespace {

// A batch of completions of any tenants' tasks, and what became of each.
struct Completion {
  const std::int64_t *ids;
  const std::int64_t *leases;
  Jsonb *const *contexts;       // nullptr: none
  const char *const *problems;  // why a context cannot be stored, nullptr where it can; or nullptr: all can
  int count;
  Told *told;
  const char **failed;  // the context cannot be stored, so the task has failed instead: its next state; else nullptr
  // Whether the call waits for locks of the one tenant that all its tasks are of.
  bool (*may_wait)(const Tenant &);
  const char *problem(int i) const { return problems ? problems[i] : nullptr; }
};

// One tenant's share of a batch: positions in it, ascending by the tasks' ids.
struct Share {
  const Completion &batch;
  const Tenant &tenant;
  const int *positions;
  int count;
  LockWait wait;
};

// Locks all tasks of the share in one order, where some of them are to fail and others to complete.
void lock_share(const Share &share) {
  const Completion &batch = share.batch;
  auto *ids = palloc_array_of<std::int64_t>(static_cast<std::size_t>(share.count));
  bool any_problem = false;
  for (int i = 0; i < share.count; ++i) {
    ids[i] = core::local_of(batch.ids[share.positions[i]]);
    any_problem = any_problem || batch.problem(share.positions[i]);
  }
  if (any_problem) lock_tasks(share.tenant, ids, share.count);
}

// Returns how many of the positions are dealt with; the others are to be asked for again.
int complete_share(const Share &share) {
  const Completion &batch = share.batch;
  const auto room = static_cast<std::size_t>(share.count);
  auto *ids = palloc_array_of<std::int64_t>(room);
  auto *leases = palloc_array_of<std::int64_t>(room);
  auto **patches = palloc_array_of<Jsonb *>(room);
  auto *places = palloc_array_of<int>(room);
  auto *told = palloc_array_of<Told>(room);
  int count = 0;
  for (int i = 0; i < share.count; ++i) {
    const int at = share.positions[i];
    if (batch.problem(at)) continue;
    ids[count] = core::local_of(batch.ids[at]);
    leases[count] = batch.leases[at];
    patches[count] = batch.contexts ? batch.contexts[at] : nullptr;
    places[count++] = i;
  }
  if (count == 0) return share.count;
  const int stay = complete(share.tenant, {ids, leases, patches, count, told}, share.wait);
  for (int i = 0; i < count; ++i) batch.told[share.positions[places[i]]] = told[i];
  return stay < count ? places[stay] : share.count;
}

// As fail(), but that a failure that is reported a second time is answered as the first was, if it was the last.
const char *fail_once(const Tenant &tenant, TimestampTz now, std::int64_t id, std::int64_t lease,
                      const Failure &failure) {
  const char *next = fail(tenant, now, id, lease, failure);
  return next || !has_failed_so(tenant, id, lease, failure.error) ? next : state_name(State::failed);
}

void fail_share(const Share &share, TimestampTz now) {
  const Completion &batch = share.batch;
  for (int i = 0; i < share.count; ++i) {
    const int at = share.positions[i];
    const char *problem = batch.problem(at);
    if (!problem) continue;
    const std::int64_t id = core::local_of(batch.ids[at]);
    const bool later = share.wait == LockWait::skip &&
                       ((i > 0 && budget_is_spent()) || !try_lock_for_failure(share.tenant, id, problem));
    if (later)
      batch.told[at] = Told::later;
    else
      batch.failed[at] = fail_once(share.tenant, now, id, batch.leases[at], {problem, true});
  }
}

void put_off(const Completion &batch, const int *order, int first, int last) {
  for (int i = first; i < last; ++i) batch.told[order[i]] = Told::later;
}

constexpr int first_step = 64;
// Steps that take less than this are followed by larger ones.
constexpr std::int64_t short_step = 10000;

// Completes the share step by step until the budget is spent; what is left is to be asked for again.
void complete_in_steps(const Share &share, TimestampTz now, bool alone) {
  begin_budget(alone ? visit_microseconds() : share_microseconds());
  int done = 0;
  for (int step = first_step; done < share.count && (done == 0 || !budget_is_spent());) {
    const std::int64_t began = passing_time();
    Share part = {share.batch, share.tenant, share.positions + done, std::min(step, share.count - done), share.wait};
    part.count = complete_share(part);
    fail_share(part, now);
    done += part.count;
    if (passing_time() - began < short_step) step *= 2;
  }
  put_off(share.batch, share.positions, done, share.count);
}

// `service`: of one of several tenants; nullptr: the batch has tasks of no other.
void complete_group(const Completion &batch, const int *order, int first, int last, Service *service) {
  const TenantOfTasks opened = open_tenant_of_tasks(batch.ids[order[first]], service ? nullptr : batch.may_wait);
  if (service) service->is_allowed = opened.tenant != nullptr;
  if (opened.locked) return put_off(batch, order, first, last);
  if (!opened.tenant) return;
  const TimestampTz now = clock_now();
  in_outcome_session(*opened.tenant, [&] {
    const Share share = {batch, *opened.tenant, order + first, last - first, opened.wait};
    if (share.wait == LockWait::skip) return complete_in_steps(share, now, !service);
    lock_share(share);
    (void)complete_share(share);
    fail_share(share, now);
  });
  if (service)
    service->tasks = static_cast<int>(std::count_if(
        order + first, order + last, [&batch](int at) { return batch.told[at] == Told::done || batch.failed[at]; }));
}

void complete_batch(const Completion &batch) {
  const int *order = by_tenant(batch.ids, batch.count);
  std::int32_t tenants = 0;
  for (int first = 0; first < batch.count; first = end_of_group(batch.ids, order, first, batch.count))
    if (core::is_plausible_id(batch.ids[order[first]])) ++tenants;
  for (int first = 0; first < batch.count;) {
    const int last = end_of_group(batch.ids, order, first, batch.count);
    const std::int64_t id = batch.ids[order[first]];
    Service service = {0, false};
    if (tenants <= 1)
      complete_group(batch, order, first, last, nullptr);
    else if (core::is_plausible_id(id) && !serve_in_subtransaction(core::tenant_of(id), service, [&] {
               complete_group(batch, order, first, last, &service);
             }))
      put_off(batch, order, first, last);
    first = last;
  }
}

}  // namespace

Datum insula_complete(PG_FUNCTION_ARGS) {
  require_writable("insula.complete()");
  const std::int64_t id = required_int64(fcinfo, 0, "task_id");
  const std::int64_t lease = required_int64(fcinfo, 1, "lease");
  Jsonb *context = context_argument(fcinfo, 2);
  const Tenant *tenant = open_tenant_of_task(id);
  if (!tenant) PG_RETURN_BOOL(false);
  const std::int64_t local = core::local_of(id);
  Told told = Told::lost;
  in_outcome_session(*tenant, [&] { complete(*tenant, {&local, &lease, &context, 1, &told}, LockWait::block); });
  PG_RETURN_BOOL(told == Told::done);
}

// Why each context cannot be stored, nullptr where it can.
static const char **problems_of(Jsonb *const *contexts, int count) {
  if (!contexts) return nullptr;
  auto **problems = palloc_array_of<const char *>(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) problems[i] = contexts[i] ? context_problem(contexts[i]) : nullptr;
  return problems;
}

// Reads the arguments of a call for many tasks, and completes them.
static Completion complete_arguments(FunctionCallInfo fcinfo, bool (*may_wait)(const Tenant &)) {
  const Int64Array ids = required_int64_array(fcinfo, 0, "task_ids");
  const Int64Array leases = required_int64_array(fcinfo, 1, "leases");
  int context_count;
  Jsonb **contexts = jsonb_array_argument(fcinfo, 2, "contexts", &context_count);
  require_same_length(ids.count, leases.count, "task_ids and leases");
  if (contexts) require_same_length(ids.count, context_count, "task_ids and contexts");
  const auto room = static_cast<std::size_t>(ids.count) + 1;
  auto *told = palloc_array_of<Told>(room);
  std::fill(told, told + room, Told::lost);
  auto **failed = palloc_array_of<const char *>(room);
  std::fill(failed, failed + room, nullptr);
  const Completion batch = {ids.values, leases.values, contexts, problems_of(contexts, ids.count),
                            ids.count,  told,          failed,   may_wait};
  complete_batch(batch);
  return batch;
}

Datum insula_complete_many(PG_FUNCTION_ARGS) {
  require_writable("insula.complete_many()");
  const Completion batch = complete_arguments(fcinfo, has_rights_to);
  auto *datums = palloc_array_of<Datum>(static_cast<std::size_t>(batch.count));
  auto *nulls = palloc_array_of<bool>(static_cast<std::size_t>(batch.count));
  for (int i = 0; i < batch.count; ++i) {
    datums[i] = BoolGetDatum(batch.told[i] == Told::done);
    nulls[i] = batch.told[i] == Told::later;
  }
  int dims[] = {batch.count};
  int lower[] = {1};
  PG_RETURN_ARRAYTYPE_P(
      construct_md_array(datums, nulls, batch.count ? 1 : 0, dims, lower, BOOLOID, 1, true, TYPALIGN_CHAR));
}

Datum insula_complete_batch(PG_FUNCTION_ARGS) {
  require_writable("insula.complete_batch()");
  const Completion batch = complete_arguments(fcinfo, is_login_of);
  ReturnSetInfo *result = begin_rows(fcinfo);
  for (int i = 0; i < batch.count; ++i) {
    // What is to be told later may have been rolled back with its tenant's share, whatever is noted beside it.
    if (batch.told[i] == Told::later)
      put_row(result, {int32_field(i + 1), text_field("later"), null_field(), null_field(), null_field()});
    else if (batch.failed[i])
      put_row(result, {int32_field(i + 1), text_field("failed"),
                       text_field(unpack_sql_state(context_problem_state(batch.contexts[i]))),
                       text_field(batch.problem(i)), text_field(batch.failed[i])});
    else if (batch.told[i] == Told::lost)
      put_row(result, {int32_field(i + 1), text_field("lost"), null_field(), null_field(), null_field()});
  }
  return Datum{0};
}

static void check_free_retries(const Failure &failure) {
  constexpr int most = 1000;
  if (failure.free_retries < 0 || failure.free_retries > most)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("free_retries must be between 0 and %d", most)));
  if (failure.free_retries > 0 && failure.retry_in < 0)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("free_retries needs retry_in")));
}

Datum insula_fail(PG_FUNCTION_ARGS) {
  require_writable("insula.fail()");
  const std::int64_t id = required_int64(fcinfo, 0, "task_id");
  const std::int64_t lease = required_int64(fcinfo, 1, "lease");
  require_not_null(fcinfo, 2, "error");
  Failure failure = {message_argument(fcinfo, 2), required_bool(fcinfo, 3, "retryable")};
  if (!PG_ARGISNULL(4)) failure.retry_in = required_duration(fcinfo, 4, "retry_in");
  failure.free_retries = required_int32(fcinfo, 5, "free_retries");
  check_free_retries(failure);
  const Tenant *tenant = open_tenant_of_task(id);
  if (!tenant) PG_RETURN_NULL();
  const std::int64_t task = core::local_of(id);
  const char *status =
      in_outcome_session(*tenant, [&] { return fail_once(*tenant, clock_now(), task, lease, failure); });
  if (!status) PG_RETURN_NULL();
  PG_RETURN_TEXT_P(cstring_to_text(status));
}

Datum insula_defer(PG_FUNCTION_ARGS) {
  require_writable("insula.defer()");
  const std::int64_t id = required_int64(fcinfo, 0, "task_id");
  const std::int64_t lease = required_int64(fcinfo, 1, "lease");
  const TimestampTz until = required_time(fcinfo, 2, "until");
  Jsonb *context = context_argument(fcinfo, 3);
  const Tenant *tenant = open_tenant_of_task(id);
  if (!tenant) PG_RETURN_BOOL(false);
  PG_RETURN_BOOL(
      in_outcome_session(*tenant, [&] { return defer(*tenant, core::local_of(id), lease, until, context); }));
}

Datum insula_join_task(PG_FUNCTION_ARGS) {
  require_writable("insula.join_task()");
  const std::int64_t id = required_int64(fcinfo, 0, "task_id");
  const std::int64_t lease = required_int64(fcinfo, 1, "lease");
  const Tenant *tenant = open_tenant_of_task(id);
  if (!tenant) PG_RETURN_BOOL(false);
  const Oid role = GetUserId();
  PG_RETURN_BOOL(in_outcome_session(*tenant, [&] { return join(*tenant, core::local_of(id), lease, role); }));
}

// ---- heartbeat ----

namespace {

struct HeartbeatCall {
  ReturnSetInfo *result;
  const std::int64_t *ids;
  const std::int64_t *leases;
  TimestampTz now;
  TimestampTz expires;
};

// nullptr: not among them.
template <typename Lease>
const Lease *find_lease(const Lease *leases, int count, std::int64_t id) {
  const Lease *at = std::lower_bound(leases, leases + count, id,
                                     [](const Lease &lease, std::int64_t value) { return lease.id < value; });
  return at != leases + count && at->id == id ? at : nullptr;
}

// Tells the worker to stop the task, and why, or that its lease was not extended now.
void put_stop(const HeartbeatCall &call, std::int64_t id, const char *reason) {
  put_row(call.result, {int64_field(id), text_field(reason)});
}

// Why a lease was not extended.
const char *reason_to_stop(const StoppedLease *stopped, const TaskRow *unlocked, std::int64_t lease) {
  if (stopped) return stopped->cancelled ? "cancelled" : "timeout";
  return unlocked && unlocked->state == State::running && unlocked->lease == lease ? "later" : "lost";
}

// Extends the leases of one tenant's tasks; those that another transaction holds are told to ask later.  Returns how
// many were extended.
int extend_group(const HeartbeatCall &call, const Tenant &tenant, const int *order, int count) {
  auto *ids = palloc_array_of<std::int64_t>(static_cast<std::size_t>(count));
  auto *leases = palloc_array_of<std::int64_t>(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    ids[i] = core::local_of(call.ids[order[i]]);
    leases[i] = call.leases[order[i]];
  }
  int locked_count;
  const std::int64_t *locked = lock_leases(tenant, ids, leases, count, &locked_count);
  const auto is_locked = [&](std::int64_t id) { return std::binary_search(locked, locked + locked_count, id); };

  auto *locked_ids = palloc_array_of<std::int64_t>(static_cast<std::size_t>(count));
  auto *locked_leases = palloc_array_of<std::int64_t>(static_cast<std::size_t>(count));
  int here = 0;
  for (int i = 0; i < count; ++i) {
    if (!is_locked(ids[i])) continue;
    locked_ids[here] = ids[i];
    locked_leases[here++] = leases[i];
  }
  int extended_count = 0;
  int stopped_count = 0;
  int found = 0;
  const StoppedLease *stopped = nullptr;
  const TaskRow *tasks = nullptr;
  const ExtendedLease *extended =
      extend_leases(tenant, call.now, call.expires, locked_ids, locked_leases, here, &extended_count);
  if (extended_count < count) stopped = stopped_leases(tenant, call.now, ids, leases, count, &stopped_count);
  if (here < count) tasks = peek_tasks(tenant, ids, count, &found);
  for (int i = 0; i < count; ++i) {
    const std::int64_t id = call.ids[order[i]];
    const ExtendedLease *lease = find_lease(extended, extended_count, ids[i]);
    const TaskRow *unlocked = is_locked(ids[i]) ? nullptr : find_lease(tasks, found, ids[i]);
    if (!lease)
      put_stop(call, id, reason_to_stop(find_lease(stopped, stopped_count, ids[i]), unlocked, leases[i]));
    else if (lease->paused)
      put_stop(call, id, "paused");
  }
  return extended_count;
}

// `service`: of one of several tenants; nullptr: the call has tasks of no other.
void heartbeat_group(const HeartbeatCall &call, const int *order, int first, int last, Service *service) {
  const TenantOfTasks opened = open_tenant_of_tasks(call.ids[order[first]], nullptr);
  if (service) service->is_allowed = opened.tenant != nullptr;
  int extended = 0;
  if (opened.tenant)
    extended = in_outcome_session(*opened.tenant,
                                  [&] { return extend_group(call, *opened.tenant, order + first, last - first); });
  else
    for (int i = first; i < last; ++i) put_stop(call, call.ids[order[i]], opened.locked ? "later" : "lost");
  if (service) service->tasks = extended;
}

}  // namespace

Datum insula_heartbeat(PG_FUNCTION_ARGS) {
  require_writable("insula.heartbeat()");
  const Int64Array ids = required_int64_array(fcinfo, 0, "task_ids");
  const Int64Array leases = required_int64_array(fcinfo, 1, "leases");
  const std::int64_t lease = required_lease(fcinfo, 2);
  require_same_length(ids.count, leases.count, "task_ids and leases");
  ReturnSetInfo *result = begin_rows(fcinfo);
  const TimestampTz now = clock_now();
  const HeartbeatCall call = {result, ids.values, leases.values, now, count_from(now) + lease};
  const int *order = by_tenant(ids.values, ids.count);
  for (int first = 0; first < ids.count;) {
    const int last = end_of_group(ids.values, order, first, ids.count);
    const std::int64_t id = ids.values[order[first]];
    Service service = {0, false};
    // One tenant's error or lock stops no other tenant's heartbeat.
    if (last - first == ids.count || !core::is_plausible_id(id))
      heartbeat_group(call, order, first, last, nullptr);
    else if (!serve_in_subtransaction(core::tenant_of(id), service,
                                      [&] { heartbeat_group(call, order, first, last, &service); }))
      for (int i = first; i < last; ++i) put_stop(call, ids.values[order[i]], "later");
    first = last;
  }
  return Datum{0};
}
