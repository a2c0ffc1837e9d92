// Fires; see fire.hpp.  One transaction makes a fire and its execution, and the fire's key
// (schedule, time) lets it be made only once.  The newest fire tells what is due, so nothing is
// written but fires.
#include "schedule/fire.hpp"

#include <algorithm>

#include "context/merge_patch.hpp"
#include "core/ids.hpp"
#include "operation/operations.hpp"
#include "schedule/agenda.hpp"
#include "schedule/zone.hpp"
#include "shared/shared.hpp"
#include "spi/budget.hpp"
#include "tenant/in_subtransaction.hpp"

extern "C" {
#include "common/hashfn.h"
}

namespace insula {

namespace {

int grace_seconds = 60;

constexpr int most_at_once = 1000;  // fires of one schedule in one transaction
constexpr int most_in_turn = 1000;  // fires, or schedules, of a visit
constexpr std::int64_t longest_backoff = 300 * USECS_PER_SEC;
constexpr std::int64_t changed_sleep = USECS_PER_SEC;
constexpr std::int64_t place_sleep = USECS_PER_SEC;
constexpr int fires_kept = 100;       // by prune_fires
constexpr int fires_a_removal = 50;   // on average, fires between two calls of prune_fires
constexpr int fires_looked_at = 100;  // newest fires whose executions may still run

Jsonb *read_context(const Tenant &tenant, const ScheduleRow &schedule) {
  Jsonb *context = schedule_context(tenant, schedule);
  if (context) charge(VARSIZE(context));
  return context;
}

struct FiringSchedule {
  ScheduleSpec spec;
  std::int64_t number;
  Jsonb *context;
};

Jsonb *context_of_fire(const Tenant &tenant, const FiringSchedule &schedule, TimestampTz fire) {
  JsonObject own = begin_object();
  add_utc_time(own, "scheduled_time", fire);
  add_member(own, "schedule_id", core::make_id(tenant.number, schedule.number));
  add_member(own, "schedule_timezone", schedule.spec.timezone);
  add_member(own, "schedule_expression", schedule.spec.cron);
  return merge_patch(schedule.context, end_object(own));
}

std::int64_t submit_fire(const Tenant &tenant, const FiringSchedule &schedule, TimestampTz fire, TimestampTz now) {
  Jsonb *context = context_of_fire(tenant, schedule, fire);
  charge(VARSIZE(context));
  const SubmitRequest request = {schedule.spec.workflow, &context, nullptr, 1, 0, now};
  return core::local_of(*submit(tenant, request, CurrentMemoryContext));
}

// The unfinished executions of the schedule's newest fires.
std::int64_t *running_fires(const Tenant &tenant, std::int64_t number, int *count) {
  int fired;
  std::int64_t *executions = newest_fired(tenant, number, fires_looked_at, &fired);
  std::sort(executions, executions + fired);
  return live_executions(tenant, executions, fired, count);
}

// The moment until which running executions of earlier fires have held the schedule's queue.
TimestampTz queue_held_until(const Tenant &tenant, std::int64_t number, TimestampTz now) {
  int running;
  (void)running_fires(tenant, number, &running);
  if (running > 0) return now;
  int fired;
  const std::int64_t *newest = newest_fired(tenant, number, 1, &fired);
  ExecutionRow row;
  if (fired == 0 || !read_execution(tenant, *newest, &row)) return DT_NOBEGIN;
  return row.finished_at ? row.finished_at : DT_NOBEGIN;
}

enum class Decision { make, skip, wait };

Decision apply_overlap(const Tenant &tenant, const AgendaItem &item, TimestampTz now) {
  if (item.overlap == Overlap::allow) return Decision::make;
  int count;
  const std::int64_t *running = running_fires(tenant, item.number, &count);
  if (count == 0) return Decision::make;
  if (item.overlap == Overlap::queue) return Decision::wait;
  if (item.overlap == Overlap::skip) return Decision::skip;
  for (int i = 0; i < count; ++i) {
    // If a transaction of the tenant holds the execution, only the tenant's own schedule waits.
    if (!lock_lineage(tenant, running[i], true))
      ereport(ERROR, (errcode(ERRCODE_LOCK_NOT_AVAILABLE), errmsg("could not cancel the execution of an earlier fire"),
                      errdetail("A transaction holds it.")));
    (void)cancel(tenant, running[i], now, "its schedule has fired again");
  }
  return Decision::make;
}

// The key is taken only if a second scheduler serves this database by mistake.
void note_fire(const Tenant &tenant, const AgendaItem &item, std::int64_t fire, TimestampTz now,
               std::int64_t execution) {
  if (insert_fire(tenant, item.number, time_of(fire), now, execution)) return;
  ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE), errmsg("another scheduler has made the same fire")));
}

struct Outcome {
  std::int64_t dealt_with;
  int written;   // fires, also the skipped ones
  bool made;     // at least one execution
  bool waits;    // an execution of an earlier fire must end first
  bool changed;  // the schedule has been changed since it was read
};

