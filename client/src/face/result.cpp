// The status words, as the server writes them.
#include <insula/result.hpp>

#include <array>
#include <ostream>

namespace insula {

namespace {

constexpr std::array<std::string_view, 10> statuses{"pending",   "ready",  "running", "waiting",   "paused",
                                                    "completed", "failed", "skipped", "cancelled", "unknown"};

}  // namespace

Status Status::from_name(std::string_view name) noexcept {
  for (std::size_t i = 0; i < statuses.size(); ++i)
    if (statuses[i] == name) return Status{static_cast<Word>(i)};
  return Status{unknown};
}

std::string_view Status::name() const noexcept { return statuses[static_cast<std::size_t>(word_)]; }

std::ostream& operator<<(std::ostream& out, Status status) { return out << status.name(); }

std::string to_string(Status status) { return std::string{status.name()}; }

}  // namespace insula
