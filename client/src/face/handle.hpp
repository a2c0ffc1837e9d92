// The state that the handles of one runtime share: copies of a Runner or Fleet, and Executions.  The
// runtime's threads never hold one, so the last handle's end is the runtime's.
#pragma once

#include "runtime/engine.hpp"
#include "wire/calls.hpp"

#include <insula/enqueue.hpp>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace insula::detail {

struct RunnerHandle {
  explicit RunnerHandle(Settings settings) : engine(std::make_unique<Engine>(std::move(settings))) {}
  RunnerHandle(const RunnerHandle&) = delete;
  RunnerHandle& operator=(const RunnerHandle&) = delete;
  ~RunnerHandle();

  // Throws error{would_deadlock} on the runtime's own threads.
  void refuse_in_handler(std::string_view what) const;

  // The new execution's id; if `wait` is set, its end is waited for from then on.
  std::int64_t submit(std::string_view workflow, const Context& context, const SubmitOptions& options,
                      const std::string& tenant, std::shared_ptr<WaitState> wait = nullptr) const;

  // With ids in place of Executions: those are made by its callers, whose friend Execution is.
  std::vector<std::int64_t> submit_many(std::string_view workflow, std::span<const Context> contexts,
                                        const SubmitManyOptions& options, const std::string& tenant) const;

  // Calls that are safe to repeat, and answer yes or no, or with a number.
  bool ask(wire::Statement statement, std::string tenant = {}) const;
  std::int64_t ask_number(wire::Statement statement, std::string tenant = {}) const;

  // The name of a tenant of which a runner knows `tenant`: that, or the one whose login it uses, for which the first
  // call asks the server.
  std::string tenant_name(const std::string& tenant) const;
  // A result as its caller is to see it.  `tenant`: as above.
  Result shown(Result result, const std::string& tenant) const;

  // With the input of the schedule's executions as the middleware makes it.
  ScheduleOptions prepared(const ScheduleOptions& options, const std::string& tenant) const;

  // The tenant that a Runner works for; empty: the one whose login it uses.
  const std::string& tenant() const noexcept { return engine->settings().tenant; }

  ShutdownReport shutdown(const ShutdownOptions& options) const;
  ShutdownReport run_until_signal(const ShutdownOptions& options) const;

  std::unique_ptr<Engine> engine;

 private:
  // The submission as the middleware makes it; nullopt: there is none.
  std::optional<Submission> prepared(std::string_view workflow, const Context& context, const std::string& traceparent,
                                     const std::string& tenant) const;

  mutable std::mutex name_mutex_;
  mutable std::string name_;  // of the tenant whose login it uses; empty: not asked; under name_mutex_
};

}  // namespace insula::detail
