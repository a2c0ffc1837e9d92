// Statements for many executions.
#include "wire/bulk_calls.hpp"

#include "wire/params.hpp"

namespace insula::wire {

namespace {

Param time_or_null(const std::optional<std::chrono::system_clock::time_point>& when) {
  return when ? Param{since_epoch(*when)} : Param{};
}

Param status_or_null(const std::optional<Status>& status) {
  return status ? Param{std::string{status->name()}} : Param{};
}

Param interval_or_null(const std::optional<std::chrono::milliseconds>& d) { return d ? Param{interval(*d)} : Param{}; }

std::chrono::system_clock::time_point time_at(const Rows& rows, int row, int column) {
  return read_time(rows, row, column).value_or(std::chrono::system_clock::time_point{});
}

const char* sql_of(std::string_view verb) {
#define INSULA_BULK(verb) \
  "SELECT insula." verb "_executions($1, $2, $3::interval, $4, $5, max_executions => $6, tenant => $7)"
  if (verb == "cancel") return INSULA_BULK("cancel");
  if (verb == "pause") return INSULA_BULK("pause");
  if (verb == "resume") return INSULA_BULK("resume");
  if (verb == "retry") return INSULA_BULK("retry");
#undef INSULA_BULK
  return "SELECT insula.delete_executions($1, $2, $3::interval, $4, $5, tenant => $6)";
}

}  // namespace

Statement list_executions(const ExecutionFilter& filter, std::int64_t after, int most, const std::string& tenant) {
  return {"SELECT execution_id, workflow_name, version, execution_status, priority, " INSULA_MICROSECONDS(
              "created_at") ", " INSULA_MICROSECONDS("started_at") ", " INSULA_MICROSECONDS("finished_at") ", "
          "execution_error FROM insula.executions($1, $2, "
          "'epoch'::pg_catalog.timestamptz OPERATOR(pg_catalog.+) $3::interval, "
          "'epoch'::pg_catalog.timestamptz OPERATOR(pg_catalog.+) $4::interval, $5, $6::pg_catalog.jsonb, $7, $8, $9)",
          {text_or_null(filter.workflow), status_or_null(filter.status), time_or_null(filter.created_after),
           time_or_null(filter.created_before), text_or_null(filter.error),
           filter.context.empty() ? Param{} : Param{filter.context.to_json()},
           after == 0 ? Param{} : Param{std::to_string(after)}, std::to_string(most), text_or_null(tenant)}};
}

std::vector<ExecutionInfo> read_listed(const Rows& rows) {
  std::vector<ExecutionInfo> listed;
  listed.reserve(static_cast<std::size_t>(rows.size()));
  for (int row = 0; row < rows.size(); ++row)
    listed.push_back({rows.integer(row, 0), rows.string(row, 1), static_cast<int>(rows.integer(row, 2)),
                      Status::from_name(rows.text(row, 3)), static_cast<int>(rows.integer(row, 4)),
                      time_at(rows, row, 5), read_time(rows, row, 6), read_time(rows, row, 7), rows.string(row, 8)});
  return listed;
}

Statement failures(std::string_view workflow, std::chrono::milliseconds since, const std::string& tenant) {
  return {"SELECT workflow, task, error, failed, retrying, " INSULA_MICROSECONDS("first_at") ", " INSULA_MICROSECONDS(
              "last_at") ", example FROM insula.failures($1::interval, $2) "
          "WHERE coalesce(workflow OPERATOR(pg_catalog.=) $3, true)",
          {interval(since), text_or_null(tenant), text_or_null(workflow)}};
}

std::vector<FailureGroup> read_failures(const Rows& rows) {
  std::vector<FailureGroup> groups;
  groups.reserve(static_cast<std::size_t>(rows.size()));
  for (int row = 0; row < rows.size(); ++row)
    groups.push_back({rows.string(row, 0), rows.string(row, 1), rows.string(row, 2), rows.integer(row, 3),
                      rows.integer(row, 4), time_at(rows, row, 5), time_at(rows, row, 6), rows.integer(row, 7)});
  return groups;
}

Statement apply_to_all(std::string_view verb, const ExecutionChoice& which, const BulkOptions& options,
                       const std::string& tenant) {
  Statement statement{sql_of(verb),
                      {text_or_null(which.workflow), status_or_null(which.status), interval_or_null(which.older_than),
                       text_or_null(options.reason), Param{options.dry_run ? "true" : "false"},
                       Param{std::to_string(options.most)}, text_or_null(tenant)}};
  // To remove leaves no history that would hold a reason.
  if (verb == "delete") statement.params.erase(statement.params.begin() + 3);
  return statement;
}

}  // namespace insula::wire
