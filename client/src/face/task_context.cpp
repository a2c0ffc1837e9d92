// TaskContext: a view of the attempt that a handler thread is running.
#include "core/names.hpp"
#include "runtime/attempt.hpp"
#include "wire/text.hpp"

#include <insula/enqueue.hpp>
#include <insula/error.hpp>
#include <insula/task_context.hpp>

#include <fmt/format.h>

namespace insula {

std::string_view name(StopReason reason) noexcept {
  switch (reason) {
    case StopReason::none:
      return "none";
    case StopReason::cancelled:
      return "cancelled";
    case StopReason::paused:
      return "paused";
    case StopReason::timeout:
      return "timeout";
    case StopReason::lease_lost:
      return "lease_lost";
    case StopReason::draining:
      return "draining";
    case StopReason::shutdown:
      return "shutdown";
  }
  return "unknown";
}

TaskContext::TaskContext(detail::Attempt& attempt) : attempt_(attempt) {}
TaskContext::~TaskContext() = default;

const Context& TaskContext::context() const { return attempt_.context(); }
const Context& TaskContext::changes() const noexcept { return attempt_.changes; }

TaskContext& TaskContext::set(std::string_view key, Value value) {
  const Context patch = Context{}.with(key, std::move(value));
  const Value* earlier = attempt_.changes.find(key);
  if (earlier && !earlier->as<Context>() && patch.get<Context>(key)) attempt_.replaced_object = true;
  attempt_.context().merge_patch(patch);
  attempt_.changes.append_patch(patch);
  return *this;
}

const std::string& TaskContext::tenant() const noexcept { return attempt_.info.tenant; }
const std::string& TaskContext::workflow() const noexcept { return attempt_.info.workflow; }
const std::string& TaskContext::task() const noexcept { return attempt_.info.task; }
int TaskContext::version() const noexcept { return attempt_.info.version; }
int TaskContext::attempt() const noexcept { return attempt_.info.attempt; }
int TaskContext::max_attempts() const noexcept { return attempt_.info.max_attempts; }
std::int64_t TaskContext::execution_id() const noexcept { return attempt_.info.execution_id; }
std::int64_t TaskContext::task_id() const noexcept { return attempt_.info.task_id; }

std::stop_token TaskContext::stop_token() const noexcept { return attempt_.stop.get_token(); }
StopReason TaskContext::stop_reason() const noexcept { return attempt_.reason; }

void TaskContext::throw_if_stopped() const {
  if (stop_requested()) throw stopped{fmt::format("stopped: {}", name(stop_reason()))};
}

const Value& TaskContext::item() const noexcept { return attempt_.item; }
const std::optional<Event>& TaskContext::event() const noexcept { return attempt_.event; }

std::optional<std::chrono::steady_clock::time_point> TaskContext::deadline() const noexcept {
  if (attempt_.deadline_at == detail::Clock::time_point::max()) return std::nullopt;
  return attempt_.deadline_at;
}

PGconn* TaskContext::transaction() { return attempt_.begin_transaction(); }

void TaskContext::defer_until(std::chrono::system_clock::time_point when) { attempt_.request = when; }
void TaskContext::defer_until(std::chrono::milliseconds from_now) { attempt_.request = from_now; }

void TaskContext::wait_event(std::string_view event, std::optional<std::chrono::milliseconds> timeout) {
  if (!core::is_valid_name(event))
    throw error{errc::invalid, fmt::format("\"{}\" is no name of an event", wire::storable(std::string{event}))};
  attempt_.request = detail::EventWait{std::string{event}, timeout};
}

void TaskContext::submit_child(std::string_view workflow, Context context) {
  if (!core::is_valid_name(workflow))
    throw error{errc::invalid, fmt::format("\"{}\" is no name of a workflow", wire::storable(std::string{workflow}))};
  const auto trace = get<std::string>(traceparent_key);
  if (trace && !context.contains(traceparent_key)) context.set(traceparent_key, *trace);
  attempt_.request = detail::Child{std::string{workflow}, context.to_json()};
}

void detail::hand_over(TaskContext& task, const Context& changes) {
  for (const std::string& key : changes.keys()) task.set(key, *changes.find(key));
}

void detail::hand_over(TaskContext& task, Value value) { task.set(task.task(), std::move(value)); }

}  // namespace insula
