// A session for tests that look at the server itself.  Statements run synchronously with
// `query`; `send` starts one that may wait, `finished` says whether its answer has come by a
// deadline.  An error fails the test that caused it, and the test goes on.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>

#include "support/cluster.hpp"
#include "support/connection.hpp"

namespace insula_test {

class Session {
 public:
  explicit Session(const std::string& conninfo = "") : conn_(conninfo) {
    EXPECT_TRUE(conn_.connected()) << PQerrorMessage(conn_);
  }

  // The first column of the first row; empty if there is no row or it is NULL.
  std::string query(const std::string& sql) { return expected(conn_.ask(sql)); }

  // The SQLSTATE of a statement; "none" if it succeeds, "lost" if the connection is gone.
  std::string error(const std::string& sql) {
    const std::string state = sqlstate(conn_.ask(sql));
    return !state.empty() ? state : conn_.connected() ? "none" : "lost";
  }

  void send(const std::string& sql) { EXPECT_EQ(PQsendQuery(conn_, sql.c_str()), 1) << PQerrorMessage(conn_); }

  bool finished(std::chrono::milliseconds within = patience) {
    const auto deadline = std::chrono::steady_clock::now() + within;
    while (PQisBusy(conn_)) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
      pollfd fd = {PQsocket(conn_), POLLIN, 0};
      const int ready = poll(&fd, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
      if (ready > 0 && !PQconsumeInput(conn_)) return true;
      if (ready == 0 && left.count() <= 0) return false;
    }
    return true;
  }

  // The answer to what was sent: its first value, or its SQLSTATE.
  std::string answer() {
    std::string value;
    std::string error;
    while (PgResult result{PQgetResult(conn_)}) {
      if (error.empty()) error = sqlstate(result);
      // After a FATAL error libpq adds that the server has gone.
      if (PQresultStatus(result.get()) != PGRES_FATAL_ERROR) value = expected(result);
    }
    return error.empty() ? value : error;
  }

  void on_notice(std::function<void(const std::string&)> receiver) { conn_.on_notice(std::move(receiver)); }

  static bool reachable() { return PQping("") == PQPING_OK; }

  int pid() const { return conn_.pid(); }

  // Ends as a killed process does: the socket closes without a word of the protocol.
  void vanish() { ::shutdown(PQsocket(conn_), SHUT_RDWR); }

 private:
  static std::string expected(const PgResult& result) {
    EXPECT_TRUE(succeeded(result)) << PQresultErrorMessage(result.get());
    return first_value(result);
  }

  Connection conn_;
};

}  // namespace insula_test
