// Cron expressions: what is one, when it fires, and what it does where a clock is set
// forward or back.
#include "cron_zones.hpp"

namespace cron_test {
namespace {

Cron parsed(const std::string &expression) {
  Cron cron;
  CronError error{};
  EXPECT_TRUE(parse_cron(expression, &cron, &error)) << expression << ": " << error.part << ' ' << error.problem;
  return cron;
}

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
// The grammar of expressions
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
// Zones whose clocks are set
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

}  // namespace
}  // namespace cron_test
