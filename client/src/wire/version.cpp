// Comparing versions.  A server may be any: nothing is read that is not there.
#include "wire/version.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace insula::wire {

namespace {

std::string_view major_minor(std::string_view version) {
  const std::size_t first = version.find('.');
  return first == std::string_view::npos ? version : version.substr(0, version.find('.', first + 1));
}

}  // namespace

bool hides_version(const error& failure) { return failure.code() == errc::permission; }

std::optional<error> check_version(const Rows& rows) {
  if (rows.size() == 0 || rows.is_null(0, 0))
    return error{errc::extension_missing, "the database has no extension insula: CREATE EXTENSION insula"};
  const std::string_view found = rows.text(0, 0);
  if (major_minor(found) == major_minor(library_version)) return std::nullopt;
  return error{errc::version_mismatch, fmt::format("the database has extension insula {}, this library goes with {}",
                                                   found, major_minor(library_version))};
}

std::chrono::milliseconds idle_limit(const Rows& rows) {
  constexpr std::int64_t longest = std::numeric_limits<std::int32_t>::max();  // of the setting
  if (rows.size() == 0 || rows.columns() < 2) return {};
  return std::chrono::milliseconds{std::clamp<std::int64_t>(rows.integer(0, 1), 0, longest)};
}

bool is_direct(const Rows& rows, int process) {
  return rows.size() > 0 && rows.columns() > 2 && rows.integer(0, 2) == process;
}

}  // namespace insula::wire
