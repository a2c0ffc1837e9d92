// Fires; see fire.hpp.  A fire and its execution are made in one transaction, and the fire's
// key, schedule and time, lets it be made once.  What is due is worked out from the newest
// fire, so nothing is written but the fires themselves.
#include "schedule/fire.hpp"

#include <algorithm>

#include "context/merge_patch.hpp"
#include "core/ids.hpp"
#include "operation/operations.hpp"
#include "schedule/agenda.hpp"
#include "schedule/zone.hpp"
#include "shared/shared.hpp"
#include "tenant/apart.hpp"

namespace insula {

namespace {

int grace_seconds = 60;

constexpr int most_at_once = 1000;  // fires of one schedule in one transaction
constexpr std::int64_t longest_backoff = 300 * USECS_PER_SEC;
constexpr int fires_kept = 100;       // when old ones are removed
constexpr int fires_looked_at = 100;  // for executions that still run

Jsonb *context_of_fire(const Tenant &tenant, const ScheduleSpec &spec, std::int64_t number, TimestampTz fire) {
  JsonObject own = begin_object();
  add_utc_time(own, "scheduled_time", fire);
  add_member(own, "schedule_id", core::make_id(tenant.number, number));
  add_member(own, "schedule_timezone", spec.timezone);
  add_member(own, "schedule_expression", spec.cron);
  return merge_patch(spec.context, end_object(own));
}

std::int64_t submit_fire(const Tenant &tenant, const ScheduleSpec &spec, std::int64_t number, TimestampTz fire,
                         TimestampTz now) {
  Jsonb *context = context_of_fire(tenant, spec, number, fire);
  const SubmitRequest request = {spec.workflow, &context, nullptr, 1, 0, now};
  return core::local_of(*submit(tenant, request, CurrentMemoryContext));
}

// The executions of the schedule's newest fires that have not ended.
std::int64_t *running_fires(const Tenant &tenant, std::int64_t number, int *count) {
  int fired;
  std::int64_t *executions = newest_fired(tenant, number, fires_looked_at, &fired);
  std::sort(executions, executions + fired);
  return live_executions(tenant, executions, fired, count);
}

// When the last of them ended: fires that were due until then have waited for it.
TimestampTz end_of_last(const Tenant &tenant, std::int64_t number) {
  int fired;
  const std::int64_t *newest = newest_fired(tenant, number, 1, &fired);
  ExecutionRow row;
  if (fired == 0 || !read_execution(tenant, *newest, &row)) return DT_NOBEGIN;
  return row.finished_at ? row.finished_at : DT_NOBEGIN;
}

enum class Turn { made, passed_over, waits };

Turn take_turn(const Tenant &tenant, const AgendaItem &item, TimestampTz now) {
  if (item.overlap == Overlap::allow) return Turn::made;
  int count;
  const std::int64_t *running = running_fires(tenant, item.number, &count);
  if (count == 0) return Turn::made;
  if (item.overlap == Overlap::queue) return Turn::waits;
  if (item.overlap == Overlap::skip) return Turn::passed_over;
  for (int i = 0; i < count; ++i) {
    // A transaction of the tenant that holds it keeps nobody waiting but his own schedule.
    if (!lock_lineage(tenant, running[i], true))
      ereport(ERROR, (errcode(ERRCODE_LOCK_NOT_AVAILABLE), errmsg("could not cancel the execution of an earlier fire"),
                      errdetail("A transaction holds it.")));
    (void)cancel(tenant, running[i], now, "its schedule has fired again");
  }
  return Turn::made;
}

// Nobody else makes fires for the tenant at this moment but a scheduler that should not be there.
void note_fire(const Tenant &tenant, const AgendaItem &item, std::int64_t fire, TimestampTz now,
               std::int64_t execution) {
  if (insert_fire(tenant, item.number, time_of(fire), now, execution)) return;
  ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE), errmsg("another scheduler has made the same fire")));
}

