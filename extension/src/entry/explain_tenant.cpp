// insula.explain_tenant: a tenant's queue, share, limits, use and failures, in numbers and words.
#include <algorithm>

#include "entry/answer.hpp"
#include "entry/arguments.hpp"
#include "entry/prologue.hpp"
#include "operation/operations.hpp"
#include "shared/clock.hpp"
#include "shared/counters.hpp"
#include "shared/overhead.hpp"
#include "shared/permits.hpp"
#include "shared/shared.hpp"
#include "spi/budget.hpp"
#include "storage/look.hpp"
#include "storage/record.hpp"
#include "storage/work.hpp"
#include "tenant/caller.hpp"

using namespace insula;

INSULA_FUNCTION(insula_explain_tenant);

namespace {

const char *without_memory = "not known: insula is not in shared_preload_libraries";

struct Line {
  const char *question;
  const char *item;
  Field value;
  const char *says;
};

void put_line(ReturnSetInfo *result, const Line &line) {
  put_row(result, {text_field(line.question), text_field(line.item), line.value, text_field(line.says)});
}

Field number(double value) { return datum_field(Float8GetDatum(value)); }
Field number(std::int64_t value) { return number(static_cast<double>(value)); }
Field seconds(std::int64_t microseconds) { return number(static_cast<double>(microseconds) / USECS_PER_SEC); }

// What the tenant's counters have, of all its workflows.
struct Totals {
  std::int64_t tasks[places] = {};
  std::int64_t happened[happenings] = {};
  std::int64_t runs = 0;
  std::int64_t run_time = 0;
  TimestampTz since = DT_NOEND;
  bool any = false;

  void add(const Activity &activity) {
    for (int i = 0; i < places; ++i) tasks[i] += activity.tasks[i];
    for (int i = 0; i < happenings; ++i) happened[i] += activity.happened[i];
    runs += activity.runs;
    run_time += activity.run_time;
    since = std::min(since, activity.since);
    any = true;
  }
};

Totals totals_of(std::int32_t tenant) {
  const TenantCounters counters = read_activity_of(tenant);
  Totals totals;
  for (int i = 0; i < counters.count; ++i) totals.add(counters.items[i]);
  return totals;
}

const char *since_text(const Totals &totals) {
  return totals.any ? psprintf("since %s", timestamptz_to_str(totals.since)) : "since the server's start";
}

const RecentClaims *claims_of(const RecentClaims *claims, int count, std::int32_t tenant) {
  const RecentClaims *found =
      std::find_if(claims, claims + count, [tenant](const RecentClaims &one) { return one.tenant == tenant; });
  return found < claims + count ? found : nullptr;
}

// A tenant's queue.
struct Queue {
  Totals totals;
  std::int64_t held = 0;  // ready tasks of paused workflows
  const char *paused;     // the names of some of these workflows

