// SQL entry points for what becomes of a claimed task: complete, fail, defer, heartbeat.
#include <algorithm>

#include "core/ids.hpp"
#include "entry/arguments.hpp"
#include "entry/tenant_groups.hpp"
#include "operation/operations.hpp"
#include "shared/clock.hpp"
#include "shared/shared.hpp"
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

struct Completion {
  const std::int64_t *ids;
  const std::int64_t *leases;
  Jsonb *const *contexts;  // checked by the caller or, in a batch, here
  int count;
  bool *completed;
  bool *unknown;  // of several tenants' tasks those that could not be written now
  bool *failed;   // those that failed, since their contexts cannot be stored
};

// Completes one tenant's share of a batch.
void complete_group(const Completion &batch, const int *order, int first, int last) {
  Tenant *tenant = tenant_to_work_for(batch.ids[order[first]]);
  if (!tenant) return;
  const TimestampTz now = clock_now();
  const auto room = static_cast<std::size_t>(last - first);
  auto *ids = palloc_array_of<std::int64_t>(room);
  auto *leases = palloc_array_of<std::int64_t>(room);
  auto **patches = palloc_array_of<Jsonb *>(room);
  auto *places = palloc_array_of<int>(room);
  auto *completed = palloc_array_of<bool>(room);
  auto *bad = palloc_array_of<int>(room);
  int count = 0;
  int bad_count = 0;
  const Session session = open_outcome_session(*tenant);
  for (int i = first; i < last; ++i) {
    const int at = order[i];
    Jsonb *patch = batch.contexts ? batch.contexts[at] : nullptr;
    if (patch && context_problem(patch)) {
      bad[bad_count++] = at;
      continue;
    }
    ids[count] = core::local_of(batch.ids[at]);
    leases[count] = batch.leases[at];
    patches[count] = patch;
    places[count++] = at;
  }
  for (int i = 0; i < bad_count; ++i) ids[count + i] = core::local_of(batch.ids[bad[i]]);
  if (bad_count) lock_tasks(*tenant, ids, count + bad_count);
  if (count) complete(*tenant, ids, leases, patches, count, completed);
  for (int i = 0; i < count; ++i) batch.completed[places[i]] = completed[i];
  for (int i = 0; i < bad_count; ++i)
    batch.failed[bad[i]] = fail(*tenant, now, core::local_of(batch.ids[bad[i]]), batch.leases[bad[i]],
                                context_problem(batch.contexts[bad[i]]), true) != nullptr;
  close_session(session);
}

void complete_batch(const Completion &batch) {
  const int *order = by_tenant(batch.ids, batch.count);
  std::int32_t tenants = 0;
  for (int first = 0; first < batch.count; first = end_of_group(batch.ids, order, first, batch.count))
    if (core::is_plausible_id(batch.ids[order[first]])) ++tenants;
  for (int first = 0; first < batch.count;) {
    const int last = end_of_group(batch.ids, order, first, batch.count);
    if (tenants <= 1)
      complete_group(batch, order, first, last);
    else if (core::is_plausible_id(batch.ids[order[first]]) &&
             !in_subtransaction(core::tenant_of(batch.ids[order[first]]),
                                [&] { complete_group(batch, order, first, last); }))
      for (int i = first; i < last; ++i) batch.unknown[order[i]] = true;
    first = last;
  }
}

}  // namespace

Datum insula_complete(PG_FUNCTION_ARGS) {
  require_writable("insula.complete()");
  const std::int64_t id = required_int64(fcinfo, 0, "task_id");
  const std::int64_t lease = required_int64(fcinfo, 1, "lease");
  Jsonb *context = context_argument(fcinfo, 2);
  bool completed = false;
  bool unknown = false;
  bool failed = false;
  complete_batch({&id, &lease, &context, 1, &completed, &unknown, &failed});
  PG_RETURN_BOOL(completed);
}

