// Watermarks of one tenant; see watermarks.hpp.
#include "core/watermarks.hpp"

#include <algorithm>

namespace insula::core {

void Watermarks::start(std::uint64_t version) noexcept {
  version_ = version;
  count_ = limits_count_ = stretch_count_ = next_ = next_limit_ = 0;
}

// The lowest lowering after `read_version`; watermark_unknown: more came than are kept.
std::int64_t Watermarks::lowest_since(std::uint64_t read_version) const noexcept {
  const std::uint64_t since = version_ - read_version;
  if (since > lowerings_kept) return watermark_unknown;
  std::int64_t due = watermark_end;
  for (std::uint64_t i = 1; i <= since; ++i) due = std::min(due, lowerings_[(version_ - i) % lowerings_kept]);
  return due;
}

void Watermarks::raise(Searched searched, std::uint64_t read_version, bool of_limit) noexcept {
  Watermark *mark = find(searched.filter, searched.lane);
  const std::int64_t lowest = lowest_since(read_version);
  if (lowest == watermark_unknown) {
    if (mark) mark->ahead = watermark_unknown;
    return;
  }
  searched.to = std::min(searched.to, lowest);
  if (!mark) {
    // A search of a limit begins at the limit's watermark, which may have been replaced since.
    if (searched.from != watermark_unknown && !of_limit) return;
    mark = &make_room(of_limit);
    *mark = {searched.filter, searched.lane, searched.to, watermark_unknown};
  } else if (searched.from <= mark->due) {
    mark->due = std::max(mark->due, searched.to);
    join_stretches(*mark);
  } else if (searched.from >= searched.to) {
    return;
  } else if (stretch_count_ < stretches_kept) {
    stretches_[stretch_count_++] = searched;
  } else {
    // The watermark reaches the rows behind this stretch only if a claim searches the stretch
    // again.
    mark->ahead = watermark_unknown;
  }
}

// Absorbs the stretches that the watermark has reached; its new end may reach more.
void Watermarks::join_stretches(Watermark &mark) noexcept {
  for (int i = 0; i < stretch_count_;) {
    const Searched &stretch = stretches_[i];
    if (stretch.filter != mark.filter || stretch.lane != mark.lane || stretch.from > mark.due) {
      ++i;
      continue;
    }
    mark.due = std::max(mark.due, stretch.to);
    stretches_[i] = stretches_[--stretch_count_];
    i = 0;
  }
}

void Watermarks::lower(std::int64_t due) noexcept {
  lowerings_[version_++ % lowerings_kept] = due;
  const auto lower = [due](Watermark &mark) {
    mark.due = std::min(mark.due, due);
    mark.ahead = std::min(mark.ahead, due);
  };
  std::for_each(marks_, marks_ + count_, lower);
  std::for_each(marks_ + room, marks_ + room + limits_count_, lower);
  for (int i = 0; i < stretch_count_; ++i) stretches_[i].to = std::min(stretches_[i].to, due);
  const auto is_empty = [](const Searched &stretch) { return stretch.to <= stretch.from; };
  stretch_count_ = static_cast<int>(std::remove_if(stretches_, stretches_ + stretch_count_, is_empty) - stretches_);
}

std::int64_t Watermarks::beginning(std::uint64_t filter, std::int32_t lane) const noexcept {
  const Watermark *mark = const_cast<Watermarks *>(this)->find(filter, lane);
  return mark && mark->due != watermark_end ? std::max(mark->ahead, mark->due) : watermark_unknown;
}

bool Watermarks::move_beginning(const Searched &planned, std::uint64_t read_version) noexcept {
  Watermark *mark = find(planned.filter, planned.lane);
  if (!mark || beginning(planned.filter, planned.lane) != planned.from || lowest_since(read_version) < planned.to)
    return false;
  mark->ahead = planned.to;
  return true;
}

void Watermarks::forget_beginnings() noexcept {
  for (Watermark &mark : marks_) mark.ahead = watermark_unknown;
}

void Watermarks::forget_beginning(std::uint64_t filter, std::int32_t lane) noexcept {
  if (Watermark *mark = find(filter, lane)) mark->ahead = watermark_unknown;
}

void Watermarks::forget() noexcept {
  count_ = limits_count_ = stretch_count_ = 0;
  // A search that read an earlier version must not raise.
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

// Stretches of a replaced watermark stay: they count again if it comes back.
Watermark &Watermarks::make_room(bool of_limit) noexcept {
  if (!of_limit) return marks_[count_ < room ? count_++ : next_++ % room];
  return marks_[room + (limits_count_ < limits_room ? limits_count_++ : next_limit_++ % limits_room)];
}

}  // namespace insula::core
