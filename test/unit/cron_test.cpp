// Cron expressions: what is one, when it fires, and what it does where a clock is set
// forward or back; in tables, and against an oracle that walks through every instant.
#include "core/cron.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace {

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
std::int64_t at(const std::string &text) {
  int y = 0, mo = 0, d = 0, h = 0, mi = 0, s = 0;
  EXPECT_GE(std::sscanf(text.c_str(), "%d-%d-%d %d:%d:%d", &y, &mo, &d, &h, &mi, &s), 5) << text;
  const sys_days date{std::chrono::year{y} / mo / d};
  return date.time_since_epoch().count() * day + h * hour + mi * minute + s;
}

std::string text_of(std::optional<std::int64_t> instant) {
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

Cron parsed(const std::string &expression) {
  Cron cron;
  CronError error{};
  EXPECT_TRUE(parse_cron(expression, &cron, &error)) << expression << ": " << error.part << ' ' << error.problem;
  return cron;
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

const TestZone utc;
// 2024 in Berlin: forward on 31 March at 2:00, back on 27 October at 3:00.
const TestZone berlin{hour, {{at("2024-03-31 01:00"), 2 * hour}, {at("2024-10-27 01:00"), hour}}};
// Half an hour, at 2:00: forward on 6 October, back on 7 April.
const TestZone lord_howe{11 * hour,
                         {{at("2024-04-06 15:00"), 10 * hour + 30 * minute}, {at("2024-10-05 15:30"), 11 * hour}}};
// Midnight does not exist on 4 November, and 23:00 comes twice on 16 February.
const TestZone sao_paulo{-2 * hour, {{at("2018-02-18 02:00"), -3 * hour}, {at("2018-11-04 03:00"), -2 * hour}}};
// 30 December does not exist.
const TestZone apia{-10 * hour, {{at("2011-12-30 10:00"), 14 * hour}}};

std::string fires(const TestZone &zone, const std::string &expression, const std::string &after, int count) {
  const Cron cron = parsed(expression);
  std::string text;
  std::optional<std::int64_t> fire = at(after);
  for (int i = 0; i < count; ++i) {
    fire = next_fire(cron, zone.zone(), *fire);
    text += (i ? ", " : "") + text_of(fire);
    if (!fire) break;
  }
  return text;
}

std::string next(const std::string &expression, const std::string &after) { return fires(utc, expression, after, 1); }

// ---------------------------------------------------------------------------
// What an expression is
// ---------------------------------------------------------------------------

TEST(CronSyntax, ReadsEachKindOfItem) {
  const auto bits = [](std::initializer_list<int> numbers) {
    std::uint64_t set = 0;
    for (int number : numbers) set |= std::uint64_t{1} << number;
    return set;
  };
  EXPECT_EQ(parsed("5 0 * * *").minutes, bits({5}));
  EXPECT_EQ(parsed("5 0 * * *").seconds, bits({0}));
  EXPECT_EQ(parsed("7,30 5 0 * * *").seconds, bits({7, 30}));
  EXPECT_EQ(parsed("*/15 0 * * *").minutes, bits({0, 15, 30, 45}));
  EXPECT_EQ(parsed("10-40/10 0 * * *").minutes, bits({10, 20, 30, 40}));
  EXPECT_EQ(parsed("5/15 0 * * *").minutes, bits({5, 20, 35, 50}));
  EXPECT_EQ(parsed("1,3-5,50-59/4 0 * * *").minutes, bits({1, 3, 4, 5, 50, 54, 58}));
  EXPECT_EQ(parsed("0 0-23/12 * * *").hours, bits({0, 12}));
  EXPECT_EQ(parsed("0 0 01,031 * *").days, bits({1, 31}));
  EXPECT_EQ(parsed("0 0 1 feb,Jun-AUG,12 *").months, bits({2, 6, 7, 8, 12}));
  EXPECT_EQ(parsed("0 0 * * 0").weekdays, bits({0}));
  EXPECT_EQ(parsed("0 0 * * 7").weekdays, bits({0}));
  EXPECT_EQ(parsed("0 0 * * mon-FRI").weekdays, bits({1, 2, 3, 4, 5}));
  EXPECT_EQ(parsed("0 0 * * FRI-SUN").weekdays, bits({0, 5, 6}));
  EXPECT_EQ(parsed("0 0 * * 6-0").weekdays, bits({0, 6}));
  EXPECT_EQ(parsed("0 0 * * SUN-MON").weekdays, bits({0, 1}));
  EXPECT_EQ(parsed("0 0 * * SUN-SUN").weekdays, bits({0}));
  EXPECT_EQ(parsed("0 0 * * *").weekdays, bits({0, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(parsed("0 0 * * 1/2").weekdays, bits({0, 1, 3, 5}));
  EXPECT_EQ(parsed("0 0 L,l-3,15 * *").days_before_end, bits({0, 3}));
  EXPECT_EQ(parsed("0 0 L,L-3,15 * *").days, bits({15}));
  EXPECT_EQ(parsed("0 0 * * FRIL,0l").last_weekdays, bits({0, 5}));
  EXPECT_EQ(parsed("0 0 * * 1#1,FRI#2,7#5").nth_weekdays, bits({1, 7 + 5, 28 + 0}));
  EXPECT_EQ(parsed("0 0 * * 1#1,3").weekdays, bits({3}));
}

TEST(CronSyntax, KnowsTheShorthands) {
  EXPECT_EQ(fires(utc, "@yearly", "2024-05-05 00:00", 2), "2025-01-01 00:00:00, 2026-01-01 00:00:00");
  EXPECT_EQ(fires(utc, "@annually", "2024-05-05 00:00", 2), "2025-01-01 00:00:00, 2026-01-01 00:00:00");
  EXPECT_EQ(fires(utc, "@monthly", "2024-05-05 00:00", 2), "2024-06-01 00:00:00, 2024-07-01 00:00:00");
  EXPECT_EQ(fires(utc, "@weekly", "2024-05-05 00:00", 2), "2024-05-12 00:00:00, 2024-05-19 00:00:00");
  EXPECT_EQ(fires(utc, "@daily", "2024-05-05 00:00", 2), "2024-05-06 00:00:00, 2024-05-07 00:00:00");
  EXPECT_EQ(fires(utc, "@midnight", "2024-05-05 00:00", 2), "2024-05-06 00:00:00, 2024-05-07 00:00:00");
  EXPECT_EQ(fires(utc, "\t@HOURLY \n", "2024-05-05 00:00", 2), "2024-05-05 01:00:00, 2024-05-05 02:00:00");
}

TEST(CronSyntax, TakesAnyBlanks) { EXPECT_EQ(next("  5\t4 *  *\n* ", "2024-05-05 00:00"), "2024-05-05 04:05:00"); }

TEST(CronSyntax, HasALongestExpression) {
  std::string longest = "0 0 1 1 1";
  while (longest.size() < insula::core::max_cron_length) longest += ' ';
  EXPECT_EQ(parsed(longest).months, 2U);
  longest += ' ';
  Cron cron;
  CronError error{};
  ASSERT_FALSE(parse_cron(longest, &cron, &error));
  EXPECT_STREQ(error.problem, "is longer than 1000 bytes");
}

TEST(CronSyntax, SaysWhatIsWrongAndWhere) {
  const struct {
    const char *expression;
    const char *field;
    const char *part;
    const char *problem;
  } cases[] = {
      {"", nullptr, "", "does not have five fields"},
      {"   ", nullptr, "   ", "does not have five fields"},
      {"* * * *", nullptr, "* * * *", "does not have five fields"},
      {"* * * * * * *", nullptr, "* * * * * * *", "does not have five fields"},
      {"@reboot", nullptr, "@reboot", "is none of @yearly"},
      {"@daily x", nullptr, "@daily x", "does not have five fields"},
      {"60 * * * *", "minute", "60", "is not between 0 and 59"},
      {"61 0 * * * *", "second", "61", "is not between 0 and 59"},
      {"0 24 * * *", "hour", "24", "is not between 0 and 23"},
      {"0 0 0 * *", "day of month", "0", "is not between 1 and 31"},
      {"0 0 1-32 * *", "day of month", "1-32", "is not between 1 and 31"},
      {"0 0 * 13 *", "month", "13", "is not between 1 and 12"},
      {"0 0 * 0 *", "month", "0", "is not between 1 and 12"},
      {"0 0 * * 8", "day of week", "8", "is not between 0 and 7"},
      {"99999999999999999999 * * * *", "minute", "99999999999999999999", "is not between 0 and 59"},
      {"a * * * *", "minute", "a", "is not a value"},
      {"-5 * * * *", "minute", "-5", "is not a value"},
      {"5- * * * *", "minute", "5-", "is not a value"},
      {"5-6-7 * * * *", "minute", "5-6-7", "is not a value"},
      {"1,,2 * * * *", "minute", "", "is not a value"},
      {"1, * * * *", "minute", "", "is not a value"},
      {", * * * *", "minute", "", "is not a value"},
      {"*5 * * * *", "minute", "*5", "is not a value"},
      {"*-5 * * * *", "minute", "*-5", "is not a value"},
      {"1.5 * * * *", "minute", "1.5", "is not a value"},
      {"? * * * *", "minute", "?", "is not a value"},
      {"L * * * *", "minute", "L", "is not a value"},
      {"5/ * * * *", "minute", "5/", "is not a value"},
      {"*/-1 * * * *", "minute", "*/-1", "is not a value"},
      {"*/0 * * * *", "minute", "*/0", "has a step that is 0"},
      {"*/61 * * * *", "minute", "*/61", "has a step that is 0 or larger"},
      {"40-10 * * * *", "minute", "40-10", "runs backwards"},
      {"0 22-2 * * *", "hour", "22-2", "runs backwards"},
      {"0 0 * NOV-FEB *", "month", "NOV-FEB", "runs backwards"},
      {"0 0 * * FRI-MON", "day of week", "FRI-MON", "runs backwards"},
      {"0 0 * * 7-1", "day of week", "7-1", "runs backwards"},
      {"0 0 * MON *", "month", "MON", "is not a value"},
      {"0 0 * JANUARY *", "month", "JANUARY", "is not a value"},
      {"0 0 * * MONDAY", "day of week", "MONDAY", "is not a value"},
      {"0 0 * * JAN", "day of week", "JAN", "is not a value"},
      {"0 0 JAN * *", "day of month", "JAN", "is not a value"},
      {"0 0 15W * *", "day of month", "15W", "is not a value"},
      {"0 0 L-31 * *", "day of month", "L-31", "is not between L-0 and L-30"},
      {"0 0 L- * *", "day of month", "L-", "is not a value"},
      {"0 0 L/2 * *", "day of month", "L/2", "is not a value"},
      {"0 0 1-L * *", "day of month", "1-L", "is not a value"},
      {"0 0 ?,1 * *", "day of month", "?", "is not a value"},
      {"0 0 * * L", "day of week", "L", "is not a value"},
      {"0 0 * * 5L-1", "day of week", "5L-1", "is not a value"},
      {"0 0 * * 5#0", "day of week", "5#0", "does not count from 1 to 5"},
      {"0 0 * * 5#6", "day of week", "5#6", "does not count from 1 to 5"},
      {"0 0 * * 5#", "day of week", "5#", "is not a value"},
      {"0 0 * * 1-5#2", "day of week", "1-5#2", "is not a value"},
      {"0 0 * * 5#2/2", "day of week", "5#2/2", "is not a value"},
      {"0 0 30 FEB *", nullptr, "0 0 30 FEB *", "never fires"},
      {"0 0 31 2,4,6,9,11 ?", nullptr, "0 0 31 2,4,6,9,11 ?", "never fires"},
      {"0 0 L-29 2 *", nullptr, "0 0 L-29 2 *", "never fires"},
      {"0 0 */31 4 5#5", nullptr, "0 0 */31 4 5#5", "never fires"},
  };
  for (const auto &c : cases) {
    SCOPED_TRACE(c.expression);
    Cron cron;
    CronError error{};
    ASSERT_FALSE(parse_cron(c.expression, &cron, &error));
    EXPECT_STREQ(error.field, c.field);
    EXPECT_EQ(error.part, c.part);
    EXPECT_TRUE(std::string(error.problem).starts_with(c.problem)) << error.problem;
  }
}

// ---------------------------------------------------------------------------
// When it fires
// ---------------------------------------------------------------------------

TEST(CronNext, ComesStrictlyAfter) {
  EXPECT_EQ(next("* * * * * *", "2024-05-05 10:00:00"), "2024-05-05 10:00:01");
  EXPECT_EQ(next("0 10 * * *", "2024-05-05 09:59:59"), "2024-05-05 10:00:00");
  EXPECT_EQ(next("0 10 * * *", "2024-05-05 10:00:00"), "2024-05-06 10:00:00");
}

TEST(CronNext, CarriesFromEachFieldToTheNext) {
  EXPECT_EQ(next("30 59 23 31 12 *", "2024-12-31 23:59:30"), "2025-12-31 23:59:30");
  EXPECT_EQ(next("* * * * * *", "2024-12-31 23:59:59"), "2025-01-01 00:00:00");
  EXPECT_EQ(next("10 5 * * * *", "2024-05-05 07:05:10"), "2024-05-05 08:05:10");
  EXPECT_EQ(next("10 5,6 7 * * *", "2024-05-05 07:05:11"), "2024-05-05 07:06:10");
  EXPECT_EQ(next("10 5,6 7,9 * * *", "2024-05-05 07:06:11"), "2024-05-05 09:05:10");
  EXPECT_EQ(next("0 0 31 * *", "2024-03-31 00:00"), "2024-05-31 00:00:00");
  EXPECT_EQ(next("0 0 1 2 *", "2024-03-01 00:00"), "2025-02-01 00:00:00");
}

TEST(CronNext, FindsRareDays) {
  EXPECT_EQ(fires(utc, "0 0 29 2 *", "2024-02-29 00:00", 2), "2028-02-29 00:00:00, 2032-02-29 00:00:00");
  EXPECT_EQ(next("0 0 29 2 *", "1896-02-29 00:00"), "1904-02-29 00:00:00");
  // 29 February, a Saturday.
  EXPECT_EQ(fires(utc, "0 0 * 2 6#5", "2020-02-29 00:00", 2), "2048-02-29 00:00:00, 2076-02-29 00:00:00");
  EXPECT_EQ(next("0 0 * 2 6#5", "1896-02-29 00:00"), "1908-02-29 00:00:00");
  EXPECT_EQ(next("* * * 2 1#5", "1892-02-29 23:59"), "1904-02-29 00:00:00");
  // Nothing is rarer: 29 February, a Thursday, about a year that skips its leap day.
  EXPECT_EQ(next("0 0 * 2 4#5", "2080-02-29 00:00"), "2120-02-29 00:00:00");
}

TEST(CronNext, FindsDaysFromTheEndOfTheMonth) {
  EXPECT_EQ(fires(utc, "0 0 L * *", "2023-01-31 00:00", 3),
            "2023-02-28 00:00:00, 2023-03-31 00:00:00, 2023-04-30 00:00:00");
  EXPECT_EQ(next("0 0 L 2 *", "2024-02-01 00:00"), "2024-02-29 00:00:00");
  EXPECT_EQ(next("0 0 L-2 * *", "2024-02-01 00:00"), "2024-02-27 00:00:00");
  EXPECT_EQ(next("0 0 L-30 * *", "2024-01-02 00:00"), "2024-03-01 00:00:00");
  EXPECT_EQ(fires(utc, "0 0 1,L * ?", "2024-01-31 00:00", 2), "2024-02-01 00:00:00, 2024-02-29 00:00:00");
  EXPECT_EQ(fires(utc, "0 0 * * FRIL", "2024-05-01 00:00", 3),
            "2024-05-31 00:00:00, 2024-06-28 00:00:00, 2024-07-26 00:00:00");
  EXPECT_EQ(next("0 0 * * 7L", "2024-05-01 00:00"), "2024-05-26 00:00:00");
}

TEST(CronNext, FindsTheNthDayOfWeek) {
  EXPECT_EQ(fires(utc, "0 0 * * FRI#2", "2024-05-01 00:00", 2), "2024-05-10 00:00:00, 2024-06-14 00:00:00");
  EXPECT_EQ(next("0 0 * * 3#1", "2024-04-30 00:00"), "2024-05-01 00:00:00");
  EXPECT_EQ(fires(utc, "0 0 ? * 3#5", "2024-05-01 00:00", 2), "2024-05-29 00:00:00, 2024-07-31 00:00:00");
}

TEST(CronNext, JoinsTheTwoFieldsOfDaysAsVixieDoes) {
  // Both restricted: either.  12 May 2024 is a Sunday.
  EXPECT_EQ(fires(utc, "0 0 13 * FRI", "2024-05-08 00:00", 4),
            "2024-05-10 00:00:00, 2024-05-13 00:00:00, 2024-05-17 00:00:00, 2024-05-24 00:00:00");
  EXPECT_EQ(fires(utc, "0 0 L * FRI#1", "2024-05-04 00:00", 2), "2024-05-31 00:00:00, 2024-06-07 00:00:00");
  // One begins with * or ?: both.
  EXPECT_EQ(fires(utc, "0 0 */2 * MON", "2024-05-01 00:00", 2), "2024-05-13 00:00:00, 2024-05-27 00:00:00");
  EXPECT_EQ(fires(utc, "0 0 13 * */5", "2024-05-01 00:00", 2), "2024-09-13 00:00:00, 2024-10-13 00:00:00");
  EXPECT_EQ(next("0 0 ? * MON", "2024-05-01 00:00"), "2024-05-06 00:00:00");
  // The whole range, written out, is a restriction.
  EXPECT_EQ(next("0 0 13 * 0-6", "2024-05-01 00:00"), "2024-05-02 00:00:00");
}

TEST(CronNext, EndsWithTheYear9999) {
  EXPECT_EQ(next("0 0 1 1 *", "9998-06-01 00:00"), "9999-01-01 00:00:00");
  EXPECT_EQ(next("0 0 1 1 *", "9999-01-01 00:00"), "none");
  EXPECT_EQ(next("* * * * * *", "9999-12-31 23:59:58"), "9999-12-31 23:59:59");
  EXPECT_EQ(next("* * * * * *", "9999-12-31 23:59:59"), "none");
  const TestZone west{-hour};
  const TestZone east{hour};
  for (const TestZone *zone : {&utc, &west, &east})
    for (const char *expression : {"* * * * * *", "* 0-59 0-23 * * *"}) {
      const Cron cron = parsed(expression);
      EXPECT_FALSE(next_fire(cron, zone->zone(), INT64_MAX));
      EXPECT_FALSE(next_fire(cron, zone->zone(), last_instant));
      EXPECT_EQ(next_fire(cron, zone->zone(), INT64_MIN), insula::core::first_instant);
    }
}

TEST(CronNext, KnowsTheDaysBefore1970) {
  EXPECT_EQ(next("0 0 * * SAT", "1969-12-31 23:59"), "1970-01-03 00:00:00");
  EXPECT_EQ(next("30 12 L 2 *", "1899-03-01 00:00"), "1900-02-28 12:30:00");
  EXPECT_EQ(next("59 59 23 * * *", "1969-12-30 23:59:59"), "1969-12-31 23:59:59");
}

TEST(CronLast, LooksBack) {
  const auto last = [](const char *expression, const char *after, const char *until) {
    return text_of(last_fire(parsed(expression), berlin.zone(), at(after), at(until)));
  };
  EXPECT_EQ(last("0 9 * * *", "2024-05-01 00:00", "2024-05-05 06:59:59"), "2024-05-04 07:00:00");
  EXPECT_EQ(last("0 9 * * *", "2024-05-01 00:00", "2024-05-05 07:00:00"), "2024-05-05 07:00:00");
  EXPECT_EQ(last("0 9 * * *", "2024-05-05 06:59:59", "2024-05-05 07:00:00"), "2024-05-05 07:00:00");
  EXPECT_EQ(last("0 9 * * *", "2024-05-05 07:00:00", "2024-05-06 06:00:00"), "none");
  EXPECT_EQ(last("0 9 * * *", "2024-05-05 07:00:00", "2024-05-05 07:00:00"), "none");
  EXPECT_EQ(last("0 9 * * *", "2024-05-06 07:00:00", "2024-05-05 07:00:00"), "none");
  EXPECT_EQ(last("30 2 * * *", "2024-10-01 00:00", "2024-10-27 12:00"), "2024-10-27 00:30:00");
  EXPECT_EQ(last("0 0 29 2 *", "1890-10-01 00:00", "1903-10-27 12:00"), "1896-02-28 23:00:00");
  EXPECT_EQ(text_of(last_fire(parsed("* * * * * *"), utc.zone(), INT64_MIN, INT64_MAX)), "9999-12-31 23:59:59");
}

// ---------------------------------------------------------------------------
// Where clocks are set
// ---------------------------------------------------------------------------

TEST(CronZone, FollowsLocalTime) {
  EXPECT_EQ(fires(berlin, "0 9 * * *", "2024-03-29 12:00", 3),
            "2024-03-30 08:00:00, 2024-03-31 07:00:00, 2024-04-01 07:00:00");
  const TestZone kathmandu{5 * hour + 45 * minute};
  EXPECT_EQ(fires(kathmandu, "0 * * * *", "2024-03-29 12:00", 2), "2024-03-29 12:15:00, 2024-03-29 13:15:00");
  const TestZone old{-(7 * hour + 52 * minute + 58)};
  EXPECT_EQ(fires(old, "0 0 * * *", "1850-03-29 12:00", 1), "1850-03-30 07:52:58");
}

TEST(CronZone, AFixedTimeInAGapFiresOnceAfterIt) {
  EXPECT_EQ(fires(berlin, "30 2 * * *", "2024-03-30 12:00", 2), "2024-03-31 01:00:00, 2024-04-01 00:30:00");
  // Several collapse, also with what falls on the end of the gap by itself.
  EXPECT_EQ(fires(berlin, "0,20,40 2 * * *", "2024-03-30 12:00", 2), "2024-03-31 01:00:00, 2024-04-01 00:00:00");
  EXPECT_EQ(fires(berlin, "30 2,3 * * *", "2024-03-30 12:00", 2), "2024-03-31 01:00:00, 2024-03-31 01:30:00");
  EXPECT_EQ(fires(berlin, "0 2,3 * * *", "2024-03-30 12:00", 2), "2024-03-31 01:00:00, 2024-04-01 00:00:00");
  EXPECT_EQ(fires(berlin, "*/20 30 2 * * *", "2024-03-30 12:00", 2), "2024-03-31 01:00:00, 2024-04-01 00:30:00");
  EXPECT_EQ(fires(lord_howe, "15 2 * * *", "2024-10-05 12:00", 2), "2024-10-05 15:30:00, 2024-10-06 15:15:00");
  EXPECT_EQ(fires(sao_paulo, "0 0 * * *", "2018-11-03 12:00", 2), "2018-11-04 03:00:00, 2018-11-05 02:00:00");
  EXPECT_EQ(fires(sao_paulo, "@daily", "2018-11-03 12:00", 2), "2018-11-04 03:00:00, 2018-11-05 02:00:00");
}

TEST(CronZone, ASkippedDayFiresOnceAfterIt) {
  EXPECT_EQ(fires(apia, "0 12 * * *", "2011-12-29 12:00", 3),
            "2011-12-29 22:00:00, 2011-12-30 10:00:00, 2011-12-30 22:00:00");
  EXPECT_EQ(fires(apia, "0 0 * * *", "2011-12-29 12:00", 2), "2011-12-30 10:00:00, 2011-12-31 10:00:00");
  EXPECT_EQ(fires(apia, "0 12 30 12 *", "2011-12-29 12:00", 1), "2011-12-30 10:00:00");
  EXPECT_EQ(fires(apia, "0 */6 * * *", "2011-12-29 22:00", 3),
            "2011-12-30 04:00:00, 2011-12-30 10:00:00, 2011-12-30 16:00:00");
}

TEST(CronZone, AFixedTimeThatComesTwiceFiresOnce) {
  EXPECT_EQ(fires(berlin, "30 2 * * *", "2024-10-26 12:00", 2), "2024-10-27 00:30:00, 2024-10-28 01:30:00");
  EXPECT_EQ(fires(berlin, "0 2 * * *", "2024-10-26 12:00", 2), "2024-10-27 00:00:00, 2024-10-28 01:00:00");
  EXPECT_EQ(fires(berlin, "0 3 * * *", "2024-10-26 12:00", 1), "2024-10-27 02:00:00");
  // Wherever one begins to look.
  EXPECT_EQ(fires(berlin, "30 2 * * *", "2024-10-27 00:59:59", 1), "2024-10-28 01:30:00");
  EXPECT_EQ(fires(berlin, "30 2 * * *", "2024-10-27 01:10", 1), "2024-10-28 01:30:00");
  EXPECT_EQ(fires(berlin, "0 3 * * *", "2024-10-27 01:10", 1), "2024-10-27 02:00:00");
  EXPECT_EQ(fires(berlin, "0-59 1-2 * * *", "2024-10-27 00:58", 2), "2024-10-27 00:59:00, 2024-10-28 00:00:00");
  EXPECT_EQ(fires(lord_howe, "45 1 * * *", "2024-04-06 14:00", 2), "2024-04-06 14:45:00, 2024-04-07 15:15:00");
  EXPECT_EQ(fires(sao_paulo, "30 23 * * *", "2018-02-17 12:00", 2), "2018-02-18 01:30:00, 2018-02-19 02:30:00");
}

TEST(CronZone, ElapsedTimeTakesBothPassesAndNoGap) {
  EXPECT_EQ(fires(berlin, "30 * * * *", "2024-10-26 23:00", 4),
            "2024-10-26 23:30:00, 2024-10-27 00:30:00, 2024-10-27 01:30:00, 2024-10-27 02:30:00");
  EXPECT_EQ(fires(berlin, "*/30 2 * * *", "2024-10-26 12:00", 5),
            "2024-10-27 00:00:00, 2024-10-27 00:30:00, 2024-10-27 01:00:00, 2024-10-27 01:30:00, "
            "2024-10-28 01:00:00");
  EXPECT_EQ(fires(berlin, "30 */2 * * *", "2024-03-30 23:00", 3),
            "2024-03-30 23:30:00, 2024-03-31 02:30:00, 2024-03-31 04:30:00");
  EXPECT_EQ(fires(berlin, "* 2 * * *", "2024-03-30 12:00", 1), "2024-04-01 00:00:00");
  EXPECT_EQ(fires(lord_howe, "*/15 * * * *", "2024-04-06 14:30", 5),
            "2024-04-06 14:45:00, 2024-04-06 15:00:00, 2024-04-06 15:15:00, 2024-04-06 15:30:00, "
            "2024-04-06 15:45:00");
  EXPECT_EQ(fires(lord_howe, "0 * * * *", "2024-10-05 14:00", 3),
            "2024-10-05 14:30:00, 2024-10-05 16:00:00, 2024-10-05 17:00:00");
}

// ---------------------------------------------------------------------------
// Against an oracle
// ---------------------------------------------------------------------------

using Random = std::mt19937_64;

int between(Random &random, int low, int high) { return std::uniform_int_distribution<int>{low, high}(random); }

// A random expression, and what it means, told without bits.
struct Expression {
  std::string text;
  std::set<int> values[6];
  std::set<int> before_end;
  std::set<std::pair<int, int>> nth;  // weekday, 1 to 5
  std::set<int> last;
  bool free[6] = {};

  bool fits_date(unsigned date, unsigned length) const {
    if (values[3].contains(static_cast<int>(date))) return true;
    return before_end.contains(static_cast<int>(length - date));
  }
  bool fits_weekday(int weekday, unsigned date, unsigned length) const {
    if (values[5].contains(weekday)) return true;
    if (nth.contains({weekday, static_cast<int>(date + 6) / 7})) return true;
    return date + 7 > length && last.contains(weekday);
  }
  bool fits_day(sys_days date) const {
    const std::chrono::year_month_day ymd{date};
    const unsigned length{(ymd.year() / ymd.month() / std::chrono::last).day()};
    if (!values[4].contains(static_cast<int>(unsigned{ymd.month()}))) return false;
    const bool one = fits_date(unsigned{ymd.day()}, length);
    const bool other =
        fits_weekday(static_cast<int>(std::chrono::weekday{date}.c_encoding()), unsigned{ymd.day()}, length);
    return free[3] || free[5] ? one && other : one || other;
  }
  bool fits(std::int64_t local) const {
    const sys_days date{std::chrono::floor<days>(std::chrono::sys_seconds{std::chrono::seconds{local}})};
    const auto time = static_cast<int>(local - date.time_since_epoch().count() * day);
    return values[0].contains(time % 60) && values[1].contains(time / 60 % 60) && values[2].contains(time / 3600) &&
           fits_day(date);
  }
  bool follows_elapsed_time() const { return free[1] || free[2]; }
};

struct Limits {
  int low;
  int high;
};
constexpr Limits limits[6] = {{0, 59}, {0, 59}, {0, 23}, {1, 31}, {1, 12}, {0, 6}};

std::string random_special(Random &random, int place, Expression *expression) {
  if (place == 3) {
    const int before = between(random, 0, 5);
    expression->before_end.insert(before);
    return before == 0 ? "L" : "L-" + std::to_string(before);
  }
  const int weekday = between(random, 0, 6);
  if (between(random, 0, 1)) {
    expression->last.insert(weekday);
    return std::to_string(weekday) + "L";
  }
  const int nth = between(random, 1, 5);
  expression->nth.insert({weekday, nth});
  return std::to_string(weekday) + "#" + std::to_string(nth);
}

std::string random_item(Random &random, int place, Expression *expression) {
  const auto [low, high] = limits[place];
  if ((place == 3 || place == 5) && between(random, 0, 3) == 0) return random_special(random, place, expression);
  std::set<int> &values = expression->values[place];
  const int first = between(random, low, high);
  const int last = between(random, first, high);
  const int step = between(random, 1, high - low + 1);
  switch (between(random, 0, 3)) {
    case 0:
      values.insert(first);
      return std::to_string(first);
    case 1:
      for (int i = first; i <= last; ++i) values.insert(i);
      return std::to_string(first) + "-" + std::to_string(last);
    case 2:
      for (int i = first; i <= last; i += step) values.insert(i);
      return std::to_string(first) + "-" + std::to_string(last) + "/" + std::to_string(step);
    default:
      for (int i = first; i <= high + (place == 5 ? 1 : 0); i += step) values.insert(place == 5 ? i % 7 : i);
      return std::to_string(first) + "/" + std::to_string(step);
  }
}

std::string random_field(Random &random, int place, int most_items, Expression *expression) {
  const auto [low, high] = limits[place];
  if (between(random, 0, place < 2 ? 3 : 1) == 0) {
    expression->free[place] = true;
    const int step = between(random, 0, 1) ? between(random, 1, 4) : 1;
    for (int i = low; i <= high; i += step) expression->values[place].insert(i);
    if (step > 1) return "*/" + std::to_string(step);
    return (place == 3 || place == 5) && between(random, 0, 1) ? "?" : "*";
  }
  std::string text;
  for (int left = between(random, 1, most_items); left > 0; --left)
    text += random_item(random, place, expression) + (left > 1 ? "," : "");
  return text;
}

Expression random_expression(Random &random, bool with_seconds) {
  Expression expression;
  if (!with_seconds) expression.values[0].insert(0);
  for (int place = with_seconds ? 0 : 1; place < 6; ++place)
    expression.text += random_field(random, place, place < 3 ? 3 : 6, &expression) + (place < 5 ? " " : "");
  return expression;
}

// Changes some days apart, forward and back, now and then by a day.
TestZone random_zone(Random &random, std::int64_t start, std::int64_t grain, int changes, std::int64_t apart) {
  const auto offset = [&] { return static_cast<std::int32_t>(between(random, -12 * 60, 14 * 60) * minute); };
  TestZone zone{offset()};
  std::int32_t current = zone.first;
  for (int i = 0; i < changes; ++i) {
    const int kind = between(random, 0, 9);
    const std::int32_t change = kind == 0   ? 24 * hour
                                : kind == 1 ? static_cast<std::int32_t>(grain)
                                            : static_cast<std::int32_t>(between(random, 1, 8) * 15 * minute);
    current = current > 0 ? current - change : current + change;
    if (kind > 5) current = zone.first;
    start += apart + between(random, 0, 36 * 60) * minute * apart / (4 * day);
    start -= start % grain;
    zone.changes.push_back({start, current});
  }
  return zone;
}

// Every fire in [from, to), by the rules' own words.  Nothing changes in the zone before,
// or within two days after.
std::set<std::int64_t> all_fires(const Expression &expression, const TestZone &zone, std::int64_t from, std::int64_t to,
                                 std::int64_t grain) {
  std::set<std::int64_t> fires;
  std::map<std::int64_t, std::int64_t> first_shown;  // of a local time
  for (std::int64_t instant = from; instant < to; instant += grain) {
    const std::int64_t local = instant + zone.zone().at(instant).seconds;
    const bool again = !first_shown.insert({local, instant}).second;
    if (expression.fits(local) && (expression.follows_elapsed_time() || !again)) fires.insert(instant);
  }
  if (expression.follows_elapsed_time()) return fires;
  std::int32_t before = zone.first;
  for (const auto &[change, after] : zone.changes) {
    for (std::int64_t local = change + before; local < change + after; local += grain)
      if (!first_shown.contains(local) && expression.fits(local)) fires.insert(change);
    before = after;
  }
  return fires;
}

void check_fires(Random &random, const Expression &expression, const TestZone &zone, std::int64_t from, std::int64_t to,
                 std::int64_t grain) {
  Cron cron;
  CronError error{};
  if (!parse_cron(expression.text, &cron, &error)) {
    ASSERT_TRUE(std::string(error.problem).starts_with("never fires")) << expression.text << error.problem;
    return;
  }
  const std::set<std::int64_t> wanted = all_fires(expression, zone, from, to, grain);
  const auto check = [&](std::int64_t after) {
    const auto expected = wanted.upper_bound(after);
    const auto fire = next_fire(cron, zone.zone(), after);
    if (expected == wanted.end()) {
      EXPECT_TRUE(!fire || *fire >= to) << expression.text << " after " << after << ": " << text_of(fire);
    } else {
      EXPECT_EQ(fire, *expected) << expression.text << " after " << after << ": " << text_of(fire) << ", not "
                                 << text_of(*expected);
    }
  };
  check(from - 1);
  for (std::int64_t fire : wanted) check(fire);
  if (!wanted.empty()) {
    EXPECT_EQ(last_fire(cron, zone.zone(), from - 1, to - 1), *wanted.rbegin()) << expression.text;
  }
  for (const auto &change : zone.changes)
    for (std::int64_t delta : {-grain, std::int64_t{-1}, std::int64_t{0}, std::int64_t{1}}) check(change.first + delta);
  for (int i = 0; i < 50; ++i)
    check(from + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(to - from)));
}

std::int64_t random_midnight(Random &random) {
  return at("1890-01-01 00:00") + static_cast<std::int64_t>(random() % (365 * 300)) * day;
}

TEST(CronOracle, AgreesMinuteByMinute) {
  Random random{1};
  for (int i = 0; i < 400 && !testing::Test::HasFailure(); ++i) {
    const std::int64_t from = random_midnight(random);
    const TestZone zone = random_zone(random, from, minute, between(random, 0, 2), 4 * day);
    const std::int64_t to = (zone.changes.empty() ? from : zone.changes.back().first) + 3 * day;
    check_fires(random, random_expression(random, false), zone, from, to, minute);
  }
}

TEST(CronOracle, AgreesSecondBySecond) {
  Random random{2};
  for (int i = 0; i < 100 && !testing::Test::HasFailure(); ++i) {
    const std::int64_t from = random_midnight(random);
    const TestZone zone = random_zone(random, from, 1, 1, 2 * hour);
    check_fires(random, random_expression(random, true), zone, from, zone.changes.back().first + 3 * hour, 1);
  }
}

TEST(CronOracle, AgreesDayByDay) {
  // In UTC, so that rare days are met too.
  Random random{3};
  for (int i = 0; i < 1000 && !testing::Test::HasFailure(); ++i) {
    Expression expression = random_expression(random, false);
    expression.text.replace(0, expression.text.find(' ', expression.text.find(' ') + 1), "30 12");
    Cron cron;
    CronError error{};
    const bool known = parse_cron(expression.text, &cron, &error);
    const std::int64_t from = random_midnight(random);
    std::int64_t midnight = from;
    while (midnight < from + 41 * 366 * day && !expression.fits_day(sys_days{days{midnight / day}})) midnight += day;
    ASSERT_EQ(known, midnight < from + 41 * 366 * day) << expression.text;
    if (!known) continue;
    EXPECT_EQ(next_fire(cron, utc.zone(), from), midnight + 12 * hour + 30 * minute) << expression.text;
  }
}

}  // namespace
