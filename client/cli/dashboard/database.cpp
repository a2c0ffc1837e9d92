#include "dashboard/database.hpp"

#include <poll.h>

#include "failure.hpp"

namespace insula::cli::dashboard {

namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds patience{2000};  // for a free connection
constexpr milliseconds grace{2000};     // after the server's own limit, for its answer to come
constexpr int lock_timeout_milliseconds = 1000;
constexpr std::size_t most_rows = 20000;  // of a result

struct ResultCloser {
  void operator()(PGresult* result) const { PQclear(result); }
};
using Result = std::unique_ptr<PGresult, ResultCloser>;

std::string field(const PGresult* result, int which) {
  const char* text = PQresultErrorField(result, which);
  return text ? text : "";
}

Refusal away(const std::string& why) {
  std::string message = why;
  while (!message.empty() && message.back() == '\n') message.pop_back();
  return {503, "away", "the database cannot be reached", message};
}

[[noreturn]] void refuse(const PGresult* result) {
  const std::string state = field(result, PG_DIAG_SQLSTATE);
  const std::string message = field(result, PG_DIAG_MESSAGE_PRIMARY);
  const std::string detail = field(result, PG_DIAG_MESSAGE_DETAIL);
  const std::string hint = field(result, PG_DIAG_MESSAGE_HINT);
  if (state == "57014")
    throw Refusal(503, "timeout", "the database did not answer in time", message,
                  "Ask for less: one tenant, a shorter time, one workflow.");
  if (state == "55P03") throw Refusal(503, "timeout", "something in the database is locked", message, hint);
  if (state.starts_with("57P") || state.starts_with("08") || state == "53300")
    throw Refusal(503, "away", "the database cannot be reached", message);
  const bool is_missing = state == "IS001" || state == "IS002" || state == "IS003";
  if (is_missing) throw Refusal(404, "missing", message, detail, hint);
  throw Refusal(state == "42501" ? 403 : 422, "refused", message, detail, hint);
}

// Rows as they come, so that what is too much is never held as a whole.
class Rows {
 public:
  explicit Rows(std::size_t most_bytes) : most_bytes_(most_bytes) {}

  void add(const PGresult* result) {
    Table some = table_of(result);
    if (table_.columns.empty()) table_.columns = std::move(some.columns);
    for (auto& row : some.rows) {
      for (const Cell& cell : row) bytes_ += cell ? cell->size() : 0;
      table_.is_cut = table_.is_cut || table_.rows.size() >= most_rows || bytes_ > most_bytes_;
      if (!table_.is_cut) table_.rows.push_back(std::move(row));
    }
  }
  BoundedTable take() { return std::move(table_); }

 private:
  BoundedTable table_;
  const std::size_t most_bytes_;
  std::size_t bytes_ = 0;
};

// False: nothing came until then.
bool wait_for_answer(PGconn* connection, Clock::time_point until) {
  while (PQisBusy(connection)) {
    const auto left = std::chrono::duration_cast<milliseconds>(until - Clock::now());
    if (left.count() <= 0) return false;
    pollfd wanted{PQsocket(connection), POLLIN, 0};
    (void)poll(&wanted, 1, static_cast<int>(left.count()));
    if (!PQconsumeInput(connection)) throw away(PQerrorMessage(connection));
  }
  return true;
}

std::string quoted(const std::string& name) {
  std::string out = "\"";
  for (const char character : name) out += character == '"' ? "\"\"" : std::string(1, character);
  return out + '"';
}

// Of which other tenant's, administrator's or runner's rights the role makes use.
constexpr const char* more_rights_sql =
    "SELECT r.rolname FROM pg_catalog.pg_roles r WHERE r.rolname <> current_user AND pg_catalog.pg_has_role("
    "current_user, r.oid, 'USAGE') AND (r.rolname IN ('insula_admin', 'insula_runner', 'insula_owner') OR EXISTS ("
    "SELECT FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles g ON g.oid = m.roleid WHERE g.rolname = "
    "'insula_tenant' AND m.member = r.oid)) ORDER BY r.rolname LIMIT 1";

}  // namespace

