// Cluster: a throw-away server, and the questions that tests ask it.  Speaks to it by libpq
// alone, so that it needs nothing of the library that is not public.
#include "testing/server.hpp"
#include "wire/forever.hpp"

#include <insula/error.hpp>
#include <insula/testing.hpp>

#include <libpq-fe.h>

#include <mutex>
#include <thread>
#include <utility>

namespace insula::testing {

namespace {

using namespace std::chrono_literals;

std::vector<std::string> settings_of(const ClusterOptions& options) {
  std::vector<std::string> settings;
  if (options.preload) settings.emplace_back("shared_preload_libraries = 'insula'");
  settings.insert(settings.end(), options.settings.begin(), options.settings.end());
  return settings;
}

// Whether `whole` holds at least what `part` does.
bool holds(const Context& whole, const Context& part) {
  for (const std::string& key : part.keys()) {
    const Value* here = whole.find(key);
    const auto inner = part.get<Context>(key);
    const auto inner_here = whole.get<Context>(key);
    if (!here || (inner && inner_here ? !holds(*inner_here, *inner) : !(*here == *part.find(key)))) return false;
  }
  return true;
}

}  // namespace

struct Cluster::Impl {
  explicit Impl(const ClusterOptions& options)
      : server(find_bindir(options.bindir), settings_of(options)),
        connection_string("host=" + server.directory().string() + " port=5432 user=postgres dbname=postgres"),
        conn(PQconnectdb(connection_string.c_str()), PQfinish) {
    PQsetNoticeProcessor(
        conn.get(), [](void*, const char*) {}, nullptr);
  }

  Server server;
  std::string connection_string;
  std::chrono::milliseconds move_clock(std::chrono::milliseconds by) {
    const std::lock_guard lock{mutex};
    return clock_ahead = wire::bounded(clock_ahead + wire::bounded(by));
  }

  std::mutex mutex;
  std::chrono::milliseconds clock_ahead{0};         // under mutex
  std::unique_ptr<PGconn, void (*)(PGconn*)> conn;  // under mutex
};

Cluster::Cluster(ClusterOptions options) : impl_(std::make_unique<Impl>(options)) {
  try {
    query("CREATE EXTENSION insula");
  } catch (const error& e) {
    if (e.sqlstate() != "0A000" && e.sqlstate() != "58P01") throw;
    throw error{errc::extension_missing, missing_extension, e.sqlstate(), false};
  }
}
Cluster::~Cluster() = default;

const std::string& Cluster::connection_string() const noexcept { return impl_->connection_string; }

std::vector<std::vector<std::string>> Cluster::query(const std::string& sql, const std::vector<std::string>& params) {
  std::vector<const char*> values;
  values.reserve(params.size());
  for (const std::string& param : params) values.push_back(param.c_str());
  const std::lock_guard lock{impl_->mutex};
  const std::unique_ptr<PGresult, void (*)(PGresult*)> result{
      PQexecParams(impl_->conn.get(), sql.c_str(), static_cast<int>(values.size()), nullptr, values.data(), nullptr,
                   nullptr, 0),
      PQclear};
  const auto status = PQresultStatus(result.get());
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
    const char* state = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
    throw error{errc::server, PQerrorMessage(impl_->conn.get()), state ? state : "", false};
  }
  std::vector<std::vector<std::string>> rows;
  for (int row = 0; row < PQntuples(result.get()); ++row) {
    auto& columns = rows.emplace_back();
    for (int column = 0; column < PQnfields(result.get()); ++column)
      columns.emplace_back(PQgetvalue(result.get(), row, column));
  }
  return rows;
}

void Cluster::drain(std::chrono::milliseconds within) {
  const auto deadline = std::chrono::steady_clock::now() + wire::bounded(within);
  for (;;) {
    const auto busy = query(
        "SELECT tenant || ': ' || ready || ' ready, ' || running || ' running' FROM insula.tenant_activity "
        "WHERE ready + running > 0");
    if (busy.empty()) return;
    if (std::chrono::steady_clock::now() > deadline)
      throw error{errc::limit, "drain: there is work left: " + busy.front().front()};
    std::this_thread::sleep_for(5ms);
  }
}

std::vector<Enqueued> Cluster::enqueued(const std::string& tenant, const std::string& workflow) {
  const auto schema =
      query("SELECT pg_catalog.quote_ident(schema_name) FROM insula.tenants WHERE tenant = $1", {tenant});
  if (schema.empty()) throw error{errc::not_found, "there is no tenant \"" + tenant + "\""};
  std::vector<Enqueued> found;
  for (const auto& row : query("SELECT execution_id, status, context, priority FROM " + schema.front().front() +
                                   ".workflow_executions WHERE workflow = $1 ORDER BY execution_id",
                               {workflow}))
    found.push_back({std::stoll(row[0]), row[1], Context::from_json(row[2]), std::stoi(row[3])});
  return found;
}

Enqueued Cluster::require_enqueued(const std::string& tenant, const std::string& workflow, const Context& input) {
  const std::vector<Enqueued> all = enqueued(tenant, workflow);
  std::string others;
  for (const Enqueued& one : all) {
    if (holds(one.context, input)) return one;
    others += "\n  " + one.context.to_json();
  }
  throw error{errc::not_found, "no execution of \"" + workflow + "\" has " + input.to_json() + " in its input" +
                                   (all.empty() ? "; there are none at all" : "; there are" + others)};
}

void Cluster::advance_clock(std::chrono::milliseconds by) {
  // The database's clock is as far ahead as we have moved it.
  const std::chrono::milliseconds ahead = impl_->move_clock(by);
  query("CALL insula.advance_clock(pg_catalog.clock_timestamp() + '" + std::to_string(ahead.count()) +
        " ms'::interval)");
}

}  // namespace insula::testing
