// SPDX-License-Identifier: PostgreSQL
// Executions: to look at many executions of a tenant, and to steer them.
//
//   const insula::Executions all = runner.executions();              // or fleet.tenant("acme").executions()
//   insula::ExecutionFilter failed{.workflow = "orders", .status = insula::Status::failed};
//   for (insula::ExecutionPage page = all.list(failed);; page = all.list(failed, page.next)) {
//     for (const insula::ExecutionInfo& one : page.executions) std::cout << one.id << ": " << one.error << '\n';
//     if (page.next == 0) break;
//   }
//   for (const insula::FailureGroup& group : all.failures())         // the most frequent first
//     std::cout << group.failed << " times: " << group.error << '\n';
//   std::vector<std::int64_t> retried = all.retry({.workflow = "orders"}, {.reason = "the bank is back"});
#pragma once

#include <insula/context.hpp>
#include <insula/error.hpp>
#include <insula/export.hpp>
#include <insula/result.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace insula {

namespace detail {
struct RunnerHandle;
}

// Every field narrows the choice.
struct ExecutionFilter {
  std::string workflow = {};  // empty: any
  std::optional<Status> status = {};
  std::optional<std::chrono::system_clock::time_point> created_after = {};  // or then
  std::optional<std::chrono::system_clock::time_point> created_before = {};
  std::string error = {};  // a part of its error
  Context context = {};    // that its input contains
};

// An execution in a list: all but its contexts and tasks.
struct ExecutionInfo {
  std::int64_t id = 0;
  std::string workflow;
  int version = 0;
  Status status;
  int priority = 0;
  std::chrono::system_clock::time_point created_at;
  std::optional<std::chrono::system_clock::time_point> started_at;
  std::optional<std::chrono::system_clock::time_point> finished_at;
  std::string error;  // empty: none
};

struct ExecutionPage {
  std::vector<ExecutionInfo> executions;  // the newest first
  std::int64_t next = 0;                  // where the next page begins; 0: this is the last
};

// Failures of one task that say the same but for the numbers and ids in it.
struct FailureGroup {
  std::string workflow;
  std::string task;           // empty: executions that failed by themselves, as by their timeout
  std::string error;          // with # for numbers and ids
  std::int64_t failed = 0;    // tasks, for good
  std::int64_t retrying = 0;  // tasks that run again
  std::chrono::system_clock::time_point first_at;
  std::chrono::system_clock::time_point last_at;
  std::int64_t example = 0;  // the newest such execution
};

// Which executions a verb for many applies to.
struct ExecutionChoice {
  std::string workflow = {};          // empty: any
  std::optional<Status> status = {};  // none: any to which the verb can apply
  // Submitted longer ago, or for those that have ended: ended longer ago.
  std::optional<std::chrono::milliseconds> older_than = {};
};

struct BulkOptions {
  std::string reason = {};
  bool dry_run = false;  // true: returns those to which it would apply, and changes nothing
  int most = 10'000;     // in one call, which is one transaction; up to 100,000
};

// A cheap handle, usable from any thread; it keeps its runner's runtime alive.  Everything throws insula::error.
class INSULA_EXPORT Executions {
 public:
  // A page of those that fit, of up to `size`, 1 to 10,000; `after`: the `next` of the page before.
  [[nodiscard]] ExecutionPage list(const ExecutionFilter& filter = {}, std::int64_t after = 0, int size = 100) const;
  // The failures since that long ago, of one workflow or of all (empty), most often first.
  [[nodiscard]] std::vector<FailureGroup> failures(std::string_view workflow = {},
                                                   std::chrono::milliseconds since = std::chrono::hours{24}) const;

  // Execution's calls of these names, applied to each that fits, oldest first.  They return the ids of those that they
  // have changed, or would change: as many as BulkOptions::most, there may be more.  None is repeated when a
  // connection breaks: error::outcome_unknown() says so.
  std::vector<std::int64_t> cancel(const ExecutionChoice& which, const BulkOptions& options = {}) const;
  std::vector<std::int64_t> pause(const ExecutionChoice& which, const BulkOptions& options = {}) const;
  std::vector<std::int64_t> resume(const ExecutionChoice& which, const BulkOptions& options = {}) const;
  std::vector<std::int64_t> retry(const ExecutionChoice& which, const BulkOptions& options = {}) const;
  // Ended ones go, with their tasks, history and idempotency keys.
  std::vector<std::int64_t> remove(const ExecutionChoice& which, const BulkOptions& options = {}) const;

 private:
  friend class Fleet;
  friend class Runner;
  Executions(std::shared_ptr<detail::RunnerHandle> handle, std::string tenant)
      : handle_(std::move(handle)), tenant_(std::move(tenant)) {}

  std::vector<std::int64_t> apply(std::string_view verb, const ExecutionChoice& which,
                                  const BulkOptions& options) const;

  std::shared_ptr<detail::RunnerHandle> handle_;
  std::string tenant_;  // empty: the connection's own login
};

}  // namespace insula
