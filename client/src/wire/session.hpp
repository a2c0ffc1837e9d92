// A blocking connection for the few calls that need no runtime (tenant administration).
// Made at the first call, and again when it broke in between.  Not thread-safe.
#pragma once

#include "wire/conninfo.hpp"
#include "wire/pq.hpp"

#include <insula/error.hpp>

#include <chrono>

namespace insula::wire {

class Session {
 public:
  Session(ConnInfo conninfo, std::chrono::milliseconds connect_timeout)
      : conninfo_(std::move(conninfo)), connect_timeout_(connect_timeout) {}

  // Connected, and the server has an extension of our version.  Throws insula::error.
  PGconn* connection();

  // Throws insula::error; with outcome_unknown() if the connection broke under way.
  Rows call(const Statement& statement);

 private:
  void connect();
  Rows run(const Statement& statement);

  ConnInfo conninfo_;
  std::chrono::milliseconds connect_timeout_;
  PgConn conn_;
};

}  // namespace insula::wire
