// The end of the last handle, and what Runner and Fleet do alike.
#include "face/handle.hpp"

#include "runtime/signals.hpp"

#include <insula/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <thread>
#include <utility>

namespace insula::detail {

RunnerHandle::~RunnerHandle() {
  const auto end = [](Engine& ending) { ending.shutdown({}); };
  if (!engine->is_own_thread())
    end(*engine);
  else  // the last handle went in a handler, which cannot wait for itself
    std::thread{[end, ending = std::move(engine)] { end(*ending); }}.detach();
}

void RunnerHandle::refuse_in_handler(std::string_view what) const {
  if (engine->is_own_thread())
    throw error{errc::would_deadlock, fmt::format("{} in a handler of the same runner would wait for itself", what)};
}

std::string RunnerHandle::tenant_name(const std::string& tenant) const {
  if (!tenant.empty()) return tenant;
  {
    const std::lock_guard lock{name_mutex_};
    if (!name_.empty()) return name_;
  }
  // Asked without the lock: where there is no server, all that ask at once wait no longer than one.
  std::string name = engine->call(wire::current_tenant()).string(0, 0);
  const std::lock_guard lock{name_mutex_};
  return name_ = std::move(name);
}

Result RunnerHandle::shown(Result result, const std::string& tenant) const {
  const auto& middleware = engine->settings().config.middleware;
  if (middleware.empty() || result.final_context.empty()) return result;
  const std::string name = tenant_name(tenant);
  for (auto one = middleware.rbegin(); one != middleware.rend(); ++one) (*one)->from_server(name, result.final_context);
  return result;
}

std::optional<Submission> RunnerHandle::prepared(std::string_view workflow, const Context& context,
                                                 const std::string& traceparent, const std::string& tenant) const {
  const auto& middleware = engine->settings().config.middleware;
  if (middleware.empty()) return std::nullopt;
  Submission submission{tenant_name(tenant), std::string{workflow}, context, traceparent};
  for (const auto& one : middleware) one->before_submit(submission);
  for (const auto& one : middleware) one->to_server(submission.tenant, submission.context);
  return submission;
}

ScheduleOptions RunnerHandle::prepared(const ScheduleOptions& options, const std::string& tenant) const {
  const auto& middleware = engine->settings().config.middleware;
  if (middleware.empty() || options.context.empty()) return options;
  ScheduleOptions passed = options;
  const std::string name = tenant_name(tenant);
  for (const auto& one : middleware) one->to_server(name, passed.context);
  return passed;
}

std::int64_t RunnerHandle::submit(std::string_view workflow, const Context& context, const SubmitOptions& asked,
                                  const std::string& tenant, std::shared_ptr<WaitState> wait) const {
  const auto submission = prepared(workflow, context, asked.traceparent, tenant);
  SubmitOptions options = asked;
  if (submission) options.traceparent = submission->traceparent;
  const std::string& key = options.idempotency_key;
  Manner manner{.repeatable = !key.empty(), .together = true, .tenant = tenant};
  if (!key.empty()) manner.subject = fmt::format("idempotency key \"{}\"", key);
  return wire::read_number(
      engine->call(wire::submit(workflow, submission ? submission->context : context, options, tenant),
                   std::move(manner), std::move(wait)));
}

std::vector<std::int64_t> RunnerHandle::submit_many(std::string_view workflow, std::span<const Context> contexts,
                                                    const SubmitManyOptions& options, const std::string& tenant) const {
  if (contexts.empty()) return {};
  std::vector<Context> prepared_contexts;
  for (const Context& context : contexts)
    if (auto submission = prepared(workflow, context, options.traceparent, tenant))
      prepared_contexts.push_back(std::move(submission->context));
  if (!prepared_contexts.empty()) contexts = prepared_contexts;
  const auto& keys = options.idempotency_keys;
  const bool repeatable = !keys.empty() && std::ranges::none_of(keys, &std::string::empty);
  return wire::read_numbers(engine->call(wire::submit_many(workflow, contexts, options, tenant),
                                         {.repeatable = repeatable, .tenant = tenant}));
}

bool RunnerHandle::ask(wire::Statement statement, std::string tenant) const {
  return wire::read_boolean(engine->call(std::move(statement), {.tenant = std::move(tenant)}));
}

std::int64_t RunnerHandle::ask_number(wire::Statement statement, std::string tenant) const {
  return wire::read_number(engine->call(std::move(statement), {.tenant = std::move(tenant)}));
}

ShutdownReport RunnerHandle::shutdown(const ShutdownOptions& options) const {
  refuse_in_handler("shutdown()");
  return engine->shutdown(options);
}

ShutdownReport RunnerHandle::run_until_signal(const ShutdownOptions& options) const {
  refuse_in_handler("run_until_signal()");
  SignalWatch signals;
  signals.wait({});
  std::jthread impatience{[&](const std::stop_token& over) {
    while (signals.wait(over)) engine->hasten_shutdown();
  }};
  return engine->shutdown(options);
}

}  // namespace insula::detail
