// Cron expressions: their meaning, and their next fires.  No allocation, no clock, no files: the
// caller brings the instants and the zone.
//
// An expression has five fields, or six with seconds first, with blanks between them:
//
//   second 0-59, minute 0-59, hour 0-23, day of month 1-31, month 1-12, day of week 0-7
//
// Months are also JAN to DEC, days of the week SUN to SAT, in any case; 0 and 7 are both
// Sunday.  Without seconds it fires at second 0.  A field is a list, with commas, of
//
//   *  a  a-b        all, one, from a to b (backwards is an error, but MON-SUN is 1-7)
//   */n  a-b/n  a/n  every n-th of these, a/n from a to the end
//   L  L-n           day of month: the last of the month, n days before the last
//   aL  a#n          day of week: the last such day of the month, its n-th (1 to 5)
//
// or a lone ? for * in the two fields of days.  A field of days is free if it begins with * or ?.
// If neither is free, a day fits that fits either of them, otherwise one that fits both (so
// 0 0 */2 * MON means Mondays that have an odd date).  These are Vixie cron's rules.  @yearly
// (or @annually), @monthly, @weekly, @daily (or @midnight) and @hourly stand for whole expressions.
//
// There are two rules for a clock that is set forward or back:
//
// - The hour field or the minute field begins with *: the expression follows elapsed time.
//   It fires at each instant whose local time fits: in both passes of a repeated hour, and
//   not for a time that is skipped.
// - Otherwise it fires once for each local time that fits, when the clock first reaches or
//   passes it: at the first instant after a gap for all that the gap skipped, in the first
//   pass only of a repeated hour.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace insula::core {

// Sets of numbers as bits.  An expression that parse_cron accepts fires at least once in any forty
// years.
struct Cron {
  std::uint64_t seconds = 0;
  std::uint64_t minutes = 0;
  std::uint64_t hours = 0;
  std::uint64_t days = 0;             // days of the month, 1 to 31
  std::uint64_t days_before_end = 0;  // bit n: n days before the month's last
  std::uint64_t months = 0;           // 1 to 12
  std::uint64_t weekdays = 0;         // 0 (Sunday) to 6
  std::uint64_t nth_weekdays = 0;     // bit 7 (n - 1) + weekday: the month's n-th such day
  std::uint64_t last_weekdays = 0;    // the month's last such day
  bool either_day = false;            // a day may fit by its date or by its weekday alone
  bool follows_elapsed_time = false;
};

// Longer than any useful expression, in bytes.
inline constexpr std::size_t max_cron_length = 1000;

// The fault of an expression, to be read as `part problem`.
struct CronError {
  const char *field;      // the faulty field; nullptr: the whole expression
  std::string_view part;  // the faulty text
  const char *problem;
};

// False: the text is no expression, or one that never fires (30 FEB), and *error says why.
bool parse_cron(std::string_view expression, Cron *cron, CronError *error) noexcept;

// The days of a month that fit, as bits 1 to 31.
std::uint64_t days_of_month(const Cron &cron, int year, unsigned month) noexcept;

// Instants and local times are seconds since 1970; a local time is counted as if it were UTC.
struct Offset {
  std::int32_t seconds;  // local time minus UTC, less than a day
  std::int64_t until;    // the first later instant that may have another; INT64_MAX: none
};

struct Zone {
  const void *context;
  Offset (*offset_at)(const void *context, std::int64_t instant) noexcept;

  Offset at(std::int64_t instant) const noexcept { return offset_at(context, instant); }
};

// The first and the last second of any schedule: 4713 BC, as in PostgreSQL, and the year 9999.
inline constexpr std::int64_t first_instant = -210'866'803'200;
inline constexpr std::int64_t last_instant = 253'402'300'799;

// The first fire after an instant; nullopt: it would come after last_instant.
std::optional<std::int64_t> next_fire(const Cron &cron, const Zone &zone, std::int64_t after) noexcept;

// The last fire after one instant and not after another; nullopt: none.  The search takes a few
// microseconds however far they are apart.
std::optional<std::int64_t> last_fire(const Cron &cron, const Zone &zone, std::int64_t after,
                                      std::int64_t until) noexcept;

}  // namespace insula::core
