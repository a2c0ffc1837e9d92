// A plain libpq session for tests that look at the server itself.  Statements run
// synchronously with `query`; `send` starts one that may wait, `finished` says whether its
// answer has come by a deadline.  Any error fails the test that caused it.
#pragma once

#include <gtest/gtest.h>
#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace insula_test {

using namespace std::chrono_literals;

class Session {
 public:
  explicit Session(const std::string& conninfo = "") : conn_(PQconnectdb(conninfo.c_str())) {
    EXPECT_EQ(PQstatus(conn_), CONNECTION_OK) << PQerrorMessage(conn_);
  }
  ~Session() { PQfinish(conn_); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // The first column of the first row; empty where there is none or it is NULL.
  std::string query(const std::string& sql) {
    PGresult* result = PQexec(conn_, sql.c_str());
    std::string value = first_value(result);
    PQclear(result);
    return value;
  }

  // The SQLSTATE of a statement; "none" where it succeeds, "lost" where the connection is gone.
  std::string error(const std::string& sql) {
    PGresult* result = PQexec(conn_, sql.c_str());
    const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    std::string value = state ? state : PQstatus(conn_) == CONNECTION_OK ? "none" : "lost";
    PQclear(result);
    return value;
  }

  void send(const std::string& sql) { EXPECT_EQ(PQsendQuery(conn_, sql.c_str()), 1) << PQerrorMessage(conn_); }

  bool finished(std::chrono::milliseconds within) {
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
    while (PGresult* result = PQgetResult(conn_)) {
      const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
      if (state && error.empty()) error = state;
      // After a FATAL error libpq adds that the server has gone.
      if (PQresultStatus(result) != PGRES_FATAL_ERROR) value = first_value(result);
      PQclear(result);
    }
    return error.empty() ? value : error;
  }

  void on_notice(std::function<void(const std::string&)> receiver) {
    notice_ = std::move(receiver);
    PQsetNoticeProcessor(
        conn_, [](void* self, const char* text) { static_cast<Session*>(self)->notice_(text); }, this);
  }

  static bool reachable() { return PQping("") == PQPING_OK; }

  int pid() const { return PQbackendPID(conn_); }

  // Goes away as a killed process does: no good-bye, the socket just closes.
  void vanish() { shutdown_socket(); }

 private:
  static std::string first_value(PGresult* result) {
    const auto status = PQresultStatus(result);
    EXPECT_TRUE(status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) << PQresultErrorMessage(result);
    if (status != PGRES_TUPLES_OK || PQntuples(result) == 0 || PQnfields(result) == 0) return {};
    return PQgetvalue(result, 0, 0);
  }

  void shutdown_socket();

  PGconn* conn_;
  std::function<void(const std::string&)> notice_;
};

// Waits until the condition holds.
inline bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds within = 10s) {
  const auto deadline = std::chrono::steady_clock::now() + within;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(5ms);
  }
  return true;
}

inline bool preloaded() {
  const char* value = getenv("INSULA_PRELOADED");
  return value && *value == '1';
}

}  // namespace insula_test
