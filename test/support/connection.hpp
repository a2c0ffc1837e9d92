// A libpq connection for the tests and the bench, which know the server by SQL alone.  A
// statement is asked and its result looked at (`ask`), or must succeed (all others: they throw
// SqlError).  A connection that could not be made behaves as one that is lost: its first
// statement fails with the reason.
#pragma once

#include <libpq-fe.h>

#include <functional>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace insula_test {

using Rows = std::vector<std::vector<std::string>>;  // text; NULL is empty
using Parameters = std::vector<std::string>;         // $1, $2, ...

struct Clear {
  void operator()(PGresult* result) const { PQclear(result); }
};
using PgResult = std::unique_ptr<PGresult, Clear>;

struct SqlError : std::runtime_error {
  SqlError(std::string state, const std::string& message) : runtime_error(message), sqlstate(std::move(state)) {}
  std::string sqlstate;  // empty if the error is libpq's own
};

bool succeeded(const PgResult& result);
std::string sqlstate(const PgResult& result);     // empty if the server sent no error
std::string first_value(const PgResult& result);  // of the first row; empty if there is no row
Rows rows_of(const PgResult& result);

// Throws unless the result is a success.
PgResult checked(PGconn* conn, PGresult* result);
// Statements over a connection that belongs to others.
PgResult run(PGconn* conn, const std::string& statements);

class Connection {
 public:
  explicit Connection(const std::string& conninfo = "");
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  operator PGconn*() const { return conn_; }

  // One or more statements, as a success or a failure.
  PgResult ask(const std::string& statements) const;

  std::string value(const std::string& statements) const { return first_value(run(conn_, statements)); }
  Rows rows(const std::string& statement, const Parameters& parameters) const;

  void prepare(const std::string& name, const std::string& statement) const;
  // The parameters are not copied; nullptr is NULL.
  PgResult execute(const std::string& name, std::initializer_list<const char*> parameters) const;

  bool connected() const { return PQstatus(conn_) == CONNECTION_OK; }
  bool lost() const;  // looks also at news from the server that no statement has read yet
  int pid() const { return PQbackendPID(conn_); }

  void on_notice(std::function<void(const std::string&)> receiver);

 private:
  PGconn* conn_;
  std::function<void(const std::string&)> notice_;
};

}  // namespace insula_test
