// Values as parameters.
#include "wire/params.hpp"

#include "wire/forever.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace insula::wire {

Param text_or_null(std::string_view text) { return text.empty() ? Param{} : Param{std::string{text}}; }

std::string interval(std::chrono::milliseconds d) {
  return fmt::format("{} ms", std::clamp(d, -forever, forever).count());
}

std::string since_epoch(std::chrono::system_clock::time_point when) {
  return fmt::format("{} us", std::chrono::floor<std::chrono::microseconds>(when.time_since_epoch()).count());
}

std::optional<std::chrono::system_clock::time_point> read_time(const Rows& rows, int row, int column) {
  using std::chrono::microseconds;
  if (rows.is_null(row, column)) return std::nullopt;
  // The server knows times that this clock does not.
  constexpr auto most = std::chrono::duration_cast<microseconds>(std::chrono::system_clock::duration::max());
  return std::chrono::system_clock::time_point{std::clamp(microseconds{rows.integer(row, column)}, -most, most)};
}

}  // namespace insula::wire
