// The observer that does nothing.
#include <insula/observer.hpp>

namespace insula {

std::string_view name(TaskOutcome outcome) noexcept {
  switch (outcome) {
    case TaskOutcome::completed:
      return "completed";
    case TaskOutcome::put_off:
      return "put_off";
    case TaskOutcome::failed:
      return "failed";
    case TaskOutcome::given_back:
      return "given_back";
  }
  return "unknown";
}

Observer::~Observer() = default;
void Observer::task_started(const TaskContext&) {}
void Observer::task_ended(const TaskContext&, const TaskEnd&) {}
void Observer::connection_up(std::string_view) {}
void Observer::connection_lost(std::string_view, const error&) {}
void Observer::outcome_refused(const LostTask&) {}
void Observer::task_failed(const LostTask&, std::string_view) {}
void Observer::execution_failed(const FailedExecution&) {}

}  // namespace insula
