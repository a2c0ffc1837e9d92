// The statements.  Each is complete in itself: no session state, no prepared name; and means the
// same whatever the session's search_path is, so that types and operators are qualified too.
#include "wire/calls.hpp"

#include "wire/binary.hpp"
#include "wire/forever.hpp"
#include "wire/params.hpp"

#include <insula/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace insula::wire {

namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

Param array_or_null(const std::vector<std::string>& values) { return values.empty() ? Param{} : array_of(values); }

std::string number(std::int64_t value) { return std::to_string(value); }

// The moment at which a delay ends that begins then; the clock's last at most.
std::chrono::system_clock::time_point delayed(std::chrono::system_clock::time_point when, milliseconds delay) {
  delay = std::clamp(delay, -forever, forever);
  const auto last = std::chrono::system_clock::time_point::max();
  return delay.count() > 0 && when > last - delay ? last : when + delay;
}

bool is_traceparent(std::string_view text) {
  constexpr std::string_view form = "00-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh";
  if (text.size() != form.size()) return false;
  for (std::size_t i = 0; i < form.size(); ++i) {
    const bool hex = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f');
    if (form[i] == 'h' ? !hex : text[i] != form[i]) return false;
  }
  return true;
}

std::string input_of(const Context& context, const std::string& traceparent) {
  if (traceparent.empty()) return context.to_json();
  if (!is_traceparent(traceparent))
    throw error{errc::invalid, fmt::format("\"{}\" is no W3C traceparent", traceparent)};
  return context.with(traceparent_key, traceparent).to_json();
}

// The columns of result and watch; read_results knows the order.  `tasks` is wrapped, so
// that it is an object.
#define INSULA_RESULT_COLUMNS                                                   \
  "r.execution_id, r.workflow, r.version, r.status, r.final_context, r.error, " \
  "pg_catalog.jsonb_build_object('tasks', r.tasks)"

std::vector<TaskResult> read_tasks(std::string_view json) {
  std::vector<TaskResult> tasks;
  const Context wrapper = Context::from_json(json);
  for (const Context& task : wrapper.get<std::vector<Context>>("tasks").value_or(std::vector<Context>{}))
    tasks.push_back({task.get<std::string>("task").value_or(""),
                     Status::from_name(task.get<std::string>("status").value_or("")),
                     task.get<int>("attempt").value_or(0), task.get<std::string>("error").value_or(""),
                     task.get<double>("progress"), task.get<std::string>("note").value_or("")});
  return tasks;
}

// Whatever the server says: no clock of its own runs backwards by much, or for years.
microseconds between(std::int64_t earlier, std::int64_t later) {
  constexpr microseconds most = std::chrono::hours{24 * 366};
  const std::int64_t passed =
      static_cast<std::int64_t>(static_cast<std::uint64_t>(later) - static_cast<std::uint64_t>(earlier));
  return std::clamp(microseconds{passed}, -most, most);
}

// A field of insula.claimed_task, in the binary format.
std::string text_of(const BinaryField& field) { return std::string{field.value_or("")}; }
std::int64_t integer_of(const BinaryField& field) { return binary_integer(field.value_or("")); }
std::string json_of(const BinaryField& field) { return text_of(field).erase(0, 1); }  // without jsonb's version

Claimed read_claimed(const BinaryRecord& record, std::int64_t claimed_at) {
  if (record.size() < 14) throw error{errc::server, "the server's answer to a claim lacks something"};
  Claimed task;
  task.tenant = text_of(record[0]);
  task.task_id = integer_of(record[1]);
  task.lease = integer_of(record[2]);
  task.execution_id = integer_of(record[3]);
  task.workflow = text_of(record[4]);
  task.version = static_cast<int>(integer_of(record[5]));
  task.task = text_of(record[6]);
  task.attempt = static_cast<int>(integer_of(record[7]));
  task.max_attempts = static_cast<int>(integer_of(record[8]));
  task.context = json_of(record[9]);
  if (record[10])
    task.time_left = std::chrono::duration_cast<milliseconds>(between(claimed_at, integer_of(record[10])));
  task.event = json_of(record[12]);
  task.item = json_of(record[13]);
  return task;
}

}  // namespace

