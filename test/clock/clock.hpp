// The parts that the tests of the clock share: databases and tenants of their own, schedules whose
// past can be chosen, and the processes that serve them.  Nothing is timed: a schedule that
// shall have missed a day is moved back by a day while no scheduler runs.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "support/session.hpp"

namespace clock_test {

using namespace insula_test;

constexpr char every_second[] = "* * * * * *";

std::string server_log();
int count_in(const std::string& text, const std::string& part);

// A session as administrator in a database that has the extension.
class Clock {
 public:
  explicit Clock(std::string database = "clock");  // made if missing

  std::string query(const std::string& sql) { return session_->query(sql); }
  std::string error(const std::string& sql) { return session_->error(sql); }
  Session& session() { return *session_; }
  void reconnect();
  void disconnect();  // and waits until the session's process has ended, unless the server stops
  const std::string& database() const { return database_; }

  // Runs the work while no scheduler does; then one is to look at everything.
  void while_stopped(const std::function<void()>& work);
  std::string status();                 // of the scheduler, as insula.status() has it
  std::string scheduler();              // its process; empty: none
  bool served();                        // one runs, or will when something is due
  void advance(const std::string& to);  // the clock, to an SQL expression

 private:
  std::string database_;
  std::unique_ptr<Session> session_;
};

// A tenant of its own for a test, with a workflow w of one task.
class Tenant {
 public:
  explicit Tenant(Clock& clock, const std::string& name = "");

  const std::string& name() const { return name_; }
  std::string query(const std::string& sql) { return clock_.query(filled(sql)); }
  std::string error(const std::string& sql) { return clock_.error(filled(sql)); }
  // {t}: the tenant's name; {s}: its schema.
  std::string filled(std::string sql) const;

  // insula.schedule(name, 'w', ...) with more arguments; returns the id.
  std::string schedule(const std::string& name, const std::string& cron, const std::string& more = "");
  // While no scheduler runs: as if the schedule had been made so much earlier.
  void move_back(const std::string& schedule, const std::string& by);

  int executions(const std::string& where = "true");
  bool soon(int executions, const std::string& where = "true");
  bool soon_at_least(int executions, const std::string& where = "true");
  // Fires that were made or passed over.
  int fires();
  // A worker runs what is ready.
  void work();
  std::string trouble();  // the error that insula.tenants shows

 private:
  Clock& clock_;
  std::string name_;
};

// A database with a schedule that fires each second, whatever is done to it.
class Served {
 public:
  explicit Served(const std::string& name, const std::string& more = "");
  Clock& clock() { return clock_; }
  Tenant& tenant() { return tenant_; }
  bool fires();
  void leave() { clock_.disconnect(); }

 private:
  Clock clock_;
  Tenant tenant_;
};

// Every second from the first fire to the last has one fire and one execution.
void expect_every_second_once(Tenant& tenant);

}  // namespace clock_test
