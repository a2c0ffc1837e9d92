// The parts that the tests of the C++ client share: a connection that survives restarts of the
// server, tenants of their own, and a log that can be asked.
//
// Nothing is timed: a test waits for what must happen, with a limit that only a broken build
// reaches.
#pragma once

#include <insula/insula.hpp>

#include <gtest/gtest.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "support/cluster.hpp"
#include "support/connection.hpp"

namespace insula_test {

// A superuser's connection that is made again after a restart of the server.  Throws SqlError.
class Sql {
 public:
  explicit Sql(std::string conninfo = "application_name=test") : conninfo_(std::move(conninfo)) {}

  Rows rows(const std::string& sql, const Parameters& parameters = {});
  std::string value(const std::string& sql, const Parameters& parameters = {});

 private:
  const std::string conninfo_;
  std::optional<Connection> conn_;
};

// The insula::error that `f` throws; fails the test if it throws none.
insula::error error_of(const std::function<void()>& f);

// A log hook that remembers.
class Log {
 public:
  std::function<void(insula::LogLevel, std::string_view)> hook() const;
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

}  // namespace insula_test