std::string function_of(const Statement& statement) {
  const std::string_view sql = statement.sql;
  const std::size_t begin = sql.find("insula.");
  return begin == std::string_view::npos ? "a call"
                                         : std::string{sql.substr(begin, sql.find('(', begin) - begin)} + "()";
}

Statement register_workflow(const std::string& definition, const std::string& tenant) {
  return {"SELECT insula.register_workflow($1::pg_catalog.jsonb, tenant => $2)", {definition, text_or_null(tenant)}};
}

Statement submit(std::string_view workflow, const Context& context, const SubmitOptions& options,
                 const std::string& tenant) {
  // One of the calls that are made all the time: no named arguments, which cost the server as
  // much to resolve as the rest.
  const bool at_once = !options.run_at;
  const std::string after = at_once ? interval(options.delay) : since_epoch(delayed(*options.run_at, options.delay));
  return {at_once ? "SELECT insula.submit($1, $2, $3, pg_catalog.now() OPERATOR(pg_catalog.+) $4::interval, $5, $6)"
                  : "SELECT insula.submit($1, $2, $3, 'epoch'::pg_catalog.timestamptz OPERATOR(pg_catalog.+) "
                    "$4::interval, $5, $6)",
          {std::string{workflow}, input_of(context, options.traceparent), number(options.priority), after,
           text_or_null(options.idempotency_key), text_or_null(tenant)}};
}

Statement submit_once(std::string_view workflow, const Context& context, const SubmitOptions& options,
                      const std::string& tenant) {
  const auto at = options.run_at ? std::optional{delayed(*options.run_at, options.delay)} : std::nullopt;
  return {
      "SELECT execution_id, is_new FROM insula.submit_once($1::text, $2::pg_catalog.jsonb, $3::integer, "
      "coalesce('epoch'::pg_catalog.timestamptz OPERATOR(pg_catalog.+) ($4::text)::interval, "
      "pg_catalog.now() OPERATOR(pg_catalog.+) ($5::text)::interval), $6::text, $7::text)",
      {std::string{workflow}, input_of(context, options.traceparent), number(options.priority),
       at ? Param{since_epoch(*at)} : Param{}, interval(options.delay), text_or_null(options.idempotency_key),
       text_or_null(tenant)}};
}

Submitted read_submitted(const Rows& rows) { return {rows.integer(0, 0), rows.boolean(0, 1)}; }

Statement submit_many(std::string_view workflow, std::span<const Context> contexts, const SubmitManyOptions& options,
                      const std::string& tenant) {
  std::vector<std::string> inputs;
  inputs.reserve(contexts.size());
  for (const Context& context : contexts) inputs.push_back(input_of(context, options.traceparent));
  std::vector<Param> keys;
  keys.reserve(options.idempotency_keys.size());
  for (const std::string& key : options.idempotency_keys) keys.push_back(text_or_null(key));
  return {
      "SELECT id FROM pg_catalog.unnest(insula.submit_many($1, $2::pg_catalog.jsonb[], priority => $3, "
      "idempotency_keys => $4, tenant => $5, "
      "run_at => coalesce('epoch'::pg_catalog.timestamptz OPERATOR(pg_catalog.+) $6::interval, pg_catalog.now()) "
      "OPERATOR(pg_catalog.+) $7::interval)) "
      "WITH ORDINALITY AS s(id, n) ORDER BY n",
      {std::string{workflow}, array_of(inputs), number(options.priority),
       keys.empty() ? Param{} : Param{binary_texts(keys)}, text_or_null(tenant),
       options.run_at ? Param{since_epoch(*options.run_at)} : Param{}, interval(options.delay)},
      false,
      1U << 3U};
}

Statement cancel(std::int64_t execution_id, std::string_view reason) {
  return {"SELECT insula.cancel($1, $2)", {number(execution_id), text_or_null(reason)}};
}

