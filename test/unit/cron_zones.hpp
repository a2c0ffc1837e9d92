// Instants as text and zones of a test's own, for the tests of cron expressions.
#pragma once

#include "core/cron.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace cron_test {

using insula::core::Cron;
using insula::core::CronError;
using insula::core::last_fire;
using insula::core::last_instant;
using insula::core::next_fire;
using insula::core::Offset;
using insula::core::parse_cron;
using insula::core::Zone;
using std::chrono::days;
using std::chrono::sys_days;

constexpr std::int64_t minute = 60;
constexpr std::int64_t hour = 3600;
constexpr std::int64_t day = 86400;

// "2024-02-29 12:00:00" or "2024-02-29 12:00", read as UTC.
inline std::int64_t at(const std::string &text) {
  int y = 0, mo = 0, d = 0, h = 0, mi = 0, s = 0;
  EXPECT_GE(std::sscanf(text.c_str(), "%d-%d-%d %d:%d:%d", &y, &mo, &d, &h, &mi, &s), 5) << text;
  const sys_days date{std::chrono::year{y} / mo / d};
  return date.time_since_epoch().count() * day + h * hour + mi * minute + s;
}

inline std::string text_of(std::optional<std::int64_t> instant) {
  if (!instant) return "none";
  const sys_days date{std::chrono::floor<days>(std::chrono::sys_seconds{std::chrono::seconds{*instant}})};
  const std::chrono::year_month_day ymd{date};
  const std::int64_t time = *instant - date.time_since_epoch().count() * day;
  char text[40];
  std::snprintf(text, sizeof text, "%04d-%02u-%02u %02d:%02d:%02d", int{ymd.year()}, unsigned{ymd.month()},
                unsigned{ymd.day()}, static_cast<int>(time / hour), static_cast<int>(time / minute % 60),
                static_cast<int>(time % 60));
  return text;
}

// A zone of a first offset and of changes, in order, to others.
struct TestZone {
  std::int32_t first = 0;
  std::vector<std::pair<std::int64_t, std::int32_t>> changes = {};

  Zone zone() const { return {this, &offset_at}; }

  static Offset offset_at(const void *context, std::int64_t instant) noexcept {
    const auto *self = static_cast<const TestZone *>(context);
    const auto next = std::upper_bound(self->changes.begin(), self->changes.end(), instant,
                                       [](std::int64_t wanted, const auto &change) { return wanted < change.first; });
    return {next == self->changes.begin() ? self->first : std::prev(next)->second,
            next == self->changes.end() ? INT64_MAX : next->first};
  }
};

inline const TestZone utc;

}  // namespace cron_test
