// insula.read_overdue: what no process takes up, for insula.health().  It visits a bounded number of tenants, the
// likeliest (operation/overdue.hpp).
#include <algorithm>

#include "core/ids.hpp"
#include "entry/answer.hpp"
#include "entry/each_tenant.hpp"
#include "operation/overdue.hpp"
#include "shared/clock.hpp"
#include "shared/shared.hpp"
#include "spi/budget.hpp"
#include "storage/look.hpp"
#include "storage/work.hpp"

using namespace insula;

INSULA_FUNCTION(insula_read_overdue);

namespace {

constexpr int most_visits = 10000;

// So that a call ends, whatever a hundred tenants have in their queues.
std::int64_t look_microseconds() { return visit_microseconds() / 100; }

template <typename Look>
void look_at_likeliest(const LikelyTenants &likely, int most, Look look) {
  for (int i = 0; i < std::min(likely.count, most); ++i) {
    CHECK_FOR_INTERRUPTS();
    read_tenant(likely.items[i].number, [&](const Tenant &tenant) {
      begin_budget(look_microseconds());
      look(tenant, likely.items[i]);
    });
  }
}

void put_lapsed(ReturnSetInfo *rows, const Tenant &tenant, TimestampTz before) {
  LeasedTask task;
  if (!first_leased_task(tenant, &task) || task.expires >= before) return;
  put_row(rows,
          {text_field("lease"), text_field(tenant.name), int64_field(core::make_id(tenant.number, task.execution)),
           text_field(task.worker), time_field(task.expires), null_field()});
}

void put_ready(ReturnSetInfo *rows, const Tenant &tenant, TimestampTz before, const Field &served) {
  std::int64_t execution = 0;
  const TimestampTz since = oldest_ready(tenant, &execution);
  if (since >= before) return;
  put_row(rows, {text_field("ready task"), text_field(tenant.name),
                 int64_field(core::make_id(tenant.number, execution)), null_field(), time_field(since), served});
}

}  // namespace

Datum insula_read_overdue(PG_FUNCTION_ARGS) {
  require_admin();
  const TimestampTz now = clock_now();
  const TimestampTz ready_before = now - required_duration(fcinfo, 0, "ready_for");
  const TimestampTz lapsed_before = now - required_duration(fcinfo, 1, "lapsed_for");
  const int most = required_int32(fcinfo, 2, "max_tenants");
  if (most < 1 || most > most_visits)
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("max_tenants must be between 1 and %d", most_visits)));
  ReturnSetInfo *rows = begin_rows(fcinfo);
  const ActivityReport report = read_activity();
  const ActiveTenants tenants = active_tenants_by_turns(now, most);
  look_at_likeliest(likely_lapsed(tenants, report, lapsed_before), most,
                    [&](const Tenant &tenant, const LikelyTenant &) { put_lapsed(rows, tenant, lapsed_before); });
  const bool counts_claims = shared_memory_available() && !RecoveryInProgress();
  look_at_likeliest(likely_ready(tenants, report), most, [&](const Tenant &tenant, const LikelyTenant &likely) {
    put_ready(rows, tenant, ready_before, counts_claims ? bool_field(likely.served) : null_field());
  });
  return Datum{0};
}
