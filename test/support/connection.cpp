// Connections and results; see connection.hpp.
#include "support/connection.hpp"

#include <poll.h>

#include <utility>

namespace insula_test {

bool succeeded(const PgResult& result) {
  const auto status = PQresultStatus(result.get());
  return status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
}

std::string sqlstate(const PgResult& result) {
  const char* state = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
  return state ? state : "";
}

std::string first_value(const PgResult& result) {
  if (PQntuples(result.get()) == 0 || PQnfields(result.get()) == 0) return {};
  return PQgetvalue(result.get(), 0, 0);
}

Rows rows_of(const PgResult& result) {
  Rows rows;
  for (int r = 0; r < PQntuples(result.get()); ++r) {
    auto& row = rows.emplace_back();
    for (int c = 0; c < PQnfields(result.get()); ++c) row.emplace_back(PQgetvalue(result.get(), r, c));
  }
  return rows;
}

PgResult checked(PGconn* conn, PGresult* raw) {
  PgResult result{raw};
  if (!succeeded(result)) throw SqlError(sqlstate(result), PQerrorMessage(conn));
  return result;
}

PgResult run(PGconn* conn, const std::string& statements) { return checked(conn, PQexec(conn, statements.c_str())); }

Connection::Connection(const std::string& conninfo) : conn_(PQconnectdb(conninfo.c_str())) {}

Connection::~Connection() { PQfinish(conn_); }

PgResult Connection::ask(const std::string& statements) const { return PgResult{PQexec(conn_, statements.c_str())}; }

Rows Connection::rows(const std::string& statement, const Parameters& parameters) const {
  std::vector<const char*> values;
  for (const std::string& parameter : parameters) values.push_back(parameter.c_str());
  return rows_of(checked(conn_, PQexecParams(conn_, statement.c_str(), static_cast<int>(values.size()), nullptr,
                                             values.data(), nullptr, nullptr, 0)));
}

void Connection::prepare(const std::string& name, const std::string& statement) const {
  (void)checked(conn_, PQprepare(conn_, name.c_str(), statement.c_str(), 0, nullptr));
}

PgResult Connection::execute(const std::string& name, std::initializer_list<const char*> parameters) const {
  return checked(conn_, PQexecPrepared(conn_, name.c_str(), static_cast<int>(parameters.size()), parameters.begin(),
                                       nullptr, nullptr, 0));
}

bool Connection::lost() const {
  pollfd entry{PQsocket(conn_), POLLIN, 0};
  while (connected() && poll(&entry, 1, 0) > 0)
    if (!PQconsumeInput(conn_)) return true;
  return !connected();
}

void Connection::on_notice(std::function<void(const std::string&)> receiver) {
  notice_ = std::move(receiver);
  PQsetNoticeProcessor(
      conn_, [](void* self, const char* text) { static_cast<Connection*>(self)->notice_(text); }, this);
}

}  // namespace insula_test
