// Every call of a runner to the extension, in one place: what is sent, and how the answer
// reads.  (Those of DatabaseAdmin are in admin_calls.hpp.)  The functions build statements, the read_ functions decode
// rows; no connection here.
//
// `tenant` empty means NULL: the tenant is the connection's own login.
#pragma once

#include "wire/pq.hpp"

#include <insula/result.hpp>
#include <insula/runner.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace insula::wire {

using Ids = std::vector<std::int64_t>;

// One task of a claim.
struct Claimed {
  std::string tenant;
  std::int64_t task_id = 0;
  std::int64_t lease = 0;
  std::int64_t execution_id = 0;
  std::string workflow;
  int version = 0;
  std::string task;
  int attempt = 0;
  int max_attempts = 0;
  std::string context;                                 // JSON, as the next two
  std::string event;                                   // empty: none came
  std::string item;                                    // empty: no task for each of something
  std::optional<std::chrono::milliseconds> time_left;  // of its timeout; nullopt: it has none
};

// A completed task, ready to be told to the server.
struct Completion {
  std::int64_t task_id = 0;
  std::int64_t lease = 0;
  std::string patch;  // JSON; empty: no change
};

// --- around a call
// The name of the function that a statement calls, for people.
std::string function_of(const Statement& statement);

// --- starting and looking at executions
Statement register_workflow(const std::string& definition, const std::string& tenant);
Statement submit(std::string_view workflow, const Context& context, const SubmitOptions& options,
                 const std::string& tenant);
Statement submit_once(std::string_view workflow, const Context& context, const SubmitOptions& options,
                      const std::string& tenant);
Submitted read_submitted(const Rows& rows);
Statement submit_many(std::string_view workflow, std::span<const Context> contexts, const SubmitManyOptions& options,
                      const std::string& tenant);
Ids read_numbers(const Rows& rows);
Statement cancel(std::int64_t execution_id, std::string_view reason);
Statement pause(std::int64_t execution_id, std::string_view reason);
Statement resume(std::int64_t execution_id, std::string_view reason);
Statement retry(std::int64_t execution_id, std::string_view reason);
Statement send_event(std::int64_t execution_id, std::string_view event, const Value& payload,
                     std::string_view idempotency_key);
Statement pause_workflow(std::string_view workflow, const std::string& tenant);
Statement resume_workflow(std::string_view workflow, const std::string& tenant);
Statement explain(std::int64_t execution_id);
std::vector<TaskExplanation> read_explanations(const Rows& rows);
Statement result(std::int64_t execution_id);
std::int64_t read_number(const Rows& rows);  // register_workflow, submit, schedule
bool read_boolean(const Rows& rows);         // of those with a yes or no
Statement status_of(std::int64_t execution_id);
Status read_status_of(const Rows& rows);
// A result as the server has written it: a few times smaller than what is read of it.
struct ResultRow {
  std::int64_t execution_id = 0;
  std::string workflow;
  int version = 0;
  Status status;
  std::string final_context;  // JSON; empty: none
  std::string error;
  std::string tasks;  // JSON
  std::size_t size() const noexcept { return final_context.size() + error.size() + tasks.size(); }
};
std::vector<ResultRow> read_result_rows(const Rows& rows);
Result read_result(const ResultRow& row);  // throws insula::error
std::vector<Result> read_results(const Rows& rows);

// --- schedules
Statement schedule(std::string_view name, std::string_view workflow, std::string_view cron,
                   const ScheduleOptions& options, const std::string& tenant);
Statement unschedule(std::string_view name, const std::string& tenant);
Statement pause_schedule(std::string_view name, const std::string& tenant);
Statement resume_schedule(std::string_view name, const std::string& tenant);
Statement schedules(const std::string& tenant);
std::vector<ScheduleInfo> read_schedules(const Rows& rows);
Statement next_fires(std::string_view cron, std::string_view timezone, int n);
std::vector<std::chrono::system_clock::time_point> read_times(const Rows& rows);

