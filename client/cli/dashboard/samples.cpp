#include "dashboard/samples.hpp"

#include <algorithm>
#include <string_view>

#include "dashboard/json.hpp"

namespace insula::cli::dashboard {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds period{2000};
constexpr milliseconds interest{600000};  // after the last question
constexpr std::size_t most_samples = 600;
constexpr std::size_t most_series = 16;

// A column of a sample: a column of insula.pg_stat_insula, what it is among insula.metrics() and, where a tenant may
// know it of itself, in insula.explain_tenant().
struct Counter {
  const char *name, *metric, *label, *question, *item;
};
constexpr Counter counters[] = {{"ready", "insula_tasks", "ready", "waiting", "ready"},
                                {"running", "insula_tasks", "running", "waiting", "running"},
                                {"delayed", "insula_tasks", "delayed", "waiting", "delayed"},
                                {"waiting", "insula_tasks", "waiting", "waiting", "waiting"},
                                {"paused", "insula_tasks", "paused", "waiting", "paused"},
                                {"submitted", "insula_executions_submitted_total", nullptr, "used", "executions"},
                                {"started", "insula_attempts_total", nullptr, nullptr, nullptr},
                                {"completed", "insula_executions_ended_total", "completed", nullptr, nullptr},
                                {"failed", "insula_executions_ended_total", "failed", "failing", "executions failed"},
                                {"cancelled", "insula_executions_ended_total", "cancelled", nullptr, nullptr},
                                {"retried", "insula_attempts_lost_total", "retried", "failing", "runs retried"},
                                {"lapsed", "insula_attempts_lost_total", "lapsed", nullptr, nullptr}};

// Begins a query with the time and the columns, each as `expression` writes it; "": without it.
template <typename Expression>
std::string select_counters(Expression expression) {
  std::string sql = "SELECT (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000)::float8 AS at";
  for (const Counter& counter : counters)
    if (const std::string text = expression(counter); !text.empty()) sql += ",\n  " + text + " AS " + counter.name;
  return sql + ",\n";
}

// The first tenants are chosen before the join, which then costs no more however it is made.
// Of the server's memory alone: insula.metrics() reads no tenant's tables, and has those with most to tell by name and
// the others as one.
std::string all_sql() {
  return R"sql(
WITH lines AS MATERIALIZED (
  SELECT pg_catalog.split_part(series, '{', 1) AS name, pg_catalog.substring(series, 'tenant="([^"]*)"') AS tenant,
    pg_catalog.substring(series, '(?:state|outcome|reason|le)="([^"]*)"') AS label, value::float8 AS value
  FROM (
    SELECT pg_catalog.split_part(line, ' ', 1) AS series, pg_catalog.split_part(line, ' ', 2) AS value
    FROM pg_catalog.string_to_table(insula.metrics(50), E'\n') line
    WHERE pg_catalog.starts_with(line, 'insula_')) split),
waits AS (
  SELECT bound, value - lag(value, 1, 0) OVER (ORDER BY bound) AS n
  FROM (SELECT pg_catalog.replace(label, '+Inf', 'Infinity')::float8 AS bound, value FROM lines WHERE name = 'insula_task_wait_seconds_bucket') buckets)
)sql" + select_counters([](const Counter& counter) {
           return std::string("sum(value) FILTER (WHERE name = '") + counter.metric + "'" +
                  (counter.label ? std::string(" AND label = '") + counter.label + "'" : "") + ")";
         }) +
         R"sql(
  (SELECT pg_catalog.to_json(pg_catalog.array_agg(n ORDER BY bound))::text FROM waits) AS waits,
  (SELECT pg_catalog.json_agg(t)::text FROM (
    SELECT l.tenant, l.started, w.weight FROM (
      SELECT tenant, value AS started FROM lines WHERE name = 'insula_attempts_total' ORDER BY value DESC, tenant LIMIT 13) l
    JOIN insula.tenants w USING (tenant) ORDER BY l.started DESC, l.tenant LIMIT 12) t) AS top
FROM lines)sql";
}

// Of one tenant: its counters, by version of a workflow.
std::string one_sql() {
  return "WITH c AS MATERIALIZED (SELECT * FROM insula.read_counters($1))\n" +
         select_counters([](const Counter& counter) { return std::string("sum(") + counter.name + ")::float8"; }) + R"(
  (SELECT pg_catalog.to_json(pg_catalog.array_agg(n ORDER BY i))::text FROM (
    SELECT i, sum(h)::float8 AS n FROM c, pg_catalog.unnest(c.wait_histogram) WITH ORDINALITY w(h, i) GROUP BY i) s) AS waits,
  (SELECT pg_catalog.json_agg(t)::text FROM (
    SELECT c.tenant, sum(c.started)::float8 AS started, max(l.weight) AS weight FROM c JOIN insula.tenants l USING (tenant)
    GROUP BY c.tenant) t) AS top
FROM c
HAVING EXISTS (SELECT FROM insula.tenants WHERE tenant = $1))";
}

