// The blocking connection: libpq's asynchronous calls and poll(2), since its blocking calls
// know no deadline.
#include "wire/session.hpp"

#include "wire/binary.hpp"
#include "wire/errors.hpp"
#include "wire/text.hpp"
#include "wire/version.hpp"

#include <fmt/format.h>

#include <poll.h>

#include <algorithm>

namespace insula::wire {

namespace {

using Clock = std::chrono::steady_clock;

// false: the deadline passed.
bool wait_for(PGconn* conn, short events, Clock::time_point deadline) {
  for (;;) {
    constexpr std::chrono::milliseconds::rep longest = 3'600'000;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return false;
    pollfd entry{PQsocket(conn), events, 0};
    if (poll(&entry, 1, static_cast<int>(std::min(left, longest))) > 0) return true;
  }
}

// Whether the server ended the session since the last call: all that can be there to be
// read between two calls is its farewell, and then the end.
bool is_gone(PGconn* conn) {
  pollfd entry{PQsocket(conn), POLLIN, 0};
  while (poll(&entry, 1, 0) > 0)
    if (!PQconsumeInput(conn)) return true;
  return PQstatus(conn) == CONNECTION_BAD;
}

void ignore_notice(void*, const PGresult*) {}

// Our texts are UTF-8.  A connection of the application's own may speak otherwise.
void require_encoding(PGconn* conn, const Statement& statement) {
  bool plain = true;
  for (std::size_t i = 0; i < statement.params.size() && plain; ++i) {
    const Param& param = statement.params[i];
    const bool binary = (statement.binary_params >> i & 1) != 0;
    plain = !param || (binary ? has_ascii_elements(*param) : is_ascii(*param));
  }
  if (plain) return;
  const std::string_view client = pg_encoding_to_char(PQclientEncoding(conn));
  const char* status = PQparameterStatus(conn, "server_encoding");
  const std::string_view server = status ? status : "";
  // As they are, bytes are what we mean only to a server that takes them for UTF-8 or for nothing.
  if (client == "UTF8" || (client == "SQL_ASCII" && (server == "UTF8" || server == "SQL_ASCII"))) return;
  throw error{errc::invalid, fmt::format("the connection's client_encoding is {}, and a text that is not ASCII needs "
                                         "UTF8: see PQsetClientEncoding",
                                         client)};
}

}  // namespace

PGconn* Session::connection() {
  if (conn_ && is_gone(conn_.get())) conn_.reset();
  if (!conn_) connect();
  return conn_.get();
}

void Session::connect() {
  // One host that swallows our packets must not use up the time of the next.
  for (std::size_t host = 0; !conn_; ++host) {
    try {
      connect_to(host);
    } catch (const error& e) {
      if (!e.retryable() || host + 1 >= conninfo_.hosts()) throw;
    }
  }
  if (const auto problem = ask_version()) {
    conn_.reset();
    throw *problem;
  }
}

std::optional<error> Session::ask_version() {
  try {
    return check_version(run({version_query}));
  } catch (const error& e) {
    if (hides_version(e)) return std::nullopt;
    throw;
  }
}

void Session::connect_to(std::size_t host) {
  PgConn conn = conninfo_.start(name_, host);
  PQsetNoticeReceiver(conn.get(), ignore_notice, nullptr);
  const auto deadline = Clock::now() + connect_timeout_;
  for (auto step = PGRES_POLLING_WRITING; step != PGRES_POLLING_OK; step = PQconnectPoll(conn.get())) {
    if (step == PGRES_POLLING_FAILED || PQstatus(conn.get()) == CONNECTION_BAD)
      throw make_connection_error(conn.get(), false);
    if (!wait_for(conn.get(), step == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline))
      throw error{errc::unreachable, "no connection within the time allowed", {}, true};
  }
  conn_ = std::move(conn);
}

Rows Session::call(const Statement& statement) {
  connection();
  return run(statement);
}

Rows Session::run(const Statement& statement) {
  try {
    return exchange(conn_.get(), statement, call_timeout_);
  } catch (const error& e) {
    if (e.outcome_unknown()) conn_.reset();
    throw;
  }
}

bool reset_client_side(PGconn* conn) noexcept {
  PQuntrace(conn);
  PQsetNoticeReceiver(conn, ignore_notice, nullptr);
  PQsetErrorVerbosity(conn, PQERRORS_VERBOSE);
  PQsetErrorContextVisibility(conn, PQSHOW_CONTEXT_ERRORS);
  return PQsetnonblocking(conn, 0) == 0;
}

Rows exchange(PGconn* conn, const Statement& statement, std::optional<std::chrono::milliseconds> within) {
  require_sendable(statement);
  require_encoding(conn, statement);
  const auto deadline = within ? Clock::now() + *within : Clock::time_point::max();
  Rows result;
  for (bool sent = statement.send(conn); sent;) {
    while (PQisBusy(conn)) {
      // The owner of the connection may have made it one that sends only what it can.
      const bool unsent = PQflush(conn) == 1;
      if (!wait_for(conn, static_cast<short>(unsent ? POLLIN | POLLOUT : POLLIN), deadline))
        throw error{errc::unreachable, "no answer from the server within the time allowed", {}, true, true};
      if (!PQconsumeInput(conn)) break;
    }
    PGresult* next = PQgetResult(conn);
    if (!next) break;
    Rows rows{next};
    if (!result.get() || PQresultStatus(result.get()) != PGRES_FATAL_ERROR) result = std::move(rows);
    if (PQstatus(conn) == CONNECTION_BAD) break;
  }
  const ExecStatusType status = PQresultStatus(result.get());
  if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) return result;
  const error why = result.get() ? make_error(result.get()) : make_connection_error(conn, true);
  const bool lost = PQstatus(conn) == CONNECTION_BAD || is_connection_state(why.sqlstate());
  throw error{why.code(), why.what(), why.sqlstate(), why.retryable(), lost};
}

}  // namespace insula::wire
