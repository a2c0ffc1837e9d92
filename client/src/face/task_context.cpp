// TaskContext: a view of the attempt that a handler thread is running.
#include "core/names.hpp"
#include "runtime/attempt.hpp"
#include "wire/text.hpp"

#include <insula/enqueue.hpp>
#include <insula/error.hpp>
#include <insula/task_context.hpp>

#include <fmt/format.h>

namespace insula {

namespace {

void require_name(std::string_view name, std::string_view whose) {
  if (!core::is_valid_name(name))
    throw error{errc::invalid, fmt::format("\"{}\" is no name of {}", wire::storable(std::string{name}), whose)};
}

}  // namespace

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

void TaskContext::checkpoint(const Value& value, Durable when) {
  const std::string json = value.to_json();
  attempt_.checkpoint.emplace(value);
  if (when == Durable::at_once)
    attempt_.save_checkpoint(json);
  else
    attempt_.add_progress({.checkpoint = json});
}

const Value* TaskContext::find_checkpoint() const {
  if (!attempt_.checkpoint && attempt_.workplace) attempt_.checkpoint = attempt_.read_checkpoint();
  return attempt_.checkpoint && *attempt_.checkpoint ? &**attempt_.checkpoint : nullptr;
}

void TaskContext::progress(double reached, std::string_view note) {
  if (!(reached >= 0 && reached <= 1)) throw error{errc::invalid, "progress is not from 0 to 1"};
  attempt_.add_progress({.reached = reached});
  if (!note.empty()) attempt_.add_progress({.note = wire::storable(std::string{note})});
}

void TaskContext::fail(std::string_view why, bool retryable) { attempt_.verdict = {std::string{why}, retryable}; }

struct Suspend::Request {
  detail::Request what;
  Context input = {};  // of a child
};

Suspend::Suspend(Request request) : request_(std::make_shared<const Request>(std::move(request))) {}

void Suspend::apply(TaskContext& task) const {
  if (const auto* child = std::get_if<detail::Child>(&request_->what))
    task.submit_child(child->workflow, request_->input);
  else
    task.attempt_.request = request_->what;
}

Suspend defer_until(std::chrono::system_clock::time_point when) { return Suspend{{when}}; }
Suspend defer_for(std::chrono::milliseconds delay) { return Suspend{{delay}}; }

Suspend wait_event(std::string_view event, std::optional<std::chrono::milliseconds> timeout) {
  require_name(event, "an event");
  return Suspend{{detail::EventWait{std::string{event}, timeout}}};
}

Suspend submit_child(std::string_view workflow, Context context) {
  require_name(workflow, "a workflow");
  return Suspend{{detail::Child{std::string{workflow}, {}}, std::move(context)}};
}

void TaskContext::defer_until(std::chrono::system_clock::time_point when) { attempt_.request = when; }
void TaskContext::defer_until(std::chrono::milliseconds from_now) { attempt_.request = from_now; }

void TaskContext::wait_event(std::string_view event, std::optional<std::chrono::milliseconds> timeout) {
  require_name(event, "an event");
  attempt_.request = detail::EventWait{std::string{event}, timeout};
}

void TaskContext::submit_child(std::string_view workflow, Context context) {
  require_name(workflow, "a workflow");
  const auto trace = get<std::string>(traceparent_key);
  if (trace && !context.contains(traceparent_key)) context.set(traceparent_key, *trace);
  if (attempt_.workplace) attempt_.workplace->to_server(tenant(), context);
  attempt_.request = detail::Child{std::string{workflow}, context.to_json()};
}

void detail::hand_over(TaskContext& task, const Context& changes) {
  for (const std::string& key : changes.keys()) task.set(key, *changes.find(key));
}

void detail::hand_over(TaskContext& task, Value value) { task.set(task.task(), std::move(value)); }

}  // namespace insula