Statement pause(std::int64_t execution_id, std::string_view reason) {
  return {"SELECT insula.pause($1, $2)", {number(execution_id), text_or_null(reason)}};
}

Statement resume(std::int64_t execution_id, std::string_view reason) {
  return {"SELECT insula.resume($1, $2)", {number(execution_id), text_or_null(reason)}};
}

Statement retry(std::int64_t execution_id, std::string_view reason) {
  return {"SELECT insula.retry($1, $2)", {number(execution_id), text_or_null(reason)}};
}

Statement send_event(std::int64_t execution_id, std::string_view event, const Value& payload,
                     std::string_view idempotency_key) {
  return {"SELECT insula.send_event($1, $2, $3::pg_catalog.jsonb, $4)",
          {number(execution_id), std::string{event}, payload.is_null() ? Param{} : Param{payload.to_json()},
           text_or_null(idempotency_key)}};
}

Statement pause_workflow(std::string_view workflow, const std::string& tenant) {
  return {"SELECT insula.pause_workflow($1, tenant => $2)", {std::string{workflow}, text_or_null(tenant)}};
}

Statement resume_workflow(std::string_view workflow, const std::string& tenant) {
  return {"SELECT insula.resume_workflow($1, tenant => $2)", {std::string{workflow}, text_or_null(tenant)}};
}

Statement explain(std::int64_t execution_id) {
  return {"SELECT task, status, why FROM insula.explain_execution($1)", {number(execution_id)}};
}

std::vector<TaskExplanation> read_explanations(const Rows& rows) {
  std::vector<TaskExplanation> tasks;
  tasks.reserve(static_cast<std::size_t>(rows.size()));
  for (int row = 0; row < rows.size(); ++row)
    tasks.push_back({rows.string(row, 0), Status::from_name(rows.text(row, 1)), rows.string(row, 2)});
  return tasks;
}

Statement result(std::int64_t execution_id) {
  return {"SELECT " INSULA_RESULT_COLUMNS " FROM insula.result($1) AS r", {number(execution_id)}};
}

std::int64_t read_number(const Rows& rows) { return rows.integer(0, 0); }

Ids read_numbers(const Rows& rows) {
  Ids numbers;
  numbers.reserve(static_cast<std::size_t>(rows.size()));
  for (int row = 0; row < rows.size(); ++row) numbers.push_back(rows.integer(row, 0));
  return numbers;
}

bool read_boolean(const Rows& rows) { return rows.boolean(0, 0); }

Statement status_of(std::int64_t execution_id) {
  return {"SELECT status FROM insula.result($1)", {number(execution_id)}};
}

Status read_status_of(const Rows& rows) { return Status::from_name(rows.text(0, 0)); }

std::vector<ResultRow> read_result_rows(const Rows& rows) {
  std::vector<ResultRow> results;
  results.reserve(static_cast<std::size_t>(rows.size()));
  for (int row = 0; row < rows.size(); ++row)
    results.push_back({rows.integer(row, 0), rows.string(row, 1), static_cast<int>(rows.integer(row, 2)),
                       Status::from_name(rows.text(row, 3)), rows.string(row, 4), rows.string(row, 5),
                       rows.string(row, 6)});
  return results;
}

Result read_result(const ResultRow& row) {
  Result result{row.execution_id, row.workflow, row.version, row.status, {}, row.error, read_tasks(row.tasks)};
  if (!row.final_context.empty()) result.final_context = Context::from_json(row.final_context);
  return result;
}

std::vector<Result> read_results(const Rows& rows) {
  std::vector<Result> results;
  for (const ResultRow& row : read_result_rows(rows)) results.push_back(read_result(row));
  return results;
}

