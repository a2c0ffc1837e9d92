// SQL entry points for workers themselves: watch, nudge, leave.
#include <algorithm>

#include "core/ids.hpp"
#include "entry/arguments.hpp"
#include "entry/prologue.hpp"
#include "entry/tenant_groups.hpp"
#include "operation/operations.hpp"
#include "shared/clock.hpp"
#include "shared/shared.hpp"
#include "tenant/caller.hpp"
#include "tenant/in_subtransaction.hpp"

using namespace insula;

INSULA_FUNCTION(insula_watch);
INSULA_FUNCTION(insula_nudge);
INSULA_FUNCTION(insula_leave);

namespace {

// Marks in `live` the executions of one tenant, those at order[first..last), that still run; the rest
// have ended, or belong to a tenant that the caller may not work for.
void find_live(const std::int64_t *ids, const int *order, int first, int last, bool *live) {
  const Tenant *tenant = open_tenant_of_task(ids[order[first]]);
  if (!tenant) return;
  in_session([&] {
    auto *locals = palloc_array_of<std::int64_t>(static_cast<std::size_t>(last - first));
    for (int i = first; i < last; ++i) locals[i - first] = core::local_of(ids[order[i]]);
    int found;
    std::int64_t *running = live_executions(*tenant, locals, last - first, &found);
    std::sort(running, running + found);
    for (int i = first; i < last; ++i) live[order[i]] = std::binary_search(running, running + found, locals[i - first]);
  });
}

void find_all_live(const Int64Array &ids, const int *order, bool *live) {
  for (int first = 0; first < ids.count;) {
    const int last = end_of_group(ids.values, order, first, ids.count);
    find_live(ids.values, order, first, last, live);
    first = last;
  }
}

}  // namespace

Datum insula_watch(PG_FUNCTION_ARGS) {
  const char *worker = required_worker(fcinfo, 0);
  const Int64Array ids = required_int64_array(fcinfo, 1, "execution_ids");
  const int *order = by_tenant(ids.values, ids.count);
  // Executions that run are watched and then read again, so an end in between is noticed by the
  // watch or by the second read.
  auto *live = static_cast<bool *>(palloc0(static_cast<Size>(ids.count) + 1));
  auto *still_live = static_cast<bool *>(palloc0(static_cast<Size>(ids.count) + 1));
  find_all_live(ids, order, live);
  for (int i = 0; i < ids.count; ++i)
    if (live[i]) watch_execution(worker, ids.values[i]);
  find_all_live(ids, order, still_live);
  for (int i = 0; i < ids.count; ++i)
    if (live[i] && !still_live[i]) unwatch_execution(worker, ids.values[i]);
  auto *ended = palloc_array_of<std::int64_t>(static_cast<std::size_t>(ids.count));
  int count = 0;
  for (int i = 0; i < ids.count; ++i)
    if (!still_live[i]) ended[count++] = ids.values[i];
  PG_RETURN_DATUM(int64_array(ended, count));
}

Datum insula_nudge(PG_FUNCTION_ARGS) {
  const char *worker = required_worker(fcinfo, 0);
  nudge_worker(worker);
  PG_RETURN_VOID();
}

static void leave_tenant(std::int32_t number, const char *worker) {
  const Tenant *tenant = open_untouched_tenant(number);
  if (!tenant) return;
  in_session([&] { give_back(*tenant, worker, clock_now()); });
}

Datum insula_leave(PG_FUNCTION_ARGS) {
  require_writable("insula.leave()");
  const char *worker = required_worker(fcinfo, 0);
  const std::int32_t known = leave_worker(worker);
  Tenant *own = resolve_tenant(nullptr, Right::worker);
  if (known > 0) {
    leave_tenant(known, worker);
  } else if (own) {
    leave_tenant(own->number, worker);
  } else if (serves_all()) {
    int count;
    const TenantShare *tenants = all_tenants(&count);
    for (int i = 0; i < count; ++i) {
      CHECK_FOR_INTERRUPTS();
      const std::int32_t number = tenants[i].number;
      (void)visit_in_subtransaction(number, [&] { leave_tenant(number, worker); });
    }
  } else {
    (void)require_tenant(nullptr, Right::worker);
  }
  PG_RETURN_VOID();
}
