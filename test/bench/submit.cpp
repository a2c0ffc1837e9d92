// P1: bulk submit.  One client, a thousand jobs a call, each call a durable transaction;
// beside it the same rows into a table that has nothing but a primary key, by INSERT … SELECT
// unnest and by COPY.
#include "bench.hpp"
#include "queue.hpp"

#include <fmt/format.h>

namespace bench {

namespace {

int calls() { return quick() ? 40 : 200; }

struct Batch {
  std::string ids;   // an array
  std::string jobs;  // an array
  std::string rows;  // as COPY reads them
};

// Made beforehand, outside of the measured time.
std::vector<Batch> make_batches() {
  std::vector<Batch> batches;
  for (long n = 0; n < long{calls()} * jobs_a_call; n += jobs_a_call) {
    Batch batch = {"{", jobs_array(n, jobs_a_call), ""};
    for (long id = n; id < n + jobs_a_call; ++id) {
      batch.ids += fmt::format("{}{}", id > n ? "," : "", id);
      batch.rows += fmt::format("{}\t{}\n", id, job(id));
    }
    batch.ids += "}";
    batches.push_back(std::move(batch));
  }
  return batches;
}

double rate(double seconds) { return calls() * static_cast<double>(jobs_a_call) / seconds; }

double submit_rate(const std::vector<Batch>& batches, int round) {
  const std::string tenant = fmt::format("bench_p1_{}", round);
  Sql sql;
  sql.value(fmt::format("SELECT insula.create_tenant('{0}', schema_name => '{0}', login => false)", tenant));
  register_job(tenant);
  sql.prepare("submit", submit_statement(tenant));
  sql.value("CHECKPOINT");
  const double seconds = seconds_of([&] {
    for (const Batch& batch : batches) sql.execute("submit", {batch.jobs.c_str()});
  });
  const std::string found = sql.value(fmt::format(
      "SELECT count(*) FROM {}.workflow_executions WHERE status = 'pending' AND length(context::text) = 200", tenant));
  if (std::stol(found) != long{calls()} * jobs_a_call) give_up(fmt::format("{} jobs were submitted", found));
  sql.value(fmt::format("SELECT insula.drop_tenant('{}')", tenant));
  return rate(seconds);
}

void copy(PGconn* conn, const std::string& rows) {
  PQclear(PQexec(conn, "COPY bare_job FROM STDIN"));
  if (PQputCopyData(conn, rows.data(), static_cast<int>(rows.size())) != 1 || PQputCopyEnd(conn, nullptr) != 1)
    give_up(PQerrorMessage(conn));
  while (PGresult* result = PQgetResult(conn)) (void)insula_test::checked(conn, result);
}

double bare_rate(const std::vector<Batch>& batches, bool by_copy) {
  Sql sql;
  sql.value("DROP TABLE IF EXISTS bare_job");
  sql.value("CREATE TABLE bare_job (id bigint PRIMARY KEY, payload jsonb NOT NULL)");
  if (!by_copy) sql.prepare("insert", "INSERT INTO bare_job SELECT unnest($1::bigint[]), unnest($2::jsonb[])");
  sql.value("CHECKPOINT");
  const double seconds = seconds_of([&] {
    for (const Batch& batch : batches)
      if (by_copy)
        copy(sql, batch.rows);
      else
        sql.execute("insert", {batch.ids.c_str(), batch.jobs.c_str()});
  });
  sql.value("DROP TABLE bare_job");
  return rate(seconds);
}

}  // namespace

std::vector<Figure> bulk_submit() {
  const auto batches = make_batches();
  std::vector<double> submits, inserts, copies;
  for (int i = 0; i < rounds(); ++i) {
    submits.push_back(submit_rate(batches, i));
    inserts.push_back(bare_rate(batches, false));
    copies.push_back(bare_rate(batches, true));
    tell(fmt::format("submit_many {:.0f}, INSERT {:.0f}, COPY {:.0f} jobs/s", submits.back(), inserts.back(),
                     copies.back()));
  }
  return {{"P1",
           "bulk submit, 1,000 a call",
           median(submits),
           "jobs/s",
           median(submits) / median(inserts),
           1.2,
           false,
           fmt::format("INSERT of the same rows into a bare table, {:.0f} jobs/s", median(inserts)),
           lowest(submits),
           highest(submits),
           {{"INSERT … SELECT unnest", median(inserts), lowest(inserts), highest(inserts)},
            {"COPY", median(copies), lowest(copies), highest(copies)}}}};
}

}  // namespace bench
