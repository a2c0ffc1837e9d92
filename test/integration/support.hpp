// What the integration tests share: plain SQL on the throw-away cluster, its control
// script, waiting for conditions, tenants of one's own, and a log that can be asked.
//
// The cluster comes from the environment (PGHOST, PGPORT, INSULA_PG_CTL ...).  Nothing is
// timed: what must happen is waited for, with a limit that only a broken build reaches.
#pragma once

#include <insula/insula.hpp>

#include <postgresql/libpq-fe.h>

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace support {

using namespace std::chrono_literals;

std::string env(const char* name);  // fails the test if it is not set
bool preloaded();

// One superuser connection; made again when the server was restarted.
class Sql {
 public:
  explicit Sql(std::string conninfo = "application_name=test");
  ~Sql();
  Sql(const Sql&) = delete;
  Sql& operator=(const Sql&) = delete;

  using Row = std::vector<std::string>;  // NULL: empty
  // Throws std::runtime_error with the SQLSTATE first.
  std::vector<Row> rows(const std::string& sql, const std::vector<std::string>& params = {});
  std::string value(const std::string& sql, const std::vector<std::string>& params = {});

 private:
  std::string conninfo_;
  PGconn* conn_ = nullptr;
};

// The cluster's control script: start, stop fast, restart, crash ...
void pg_ctl(const std::string& what);

// Looks every few milliseconds; false after half a minute.
bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds limit = 30s);

// The insula::error that `f` throws; fails the test if it throws none.
insula::error error_of(const std::function<void()>& f);

// A log hook that remembers.
class Log {
 public:
  std::function<void(insula::LogLevel, std::string_view)> hook();
  bool holds(std::string_view part) const;
  std::string text() const;

 private:
  struct Lines {
    mutable std::mutex mutex;
    std::vector<std::string> lines;
  };
  std::shared_ptr<Lines> lines_ = std::make_shared<Lines>();  // outlives the test for late threads
};

// A door that handlers wait at, shared so that handlers left behind may still hold it.
class Gate {
 public:
  void open() const;
  void wait() const;                      // until it is open
  void wait(std::stop_token stop) const;  // or the handler is asked to stop
  void arrive() const;
  void wait_for_arrivals(int n) const;

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable_any changed;
    bool is_open = false;
    int arrived = 0;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

// Every test gets the extension and a tenant's name of its own.
class ClientTest : public ::testing::Test {
 protected:
  void SetUp() override;

  insula::Runner make_runner(insula::RunnerConfig config = {});
  std::string status_of(std::int64_t execution);

  Sql sql_;
  Log log_;
  std::string tenant_;
};

insula::Workflow one_task(std::string name, std::function<void(insula::TaskContext&)> handler);

}  // namespace support
