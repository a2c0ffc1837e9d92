// The loops; see loop.hpp.
#include "loop.hpp"

#include "report.hpp"
#include "support/connection.hpp"

#include <chrono>
#include <list>
#include <thread>

namespace bench {

namespace {

using insula_test::Connection;
using insula_test::PgResult;

std::string name_of(std::size_t statement) { return "s" + std::to_string(statement); }

// How many jobs were done.
long turn(const Connection& conn, std::size_t statements) {
  const PgResult taken = conn.execute(name_of(0), {});
  if (PQntuples(taken.get()) == 0 || PQgetisnull(taken.get(), 0, 0)) return 0;
  const char* handle = PQgetvalue(taken.get(), 0, 0);
  long jobs = std::stol(PQgetvalue(taken.get(), 0, 1));
  if (statements == 3) jobs = PQntuples(conn.execute(name_of(1), {handle}).get());
  if (statements > 1) (void)conn.execute(name_of(statements - 1), {handle});
  return jobs;
}

}  // namespace

void run_loops(const std::string& database, int connections, const std::vector<std::string>& statements) {
  std::list<Connection> conns;
  for (int i = 0; i < connections; ++i) {
    conns.emplace_back("dbname=" + database);
    for (std::size_t s = 0; s < statements.size(); ++s) conns.back().prepare(name_of(s), statements[s]);
  }
  Report report;
  report.await_go();
  std::vector<std::jthread> threads;
  for (const Connection& conn : conns)
    threads.emplace_back([&] {
      while (!report.ended()) {
        const long jobs = turn(conn, statements.size());
        report.count(jobs);
        if (jobs == 0) std::this_thread::sleep_for(std::chrono::milliseconds{1});
      }
    });
  report.await_end();
}

}  // namespace bench
