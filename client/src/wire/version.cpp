// Comparing versions.  A server may be any: nothing is read that is not there.
#include "wire/version.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

namespace insula::wire {

namespace {

struct Number {
  int major = 0;
  int minor = 0;
};

// nullopt: no version of ours.
std::optional<Number> number_of(std::string_view version) {
  Number number;
  const char* const end = version.data() + version.size();
  const auto major = std::from_chars(version.data(), end, number.major);
  if (major.ec != std::errc{} || major.ptr == end || *major.ptr != '.') return std::nullopt;
  if (std::from_chars(major.ptr + 1, end, number.minor).ec != std::errc{}) return std::nullopt;
  return number;
}

}  // namespace

bool hides_version(const error& failure) { return failure.code() == errc::permission; }

std::optional<error> check_version(const Rows& rows) {
  if (rows.size() == 0 || rows.is_null(0, 0))
    return error{errc::extension_missing, "the database has no extension insula: CREATE EXTENSION insula"};
  const std::string_view found = rows.text(0, 0);
  const std::optional<Number> there = number_of(found);
  const Number here = number_of(library_version).value();
  if (there && there->major == here.major && there->minor >= here.minor) return std::nullopt;
  return error{errc::version_mismatch,
               fmt::format("the database has extension insula {}, this library goes with {}.{} and what follows it", found,
                           here.major, here.minor)};
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
