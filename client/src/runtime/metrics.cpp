// Counting, and writing what was counted.
#include "runtime/metrics.hpp"

#include <fmt/format.h>

#include <iterator>

namespace insula::detail {

namespace {

using Text = std::back_insert_iterator<std::string>;

template <class Value>
void put(Text out, std::string_view name, std::string_view type, std::string_view help, const Value& value) {
  fmt::format_to(out, "# HELP {0} {2}\n# TYPE {0} {1}\n{0} {3}\n", name, type, help, value);
}

}  // namespace

void Metrics::task_ended(const std::string& workflow, const std::string& task, const TaskEnd& end) {
  const double seconds = std::chrono::duration<double>(end.duration).count();
  // Names of workflows and tasks hold nothing that would need escaping.
  std::string labels = fmt::format(R"(workflow="{}",task="{}")", workflow, task);
  const std::lock_guard lock{mutex_};
  OfTask& counts = tasks_[std::move(labels)];
  ++counts.by_outcome.at(static_cast<std::size_t>(end.outcome));
  ++counts.durations.count;
  counts.durations.sum += seconds;
  for (std::size_t i = 0; i < bounds.size(); ++i) counts.durations.within[i] += seconds <= bounds[i];
}

std::string Metrics::text(int slots) const {
  std::string text;
  const Text out{text};
  put(out, "insula_slots", "gauge", "Handlers that may run at the same time.", slots);
  put(out, "insula_tasks_running", "gauge", "Handlers that are running.", running.load());
  put(out, "insula_outcomes_unsent", "gauge", "Outcomes that the server has not taken yet.", unsent.load());
  put(out, "insula_connections", "gauge", "Connections of the runtime that are up, of two.", connections.load());
  put(out, "insula_connections_lost_total", "counter", "Connections that broke.", connections_lost.load());
  put(out, "insula_claims_total", "counter", "Claims that the server has answered.", claims.load());
  put(out, "insula_tasks_claimed_total", "counter", "Tasks that were claimed.", claimed.load());
  put(out, "insula_leases_lost_total", "counter", "Outcomes that came too late.", leases_lost.load());
  const Clock::duration age = Clock::now().time_since_epoch() - Clock::duration{last_answer.load()};
  put(out, "insula_last_answer_age_seconds", "gauge", "Time since the server last answered.",
      last_answer == 0 ? 0.0 : std::chrono::duration<double>(age).count());

  const std::lock_guard lock{mutex_};
  fmt::format_to(out,
                 "# HELP insula_tasks_total Runs of handlers, by their outcome.\n# TYPE insula_tasks_total counter\n");
  for (const auto& [labels, counts] : tasks_)
    for (std::size_t i = 0; i < counts.by_outcome.size(); ++i)
      fmt::format_to(out, "insula_tasks_total{{{},outcome=\"{}\"}} {}\n", labels, name(static_cast<TaskOutcome>(i)),
                     counts.by_outcome[i]);
  fmt::format_to(out, "# HELP insula_task_seconds How long handlers ran.\n# TYPE insula_task_seconds histogram\n");
  for (const auto& [labels, counts] : tasks_) {
    for (std::size_t i = 0; i < bounds.size(); ++i)
      fmt::format_to(out, "insula_task_seconds_bucket{{{},le=\"{}\"}} {}\n", labels, bounds[i],
                     counts.durations.within[i]);
    fmt::format_to(out, "insula_task_seconds_bucket{{{},le=\"+Inf\"}} {}\n", labels, counts.durations.count);
    fmt::format_to(out, "insula_task_seconds_sum{{{}}} {}\n", labels, counts.durations.sum);
    fmt::format_to(out, "insula_task_seconds_count{{{}}} {}\n", labels, counts.durations.count);
  }
  return text;
}

}  // namespace insula::detail