void make_fire(const Tenant &tenant, const AgendaItem &item, const FiringSchedule &schedule, std::int64_t fire,
               TimestampTz now, Outcome *outcome) {
  const Decision decision = apply_overlap(tenant, item, now);
  outcome->waits = decision == Decision::wait;
  if (outcome->waits) return;
  const std::int64_t execution = decision == Decision::make ? submit_fire(tenant, schedule, time_of(fire), now) : 0;
  note_fire(tenant, item, fire, now, execution);
  outcome->made = outcome->made || execution != 0;
  outcome->dealt_with = fire;
  ++outcome->written;
}

Outcome make_fires_of(const Tenant &tenant, const AgendaItem &item, TimestampTz now) {
  Outcome outcome = {item.dealt_with, 0, false, false, true};
  ScheduleRow row;
  // If the schedule was removed or changed since it was read, the agenda reads it again.
  if (!find_schedule(tenant, item.name, &row) || row.number != item.number || row.since != item.since) return outcome;
  const ScheduleSpec spec = spec_from_json(row.body);
  if (spec.paused) return outcome;
  outcome.changed = false;
  const TimestampTz zero = time_of(0);
  const std::int64_t held =
      item.overlap == Overlap::queue ? queue_held_until(tenant, item.number, now) : std::int64_t{DT_NOBEGIN};
  auto *fires = palloc_array_of<std::int64_t>(most_at_once);
  const core::FirePlan plan =
      core::plan_fires(item.rules, item.dealt_with, now - zero, std::int64_t{grace_seconds} * USECS_PER_SEC,
                       held == DT_NOBEGIN ? INT64_MIN : held - zero, {fires, most_at_once});
  const FiringSchedule schedule = {spec, item.number, plan.count > 0 ? read_context(tenant, row) : nullptr};
  outcome.changed = plan.count > 0 && !schedule.context;
  if (outcome.changed) return outcome;
  MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "insula fire", ALLOCSET_DEFAULT_SIZES);
  for (int i = 0; i < plan.count; ++i) {
    if (i > 0 && budget_is_spent()) return outcome;
    in_scratch(scratch, [&] { make_fire(tenant, item, schedule, fires[i], now, &outcome); });
    if (outcome.waits) return outcome;
  }
  if (outcome.dealt_with < plan.until) {
    note_fire(tenant, item, plan.until, now, 0);
    outcome.dealt_with = plan.until;
    ++outcome.written;
  }
  return outcome;
}

// The fire's time decides, so that no counter must outlive the process.
bool removes_old_ones(const Outcome &outcome) {
  return outcome.written >= fires_a_removal ||
         (outcome.written > 0 && murmurhash32(static_cast<std::uint32_t>(outcome.dealt_with)) % fires_a_removal == 0);
}

// Returns how many fires were written.  It changes the item last, since a rollback does not restore
// it.
int make_due_fires_of(const Tenant &tenant, AgendaItem &item, TimestampTz now) {
  const Outcome outcome = make_fires_of(tenant, item, now);
  if (removes_old_ones(outcome)) prune_fires(tenant, item.number, fires_kept);
  item.dealt_with = outcome.dealt_with;
  item.waits = outcome.waits;
  item.failing = item.failing && !outcome.made;
  plan_next(item);
  // The end of the execution makes the tenant due; without shared memory the scheduler must look
  // again.
  if (item.waits) item.due = shared_memory_available() ? DT_NOEND : now + USECS_PER_SEC;
  if (outcome.changed) item.due = now + changed_sleep;
  return outcome.written;
}

// Returns how many fires were written; stores the error of a schedule that fails.  What a failure leaves in memory
// goes as well.
int take_care_of(const Tenant &tenant, AgendaItem &item, TimestampTz now, MemoryContext scratch, FireVisit *visit) {
  int written = 0;
  const char *error = nullptr;
  const auto make = [&] { in_scratch(scratch, [&] { written = make_due_fires_of(tenant, item, now); }); };
  if (!visit->carefully)
    make();
  else if (!in_subtransaction(tenant.number, make, &error))
    visit->trouble = psprintf("schedule \"%s\": %s", item.name, error);
  MemoryContextReset(scratch);
  item.failures = error ? item.failures + 1 : 0;
  item.failing = item.failing || error;
  // The fire is tried again until it is later than the grace.
  if (error) item.due = now + std::min(longest_backoff, USECS_PER_SEC << std::min(item.failures - 1, 20));
  return written;
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
  visit->troubled = agenda.incomplete;
  if (!agenda.whole || agenda.stale) visit->next = agenda.waits_for_place ? now + place_sleep : now;
  if (!agenda.whole) {
    visit->troubled = visit->troubled || visit->carefully;
    return;
  }
  MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "insula schedule", ALLOCSET_DEFAULT_SIZES);
  int done = 0;
  const int first = agenda.turn;
  for (int i = 0; i < agenda.count; ++i) {
    const int place = (first + i) % agenda.count;
    AgendaItem &item = agenda.items[place];
    if (item.waits && visit->ended) item.due = now;
    if (item.due <= now) {
      CHECK_FOR_INTERRUPTS();
      if (done >= most_in_turn || (done > 0 && budget_is_spent())) {
        if (agenda.turn == first) agenda.turn = place;
        visit->next = now;
      } else {
        done += 1 + take_care_of(tenant, item, now, scratch, visit);
      }
    }
    visit->next = std::min(visit->next, item.due);
    visit->awaits = visit->awaits || item.waits;
    visit->troubled = visit->troubled || item.failing;
  }
}

}  // namespace insula
