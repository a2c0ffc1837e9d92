// The shared parts of the client's tests; see client_test.hpp.
#include "client_test.hpp"

#include <unistd.h>

#include <atomic>
#include <utility>

namespace insula_test {

Rows Sql::rows(const std::string& sql, const Parameters& parameters) {
  if (!conn_ || conn_->lost()) {
    conn_.emplace(conninfo_);
    conn_->on_notice([](const std::string&) {});
  }
  return conn_->rows(sql, parameters);
}

std::string Sql::value(const std::string& sql, const Parameters& parameters) {
  const Rows all = rows(sql, parameters);
  return all.empty() ? "" : all.front().at(0);
}

insula::error error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const insula::error& e) {
    return e;
  }
  ADD_FAILURE() << "nothing was thrown";
  return {insula::errc::server, "nothing was thrown"};
}

std::function<void(insula::LogLevel, std::string_view)> Log::hook() const {
  return [lines = lines_](insula::LogLevel, std::string_view line) {
    const std::lock_guard lock{lines->mutex};
    lines->lines.emplace_back(line);
  };
}

bool Log::holds(std::string_view part) const { return text().find(part) != std::string::npos; }

std::string Log::text() const {
  const std::lock_guard lock{lines_->mutex};
  std::string text;
  for (const std::string& line : lines_->lines) text += line + '\n';
  return text;
}

void Gate::open() const {
  const std::lock_guard lock{state_->mutex};
  state_->is_open = true;
  state_->changed.notify_all();
}

void Gate::wait() const { wait(std::stop_token{}); }

void Gate::wait(std::stop_token stop) const {
  arrive();
  std::unique_lock lock{state_->mutex};
  state_->changed.wait(lock, stop, [&] { return state_->is_open; });
}

void Gate::arrive() const {
  const std::lock_guard lock{state_->mutex};
  ++state_->arrived;
  state_->changed.notify_all();
}

void Gate::wait_for_arrivals(int n) const {
  std::unique_lock lock{state_->mutex};
  EXPECT_TRUE(state_->changed.wait_for(lock, patience, [&] { return state_->arrived >= n; }))
      << "handlers did not come";
}

void ClientTest::SetUp() {
  static std::atomic<int> count{0};
  sql_.rows("SET client_min_messages = warning");
  sql_.rows("CREATE EXTENSION IF NOT EXISTS insula");
  tenant_ = "t" + std::to_string(getpid()) + "_" + std::to_string(++count);
}

insula::Runner ClientTest::make_runner(insula::RunnerConfig config) {
  if (!config.log) config.log = log_.hook();
  return insula::Runner::with_schema("", tenant_, std::move(config));
}

std::string ClientTest::status_of(std::int64_t execution) {
  return sql_.value("SELECT status FROM insula.result($1)", {std::to_string(execution)});
}

insula::Workflow one_task(std::string name, std::function<void(insula::TaskContext&)> handler) {
  return insula::Workflow::builder(std::move(name)).task("only", std::move(handler)).build();
}

}  // namespace insula_test
