// Sessions, clocks and checks; see bench.hpp.
#include "bench.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>

namespace bench {

bool quick() {
  const char* value = std::getenv("QUICK");
  return value && *value && *value != '0';
}

int rounds() { return 3; }

int cores() { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

void give_up(const std::string& why) {
  fmt::print(stderr, "bench: {}\n", why);
  std::exit(2);
}

Sql::Sql() : conn_(PQconnectdb("application_name=bench")) {
  if (PQstatus(conn_) != CONNECTION_OK) give_up(PQerrorMessage(conn_));
  value("SET client_min_messages = warning");
}

Sql::~Sql() { PQfinish(conn_); }

std::string Sql::value(const std::string& statement) {
  PGresult* result = PQexec(conn_, statement.c_str());
  const auto status = PQresultStatus(result);
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) give_up(PQresultErrorMessage(result));
  std::string first = PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "";
  PQclear(result);
  return first;
}

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double lowest(const std::vector<double>& values) { return *std::min_element(values.begin(), values.end()); }
double highest(const std::vector<double>& values) { return *std::max_element(values.begin(), values.end()); }

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
