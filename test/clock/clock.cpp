// See clock.hpp.
#include "clock.hpp"

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace clock_test {

std::string server_log() {
  std::ifstream file(environment("INSULA_SERVER_LOG"));
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

int count_in(const std::string& text, const std::string& part) {
  int count = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++count;
  return count;
}

Clock::Clock(std::string database) : database_(std::move(database)) {
  Session server;
  if (server.query("SELECT count(*) FROM pg_database WHERE datname = '" + database_ + "'") == "0")
    server.query("CREATE DATABASE " + database_);
  reconnect();
  query("CREATE EXTENSION IF NOT EXISTS insula");
}

void Clock::reconnect() {
  session_ = std::make_unique<Session>("dbname=" + database_);
  query("SET client_min_messages = error");
}

// The process would be in the way of what is done to the database next, or be ended by it.
void Clock::disconnect() {
  if (!session_) return;
  const std::string process = "SELECT count(*) FROM pg_stat_activity WHERE pid = " + std::to_string(session_->pid());
  session_.reset();
  if (!Session::reachable()) return;
  Session server;
  EXPECT_TRUE(eventually([&] { return server.query(process) == "0"; }));
}

void Clock::while_stopped(const std::function<void()>& work) {
  query("SELECT insula.stop_scheduler()");
  EXPECT_TRUE(eventually([&] { return scheduler().empty(); }));
  work();
  query("SELECT insula.start_scheduler()");
}

std::string Clock::status() { return query("SELECT value FROM insula.status() WHERE item = 'scheduler'"); }

std::string Clock::scheduler() {
  return query(
      "SELECT pid FROM pg_stat_activity WHERE backend_type = 'insula scheduler' AND datname = current_database()");
}

bool Clock::served() {
  const std::string now = status();
  return now.find("running") == 0 || now.find("asleep") == 0 || now.find("about") == 0;
}

void Clock::advance(const std::string& to) { query("CALL insula.advance_clock(" + to + ")"); }

Tenant::Tenant(Clock& clock, const std::string& name) : clock_(clock), name_(name) {
  static int made = 0;
  ++made;
  if (name_.empty()) name_ = "tenant" + std::to_string(made);
  // Roles outlive a database that is dropped.
  query("SELECT insula.create_tenant('{t}', username => '{t}_" + std::to_string(made) + "')");
  query(R"(SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => '{t}'))");
}

std::string Tenant::filled(std::string sql) const {
  const auto replace = [&sql](const std::string& what, const std::string& by) {
    for (auto at = sql.find(what); at != std::string::npos; at = sql.find(what, at + by.size()))
      sql.replace(at, what.size(), by);
  };
  replace("{t}", name_);
  replace("{s}", "tenant_" + name_);
  return sql;
}

std::string Tenant::schedule(const std::string& name, const std::string& cron, const std::string& more) {
  return query("SELECT insula.schedule('" + name + "', 'w', '" + cron + "', tenant => '{t}'" +
               (more.empty() ? "" : ", " + more) + ")");
}

void Tenant::move_back(const std::string& schedule, const std::string& by) {
  query("UPDATE {s}.record SET at = at - interval '" + by + "' WHERE kind = 'd' AND name = '" + schedule + "'");
}

int Tenant::executions(const std::string& where) {
  return std::stoi(query("SELECT count(*) FROM {s}.workflow_executions WHERE " + where));
}

bool Tenant::soon(int count, const std::string& where) {
  return eventually([&] { return executions(where) == count; });
}

bool Tenant::soon_at_least(int count, const std::string& where) {
  return eventually([&] { return executions(where) >= count; });
}

int Tenant::fires() { return std::stoi(query("SELECT count(*) FROM {s}.record WHERE kind = 'f'")); }

void Tenant::work() {
  query("SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 1000, tenant => '{t}')");
}

std::string Tenant::trouble() { return query("SELECT error FROM insula.tenants WHERE tenant = '{t}'"); }

Served::Served(const std::string& name, const std::string& more) : clock_(name), tenant_(clock_, name + "_tenant") {
  tenant_.schedule("s", "* * * * * *", more);
}

bool Served::fires() {
  const int before = tenant_.executions();
  return eventually([&] { return tenant_.executions() > before; });
}

void expect_every_second_once(Tenant& tenant) {
  const std::string answer = tenant.query(
      "SELECT CASE WHEN count(*) <> count(DISTINCT (id, at)) THEN 'doubled' WHEN bool_or(per_schedule <> span) THEN "
      "'missing' ELSE 'once' END FROM (SELECT id, at, count(*) OVER s AS per_schedule, "
      "extract(epoch FROM max(at) OVER s - min(at) OVER s) + 1 AS span FROM (SELECT context ->> 'schedule_id' AS id, "
      "(context ->> 'scheduled_time')::timestamptz AS at FROM {s}.workflow_executions) e WINDOW s AS (PARTITION BY "
      "id)) x");
  EXPECT_EQ(answer, "once") << tenant.name();
}

}  // namespace clock_test
