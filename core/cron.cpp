// The fires of an expression; see cron.hpp for the rules, cron_parse.cpp for the syntax.
#include "core/cron.hpp"

#include <algorithm>
#include <bit>
#include <chrono>

namespace insula::core {

namespace {

using std::chrono::days;
using std::chrono::month_day_last;
using std::chrono::sys_days;
using std::chrono::weekday;
using std::chrono::year_month_day;
using std::chrono::year_month_day_last;

constexpr std::int64_t day_length = 86400;
constexpr std::chrono::year last_year{9999};

// At one instant two local times of a zone are less than this apart, so nothing further back bears
// on the present.
constexpr std::int64_t look_back = 2 * day_length;

// The first member of a set that is at least `from` (up to 63); -1: none.
int next_in(std::uint64_t set, std::int64_t from) noexcept {
  set >>= from;
  return set == 0 ? -1 : static_cast<int>(from) + std::countr_zero(set);
}

int first_in(std::uint64_t set) noexcept { return std::countr_zero(set); }

// The first second of a day, at or after `from`, that fits; -1: none.
std::int64_t next_time_of_day(const Cron &cron, std::int64_t from) noexcept {
  const std::int64_t hour = from / 3600;
  const std::int64_t minute = from / 60 % 60;
  if (next_in(cron.hours, hour) == hour) {
    if (next_in(cron.minutes, minute) == minute)
      if (const int second = next_in(cron.seconds, from % 60); second >= 0) return from - from % 60 + second;
    if (const std::int64_t later = next_in(cron.minutes, minute + 1); later >= 0)
      return hour * 3600 + later * 60 + first_in(cron.seconds);
  }
  const std::int64_t later = next_in(cron.hours, hour + 1);
  return later < 0 ? -1 : (later * 60 + first_in(cron.minutes)) * 60 + first_in(cron.seconds);
}

// Turns bits of weekdays, from Sunday on, into bits of days, the first of which is the weekday
// `first`.
std::uint64_t turned(std::uint64_t weekdays, weekday first) noexcept {
  return ((weekdays | weekdays << 7) >> first.c_encoding()) & 0x7f;
}

// The first local time, at or after `from`, that fits.
std::optional<std::int64_t> next_local_time(const Cron &cron, std::int64_t from) noexcept {
  const sys_days today{days{from >= 0 ? from / day_length : (from + 1) / day_length - 1}};
  const std::int64_t midnight = today.time_since_epoch().count() * day_length;
  const year_month_day date{today};
  auto year = date.year();
  auto month = static_cast<unsigned>(date.month());
  const auto day = static_cast<unsigned>(date.day());
  std::uint64_t fitting = days_of_month(cron, static_cast<int>(year), month) >> day << day;
  if (fitting >> day & 1) {
    if (const std::int64_t time = next_time_of_day(cron, from - midnight); time >= 0) return midnight + time;
    fitting &= fitting - 1;
  }
  while (fitting == 0) {
    const int later = next_in(cron.months, month + 1);
    if (later < 0 && ++year > last_year) return std::nullopt;
    month = static_cast<unsigned>(later < 0 ? first_in(cron.months) : later);
    fitting = days_of_month(cron, static_cast<int>(year), month);
  }
  const sys_days fire{
      year_month_day{year, std::chrono::month{month}, std::chrono::day{static_cast<unsigned>(first_in(fitting))}}};
  return fire.time_since_epoch().count() * day_length + next_time_of_day(cron, 0);
}

std::optional<std::int64_t> next_in_elapsed_time(const Cron &cron, const Zone &zone, std::int64_t after) noexcept {
  for (std::int64_t from = after + 1;;) {
    const Offset offset = zone.at(from);
    const auto local = next_local_time(cron, from + offset.seconds);
    if (!local) return std::nullopt;
    if (*local - offset.seconds < offset.until) return *local - offset.seconds;
    from = offset.until;
  }
}

// The latest local time that the clock has shown up to an instant.
std::int64_t latest_shown(const Zone &zone, std::int64_t instant) noexcept {
  std::int64_t latest = instant - look_back;
  for (std::int64_t from = instant - look_back; from <= instant;) {
    const Offset offset = zone.at(from);
    latest = std::max(latest, std::min(instant, offset.until - 1) + offset.seconds);
    from = offset.until;
  }
  return latest;
}

// The first instant, at or after `from`, at which the clock shows `local` or a later time.
std::int64_t first_reached(const Zone &zone, std::int64_t from, std::int64_t local) noexcept {
  for (from = std::max(from, local - look_back);;) {
    const Offset offset = zone.at(from);
    if (local - offset.seconds < offset.until) return std::max(from, local - offset.seconds);
    from = offset.until;
  }
}

}  // namespace

std::uint64_t days_of_month(const Cron &cron, int year, unsigned month) noexcept {
  if ((cron.months >> month & 1) == 0) return 0;
  const year_month_day_last last{std::chrono::year{year}, month_day_last{std::chrono::month{month}}};
  const sys_days first{year_month_day{last.year(), last.month(), std::chrono::day{1}}};
  const auto length = static_cast<unsigned>(last.day());

  std::uint64_t by_date = cron.days;
  for (std::uint64_t left = cron.days_before_end; left != 0; left &= left - 1)
    if (const auto before = static_cast<unsigned>(first_in(left)); before < length)
      by_date |= std::uint64_t{1} << (length - before);

  // The month's first day is bit 0 here.
  std::uint64_t by_weekday = turned(cron.last_weekdays, weekday{first + days{length - 7}}) << (length - 7);
  for (unsigned week = 0; week < 5; ++week)
    by_weekday |= turned(cron.weekdays | (cron.nth_weekdays >> 7 * week & 0x7f), weekday{first}) << 7 * week;
  by_weekday <<= 1;

  const std::uint64_t all = (std::uint64_t{2} << length) - 2;
  return all & (cron.either_day ? by_date | by_weekday : by_date & by_weekday);
}

std::optional<std::int64_t> next_fire(const Cron &cron, const Zone &zone, std::int64_t after) noexcept {
  after = std::max(after, first_instant - 1);
  if (after >= last_instant) return std::nullopt;
  std::optional<std::int64_t> fire;
  if (cron.follows_elapsed_time) {
    fire = next_in_elapsed_time(cron, zone, after);
  } else if (const auto local = next_local_time(cron, latest_shown(zone, after) + 1)) {
    fire = first_reached(zone, after + 1, *local);
  }
  return fire && *fire <= last_instant ? fire : std::nullopt;
}

std::optional<std::int64_t> last_fire(const Cron &cron, const Zone &zone, std::int64_t after,
                                      std::int64_t until) noexcept {
  after = std::max(after, first_instant - 1);
  until = std::min(until, last_instant);
  std::optional<std::int64_t> last;
  // The last fire, unless it is found already, is in (after, until].
  while (after < until) {
    const std::int64_t middle = after + (until - after) / 2;
    const auto fire = next_fire(cron, zone, middle);
    if (fire && *fire <= until) {
      last = fire;
      after = *fire;
    } else {
      until = middle;
    }
  }
  return last;
}

}  // namespace insula::core