  std::int64_t ready() const { return totals.tasks[static_cast<int>(Place::ready)]; }
};

Queue read_queue(const Tenant &tenant) {
  int count;
  Activity *activities = count_queue(tenant, GetLatestSnapshot(), &count);
  std::sort(activities, activities + count,
            [](const Activity &a, const Activity &b) { return a.what.definition < b.what.definition; });
  auto *definitions = palloc_array_of<std::int64_t>(static_cast<std::size_t>(count) + 1);
  Queue queue;
  for (int i = 0; i < count; ++i) {
    queue.totals.add(activities[i]);
    definitions[i] = activities[i].what.definition;
  }
  int versions;
  const PausedWorkflow *paused = paused_workflows(tenant, definitions, count, &versions);
  StringInfoData names;
  initStringInfo(&names);
  constexpr int most = 5;
  int named = 0;
  const char *last = "";
  for (int i = 0; i < versions; ++i) {
    // Only versions of the queue's definitions were asked for.
    const auto at = std::lower_bound(definitions, definitions + count, paused[i].definition) - definitions;
    const std::int64_t ready = activities[at].tasks[static_cast<int>(Place::ready)];
    queue.held += ready;
    if (ready == 0 || strcmp(paused[i].name, last) == 0) continue;
    last = paused[i].name;
    if (++named <= most) appendStringInfo(&names, "%s%s", named > 1 ? ", " : "", last);
  }
  if (named > most) appendStringInfo(&names, " and %d more", named - most);
  queue.paused = names.data;
  return queue;
}

const char *what_is_ready(const Tenant &tenant, const Queue &queue) {
  if (tenant.suspended) return "tasks that a worker could claim if the tenant were not suspended";
  if (queue.held == 0) return "tasks that a worker can claim";
  return psprintf("tasks that a worker can claim, but for %lld of paused workflows",
                  static_cast<long long>(queue.held));
}

void put_waiting(ReturnSetInfo *result, const Tenant &tenant, const Queue &queue, const RecentClaims *claims) {
  const struct {
    Place place;
    const char *item;
    const char *says;
  } items[] = {{Place::ready, "ready", what_is_ready(tenant, queue)},
               {Place::delayed, "delayed", "tasks that start or run again later"},
               {Place::running, "running", "tasks that run"},
               {Place::waiting, "waiting", "tasks that wait for a time or an event"},
               {Place::paused, "paused", "tasks of paused executions"}};
  for (const auto &item : items) {
    const std::int64_t tasks = queue.totals.tasks[static_cast<int>(item.place)];
    const char *says = item.says;
    if (item.place == Place::ready && tasks > 0) {
      begin_budget();  // the count may have spent it
      const TimestampTz oldest = oldest_ready(tenant);
      if (oldest != DT_NOEND) says = psprintf("%s, the oldest since %s", says, timestamptz_to_str(oldest));
    }
    put_line(result, {"waiting", item.item, number(tasks), says});
  }
  const struct {
    const char *item;
    double part;
  } parts[] = {{"wait p50", 0.5}, {"wait p99", 0.99}};
  for (const auto &part : parts) {
    const std::int64_t bound = claims ? wait_bound(claims->waits, part.part) : -1;
    const char *nothing = shared_memory_available() ? "no task was claimed in the last minutes" : without_memory;
    put_line(result, {"waiting", part.item, bound < 0 ? null_field() : seconds(bound),
                      bound < 0 ? nothing : "seconds at most that tasks claimed in the last minutes were ready"});
  }
}

// What others do is no tenant's affair: only an administrator is told the tenant's part of all claims.
void put_share(ReturnSetInfo *result, const Tenant &tenant, const RecentClaims *claims, bool tells_of_others) {
  put_line(result, {"share", "weight", number(std::int64_t{tenant.limits.weight}), "of the workers that serve all"});
  const bool known = shared_memory_available();
  put_line(result, {"share", "claimed", known ? number(claims ? claims->count() : std::int64_t{0}) : null_field(),
                    known ? "tasks claimed in the last minutes" : without_memory});
  if (!known || !tells_of_others) return;
  int count;
  const RecentClaims *all = recent_claims(&count);
  int tenant_count;
  const TenantShare *tenants = all_tenants(&tenant_count);
  std::int64_t claimed = 0;
  std::int64_t weights = 0;
  for (int i = 0; i < count; ++i) claimed += all[i].count();
  for (int i = 0; i < tenant_count; ++i)
    if (claims_of(all, count, tenants[i].number)) weights += tenants[i].weight;
  const RecentClaims *mine = claims_of(all, count, tenant.number);  // at the same moment
  if (!mine) return;
  put_line(result,
           {"share", "share of claims", number(static_cast<double>(mine->count()) / static_cast<double>(claimed)),
            psprintf("of %lld tasks claimed of all tenants in the last minutes", static_cast<long long>(claimed))});
  put_line(
      result,
      {"share", "share of weights", number(static_cast<double>(tenant.limits.weight) / static_cast<double>(weights)),
       "of the tenants that tasks were claimed of; one that has less to do than its share leaves it to others"});
}

// Seconds that are left, 0 where it has been put off in the last minutes.
void put_put_off(ReturnSetInfo *result, const Tenant &tenant) {
  const PutOff put_off = put_off_lately(tenant.number);
  const TimestampTz now = clock_now();
  const struct {
    Spender spender;
    const char *item;
    const char *what;
    const char *spends;
  } items[] = {{Spender::scheduler, "put off by schedulers", "what time makes due", "schedulers spend"},
               {Spender::call, "put off by calls for all tenants", "what workers of all tenants could claim",
                "calls for several tenants spend"}};
  for (const auto &item : items) {
    const TimestampTz until = put_off.until[static_cast<int>(item.spender)];
    if (until == DT_NOBEGIN) continue;
    put_line(result, {"held back", item.item, seconds(std::max<std::int64_t>(until - now, 0)),
                      psprintf("seconds: %s %s until %s, since %s more than %g of a core on the tenant", item.what,
                               until > now ? "is put off" : "was put off", timestamptz_to_str(until), item.spends,
                               max_overhead())});
  }
}

void put_pauses(ReturnSetInfo *result, const Tenant &tenant, const Queue &queue) {
  if (tenant.suspended)
    put_line(result,
             {"held back", "suspension", number(queue.ready()), "ready tasks that wait for insula.resume_tenant()"});
  if (queue.held > 0)
    put_line(result, {"held back", "paused workflows", number(queue.held),
                      psprintf("ready tasks that wait for insula.resume_workflow(): of %s", queue.paused)});
}

void put_limits(ReturnSetInfo *result, const Tenant &tenant) {
  const struct {
    Limited what;
    const char *item;
    bool is_set;
  } limits[] = {{Limited::running, "max_running", tenant.limits.max_running >= 0},
                {Limited::starts, "rate_per_second", tenant.limits.rate > 0},
                {Limited::workflows, "limits of workflows", true}};
  for (const auto &limit : limits) {
    const std::int64_t held = held_back_time(limited_work(tenant, limit.what));
    if (!limit.is_set && held == 0) continue;
    put_line(result, {"held back", limit.item, shared_memory_available() ? seconds(held) : null_field(),
                      shared_memory_available() ? "seconds for which it held ready tasks back" : without_memory});
  }
  if (tenant.limits.max_queued < 0) return;
  put_line(result, {"held back", "max_queued",
                    number(static_cast<double>(queued_at_most(tenant, tenant.limits.max_queued)) /
                           static_cast<double>(std::max<std::int64_t>(tenant.limits.max_queued, 1))),
                    "of the room in the queue is used; submissions beyond it fail"});
}

void put_use(ReturnSetInfo *result, const Tenant &tenant, const Totals &totals) {
  const bool known = shared_memory_available();
  const char *since = known ? since_text(totals) : without_memory;
  const auto value = [&](const Field &field) { return known ? field : null_field(); };
  put_line(result, {"used", "executions", value(number(totals.happened[static_cast<int>(Happened::submitted)])),
                    known ? psprintf("submitted %s", since) : since});
  put_line(result, {"used", "runs of tasks", value(number(totals.runs)), known ? psprintf("ended %s", since) : since});
  put_line(result, {"used", "running time", value(seconds(totals.run_time)),
                    known ? psprintf("seconds that these took") : since});
  put_line(result, {"used", "overhead", value(seconds(overhead_of(tenant.number))),
                    known ? "seconds that schedulers, and calls for several tenants, have spent on it" : since});
}

void put_failures(ReturnSetInfo *result, const Tenant &tenant, const Totals &totals) {
  const struct {
    Happened what;
    const char *item;
    const char *says;
  } items[] = {{Happened::failed, "executions failed", "executions that failed"},
               {Happened::retried, "runs retried", "runs of tasks that failed and are tried again"},
               {Happened::lapsed, "leases lapsed", "runs of tasks that their workers never ended"}};
  for (const auto &item : items) {
    const std::int64_t times = totals.happened[static_cast<int>(item.what)];
    if (times > 0)
      put_line(result, {"failing", item.item, number(times), psprintf("%s, %s", item.says, since_text(totals))});
  }
  int count;
  const FailingTasks *failing = failing_tasks(tenant, &count);
  for (int i = 0; i < count; ++i) {
    VersionRow row = {};
    const bool found = read_version(tenant, failing[i].definition, &row);
    put_line(result, {"failing", found ? row.workflow : "?", number(failing[i].tasks),
                      psprintf("of the newest tasks: %s", failing[i].error)});
  }
}

void explain(ReturnSetInfo *result, const Tenant &tenant, bool tells_of_others) {
  const RecentClaims own = recent_claims_of(tenant.number);
  const RecentClaims *claims = own.count() > 0 ? &own : nullptr;
  const Totals totals = totals_of(tenant.number);
  const Queue queue = read_queue(tenant);
  put_waiting(result, tenant, queue, claims);
  put_share(result, tenant, claims, tells_of_others);
  put_pauses(result, tenant, queue);
  put_limits(result, tenant);
  put_put_off(result, tenant);
  put_use(result, tenant, totals);
  put_failures(result, tenant, totals);
}

}  // namespace

// A look counts the tenant's queue, and takes the lock of the counters for each number: a tenant's session may do so
// once a second.
static void wait_for_turn() {
  static std::int64_t looked_at = PG_INT64_MIN / 2;
  for (;;) {
    const std::int64_t left = looked_at + USECS_PER_SEC - passing_time();
    if (left <= 0) break;
    (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, static_cast<long>(left / 1000 + 1),
                    PG_WAIT_EXTENSION);
    ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
  }
  looked_at = passing_time();
}

Datum insula_explain_tenant(PG_FUNCTION_ARGS) {
  if (!is_admin()) wait_for_turn();
  const Tenant *tenant = open_named_tenant(fcinfo, 0, Access::read);
  ReturnSetInfo *result = begin_rows(fcinfo);
  const bool tells_of_others = is_admin();
  in_session([&] { explain(result, *tenant, tells_of_others); });
  return Datum{0};
}
