// The loops; see loop.hpp.
#include "loop.hpp"

#include "report.hpp"

#include <postgresql/libpq-fe.h>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <thread>

namespace bench {

namespace {

using Connection = std::unique_ptr<PGconn, decltype(&PQfinish)>;
using Rows = std::unique_ptr<PGresult, decltype(&PQclear)>;

std::string name_of(std::size_t statement) { return "s" + std::to_string(statement); }

Rows checked(PGconn* conn, PGresult* result) {
  Rows rows{result, PQclear};
  const auto status = PQresultStatus(rows.get());
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) throw std::runtime_error(PQerrorMessage(conn));
  return rows;
}

Connection connect(const std::string& database, const std::vector<std::string>& statements) {
  Connection conn{PQconnectdb(("dbname=" + database).c_str()), PQfinish};
  if (PQstatus(conn.get()) != CONNECTION_OK) throw std::runtime_error(PQerrorMessage(conn.get()));
  for (std::size_t i = 0; i < statements.size(); ++i)
    (void)checked(conn.get(), PQprepare(conn.get(), name_of(i).c_str(), statements[i].c_str(), 0, nullptr));
  return conn;
}

Rows execute(PGconn* conn, std::size_t statement, const char* handle) {
  return checked(conn, PQexecPrepared(conn, name_of(statement).c_str(), handle ? 1 : 0, handle ? &handle : nullptr,
                                      nullptr, nullptr, 0));
}

// How many jobs were done.
long turn(PGconn* conn, std::size_t statements) {
  const Rows taken = execute(conn, 0, nullptr);
  if (PQntuples(taken.get()) == 0 || PQgetisnull(taken.get(), 0, 0)) return 0;
  const char* handle = PQgetvalue(taken.get(), 0, 0);
  long jobs = std::stol(PQgetvalue(taken.get(), 0, 1));
  if (statements == 3) jobs = PQntuples(execute(conn, 1, handle).get());
  if (statements > 1) (void)execute(conn, statements - 1, handle);
  return jobs;
}

}  // namespace

void run_loops(const std::string& database, int connections, const std::vector<std::string>& statements) {
  std::vector<Connection> conns;
  for (int i = 0; i < connections; ++i) conns.push_back(connect(database, statements));
  Report report;
  report.await_go();
  std::vector<std::jthread> threads;
  for (const Connection& conn : conns)
    threads.emplace_back([&] {
      while (!report.ended()) {
        const long jobs = turn(conn.get(), statements.size());
        report.count(jobs);
        if (jobs == 0) std::this_thread::sleep_for(std::chrono::milliseconds{1});
      }
    });
  report.await_end();
}

}  // namespace bench
