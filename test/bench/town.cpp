// The database of the bars T; see town.hpp.
#include "town.hpp"

#include <fmt/format.h>

#include <fstream>
#include <thread>

namespace bench {

Town::Town(const std::string& name) : name_(name) {
  Sql admin;
  admin.value(fmt::format("DROP DATABASE IF EXISTS {} WITH (FORCE)", name));
  admin.value(fmt::format("CREATE DATABASE {}", name));
  sql_ = std::make_unique<Sql>(name);
  sql_->value("SET client_min_messages = error");
  sql_->value("CREATE EXTENSION insula");
  if (sql_->value("SELECT count(*) FROM pg_roles WHERE rolname = 'bench_fleet'") == "0")
    sql_->value("CREATE ROLE bench_fleet LOGIN");
  sql_->value("GRANT insula_runner TO bench_fleet");
}

Town::~Town() {
  sql_.reset();
  (void)Sql().ask(fmt::format("DROP DATABASE {} WITH (FORCE)", name_));
}

std::string Town::name_of(int tenant) { return fmt::format("t_{}", tenant); }

void Town::grow(int count) {
  // Roles outlive the database.
  static int roles = 0;
  for (; tenants_ < count; ++tenants_) {
    const std::string tenant = name_of(tenants_);
    sql_->value(fmt::format("SELECT insula.create_tenant('{0}', username => 'bench_user_{1}')", tenant, roles++));
    sql_->value(fmt::format(
        "SELECT insula.register_workflow('{{\"name\": \"w\", \"tasks\": [{{\"id\": \"a\"}}]}}', tenant => '{}')",
        tenant));
  }
}

TownFleet::TownFleet(const Town& town, int handlers, std::chrono::microseconds task, int handlers_per_tenant) {
  fleet_ = std::make_unique<insula::Fleet>(fmt::format("user=bench_fleet dbname={}", town.database()),
                                           insula::FleetConfig{.max_concurrent_tasks = handlers,
                                                               .max_concurrent_per_tenant = handlers_per_tenant,
                                                               .max_connections = 8});
  fleet_->add(insula::Workflow::builder("w")
                  .task("a",
                        [this, task](insula::TaskContext& context) {
                          const Start start = {context.tenant(), context.get<long>("n").value_or(0), Clock::now()};
                          {
                            const std::lock_guard lock{mutex_};
                            starts_.push_back(start);
                            ++count_;
                          }
                          if (task.count() > 0) std::this_thread::sleep_for(task);
                        })
                  .build());
}

TownFleet::~TownFleet() { (void)fleet_->shutdown({.drain = std::chrono::seconds{30}}); }

std::vector<TownFleet::Start> TownFleet::starts() {
  const std::lock_guard lock{mutex_};
  return std::exchange(starts_, {});
}

long TownFleet::count() {
  const std::lock_guard lock{mutex_};
  return count_;
}

std::vector<std::string> TownFleet::pids(Sql& sql) const {
  std::vector<std::string> pids;
  for (const auto& row : sql.rows("SELECT pid FROM pg_stat_activity WHERE usename = 'bench_fleet'", {}))
    pids.push_back(row[0]);
  return pids;
}

double memory_of(const std::string& pid) {
  std::ifstream status("/proc/" + pid + "/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("RssAnon:")) return std::strtod(line.c_str() + 8, nullptr) / 1024;
  return 0;
}

}  // namespace bench
