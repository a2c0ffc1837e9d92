// Cron expressions against an oracle that walks through every instant: random expressions in
// random zones.
#include "cron_zones.hpp"

#include <map>
#include <random>
#include <set>

namespace cron_test {
namespace {

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
}  // namespace cron_test
