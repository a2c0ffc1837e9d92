#include "dashboard/samples.hpp"

#include <algorithm>

#include "dashboard/json.hpp"

namespace insula::cli::dashboard {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds period{2000};
constexpr milliseconds interest{600000};  // after the last question
constexpr std::size_t most_samples = 600;
constexpr std::size_t most_series = 16;

// Of the server's memory alone, whatever the number of rows behind it.
constexpr const char* counters_sql = R"(
WITH c AS MATERIALIZED (SELECT * FROM insula.pg_stat_insula WHERE $1::text IS NULL OR tenant = $1)
SELECT (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000)::float8 AS at, count(*)::integer AS series,
  sum(ready)::float8 AS ready, sum(running)::float8 AS running, sum(delayed)::float8 AS delayed, sum(waiting)::float8 AS waiting,
  sum(paused)::float8 AS paused, sum(submitted)::float8 AS submitted, sum(started)::float8 AS started,
  sum(completed)::float8 AS completed, sum(failed)::float8 AS failed, sum(cancelled)::float8 AS cancelled,
  sum(retried)::float8 AS retried, sum(lapsed)::float8 AS lapsed,
  (SELECT pg_catalog.to_json(pg_catalog.array_agg(n ORDER BY i))::text FROM (
    SELECT i, sum(h)::float8 AS n FROM c, pg_catalog.unnest(c.wait_histogram) WITH ORDINALITY w(h, i) GROUP BY i) s) AS waits,
  (SELECT pg_catalog.json_agg(t)::text FROM (
    SELECT c.tenant, sum(c.started)::float8 AS started, max(l.weight) AS weight FROM c JOIN insula.tenants l USING (tenant)
    GROUP BY c.tenant ORDER BY sum(c.started) DESC, c.tenant LIMIT 12) t) AS top
FROM c)";

// What a tenant may know of itself.
constexpr const char* own_sql = R"(
SELECT (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000)::float8 AS at,
  max(value) FILTER (WHERE question = 'waiting' AND item = 'ready') AS ready,
  max(value) FILTER (WHERE question = 'waiting' AND item = 'running') AS running,
  max(value) FILTER (WHERE question = 'waiting' AND item = 'delayed') AS delayed,
  max(value) FILTER (WHERE question = 'waiting' AND item = 'waiting') AS waiting,
  max(value) FILTER (WHERE question = 'waiting' AND item = 'paused') AS paused,
  max(value) FILTER (WHERE question = 'used' AND item = 'executions') AS submitted,
  max(value) FILTER (WHERE question = 'used' AND item = 'runs of tasks') AS ended,
  coalesce(max(value) FILTER (WHERE question = 'failing' AND item = 'executions failed'), 0) AS failed,
  coalesce(max(value) FILTER (WHERE question = 'failing' AND item = 'runs retried'), 0) AS retried,
  1000 * max(value) FILTER (WHERE question = 'waiting' AND item = 'wait p50') AS p50,
  1000 * max(value) FILTER (WHERE question = 'waiting' AND item = 'wait p99') AS p99
FROM insula.explain_tenant())";

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
  std::string error;
  try {
    auto connection = database_.take();
    const std::string rows = json_rows(database_.identity().is_admin
                                           ? connection->query(counters_sql, {tenant.empty() ? Cell{} : Cell{tenant}})
                                           : connection->query(own_sql));
    json = rows.substr(1, rows.size() - 2);
  } catch (const Refusal& refusal) {
    error = refusal.what();
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
  if (!series.error.empty()) throw Refusal(503, "timeout", series.error);
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
