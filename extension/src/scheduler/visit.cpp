// A scheduler's visit of one tenant: it advances the tenant's queue, then fires the tenant's
// schedules.  It never waits for a lock that a transaction of the tenant holds, and does a bounded
// amount, a budget for each of the two: a tenant with more to do is requeued behind the others.
#include <algorithm>

#include "operation/operations.hpp"
#include "schedule/agenda.hpp"
#include "schedule/fire.hpp"
#include "scheduler/scheduler.hpp"
#include "shared/clock.hpp"
#include "shared/due_queue.hpp"
#include "spi/budget.hpp"
#include "tenant/lock.hpp"

namespace insula {

namespace {

constexpr int most_advances = 4;
// The pause before the next visit if another transaction holds a due row.
constexpr std::int64_t held_sleep = USECS_PER_SEC;
// The pause between two visits of a tenant that always has more to do: drop_tenant needs a moment
// without a visit.
constexpr std::int64_t busy_pause = 20000;
// The same if all that it had time for could not be done.
constexpr std::int64_t unfinished_pause = USECS_PER_SEC / 10;

TimestampTz advance_tenant(const Tenant &tenant, TimestampTz now) {
  TimestampTz next = DT_NOEND;
  TimestampTz before = DT_NOBEGIN;
  for (int i = 0; i < most_advances; ++i) {
    if (!needs_advance(tenant, now, &next)) return next;
    const bool moved = advance(tenant, now, Visitor::scheduler);
    if (budget_is_spent()) return moved ? now : now + unfinished_pause;
    // The earliest due moment has not changed, so another transaction holds its row.
    const TimestampTz still = next_due(tenant);
    if (!moved && still <= now && still == before) return now + held_sleep;
    before = still;
  }
  return needs_advance(tenant, now, &next) ? now : next;
}

// Raises unless the tenant has been dropped.
void refuse_incomplete(std::int32_t number) {
  const Tenant *tenant = find_tenant(number);
  if (!tenant) return;
  const bool missing = !OidIsValid(get_namespace_oid(tenant->schema, true));
  ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                  missing ? errmsg("schema \"%s\" is missing", tenant->schema)
                          : errmsg("a table, index or sequence of schema \"%s\" is missing", tenant->schema)));
}

// The reason for the visit still holds.
void visit_again(Visit *visit) {
  visit->next = clock_now() + held_sleep;
  visit->reload = true;
}

}  // namespace

void visit_tenant(Visit *visit) {
  if (!try_share_life(visit->tenant)) return visit_again(visit);
  bool locked;
  const Tenant *tenant = try_open_tenant(visit->tenant, &locked);
  if (locked) return visit_again(visit);
  const bool reload = visit->reload;
  visit->reload = false;
  if (!tenant) {
    forget_agenda(visit->tenant);
    refuse_incomplete(visit->tenant);
    visit->next = DT_NOEND;
    return;
  }
  const Session session = open_session();
  begin_budget(visit->longest);
  const TimestampTz now = clock_now();
  visit->next = advance_tenant(*tenant, now);
  if (!tenant->suspended) {
    FireVisit fires = {reload, visit->ended, is_set_aside(visit->tenant), DT_NOEND, false, false, nullptr};
    begin_budget(visit->longest);
    make_due_fires(*tenant, now, &fires);
    visit->next = std::min(visit->next, fires.next);
    visit->awaits = fires.awaits;
    visit->trouble = fires.troubled;
    if (fires.trouble) note_trouble(visit->tenant, fires.trouble);
  } else {
    forget_agenda(visit->tenant);
  }
  // The virtual clock stops only once nothing is due.
  if (visit->next <= now) visit->next = clock_target() == DT_NOBEGIN ? clock_now() + busy_pause : now;
  close_session(session);
}

}  // namespace insula
