// SPDX-License-Identifier: PostgreSQL
// Fleet: one process that works for all tenants of a database.
//
//   insula::Fleet fleet{"dbname=mydb user=fleet"};   // GRANT insula_runner TO fleet
//   fleet.add(workflow);                             // from here on its tasks run here, whosever they are
//   ...
//   fleet.shutdown();
//
// A tenant is data here, no connection: a Fleet has two connections (and those for handlers'
// transactions), whether it serves one tenant or ten thousand.  The server shares its slots
// out by the tenants' weights, holds each tenant to its limits (DatabaseAdmin::
// set_tenant_limits), and new tenants are served from their first task on.
//
// TaskContext::tenant() says whose task a handler is running.  Handlers' transactions are
// those of the Fleet's own user; insula::enqueue in them starts executions of the task's tenant.
//
// Like a Runner, a Fleet is a handle: copies share one runtime and may be used from any
// thread; what runner.hpp says of lifetime, reconnection and fork() holds here too.
#pragma once

#include <insula/execution.hpp>
#include <insula/export.hpp>
#include <insula/runner.hpp>
#include <insula/workflow.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace insula {

// Every field has a default; give those you want by name.  Those that RunnerConfig has too mean
// the same.
struct FleetConfig {
  int max_concurrent_tasks = 64;  // handlers at the same time, of all tenants
  // Handlers of one tenant at the same time, in this process; 0: as many as fit.  (Limits over
  // all processes are the server's: DatabaseAdmin::set_tenant_limits.)
  int max_concurrent_per_tenant = 0;
  // Tenants whose handlers run at the same time, in this process; 0: any number.  A tenant costs
  // no connection here, so there is seldom a reason to cap them.
  int max_tenants = 0;
  int max_connections = 5;
  std::chrono::milliseconds lease{60'000};
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds call_timeout{30'000};
  std::function<void(LogLevel, std::string_view)> log = {};
  std::shared_ptr<Observer> observer = {};
  std::vector<std::shared_ptr<Middleware>> middleware = {};
  std::string label = {};
  std::function<void(std::function<void()>)> executor = {};
};

class INSULA_EXPORT Fleet {
 public:
  class Tenant;

  // As Runner's.  The user is a member of insula_runner, which lets it work for everybody, and
  // neither read nor submit.
  explicit Fleet(std::string_view connection_string, FleetConfig config = {});

  // Begins to run the workflow's tasks, for each tenant that has registered it (by Tenant::
  // register_workflow, a Runner, or SQL).  Adding it again replaces the handlers.
  // Throws error{permission} if the user may not work for all tenants.
  void add(const Workflow& workflow, const AddOptions& options = {});

  // To start executions of one tenant, and to see to its schedules.  Takes more rights than to run them: those of the
  // tenant's login (GRANT acme_user TO fleet), or of insula_admin.  Nothing is sent yet.
  [[nodiscard]] Tenant tenant(std::string_view id) const;

  // As Runner's.
  ShutdownReport shutdown(ShutdownOptions options = {});
  ShutdownReport run_until_signal(ShutdownOptions options = {});

  [[nodiscard]] std::string metrics() const;  // nothing in it is by tenant
  const std::string& worker() const noexcept;

 private:
  std::shared_ptr<detail::RunnerHandle> handle_;
};

// One tenant of a Fleet.  A cheap handle that keeps the Fleet's runtime alive, usable from any
// thread.  The calls do, and throw, what those of the same name of Runner do; without the rights
// error{permission}.
class INSULA_EXPORT Fleet::Tenant {
 public:
  const std::string& id() const noexcept { return id_; }

  int register_workflow(const Workflow& workflow) const;  // returns the version
  Result execute(std::string_view workflow, const Context& context = {}, SubmitOptions options = {}) const;
  Execution execute_async(std::string_view workflow, const Context& context = {}, SubmitOptions options = {}) const;
  std::vector<Execution> submit_many(std::string_view workflow, std::span<const Context> contexts,
                                     const SubmitManyOptions& options = {}) const;
  [[nodiscard]] Execution execution(std::int64_t id) const;
  [[nodiscard]] Executions executions() const;

  bool pause_workflow(std::string_view workflow) const;
  bool resume_workflow(std::string_view workflow) const;

  std::int64_t schedule(std::string_view name, std::string_view workflow, std::string_view cron,
                        const ScheduleOptions& options = {}) const;
  bool unschedule(std::string_view name) const;
  bool pause_schedule(std::string_view name) const;
  bool resume_schedule(std::string_view name) const;
  std::vector<ScheduleInfo> schedules() const;
  [[nodiscard]] std::vector<std::chrono::system_clock::time_point> next_fires(std::string_view cron,
                                                                              std::string_view timezone = "UTC",
                                                                              int n = 5) const;

 private:
  friend class Fleet;
  Tenant(std::shared_ptr<detail::RunnerHandle> handle, std::string_view id) : handle_(std::move(handle)), id_(id) {}

  std::shared_ptr<detail::RunnerHandle> handle_;
  std::string id_;
};

}  // namespace insula
