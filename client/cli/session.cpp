#include "session.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>

#include "failure.hpp"

namespace insula::cli {

namespace {

// A signal is a byte in this pipe, so that a poll sees it whenever it comes.
std::array<int, 2> signal_pipe{-1, -1};
std::atomic<bool> was_interrupted{false};

struct ResultCloser {
  void operator()(PGresult* result) const { PQclear(result); }
};
using Result = std::unique_ptr<PGresult, ResultCloser>;

void on_interrupt(int) {
  was_interrupted = true;
  const char byte = 0;
  [[maybe_unused]] const auto written = write(signal_pipe[1], &byte, 1);
}

std::string field(const PGresult* result, int which) {
  const char* text = PQresultErrorField(result, which);
  return text ? text : "";
}

// The server names calls of SQL; this names the commands that make them.
std::string hints_for(const std::string& state, const std::string& said) {
  constexpr struct {
    const char *sql, *here;
  } names[] = {{"SET insula.tenant", "insula -t TENANT, or tenant in a context"},
               {"insula.set_tenant_limits()", "insula tenant limits TENANT"},
               {"insula.resume_tenant()", "insula tenant resume TENANT"},
               {"insula.delete_executions()", "insula execution delete"},
               {"insula.workflows()", "insula workflow list"},
               {"insula.audit()", "insula doctor"},
               {"insula.status()", "insula doctor"}};
  std::string hints;
  for (const auto& name : names)
    if (said.find(name.sql) != std::string::npos) hints += std::string("HINT:  Here: ") + name.here + ".\n";
  if (state == "42501" && said.find("schema insula\n") != std::string::npos)
    hints += "HINT:  The login is to be that of a tenant, or a member of insula_admin.\n";
  if (state == "3F000" || state == "42P01" || state == "42883")  // no schema, no relation, no function
    hints += "HINT:  Is the extension in this database? insula init installs it, insula doctor tells.\n";
  return hints;
}

// An import has a transaction, and its values from a file.
Exit exit_for(const std::string& state, const PGconn* connection) {
  if (state == "IS001" || state == "IS002" || state == "IS003") return Exit::not_found;
  // A value that is none of its type or of its range; the syntax is that of a JSON path.
  const bool is_bad_value = state.starts_with("22") || state == "42601";
  return is_bad_value && PQtransactionStatus(connection) == PQTRANS_IDLE ? Exit::usage : Exit::failed;
}

[[noreturn]] void fail(const PGresult* result, PGconn* connection) {
  if (PQstatus(connection) == CONNECTION_BAD) throw Failure(Exit::no_connection, "the server closed the connection");
  const std::string state = field(result, PG_DIAG_SQLSTATE);
  std::string message = field(result, PG_DIAG_MESSAGE_PRIMARY);
  if (message.empty()) message = PQerrorMessage(connection);
  std::string more;
  for (const auto& [name, which] :
       {std::pair{"DETAIL", PG_DIAG_MESSAGE_DETAIL}, std::pair{"HINT", PG_DIAG_MESSAGE_HINT}})
    if (const std::string text = field(result, which); !text.empty()) more += std::string(name) + ":  " + text + "\n";
  throw Failure(exit_for(state, connection), message, more + hints_for(state, message + "\n" + more));
}

void cancel(PGconn* connection) {
  const std::unique_ptr<PGcancel, decltype(&PQfreeCancel)> handle{PQgetCancel(connection), PQfreeCancel};
  std::array<char, 256> error;
  if (handle) PQcancel(handle.get(), error.data(), error.size());
}

}  // namespace

std::string Table::value(std::size_t column) const {
  return rows.empty() ? std::string{} : rows.front().at(column).value_or("");
}

Table table_of(const PGresult* result) {
  Table table;
  for (int column = 0; column < PQnfields(result); ++column)
    table.columns.push_back({PQfname(result, column), PQftype(result, column)});
  for (int row = 0; row < PQntuples(result); ++row) {
    auto& cells = table.rows.emplace_back();
    for (int column = 0; column < PQnfields(result); ++column)
      cells.push_back(PQgetisnull(result, row, column) ? Cell{} : Cell{PQgetvalue(result, row, column)});
  }
  return table;
}

Session::Session(const std::string& conninfo) {
  const char* const names[] = {"dbname", "fallback_application_name", "connect_timeout", nullptr};
  const char* const values[] = {conninfo.c_str(), "insula", "10", nullptr};
  connection_.reset(PQconnectdbParams(names, values, 1));
  if (PQstatus(connection_.get()) == CONNECTION_OK) {
    PQsetNoticeProcessor(
        connection_.get(), [](void*, const char* text) { fprintf(stderr, "%s", text); }, nullptr);
    return;
  }
  std::string message = PQerrorMessage(connection_.get());
  while (!message.empty() && message.back() == '\n') message.pop_back();
  throw Failure(Exit::no_connection, message);
}

// Until the next result, or the next row of a COPY, can be taken without waiting.
void Session::wait_for_result() {
  PGconn* connection = connection_.get();
  (void)wait_for_input(PQsocket(connection), -1);
  if (interrupted() && !cancelled_) {
    cancel(connection);
    cancelled_ = true;
    was_interrupted = false;
  }
  if (!PQconsumeInput(connection)) throw Failure(Exit::no_connection, "the server closed the connection");
}

Table Session::query(const std::string& sql, const std::vector<Cell>& parameters) {
  std::vector<const char*> values;
  for (const Cell& parameter : parameters) values.push_back(parameter ? parameter->c_str() : nullptr);
  PGconn* connection = connection_.get();
  if (!PQsendQueryParams(connection, sql.c_str(), static_cast<int>(values.size()), nullptr, values.data(), nullptr,
                         nullptr, 0))
    throw Failure(Exit::no_connection, "the server closed the connection");
  cancelled_ = false;
  while (PQisBusy(connection)) wait_for_result();
  return finish();
}

Table Session::finish() {
  PGconn* connection = connection_.get();
  Table table;
  Result failed;
  while (Result result{PQgetResult(connection)}) {
    const auto status = PQresultStatus(result.get());
    if (status == PGRES_TUPLES_OK)
      table = table_of(result.get());
    else if (status != PGRES_COMMAND_OK)
      failed = std::move(result);
  }
  if (cancelled_) throw Failure(Exit::interrupted, "interrupted");
  if (failed) fail(failed.get(), connection);
  return table;
}

void Session::begin_copy(const std::string& sql, ExecStatusType wanted) {
  cancelled_ = false;
  const Result begun{PQexec(connection_.get(), sql.c_str())};
  if (PQresultStatus(begun.get()) != wanted) fail(begun.get(), connection_.get());
}

void Session::copy_out(const std::string& sql, const Send& take) {
  begin_copy(sql, PGRES_COPY_OUT);
  PGconn* connection = connection_.get();
  char* data = nullptr;
  for (int size; (size = PQgetCopyData(connection, &data, 1)) >= 0;) {
    if (size == 0) {
      wait_for_result();
      continue;
    }
    const std::unique_ptr<char, decltype(&PQfreemem)> row{data, PQfreemem};
    take({row.get(), static_cast<std::size_t>(size)});
  }
  finish();
}

void Session::copy_in(const std::string& sql, const std::function<void(const Send&)>& fill) {
  begin_copy(sql, PGRES_COPY_IN);
  PGconn* connection = connection_.get();
  fill([&](std::string_view data) {
    if (interrupted()) {
      cancelled_ = true;
      PQputCopyEnd(connection, "interrupted");
      finish();
    }
    if (PQputCopyData(connection, data.data(), static_cast<int>(data.size())) != 1)
      throw Failure(Exit::no_connection, "the server closed the connection");
  });
  if (PQputCopyEnd(connection, nullptr) != 1) throw Failure(Exit::no_connection, "the server closed the connection");
  finish();
}

void watch_for_interrupt() {
  if (signal_pipe[0] >= 0 || pipe2(signal_pipe.data(), O_CLOEXEC | O_NONBLOCK) != 0) return;
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() { return was_interrupted; }

bool wait_for_input(int descriptor, int milliseconds) {
  std::array<pollfd, 2> wanted{pollfd{signal_pipe[0], POLLIN, 0}, pollfd{descriptor, POLLIN, 0}};
  if (poll(wanted.data(), wanted.size(), milliseconds) <= 0) return false;
  std::array<char, 64> bytes;
  if (wanted[0].revents & POLLIN) [[maybe_unused]]
    const auto got = read(signal_pipe[0], bytes.data(), bytes.size());
  return (wanted[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0;
}

}  // namespace insula::cli
