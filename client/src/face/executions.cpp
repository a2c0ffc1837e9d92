// Lists of executions, and verbs for many.
#include "face/handle.hpp"
#include "wire/bulk_calls.hpp"

#include <insula/executions.hpp>

namespace insula {

ExecutionPage Executions::list(const ExecutionFilter& filter, std::int64_t after, int size) const {
  ExecutionPage page{wire::read_listed(handle_->engine->call(wire::list_executions(filter, after, size, tenant_),
                                                             {.tenant = tenant_})),
                     0};
  if (page.executions.size() == static_cast<std::size_t>(size)) page.next = page.executions.back().id;
  return page;
}

std::vector<FailureGroup> Executions::failures(std::string_view workflow, std::chrono::milliseconds since) const {
  return wire::read_failures(
      handle_->engine->call(wire::failures(workflow, since, tenant_), {.slow = true, .tenant = tenant_}));
}

std::vector<std::int64_t> Executions::apply(std::string_view verb, const ExecutionChoice& which,
                                            const BulkOptions& options) const {
  const bool stops = !options.dry_run && (verb == "cancel" || verb == "pause");
  // Done again it would be done to others.
  return wire::read_numbers(handle_->engine->call(wire::apply_to_all(verb, which, options, tenant_),
                                                  {.repeatable = options.dry_run,
                                                   .stops = stops,
                                                   .reopens_all = !options.dry_run && verb == "retry",
                                                   .slow = true,
                                                   .tenant = tenant_}));
}

std::vector<std::int64_t> Executions::cancel(const ExecutionChoice& which, const BulkOptions& options) const {
  return apply("cancel", which, options);
}
std::vector<std::int64_t> Executions::pause(const ExecutionChoice& which, const BulkOptions& options) const {
  return apply("pause", which, options);
}
std::vector<std::int64_t> Executions::resume(const ExecutionChoice& which, const BulkOptions& options) const {
  return apply("resume", which, options);
}
std::vector<std::int64_t> Executions::retry(const ExecutionChoice& which, const BulkOptions& options) const {
  return apply("retry", which, options);
}
std::vector<std::int64_t> Executions::remove(const ExecutionChoice& which, const BulkOptions& options) const {
  return apply("delete", which, options);
}

}  // namespace insula