// What a tenant may know of itself. What has not failed yet is not listed.
std::string own_sql() {
  return select_counters([](const Counter& counter) {
           return counter.question ? std::string("coalesce(max(value) FILTER (WHERE question = '") + counter.question +
                                         "' AND item = '" + counter.item + "')" +
                                         (counter.question == std::string_view("failing") ? ", 0)" : ")")
                                   : "";
         }) +
         R"(
  max(value) FILTER (WHERE question = 'used' AND item = 'runs of tasks') AS ended,
  1000 * max(value) FILTER (WHERE question = 'waiting' AND item = 'wait p50') AS p50,
  1000 * max(value) FILTER (WHERE question = 'waiting' AND item = 'wait p99') AS p99
FROM insula.explain_tenant())";
}

}  // namespace

// A page that is opened soon shall show what went before.
Samples::Samples(Database& database) : database_(database) {
  series_[""].asked = Clock::now();
  thread_ = std::thread([this] { run(); });
}

Samples::~Samples() {
  {
    const std::scoped_lock lock(mutex_);
    is_stopping_ = true;
  }
  stopping_.notify_all();
  thread_.join();
}

void Samples::take(const std::string& tenant) {
  std::string json;
  std::optional<Refusal> error;
  try {
    auto connection = database_.take();
    const BoundedTable counters = !database_.identity().is_admin ? connection->query(own_sql())
                                  : tenant.empty()               ? connection->query(all_sql())
                                                                 : connection->query(one_sql(), {tenant});
    // One row of a kilobyte or two, which fits into whatever --megabytes may be.
    if (counters.rows.empty()) throw Refusal(404, "missing", "tenant \"" + tenant + "\" does not exist");
    const std::string rows = json_rows(counters);
    json = rows.substr(1, rows.size() - 2);
  } catch (const Refusal& refusal) {
    error = refusal;
  }
  const std::scoped_lock lock(mutex_);
  Series& series = series_[tenant];
  series.is_being_taken = false;
  series.taken = Clock::now();
  series.error = error;
  if (json.empty()) return;
  series.samples.push_back({++series.last_number, json});
  if (series.samples.size() > most_samples) series.samples.pop_front();
}

std::string Samples::after(const std::string& tenant, std::int64_t after) {
  bool takes = false;
  {
    const std::scoped_lock lock(mutex_);
    if (!series_.contains(tenant) && series_.size() >= most_series) {
      const auto oldest = std::min_element(
          series_.begin(), series_.end(), [](const auto& a, const auto& b) { return a.second.asked < b.second.asked; });
      if (!oldest->second.is_being_taken) series_.erase(oldest);
    }
    if (!series_.contains(tenant) && series_.size() >= most_series + 4)
      throw Refusal(503, "busy", "the database is slow: too many charts wait for it");
    Series& series = series_[tenant];
    series.asked = Clock::now();
    takes = !series.is_being_taken && series.asked - series.taken > period + milliseconds{200};
    series.is_being_taken = series.is_being_taken || takes;
  }
  if (takes) take(tenant);
  const std::scoped_lock lock(mutex_);
  const Series& series = series_[tenant];
  if (series.error) throw Refusal(*series.error);
  std::string out = "{\"last\":" + std::to_string(series.last_number) + ",\"samples\":[";
  bool first = true;
  // A page that knows more than there is has seen another process: it gets all.
  if (after > series.last_number) after = 0;
  for (const Sample& sample : series.samples) {
    if (sample.number <= after) continue;
    out += (first ? "" : ",\n") + sample.json;
    first = false;
  }
  return out + "]}";
}

void Samples::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_.wait_for(lock, period, [this] { return is_stopping_; })) {
    std::vector<std::string> wanted;
    for (auto& [tenant, series] : series_) {
      if (series.is_being_taken || Clock::now() - series.asked > interest) continue;
      if (Clock::now() - series.taken < period / 2) continue;
      series.is_being_taken = true;
      wanted.push_back(tenant);
    }
    lock.unlock();
    for (const std::string& tenant : wanted) take(tenant);
    lock.lock();
  }
}

}  // namespace insula::cli::dashboard
