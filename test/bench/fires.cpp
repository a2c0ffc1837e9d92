// T7: fires on time.  Ten schedules a tenant, each hour at a minute and second of its own, so
// that fires come one by one, all the time, each at another tenant.  First nothing is due for
// an hour: the server then runs no transaction.  Then the clock is moved to that hour, and
// how late each fire is is read from its execution.
#include "bench.hpp"

#include <fmt/format.h>

#include <chrono>
#include <fstream>
#include <thread>

namespace bench {
namespace {

constexpr int schedules_each = 10;

std::string scheduler_pid(Sql& sql) {
  return sql.value("SELECT pid FROM pg_stat_activity WHERE backend_type = 'insula scheduler'");
}

void make_tenants(Sql& sql, int tenants, const std::string& starts_at) {
  sql.value("SET client_min_messages = warning");
  for (int i = 0; i < tenants; ++i) {
    const std::string tenant = fmt::format("t7_{}", i);
    sql.value(fmt::format("SELECT insula.create_tenant('{0}', '{0}', login => false)", tenant));
    sql.value(fmt::format(
        "SELECT insula.register_workflow('{{\"name\": \"w\", \"tasks\": [{{\"id\": \"a\"}}]}}', tenant => '{}')",
        tenant));
    // Primes spread the fires over the hour's 3,600 seconds, and over the tenants.
    sql.value(
        fmt::format("SELECT count(insula.schedule('s' || n, 'w', format('%s %s * * * *', at % 60, at / 60), "
                    "starts_at => '{}', tenant => '{}')) "
                    "FROM generate_series(1, {}) n, LATERAL (SELECT ({} * 7919 + n * 1013) % 3600) a(at)",
                    starts_at, tenant, schedules_each, i));
    // A session counts its transactions in its own time.
    if (i + 1 == tenants) sql.value("SELECT pg_stat_force_next_flush()");
    if ((i + 1) % 1000 == 0) tell(fmt::format("{} tenants", i + 1));
  }
}

// How late each of the tenants' executions was, in milliseconds.
std::vector<double> lateness(Sql& sql, int tenants) {
  std::vector<double> late;
  for (int i = 0; i < tenants; ++i) {
    std::string list = sql.value(
        fmt::format("SELECT string_agg((extract(epoch FROM created_at - (context ->> 'scheduled_time')::timestamptz) "
                    "* 1000)::text, ' ') FROM t7_{}.workflow_executions",
                    i));
    for (const char* at = list.c_str(); *at;) {
      char* end;
      late.push_back(std::strtod(at, &end));
      at = *end ? end + 1 : end;
    }
  }
  return late;
}

double resident_megabytes(const std::string& pid) {
  std::ifstream status("/proc/" + pid + "/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("RssAnon:")) return std::strtod(line.c_str() + 8, nullptr) / 1024;
  return 0;
}

// Autovacuum runs transactions of its own.
void set_autovacuum(Sql& sql, const char* state) {
  sql.value(fmt::format("ALTER SYSTEM SET autovacuum = {}", state));
  sql.value("SELECT pg_reload_conf()");
}

// The number of transactions in the database while nothing is due for `seconds`.
double idle_transactions(Sql& watcher, int seconds) {
  const std::string count = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 't7'";
  const auto settled = [&] {
    const std::string before = watcher.value(count);
    std::this_thread::sleep_for(std::chrono::seconds(3));
    return watcher.value("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'insula scheduler'") == "0" &&
           watcher.value(count) == before;
  };
  for (int tries = 0; !settled(); ++tries)
    if (tries == 100) give_up("the scheduler finds no rest");
  const double before = std::stod(watcher.value(count));
  std::this_thread::sleep_for(std::chrono::seconds(seconds));
  return std::stod(watcher.value(count)) - before;
}

}  // namespace

std::vector<Figure> fire_lateness() {
  const int tenants = quick() ? 500 : 10000;
  const int seconds = quick() ? 20 : 60;
  Sql watcher;
  watcher.value("DROP DATABASE IF EXISTS t7 WITH (FORCE)");
  watcher.value("CREATE DATABASE t7");
  std::vector<double> late;
  double memory = 0;
  double idle = 0;
  {
    const auto sql = std::make_unique<Sql>("t7");
    sql->value("CREATE EXTENSION insula");
    const std::string hour = sql->value("SELECT date_trunc('hour', now()) + interval '3 hours'");
    make_tenants(*sql, tenants, hour);
    tell(fmt::format("{} schedules; an idle minute", tenants * schedules_each));
    set_autovacuum(watcher, "off");
    idle = idle_transactions(watcher, seconds);
    set_autovacuum(watcher, "on");
    sql->value(fmt::format("CALL insula.advance_clock(timestamptz '{}' - interval '5 seconds')", hour));
    for (int second = 0; second < seconds; ++second) {
      std::this_thread::sleep_for(std::chrono::seconds(1));
      const std::string pid = scheduler_pid(watcher);
      if (!pid.empty()) memory = std::max(memory, resident_megabytes(pid));
    }
    sql->value("SELECT insula.stop_scheduler()");
    late = lateness(*sql, tenants);
  }
  watcher.value("DROP DATABASE t7 WITH (FORCE)");
  if (late.size() < static_cast<std::size_t>(tenants / 100)) give_up(fmt::format("only {} fires", late.size()));
  const double p99 = quantile(late, 0.99);
  tell(fmt::format("{} fires, {:.1f} a second, median {:.2f} ms late", late.size(),
                   static_cast<double>(late.size()) / (seconds - 5), quantile(late, 0.5)));
  const std::string what = fmt::format("{} schedules of {} tenants", tenants * schedules_each, tenants);
  return {{"T7.late", "p99 lateness of a fire", p99, "ms", p99, 100, true, what, quantile(late, 0.5), highest(late)},
          {"T7.idle", "transactions while nothing is due", idle, fmt::format("in {} s", seconds), idle, 0, true, what,
           idle, idle},
          {"T7.memory", "the scheduler's memory, at most", memory, "MB", memory, 200, true, what, memory, memory}};
}

}  // namespace bench