static void require_same_length(int a, int b, const char *names) {
  if (a != b) ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s must have the same length", names)));
}

// Does what both calls for many tasks are told.
static Completion complete_argument(FunctionCallInfo fcinfo) {
  const Int64Array ids = required_int64_array(fcinfo, 0, "task_ids");
  const Int64Array leases = required_int64_array(fcinfo, 1, "leases");
  int context_count;
  Jsonb **contexts = jsonb_array_argument(fcinfo, 2, "contexts", &context_count);
  require_same_length(ids.count, leases.count, "task_ids and leases");
  if (contexts) require_same_length(ids.count, context_count, "task_ids and contexts");
  bool *results[3];
  for (bool *&result : results) result = static_cast<bool *>(palloc0(static_cast<Size>(ids.count) + 1));
  const Completion batch = {ids.values, leases.values, contexts, ids.count, results[0], results[1], results[2]};
  complete_batch(batch);
  return batch;
}

Datum insula_complete_many(PG_FUNCTION_ARGS) {
  require_writable("insula.complete_many()");
  const Completion batch = complete_argument(fcinfo);
  auto *datums = palloc_array_of<Datum>(static_cast<std::size_t>(batch.count));
  for (int i = 0; i < batch.count; ++i) datums[i] = BoolGetDatum(batch.completed[i]);
  int dims[] = {batch.count};
  int lower[] = {1};
  PG_RETURN_ARRAYTYPE_P(
      construct_md_array(datums, batch.unknown, batch.count ? 1 : 0, dims, lower, BOOLOID, 1, true, TYPALIGN_CHAR));
}

Datum insula_complete_batch(PG_FUNCTION_ARGS) {
  require_writable("insula.complete_batch()");
  const Completion batch = complete_argument(fcinfo);
  InitMaterializedSRF(fcinfo, 0);
  auto *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
  for (int i = 0; i < batch.count; ++i) {
    // What is unknown was rolled back with its tenant's part.
    if (batch.completed[i] && !batch.unknown[i]) continue;
    const bool failed = batch.failed[i] && !batch.unknown[i];
    Datum values[4] = {Int32GetDatum(i + 1), CStringGetTextDatum(failed             ? "failed"
                                                                 : batch.unknown[i] ? "later"
                                                                                    : "lost")};
    bool nulls[4] = {false, false, !failed, !failed};
    if (failed) {
      values[2] = CStringGetTextDatum(unpack_sql_state(context_problem_state(batch.contexts[i])));
      values[3] = CStringGetTextDatum(context_problem(batch.contexts[i]));
    }
    tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
  }
  return Datum{0};
}

Datum insula_fail(PG_FUNCTION_ARGS) {
  require_writable("insula.fail()");
  const std::int64_t id = required_int64(fcinfo, 0, "task_id");
  const std::int64_t lease = required_int64(fcinfo, 1, "lease");
  require_not_null(fcinfo, 2, "error");
  const char *error = message_argument(fcinfo, 2);
  const bool retryable = required_bool(fcinfo, 3, "retryable");
  Tenant *tenant = tenant_to_work_for(id);
  if (!tenant) PG_RETURN_NULL();
  const Session session = open_outcome_session(*tenant);
  const char *status = fail(*tenant, clock_now(), core::local_of(id), lease, error, retryable);
  close_session(session);
  if (!status) PG_RETURN_NULL();
  PG_RETURN_TEXT_P(cstring_to_text(status));
}

Datum insula_defer(PG_FUNCTION_ARGS) {
  require_writable("insula.defer()");
  const std::int64_t id = required_int64(fcinfo, 0, "task_id");
  const std::int64_t lease = required_int64(fcinfo, 1, "lease");
  const TimestampTz until = required_time(fcinfo, 2, "until");
  Jsonb *context = context_argument(fcinfo, 3);
  Tenant *tenant = tenant_to_work_for(id);
  if (!tenant) PG_RETURN_BOOL(false);
  const Session session = open_outcome_session(*tenant);
  const bool deferred = defer(*tenant, core::local_of(id), lease, until, context);
  close_session(session);
  PG_RETURN_BOOL(deferred);
}

