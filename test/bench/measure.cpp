// Clocks and checks; see bench.hpp.
#include "bench.hpp"

#include "support/cluster.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace bench {

bool quick() {
  const std::string value = insula_test::environment("QUICK", "");
  return !value.empty() && value[0] != '0';
}

int rounds() { return 3; }

int cores() { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

void give_up(const std::string& why) { throw NotMeasured(why); }

void tell(const std::string& what) { fmt::print(stderr, "   {}\n", what); }

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double quantile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<std::size_t>(share * static_cast<double>(values.size())))];
}

double lowest(const std::vector<double>& values) { return *std::min_element(values.begin(), values.end()); }
double highest(const std::vector<double>& values) { return *std::max_element(values.begin(), values.end()); }

double wal_position() { return std::stod(Sql().value("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")); }

double commit_seconds() {
  Sql sql;
  sql.value("CREATE TABLE IF NOT EXISTS bare_commit (id bigserial PRIMARY KEY, payload text)");
  std::vector<double> seconds;
  for (int i = 0; i < 300; ++i)
    seconds.push_back(seconds_of([&] { sql.value("INSERT INTO bare_commit (payload) VALUES ('x')"); }));
  return median(seconds);
}

insula::Runner runner_for(const std::string& tenant, int handlers) {
  return insula::Runner::with_schema("", tenant, {.max_concurrent_tasks = handlers});
}

void expect_completed(const std::string& tenant, long executions, long tasks) {
  Sql sql;
  const std::string found = sql.value(fmt::format(
      "SELECT (SELECT count(*) FILTER (WHERE status = 'completed') || '/' || count(*) FROM {0}.workflow_executions) || "
      "' executions, ' || (SELECT count(*) FILTER (WHERE status = 'completed' AND attempt = 1) || '/' || count(*) "
      "FROM {0}.task_executions) || ' tasks'",
      tenant));
  const std::string expected = fmt::format("{0}/{0} executions, {1}/{1} tasks", executions, tasks);
  if (found != expected) give_up(fmt::format("of {} there are {}", expected, found));
}

}  // namespace bench