Connection::Connection(const Options& options, const std::string& role)
    : usual_timeout_(options.statement_timeout), most_bytes_(options.most_bytes) {
  const char* const names[] = {"dbname", "application_name", "connect_timeout", "client_encoding", nullptr};
  const char* const values[] = {options.conninfo.c_str(), "insula dashboard", "3", "UTF8", nullptr};
  connection_.reset(PQconnectdbParams(names, values, 1));
  if (PQstatus(connection_.get()) != CONNECTION_OK) throw away(PQerrorMessage(connection_.get()));
  PQsetNoticeProcessor(
      connection_.get(), [](void*, const char*) {}, nullptr);
  if (!role.empty()) query("SET ROLE " + quoted(role));
  query(
      "SELECT set_config('statement_timeout', $1, false), set_config('lock_timeout', $2, false), "
      "set_config('timezone', 'UTC', false), set_config('datestyle', 'ISO', false), set_config('search_path', '', "
      "false), set_config('intervalstyle', 'postgres', false), set_config('extra_float_digits', '1', false), "
      "set_config('jit', 'off', false), set_config('bytea_output', 'hex', false), "
      "set_config('idle_in_transaction_session_timeout', '10s', false), set_config('default_transaction_read_only', "
      "'on', false), set_config('insula.tenant', '', false)",
      {std::to_string(usual_timeout_.count()), std::to_string(lock_timeout_milliseconds)});
}

BoundedTable Connection::run(const std::string& sql, const std::vector<Cell>& parameters, milliseconds timeout) {
  std::vector<const char*> values;
  for (const Cell& parameter : parameters) values.push_back(parameter ? parameter->c_str() : nullptr);
  PGconn* connection = connection_.get();
  if (!PQsendQueryParams(connection, sql.c_str(), static_cast<int>(values.size()), nullptr, values.data(), nullptr,
                         nullptr, 0))
    throw away(PQerrorMessage(connection));
  PQsetSingleRowMode(connection);
  const auto until = Clock::now() + timeout + grace;
  Rows rows(most_bytes_);
  Result failed;
  for (;;) {
    if (!wait_for_answer(connection, until)) {
      connection_.reset();  // a session that does not answer is of no use any more
      throw Refusal(503, "timeout", "the database did not answer in time");
    }
    Result result{PQgetResult(connection)};
    if (!result) break;
    const auto status = PQresultStatus(result.get());
    if (status == PGRES_SINGLE_TUPLE || status == PGRES_TUPLES_OK)
      rows.add(result.get());
    else if (status != PGRES_COMMAND_OK)
      failed = std::move(result);
  }
  if (failed) refuse(failed.get());
  return rows.take();
}

BoundedTable Connection::query(const std::string& sql, const std::vector<Cell>& parameters, milliseconds timeout) {
  if (timeout.count() == 0 || timeout == usual_timeout_) return run(sql, parameters, usual_timeout_);
  const auto set = [&](milliseconds to) {
    run("SELECT set_config('statement_timeout', $1, false)", {std::to_string(to.count())}, usual_timeout_);
  };
  set(timeout);
  try {
    BoundedTable table = run(sql, parameters, timeout);
    set(usual_timeout_);
    return table;
  } catch (const Refusal&) {
    if (is_usable()) set(usual_timeout_);
    throw;
  }
}

Table Connection::change(const std::string& sql, const std::vector<Cell>& parameters) {
  run("BEGIN READ WRITE", {}, usual_timeout_);
  try {
    Table table = run(sql, parameters, usual_timeout_);
    run("COMMIT", {}, usual_timeout_);
    return table;
  } catch (const Refusal&) {
    if (is_usable()) run("ROLLBACK", {}, usual_timeout_);
    throw;
  }
}

Database::Database(const Options& options) : options_(options), room_(options.connections) {
  try {
    identify(options);
    idle_.push_back(std::make_unique<Connection>(options_, role_));
  } catch (const Refusal& refusal) {
    const bool is_away = refusal.kind == "away";
    throw Failure(is_away                     ? Exit::no_connection
                  : refusal.kind == "missing" ? Exit::not_found
                                              : Exit::failed,
                  is_away && !refusal.detail.empty() ? refusal.detail : refusal.what(),
                  refusal.hint.empty() ? "" : "HINT:  " + refusal.hint + "\n");
  }
}