Statement schedule(std::string_view name, std::string_view workflow, std::string_view cron,
                   const ScheduleOptions& options, const std::string& tenant) {
  constexpr std::array<const char*, 3> catch_up{"skip", "run_once", "run_all"};
  constexpr std::array<const char*, 4> overlap{"allow", "skip", "queue", "cancel"};
  return {
      "SELECT insula.schedule($1, $2, $3, timezone => $4, context => $5::pg_catalog.jsonb, catch_up => $6, "
      "max_catch_up => $7, "
      "starts_at => 'epoch'::pg_catalog.timestamptz OPERATOR(pg_catalog.+) $8::interval, ends_at => "
      "'epoch'::pg_catalog.timestamptz OPERATOR(pg_catalog.+) $9::interval, "
      "overlap => $10, jitter => $11::interval, tenant => $12)",
      {std::string{name}, std::string{workflow}, std::string{cron}, options.timezone, options.context.to_json(),
       catch_up.at(static_cast<std::size_t>(options.catch_up)), number(options.max_catch_up),
       options.starts_at ? Param{since_epoch(*options.starts_at)} : Param{},
       options.ends_at ? Param{since_epoch(*options.ends_at)} : Param{},
       overlap.at(static_cast<std::size_t>(options.overlap)),
       options.jitter.count() == 0 ? Param{} : Param{interval(options.jitter)}, text_or_null(tenant)}};
}

Statement unschedule(std::string_view name, const std::string& tenant) {
  return {"SELECT insula.unschedule($1, tenant => $2)", {std::string{name}, text_or_null(tenant)}};
}

Statement pause_schedule(std::string_view name, const std::string& tenant) {
  return {"SELECT insula.pause_schedule($1, tenant => $2)", {std::string{name}, text_or_null(tenant)}};
}

Statement resume_schedule(std::string_view name, const std::string& tenant) {
  return {"SELECT insula.resume_schedule($1, tenant => $2)", {std::string{name}, text_or_null(tenant)}};
}

Statement schedules(const std::string& tenant) {
  return {
      "SELECT name, workflow, cron, timezone, status, (extract(epoch FROM next_fire_at) OPERATOR(pg_catalog.*) "
      "1000000)::bigint, "
      "(extract(epoch FROM last_fire_at) OPERATOR(pg_catalog.*) 1000000)::bigint FROM insula.schedules($1, "
      "with_context => false)",
      {text_or_null(tenant)}};
}

std::vector<ScheduleInfo> read_schedules(const Rows& rows) {
  std::vector<ScheduleInfo> schedules;
  schedules.reserve(static_cast<std::size_t>(rows.size()));
  for (int row = 0; row < rows.size(); ++row) {
    const std::string_view status = rows.text(row, 4);
    schedules.push_back({rows.string(row, 0), rows.string(row, 1), rows.string(row, 2), rows.string(row, 3),
                         status == "paused"  ? ScheduleStatus::paused
                         : status == "ended" ? ScheduleStatus::ended
                                             : ScheduleStatus::active,
                         read_time(rows, row, 5), read_time(rows, row, 6)});
  }
  return schedules;
}

Statement next_fires(std::string_view cron, std::string_view timezone, int n) {
  return {
      "SELECT (extract(epoch FROM at) OPERATOR(pg_catalog.*) 1000000)::bigint "
      "FROM insula.next_fires($1, timezone => $2, n => $3) WITH ORDINALITY AS f(at, n) ORDER BY f.n",
      {std::string{cron}, std::string{timezone}, number(n)}};
}

std::vector<std::chrono::system_clock::time_point> read_times(const Rows& rows) {
  std::vector<std::chrono::system_clock::time_point> times;
  times.reserve(static_cast<std::size_t>(rows.size()));
  for (int row = 0; row < rows.size(); ++row) times.push_back(*read_time(rows, row, 0));
  return times;
}

Statement watch(const std::string& worker, const Ids& executions) {
  // An execution that ends between this statement's snapshot and the look of watch itself comes
  // back as not ended yet: the caller asks again.
  return {"SELECT " INSULA_RESULT_COLUMNS
          " FROM pg_catalog.unnest(insula.watch($1, $2::bigint[])) AS id, insula.result(id) AS r",
          {worker, array_of(executions)}};
}

