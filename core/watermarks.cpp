// Watermarks of one tenant; see watermarks.hpp.
#include "core/watermarks.hpp"

#include <algorithm>

namespace insula::core {

void Watermarks::start(std::uint64_t version) noexcept {
  version_ = version;
  count_ = limits_count_ = next_ = next_limit_ = 0;
}

void Watermarks::raise(const Watermark &raised, std::uint64_t read_version, bool of_limit) noexcept {
  const std::uint64_t since = version_ - read_version;
  if (since > lowerings_kept) return;
  std::int64_t due = raised.due;
  for (std::uint64_t i = 1; i <= since; ++i) due = std::min(due, lowerings_[(version_ - i) % lowerings_kept]);
  Watermark *mark = find(raised.filter, raised.lane);
  if (!mark) {
    mark = &make_room(of_limit);
    *mark = raised;
  }
  mark->due = due;
}

void Watermarks::lower(std::int64_t due) noexcept {
  lowerings_[version_++ % lowerings_kept] = due;
  for (int i = 0; i < count_; ++i) marks_[i].due = std::min(marks_[i].due, due);
  for (int i = room; i < room + limits_count_; ++i) marks_[i].due = std::min(marks_[i].due, due);
}

void Watermarks::forget() noexcept {
  count_ = limits_count_ = 0;
  // No search that has read before may raise.
  version_ += lowerings_kept + 1;
}

Watermark *Watermarks::find(std::uint64_t filter, std::int32_t lane) noexcept {
  const auto is_it = [&](const Watermark &mark) { return mark.filter == filter && mark.lane == lane; };
  Watermark *end = marks_ + count_;
  Watermark *found = std::find_if(marks_, end, is_it);
  if (found != end) return found;
  end = marks_ + room + limits_count_;
  found = std::find_if(marks_ + room, end, is_it);
  return found != end ? found : nullptr;
}

Watermark &Watermarks::make_room(bool of_limit) noexcept {
  if (!of_limit) return marks_[count_ < room ? count_++ : next_++ % room];
  return marks_[room + (limits_count_ < limits_room ? limits_count_++ : next_limit_++ % limits_room)];
}

}  // namespace insula::core
