// The words of a schedule's status.
#include <insula/schedule.hpp>

namespace insula {

std::string_view name(ScheduleStatus status) noexcept {
  switch (status) {
    case ScheduleStatus::active:
      return "active";
    case ScheduleStatus::paused:
      return "paused";
    case ScheduleStatus::ended:
      return "ended";
  }
  return "unknown";
}

}  // namespace insula