struct Outcome {
  std::int64_t dealt_with;
  int made;
  bool waits;
};

Outcome make_fires_of(const Tenant &tenant, const AgendaItem &item, TimestampTz now) {
  Outcome outcome = {item.dealt_with, 0, false};
  ScheduleRow row;
  // It may have been removed or changed since it was read: then it will be read again.
  if (!find_schedule(tenant, item.name, &row) || row.number != item.number) return outcome;
  const ScheduleSpec spec = spec_from_json(row.body);
  const TimestampTz zero = time_of(0);
  const std::int64_t held =
      item.overlap == Overlap::queue ? end_of_last(tenant, item.number) : std::int64_t{DT_NOBEGIN};
  auto *fires = palloc_array_of<std::int64_t>(most_at_once);
  const core::FirePlan plan =
      core::plan_fires(item.rules, item.dealt_with, now - zero, std::int64_t{grace_seconds} * USECS_PER_SEC,
                       held == DT_NOBEGIN ? INT64_MIN : held - zero, {fires, most_at_once});
  for (int i = 0; i < plan.count; ++i) {
    const Turn turn = take_turn(tenant, item, now);
    outcome.waits = turn == Turn::waits;
    if (outcome.waits) return outcome;
    const std::int64_t execution =
        turn == Turn::made ? submit_fire(tenant, spec, item.number, time_of(fires[i]), now) : 0;
    note_fire(tenant, item, fires[i], now, execution);
    outcome.dealt_with = fires[i];
    ++outcome.made;
  }
  if (outcome.dealt_with < plan.until) {
    note_fire(tenant, item, plan.until, now, 0);
    outcome.dealt_with = plan.until;
  }
  return outcome;
}

void make_due_fires_of(const Tenant &tenant, AgendaItem &item, TimestampTz now) {
  const Outcome outcome = make_fires_of(tenant, item, now);
  item.dealt_with = outcome.dealt_with;
  item.since_pruned += outcome.made;
  if (item.since_pruned >= fires_kept) {
    prune_fires(tenant, item.number, fires_kept);
    item.since_pruned = 0;
  }
  plan_next(item);
  item.waits = outcome.waits;
  // The end of what it waits for will be told; without shared memory somebody has to look.
  if (item.waits) item.due = shared_memory_available() ? DT_NOEND : now + USECS_PER_SEC;
}

}  // namespace

void define_fire_settings() {
  DefineCustomIntVariable("insula.fire_grace", "A fire of a schedule that is later than this was missed.",
                          "What becomes of it is for the schedule's catch_up to say.", &grace_seconds, 60, 1, 86400,
                          PGC_SIGHUP, GUC_UNIT_S, nullptr, nullptr, nullptr);
}

void make_due_fires(const Tenant &tenant, TimestampTz now, FireVisit *visit) {
  visit->next = DT_NOEND;
  visit->awaits = false;
  visit->trouble = nullptr;
  Agenda &agenda = agenda_of(tenant, visit->reload, &visit->trouble);
  for (int i = 0; i < agenda.count; ++i) {
    AgendaItem &item = agenda.items[i];
    if (item.due <= now || item.waits) {
      CHECK_FOR_INTERRUPTS();
      const char *error = nullptr;
      if (!visit->carefully)
        make_due_fires_of(tenant, item, now);
      else if (!apart(
                   tenant.number, [&] { make_due_fires_of(tenant, item, now); }, &error))
        visit->trouble = psprintf("schedule \"%s\": %s", item.name, error);
      item.failures = error ? item.failures + 1 : 0;
      // It is tried again, as long as it is not too late.
      if (error) item.due = now + std::min(longest_backoff, USECS_PER_SEC << std::min(item.failures - 1, 20));
    }
    visit->next = std::min(visit->next, item.due);
    visit->awaits = visit->awaits || item.waits;
  }
}

}  // namespace insula