Statement claim_when_ready(milliseconds timeout, const std::string& worker, const std::vector<std::string>& tasks,
                           std::size_t max_tasks, milliseconds lease, const std::string& tenant,
                           const TenantChoice& choice) {
  return {"CALL insula.claim_when_ready($1, $2, $3, $4, $5, $6, $7, $8, $9)",
          {interval(timeout), worker, array_of(tasks), number(static_cast<std::int64_t>(max_tasks)), interval(lease),
           text_or_null(tenant), choice.max_per_tenant > 0 ? Param{number(choice.max_per_tenant)} : Param{},
           array_or_null(choice.only), array_or_null(choice.except)},
          true};
}

Claims read_claims(const Rows& rows) {
  const auto records = rows.size() == 1 ? read_records(rows.text(0, 0)) : std::nullopt;
  if (!records) throw error{errc::server, "the server's answer to a claim cannot be read"};
  Claims claims;
  claims.news = binary_integer(rows.text(0, 1)) != 0;
  const std::int64_t claimed_at = binary_integer(rows.text(0, 2));
  // The microseconds of an interval come first, and are all of this one.
  claims.waited = between(0, binary_integer(rows.text(0, 3).substr(0, 8)));
  for (const BinaryRecord& record : *records) claims.tasks.push_back(read_claimed(record, claimed_at));
  return claims;
}

Statement complete_batch(const std::vector<Completion>& completions) {
  Ids tasks;
  Ids leases;
  std::vector<Param> patches;
  tasks.reserve(completions.size());
  leases.reserve(completions.size());
  patches.reserve(completions.size());
  for (const Completion& completion : completions) {
    tasks.push_back(completion.task_id);
    leases.push_back(completion.lease);
    patches.push_back(text_or_null(completion.patch));
  }
  return {"SELECT place, reason, sqlstate, error, next_status FROM insula.complete_batch($1, $2, $3)",
          {array_of(tasks), array_of(leases), binary_jsons(patches)},
          false,
          1U << 2U};
}

std::vector<NotCompleted> read_not_completed(const Rows& rows, std::size_t completions) {
  std::vector<NotCompleted> left;
  for (int row = 0; row < rows.size(); ++row) {
    const std::int64_t place = rows.integer(row, 0);
    if (place < 1 || static_cast<std::size_t>(place) > completions)
      throw error{errc::server, "the server's answer to completions cannot be read"};
    const std::string_view reason = rows.text(row, 1);
    left.push_back({static_cast<std::size_t>(place - 1),
                    reason == "failed"  ? NotCompleted::failed
                    : reason == "later" ? NotCompleted::later
                                        : NotCompleted::lost,
                    rows.string(row, 2), rows.string(row, 3), !rows.is_null(row, 4) && rows.text(row, 4) == "failed"});
  }
  return left;
}

Statement complete(const Completion& completion) {
  return {"SELECT insula.complete($1, $2, $3)",
          {number(completion.task_id), number(completion.lease), text_or_null(completion.patch)}};
}