Datum insula_join_task(PG_FUNCTION_ARGS) {
  require_writable("insula.join_task()");
  const std::int64_t id = required_int64(fcinfo, 0, "task_id");
  const std::int64_t lease = required_int64(fcinfo, 1, "lease");
  Tenant *tenant = tenant_to_work_for(id);
  if (!tenant) PG_RETURN_BOOL(false);
  const Session session = open_outcome_session(*tenant);
  const bool joined = join(*tenant, core::local_of(id), lease);
  close_session(session);
  PG_RETURN_BOOL(joined);
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

void put_stop(const HeartbeatCall &call, std::int64_t id, const char *reason) {
  Datum values[] = {Int64GetDatum(id), CStringGetTextDatum(reason)};
  bool nulls[] = {false, false};
  tuplestore_putvalues(call.result->setResult, call.result->setDesc, values, nulls);
}

void heartbeat_group(const HeartbeatCall &call, const int *order, int first, int last) {
  Tenant *tenant = tenant_to_work_for(call.ids[order[first]]);
  int extended_count = 0;
  int stopped_count = 0;
  const ExtendedLease *extended = nullptr;
  const StoppedLease *stopped = nullptr;
  Session session = {};
  if (tenant) {
    session = open_outcome_session(*tenant);
    auto *ids = palloc_array_of<std::int64_t>(static_cast<std::size_t>(last - first));
    auto *leases = palloc_array_of<std::int64_t>(static_cast<std::size_t>(last - first));
    for (int i = first; i < last; ++i) {
      ids[i - first] = core::local_of(call.ids[order[i]]);
      leases[i - first] = call.leases[order[i]];
    }
    extended = extend_leases(*tenant, call.now, call.expires, ids, leases, last - first, &extended_count);
    if (extended_count > 0) announce_due(tenant->number, call.expires);
    if (extended_count < last - first) {
      stopped = stopped_leases(*tenant, call.now, ids, leases, last - first, &stopped_count);
    }
  }
  for (int i = first; i < last; ++i) {
    const std::int64_t id = call.ids[order[i]];
    const std::int64_t local = core::local_of(id);
    const ExtendedLease *lease = find_lease(extended, extended_count, local);
    const StoppedLease *stop = find_lease(stopped, stopped_count, local);
    if (!lease)
      put_stop(call, id, !stop ? "lost" : stop->cancelled ? "cancelled" : "timeout");
    else if (lease->paused)
      put_stop(call, id, "paused");
  }
  if (tenant) close_session(session);
}

}  // namespace

Datum insula_heartbeat(PG_FUNCTION_ARGS) {
  require_writable("insula.heartbeat()");
  const Int64Array ids = required_int64_array(fcinfo, 0, "task_ids");
  const Int64Array leases = required_int64_array(fcinfo, 1, "leases");
  const std::int64_t lease = required_lease(fcinfo, 2);
  require_same_length(ids.count, leases.count, "task_ids and leases");
  InitMaterializedSRF(fcinfo, 0);
  const TimestampTz now = clock_now();
  const HeartbeatCall call = {reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo), ids.values, leases.values, now,
                              count_from(now) + lease};
  const int *order = by_tenant(ids.values, ids.count);
  for (int first = 0; first < ids.count;) {
    const int last = end_of_group(ids.values, order, first, ids.count);
    // A tenant whose rows are locked gets no news now; his tasks' leases go on as they are.
    if (last - first == ids.count || !core::is_plausible_id(ids.values[order[first]]))
      heartbeat_group(call, order, first, last);
    else
      (void)in_subtransaction(core::tenant_of(ids.values[order[first]]),
                              [&] { heartbeat_group(call, order, first, last); });
    first = last;
  }
  return Datum{0};
}
