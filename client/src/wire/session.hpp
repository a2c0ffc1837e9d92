// A blocking connection: for tenant administration, and for handlers' transactions.  Made at
// the first call, and again when it broke in between.  Not thread-safe.
#pragma once

#include "wire/conninfo.hpp"
#include "wire/pq.hpp"

#include <insula/error.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <utility>

namespace insula::wire {

// Sends and waits for the answer; `within` nullopt: for as long as it takes.  Throws
// insula::error, with outcome_unknown() if the connection broke, or the time was up; invalid, with
// nothing sent, for a text that the server could not take as it is meant.
Rows exchange(PGconn* conn, const Statement& statement, std::optional<std::chrono::milliseconds> within = std::nullopt);

// Undoes what a borrower of the connection has set on our side of it.  false: it cannot be undone.
bool reset_client_side(PGconn* conn) noexcept;

class Session {
 public:
  // `name` is the application_name, `call_timeout` bounds each call.
  Session(ConnInfo conninfo, std::string name, std::chrono::milliseconds connect_timeout,
          std::optional<std::chrono::milliseconds> call_timeout = std::nullopt)
      : conninfo_(std::move(conninfo)),
        name_(std::move(name)),
        connect_timeout_(connect_timeout),
        call_timeout_(call_timeout) {}

  // Connected, and the server has an extension of our version.  Throws insula::error.
  PGconn* connection();

  // Throws insula::error; with outcome_unknown() if the connection broke under way.
  Rows call(const Statement& statement);

 private:
  void connect();
  void connect_to(std::size_t host);
  std::optional<error> ask_version();  // nullopt: it goes with this library, as far as it shows
  Rows run(const Statement& statement);

  ConnInfo conninfo_;
  std::string name_;
  std::chrono::milliseconds connect_timeout_;
  std::optional<std::chrono::milliseconds> call_timeout_;
  PgConn conn_;
};

}  // namespace insula::wire