Statement fail(std::int64_t task_id, std::int64_t lease, const Failed& failed) {
  return {"SELECT insula.fail($1, $2, $3, $4, $5::interval, $6)",
          {number(task_id), number(lease), std::string{failed.why}, failed.retryable ? "true" : "false",
           failed.retry_in ? Param{interval(std::max(*failed.retry_in, milliseconds{0}))} : Param{},
           number(std::clamp(failed.free_retries, 0, 1'000))}};
}

bool read_failed_for_good(const Rows& rows) { return !rows.is_null(0, 0) && rows.text(0, 0) == "failed"; }

Statement save_progress(std::int64_t task_id, std::int64_t lease, const Progress& progress) {
  return {"SELECT insula.save_progress($1, $2, $3::pg_catalog.jsonb, $4, $5)",
          {number(task_id), number(lease), progress.checkpoint,
           progress.reached ? Param{fmt::format("{}", *progress.reached)} : Param{}, progress.note}};
}

std::optional<bool> read_saved(const Rows& rows) {
  return rows.is_null(0, 0) ? std::nullopt : std::optional{rows.boolean(0, 0)};
}

Statement checkpoint(std::int64_t task_id, std::int64_t lease) {
  // Whether the lease is lost is asked only where the answer does not show it.
  return {
      "SELECT c.checkpoint, CASE WHEN c.checkpoint IS NULL THEN insula.save_progress($1, $2) END "
      "FROM insula.checkpoint($1, $2) AS c(checkpoint)",
      {number(task_id), number(lease)}};
}

Checkpoint read_checkpoint(const Rows& rows) {
  if (!rows.is_null(0, 0)) return {Value::from_json(rows.text(0, 0)), false};
  // NULL: another transaction holds the task, whose lease is ours.
  return {std::nullopt, !rows.is_null(0, 1) && !rows.boolean(0, 1)};
}

bool read_accepted(const Rows& rows) {
  // true, or the next status, or an id; against false, or NULL.
  return rows.size() == 1 && !rows.is_null(0, 0) && rows.text(0, 0) != "f";
}

Statement defer_to(std::int64_t task_id, std::int64_t lease, std::chrono::system_clock::time_point when,
                   const std::string& patch) {
  return {
      "SELECT insula.defer($1, $2, 'epoch'::pg_catalog.timestamptz OPERATOR(pg_catalog.+) $3::interval, "
      "$4::pg_catalog.jsonb)",
      {number(task_id), number(lease), since_epoch(when), text_or_null(patch)}};
}

Statement defer_by(std::int64_t task_id, std::int64_t lease, milliseconds delay, const std::string& patch) {
  return {
      "SELECT insula.defer($1, $2, pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) $3::interval, "
      "$4::pg_catalog.jsonb)",
      {number(task_id), number(lease), interval(delay), text_or_null(patch)}};
}

Statement wait_event(std::int64_t task_id, std::int64_t lease, const std::string& event,
                     std::optional<milliseconds> timeout, const std::string& patch) {
  return {"SELECT insula.wait_event($1, $2, $3, $4::interval, $5::pg_catalog.jsonb)",
          {number(task_id), number(lease), event, timeout ? Param{interval(*timeout)} : Param{}, text_or_null(patch)}};
}

Statement submit_child(std::int64_t task_id, std::int64_t lease, const std::string& workflow,
                       const std::string& context) {
  return {"SELECT insula.submit_child($1, $2, $3, $4::pg_catalog.jsonb)",
          {number(task_id), number(lease), workflow, context}};
}

Statement join_task(std::int64_t task_id, std::int64_t lease, const std::string& tenant) {
  if (tenant.empty()) return {"SELECT insula.join_task($1, $2)", {number(task_id), number(lease)}};
  return {"SELECT insula.join_task($1, $2), pg_catalog.set_config('insula.tenant', $3, true)",
          {number(task_id), number(lease), tenant}};
}

Statement heartbeat(const Ids& tasks, const Ids& leases, milliseconds lease) {
  return {"SELECT task_id, reason FROM insula.heartbeat($1::bigint[], $2::bigint[], $3::interval)",
          {array_of(tasks), array_of(leases), interval(lease)}};
}

std::vector<std::pair<std::int64_t, std::string>> read_stops(const Rows& rows) {
  std::vector<std::pair<std::int64_t, std::string>> stops;
  stops.reserve(static_cast<std::size_t>(rows.size()));
  for (int row = 0; row < rows.size(); ++row) stops.emplace_back(rows.integer(row, 0), rows.string(row, 1));
  return stops;
}

Statement nudge(const std::string& worker) { return {"SELECT insula.nudge($1)", {worker}}; }

Statement leave(const std::string& worker) { return {"SELECT insula.leave($1)", {worker}}; }

Statement current_tenant() { return {"SELECT insula.current_tenant()"}; }

Statement serves_all() {
  return {"SELECT pg_catalog.pg_has_role('insula_runner', 'USAGE') OR pg_catalog.pg_has_role('insula_admin', 'USAGE')"};
}

Statement ensure_tenant(std::string_view schema) {
  return {"SELECT tenant FROM insula.create_tenant($1, schema_name => $1, login => false, if_not_exists => true)",
          {std::string{schema}}};
}

}  // namespace insula::wire