// An administrator takes on the role of the tenant that is to be shown, and so does any other login: ids of executions
// are judged by the role alone. A tenant's own login is that role. Sessions have no insula.tenant, so that who sees all
// tenants sees all, and a setting makes no login a tenant.
void Database::identify(const Options& options) {
  Connection connection(options, "");
  const Table extension = connection.query("SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'insula'");
  if (extension.rows.empty())
    throw Failure(Exit::failed, "the extension is not in this database",
                  "HINT:  insula init installs it, insula doctor tells.\n");
  const Table who = connection.query(
      "SELECT pg_catalog.current_database(), session_user::text, current_user::text, "
      "pg_catalog.pg_has_role(current_user, 'insula_admin', 'USAGE'), insula.current_tenant(), "
      "pg_catalog.current_setting('server_version')");
  const auto& row = who.rows.front();
  identity_ = {*row[0], *row[1], *row[2], extension.value(), *row[5], row[4].value_or(""), *row[3] == "t"};
  if (!options.tenant) {
    if (!identity_.is_admin && identity_.tenant.empty())
      throw Failure(Exit::failed, "role \"" + identity_.role + "\" is no administrator and no tenant's login",
                    "HINT:  Log in as a member of insula_admin or as the tenant, or name one with --tenant.\n");
    if (identity_.is_admin) identity_.tenant.clear();
    return;
  }
  if (!identity_.is_admin && identity_.tenant == *options.tenant) {
    if (identity_.login == identity_.role) return;  // it logs in as the tenant
    role_ = identity_.role;
  } else if (identity_.is_admin) {
    const Table tenant = connection.query("SELECT username FROM insula.tenants WHERE tenant = $1", {options.tenant});
    if (tenant.rows.empty()) throw Failure(Exit::not_found, "tenant \"" + *options.tenant + "\" does not exist");
    role_ = tenant.value();
    if (role_.empty())
      throw Failure(Exit::failed, "tenant \"" + *options.tenant + "\" has no role, by whose rights it could be shown");
  } else {
    role_ = *options.tenant + "_user";  // that its members take on, too
  }
  Connection bound(options, role_);
  const Table tenant = bound.query("SELECT insula.current_tenant(), current_user::text");
  if (tenant.value() != *options.tenant)
    throw Failure(Exit::failed, "role \"" + role_ + "\" is not the role of tenant \"" + *options.tenant + "\"");
  const Table more = bound.query(more_rights_sql);
  if (!more.rows.empty())
    throw Failure(Exit::failed, "role \"" + role_ + "\" has the rights of \"" + more.value() + "\", too",
                  "HINT:  With them it would see more than the tenant \"" + *options.tenant + "\": revoke them.\n");
  identity_.tenant = *options.tenant;
  identity_.role = tenant.value(1);
  identity_.is_admin = false;
}

Database::Lease Database::take() {
  std::unique_ptr<Connection> found;
  {
    std::unique_lock lock(mutex_);
    if (!given_back_.wait_for(lock, patience, [&] { return room_ > 0; }))
      throw Refusal(503, "busy", "the database is slow: all connections of the dashboard wait for it");
    --room_;
    if (!idle_.empty()) {
      found = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  try {
    if (!found || !found->is_usable()) found = std::make_unique<Connection>(options_, role_);
  } catch (...) {
    give_back(nullptr);
    throw;
  }
  return {*this, std::move(found)};
}

double Database::clock() {
  constexpr std::chrono::seconds stale{15};
  const auto elapsed = [this] { return std::chrono::duration<double, std::milli>(Clock::now() - clock_read_).count(); };
  {
    const std::scoped_lock lock(mutex_);
    if (clock_ > 0 && Clock::now() - clock_read_ < stale) return clock_ + elapsed();
  }
  const double now = std::stod(take()->query("SELECT extract(epoch FROM pg_catalog.clock_timestamp()) * 1000").value());
  const std::scoped_lock lock(mutex_);
  clock_ = now;
  clock_read_ = Clock::now();
  return now;
}

void Database::give_back(std::unique_ptr<Connection> connection) {
  {
    const std::scoped_lock lock(mutex_);
    ++room_;
    if (connection && connection->is_usable()) idle_.push_back(std::move(connection));
  }
  given_back_.notify_one();
}

}  // namespace insula::cli::dashboard
