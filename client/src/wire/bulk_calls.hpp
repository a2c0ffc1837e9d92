// The calls of insula::Executions: lists of executions, and verbs for many.  As in calls.hpp.
#pragma once

#include "wire/calls.hpp"

#include <insula/executions.hpp>

namespace insula::wire {

Statement list_executions(const ExecutionFilter& filter, std::int64_t after, int most, const std::string& tenant);
std::vector<ExecutionInfo> read_listed(const Rows& rows);
Statement failures(std::string_view workflow, std::chrono::milliseconds since, const std::string& tenant);
std::vector<FailureGroup> read_failures(const Rows& rows);
// `verb`: cancel, pause, resume, retry or delete.
Statement apply_to_all(std::string_view verb, const ExecutionChoice& which, const BulkOptions& options,
                       const std::string& tenant);

}  // namespace insula::wire