// --- waiting for ends
// Registers the worker's interest and returns the results of those that have ended.
Statement watch(const std::string& worker, const Ids& executions);

// --- working
// The tenants that a worker of all tenants serves now; all empty: every tenant.
struct TenantChoice {
  int max_per_tenant = 0;  // of one claim; 0: any number
  std::vector<std::string> only = {};
  std::vector<std::string> except = {};
};

// Claims what is ready; if nothing is, waits first, up to the timeout.
Statement claim_when_ready(std::chrono::milliseconds timeout, const std::string& worker,
                           const std::vector<std::string>& tasks, std::size_t max_tasks,
                           std::chrono::milliseconds lease, const std::string& tenant, const TenantChoice& choice);
struct Claims {
  std::vector<Claimed> tasks;
  bool news = false;                    // of something else than tasks
  std::chrono::microseconds waited{0};  // by the server, before it claimed
};
Claims read_claims(const Rows& rows);  // throws insula::error
Statement complete(const Completion& completion);
Statement complete_batch(const std::vector<Completion>& completions);
// The tasks of a batch that were not completed.
struct NotCompleted {
  std::size_t place;  // in the batch
  enum Reason {
    lost,    // the lease
    failed,  // the task, with the error, since the server refused its patch
    later,   // not now, ask again
  } reason;
  std::string sqlstate;
  std::string error;
  bool for_good;  // it failed, and does not run again
};
std::vector<NotCompleted> read_not_completed(const Rows& rows, std::size_t completions);  // throws insula::error
struct Failed {
  std::string_view why;
  bool retryable = true;
  std::optional<std::chrono::milliseconds> retry_in = {};  // nullopt: as the task's policy says
  int free_retries = 0;                                    // with that
};
Statement fail(std::int64_t task_id, std::int64_t lease, const Failed& failed);
bool read_failed_for_good(const Rows& rows);
// A running task's word on itself; nullopt leaves what was said before.
struct Progress {
  std::optional<std::string> checkpoint = {};  // JSON
  std::optional<double> reached = {};
  std::optional<std::string> note = {};
};
Statement save_progress(std::int64_t task_id, std::int64_t lease, const Progress& progress);
std::optional<bool> read_saved(const Rows& rows);  // false: the lease is lost; nullopt: not now, ask again
Statement checkpoint(std::int64_t task_id, std::int64_t lease);
struct Checkpoint {
  std::optional<Value> saved;  // nullopt: nothing
  bool lost = false;           // the lease
};
Checkpoint read_checkpoint(const Rows& rows);  // throws insula::error
// Reads the answer to any report of one task: false means that the lease was lost.
bool read_accepted(const Rows& rows);
Statement defer_to(std::int64_t task_id, std::int64_t lease, std::chrono::system_clock::time_point when,
                   const std::string& patch);
Statement defer_by(std::int64_t task_id, std::int64_t lease, std::chrono::milliseconds delay, const std::string& patch);
Statement wait_event(std::int64_t task_id, std::int64_t lease, const std::string& event,
                     std::optional<std::chrono::milliseconds> timeout, const std::string& patch);
Statement submit_child(std::int64_t task_id, std::int64_t lease, const std::string& workflow,
                       const std::string& context);
Statement join_task(std::int64_t task_id, std::int64_t lease, const std::string& tenant);
Statement heartbeat(const Ids& tasks, const Ids& leases, std::chrono::milliseconds lease);
std::vector<std::pair<std::int64_t, std::string>> read_stops(const Rows& rows);  // task, reason
Statement nudge(const std::string& worker);
Statement leave(const std::string& worker);

// --- the tenants of a runner
Statement current_tenant();
Statement serves_all();  // whether the user may work for all tenants
Statement ensure_tenant(std::string_view schema);

}  // namespace insula::wire
