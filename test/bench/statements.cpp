// P9: statements that the server sees for each task, while jobs come in by the hundred and a
// worker runs a hundred at a time.  The server itself counts, by writing each statement that
// it receives to its log: submissions, claims, completions, calls that wait.
#include "bench.hpp"
#include "queue.hpp"
#include "support/cluster.hpp"

#include <fmt/format.h>

#include <fstream>

namespace bench {

namespace {

constexpr int batch = 100;

void log_statements(bool all) {
  Sql sql;
  sql.value("ALTER SYSTEM SET log_parameter_max_length = 0");
  sql.value(all ? "ALTER SYSTEM SET log_statement = 'all'" : "ALTER SYSTEM RESET log_statement");
  sql.value("SELECT pg_reload_conf()");
  while (sql.value("SHOW log_statement") != (all ? "all" : "none")) continue;
}

long statements_logged(std::streamoff from) {
  std::ifstream log(insula_test::environment("INSULA_SERVER_LOG"));
  log.seekg(from);
  long count = 0;
  for (std::string line; std::getline(log, line);)
    if (line.find("LOG:  statement: ") != std::string::npos || line.find("LOG:  execute ") != std::string::npos)
      ++count;
  return count;
}

std::streamoff log_size() {
  std::ifstream log(insula_test::environment("INSULA_SERVER_LOG"), std::ios::ate);
  return log.tellg();
}

double statements_a_task(const std::string& tenant) {
  const int jobs = quick() ? 10000 : 40000;
  const int ahead = 10 * batch;
  Sql sql;
  sql.value(fmt::format("SELECT insula.create_tenant('{0}', schema_name => '{0}', login => false)", tenant));
  register_job(tenant);
  sql.prepare("submit", submit_statement(tenant));
  int submitted = 0;
  const auto submit = [&] {
    sql.execute("submit", {jobs_array(submitted, batch).c_str()});
    submitted += batch;
  };
  Workers workers({worker_command({"insula", tenant, std::to_string(batch)})});
  workers.go();
  while (submitted < ahead) submit();
  workers.listen(submitted - ahead / 2);
  log_statements(true);
  const auto from = log_size();
  const long before = workers.handled();
  while (submitted < jobs) {
    submit();
    workers.listen(submitted - ahead);
  }
  const long tasks = workers.handled() - before;
  const long statements = statements_logged(from);
  log_statements(false);
  workers.listen(jobs);
  workers.stop();
  expect_completed(tenant, jobs, jobs);
  tell(fmt::format("{} statements for {} tasks", statements, tasks));
  return static_cast<double>(statements) / static_cast<double>(tasks);
}

}  // namespace

std::vector<Figure> statements_per_task() {
  std::vector<double> counts;
  for (int i = 0; i < rounds(); ++i) counts.push_back(statements_a_task(fmt::format("bench_p9_{}", i)));
  return {{"P9", "statements, batches of 100", median(counts), "a task", median(counts), 0.05, true,
           "statements a task", lowest(counts), highest(counts)}};
}

}  // namespace bench
