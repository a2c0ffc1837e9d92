// SQL entry points that show what shared memory knows: workers, and the counters of this database as Prometheus text
// (https://prometheus.io/docs/instrumenting/exposition_formats/).  Names and units follow its conventions; a label's
// values are bounded by the caller.
#include <algorithm>

#include "entry/answer.hpp"
#include "entry/arguments.hpp"
#include "shared/counters.hpp"
#include "shared/due_queue.hpp"
#include "shared/ready_tenants.hpp"
#include "shared/shared.hpp"
#include "tenant/caller.hpp"

using namespace insula;

INSULA_FUNCTION(insula_read_workers);
INSULA_FUNCTION(insula_metrics);

namespace {

constexpr int most_series = 10000;

// What one tenant, or all that have no series of their own, have counted.
struct Sums {
  const char *tenant;  // "": all others
  bool known;          // the numbers of tasks are
  std::int64_t tasks[places];
  std::int64_t suspended;  // tasks that would be ready but for the suspension of their tenant
  std::int64_t happened[happenings];
  std::int64_t waits[wait_classes];

  std::int64_t weight() const {
    std::int64_t all = suspended;
    for (std::int64_t count : tasks) all += count;
    for (std::int64_t count : happened) all += count;
    return all;
  }
};

void add(Sums *sums, const Sums &other) {
  for (int i = 0; i < places; ++i) sums->tasks[i] += other.tasks[i];
  sums->suspended += other.suspended;
  for (int i = 0; i < happenings; ++i) sums->happened[i] += other.happened[i];
  for (int i = 0; i < wait_classes; ++i) sums->waits[i] += other.waits[i];
}

Sums sums_of(const TenantCounters &counters) {
  Sums sums = {};
  for (int i = 0; i < counters.count; ++i) {
    Sums one = {};
    std::copy(counters.items[i].tasks, counters.items[i].tasks + places, one.tasks);
    std::copy(counters.items[i].happened, counters.items[i].happened + happenings, one.happened);
    std::copy(counters.items[i].waits, counters.items[i].waits + wait_classes, one.waits);
    add(&sums, one);
  }
  return sums;
}

// The tenants with most to tell, by name, and behind them the others as one.
Sums *sums_by_tenant(int most, int *count) {
  const ActivityReport report = read_activity();
  auto *sums = palloc_array_of<Sums>(static_cast<std::size_t>(report.count) + 1);
  int all = 0;
  for (int i = 0; i < report.count;) {
    const std::int32_t number = report.items[i].what.tenant;
    const TenantCounters counters = report.of(number);
    i += counters.count;
    const Tenant *tenant = find_tenant(number);
    if (!tenant) continue;
    sums[all] = sums_of(counters);
    if (tenant->suspended) std::swap(sums[all].suspended, sums[all].tasks[static_cast<int>(Place::ready)]);
    sums[all].tenant = pstrdup(tenant->name);
    sums[all++].known = report.knows(number);
  }
  std::sort(sums, sums + all, [](const Sums &a, const Sums &b) { return a.weight() > b.weight(); });
  *count = std::min(most, all);
  Sums others = {};
  others.tenant = "";
  others.known = true;
  for (int i = *count; i < all; ++i) add(&others, sums[i]);
  std::sort(sums, sums + *count, [](const Sums &a, const Sums &b) { return strcmp(a.tenant, b.tenant) < 0; });
  if (all > *count) sums[(*count)++] = others;
  return sums;
}

void begin_metric(StringInfo text, const char *name, const char *type, const char *help) {
  appendStringInfo(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void put_gauge(StringInfo text, const char *name, const char *help, std::int64_t value) {
  begin_metric(text, name, "gauge", help);
  appendStringInfo(text, "%s " INT64_FORMAT "\n", name, value);
}

// Names of tenants hold nothing that a label's value must escape.
void put_tasks(StringInfo text, const Sums *sums, int count) {
  constexpr const char *states[places] = {"ready", "delayed", "running", "waiting", "paused"};
  begin_metric(text, "insula_tasks", "gauge", "Tasks by their place in the queue.");
  const auto put = [text](const Sums &of, const char *state, std::int64_t tasks) {
    appendStringInfo(text, "insula_tasks{tenant=\"%s\",state=\"%s\"} " INT64_FORMAT "\n", of.tenant, state, tasks);
  };
  for (int i = 0; i < count; ++i) {
    if (!sums[i].known) continue;
    for (int place = 0; place < places; ++place) put(sums[i], states[place], sums[i].tasks[place]);
    if (sums[i].suspended > 0) put(sums[i], "suspended", sums[i].suspended);
  }
}

struct EventMetric {
  const char *name;
  const char *help;
  const char *label;  // of what the events differ in
  Happened first;
  int count;
  const char *values[4];
};
constexpr EventMetric event_metrics[] = {
    {"insula_executions_submitted_total", "Executions submitted.", nullptr, Happened::submitted, 1, {}},
    {"insula_executions_ended_total",
     "Executions that have ended, by their outcome.",
     "outcome",
     Happened::completed,
     3,
     {"completed", "failed", "cancelled"}},
    {"insula_attempts_total", "Runs of tasks that were started.", nullptr, Happened::started, 1, {}},
    {"insula_attempts_lost_total",
     "Runs of tasks that were retried, or whose lease ended.",
     "reason",
     Happened::retried,
     2,
     {"retried", "lapsed"}},
};

void put_events(StringInfo text, const EventMetric &metric, const Sums *sums, int count) {
  begin_metric(text, metric.name, "counter", metric.help);
  for (int i = 0; i < count; ++i) {
    for (int which = 0; which < metric.count; ++which) {
      appendStringInfo(text, "%s{tenant=\"%s\"", metric.name, sums[i].tenant);
      if (metric.label) appendStringInfo(text, ",%s=\"%s\"", metric.label, metric.values[which]);
      appendStringInfo(text, "} " INT64_FORMAT "\n", sums[i].happened[static_cast<int>(metric.first) + which]);
    }
  }
}

// Of all tenants together: twenty series each would be too many.  The counters hold no sum, so that there is none.
void put_waits(StringInfo text, const Sums *sums, int count) {
  Sums all = {};
  for (int i = 0; i < count; ++i) add(&all, sums[i]);
  begin_metric(text, "insula_task_wait_seconds", "histogram", "How long tasks had been ready when they were claimed.");
  std::int64_t below = 0;
  double bound = 0.001;
  for (int i = 0; i < wait_classes - 1; ++i, bound *= 2) {
    below += all.waits[i];
    appendStringInfo(text, "insula_task_wait_seconds_bucket{le=\"%g\"} " INT64_FORMAT "\n", bound, below);
  }
  below += all.waits[wait_classes - 1];
  appendStringInfo(text,
                   "insula_task_wait_seconds_bucket{le=\"+Inf\"} " INT64_FORMAT
                   "\ninsula_task_wait_seconds_count " INT64_FORMAT "\n",
                   below, below);
}

void put_server(StringInfo text) {
  int tenants;
  (void)all_tenants(&tenants);
  put_gauge(text, "insula_tenants", "Tenants of this database.", tenants);
  put_gauge(text, "insula_shared_memory", "1: Insula is in shared_preload_libraries, and all metrics are here.",
            shared_memory_available() ? 1 : 0);
  if (!shared_memory_available()) return;
  put_gauge(text, "insula_waiting_sessions", "Sessions of the server that wait for work or an execution.",
            waiting_sessions());
  put_gauge(text, "insula_workers", "Workers that the server knows.", known_workers());
  put_gauge(text, "insula_watched_executions", "Executions of the server whose end a worker waits for.",
            watched_executions());
  put_gauge(text, "insula_ready_tenants", "Tenants of this database that may have claimable tasks.",
            tenants_in_ready_sets());
  put_gauge(text, "insula_due_tenants", "Tenants of the server with something that the clock will do.", due_tenants());
}

}  // namespace

Datum insula_read_workers(PG_FUNCTION_ARGS) {
  require_admin();
  ReturnSetInfo *rows = begin_rows(fcinfo);
  int count;
  const KnownWorker *workers = list_workers(&count);
  for (int i = 0; i < count; ++i) {
    const KnownWorker &worker = workers[i];
    const Tenant *tenant = worker.tenant ? find_tenant(worker.tenant) : nullptr;
    put_row(rows, {text_field(worker.name), datum_field(ObjectIdGetDatum(worker.role)),
                   text_field(tenant ? tenant->name : nullptr), worker.pid ? int32_field(worker.pid) : null_field(),
                   bool_field(worker.parked), time_field(worker.died_at, 0)});
  }
  return Datum{0};
}

Datum insula_metrics(PG_FUNCTION_ARGS) {
  require_admin();
  const int most = required_int32(fcinfo, 0, "max_tenants");
  if (most < 0 || most > most_series)
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("max_tenants must be between 0 and %d", most_series)));
  StringInfoData text;
  initStringInfo(&text);
  put_server(&text);
  if (!shared_memory_available()) PG_RETURN_TEXT_P(cstring_to_text_with_len(text.data, text.len));
  int count;
  const Sums *sums = sums_by_tenant(most, &count);
  put_tasks(&text, sums, count);
  for (const EventMetric &metric : event_metrics) put_events(&text, metric, sums, count);
  put_waits(&text, sums, count);
  PG_RETURN_TEXT_P(cstring_to_text_with_len(text.data, text.len));
}
