// The shared parts of the integration tests.
#include "support.hpp"

#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <thread>
#include <utility>

namespace support {

std::string env(const char* name) {
  const char* value = std::getenv(name);
  if (!value) ADD_FAILURE() << name << " is not set: these tests run on a throw-away cluster";
  return value ? value : "";
}

bool preloaded() { return env("INSULA_PRELOADED") == "1"; }

Sql::Sql(std::string conninfo) : conninfo_(std::move(conninfo)) {}
Sql::~Sql() { PQfinish(conn_); }

std::vector<Sql::Row> Sql::rows(const std::string& sql, const std::vector<std::string>& params) {
  if (!conn_ || PQstatus(conn_) != CONNECTION_OK) {
    PQfinish(conn_);
    conn_ = PQconnectdb(conninfo_.c_str());
    if (PQstatus(conn_) != CONNECTION_OK) throw std::runtime_error{PQerrorMessage(conn_)};
    PQsetNoticeProcessor(
        conn_, [](void*, const char*) {}, nullptr);
  }
  const auto is_gone = [this] {
    pollfd entry{PQsocket(conn_), POLLIN, 0};
    while (poll(&entry, 1, 0) > 0)
      if (!PQconsumeInput(conn_)) return true;
    return false;
  };
  if (is_gone()) {  // the server was restarted
    PQfinish(std::exchange(conn_, nullptr));
    return rows(sql, params);
  }
  std::vector<const char*> values;
  for (const std::string& param : params) values.push_back(param.c_str());
  const std::unique_ptr<PGresult, void (*)(PGresult*)> result{
      PQexecParams(conn_, sql.c_str(), static_cast<int>(values.size()), nullptr, values.data(), nullptr, nullptr, 0),
      PQclear};
  const auto status = PQresultStatus(result.get());
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
    const char* state = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
    throw std::runtime_error{std::string{state ? state : "-----"} + ": " + PQresultErrorMessage(result.get()) + sql};
  }
  std::vector<Row> rows;
  for (int r = 0; r < PQntuples(result.get()); ++r) {
    Row& row = rows.emplace_back();
    for (int c = 0; c < PQnfields(result.get()); ++c) row.emplace_back(PQgetvalue(result.get(), r, c));
  }
  return rows;
}

std::string Sql::value(const std::string& sql, const std::vector<std::string>& params) {
  const auto all = rows(sql, params);
  return all.empty() ? "" : all.front().at(0);
}

void pg_ctl(const std::string& what) {
  const std::string command = "\"" + env("INSULA_PG_CTL") + "\" " + what + " >/dev/null 2>&1";
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
}

bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(3ms);
  }
  return true;
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

std::function<void(insula::LogLevel, std::string_view)> Log::hook() {
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
  EXPECT_TRUE(state_->changed.wait_for(lock, 30s, [&] { return state_->arrived >= n; })) << "handlers did not come";
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

}  // namespace support
