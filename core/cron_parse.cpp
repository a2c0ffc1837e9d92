// Parses a cron expression; see cron.hpp for the syntax.
#include <algorithm>
#include <array>

#include "core/cron.hpp"
#include "core/names.hpp"

namespace insula::core {

namespace {

constexpr const char *no_syntax = "is not a value, a range or a step";
constexpr const char *backwards = "runs backwards";
constexpr const char *bad_step = "has a step that is 0 or larger than the field";
constexpr const char *bad_nth = "does not count from 1 to 5";
constexpr const char *bad_day_before_end = "is not between L-0 and L-30";

struct Field {
  const char *name;
  int low;
  int high;
  std::uint64_t Cron::*set;
  const char *out_of_range;
  std::string_view names;  // three letters each, beginning with that of `low`
};

constexpr std::array<Field, 6> fields = {{
    {"second", 0, 59, &Cron::seconds, "is not between 0 and 59", {}},
    {"minute", 0, 59, &Cron::minutes, "is not between 0 and 59", {}},
    {"hour", 0, 23, &Cron::hours, "is not between 0 and 23", {}},
    {"day of month", 1, 31, &Cron::days, "is not between 1 and 31", {}},
    {"month", 1, 12, &Cron::months, "is not between 1 and 12", "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC"},
    {"day of week", 0, 7, &Cron::weekdays, "is not between 0 and 7", "SUNMONTUEWEDTHUFRISAT"},
}};
constexpr std::size_t minute_place = 1;
constexpr std::size_t hour_place = 2;
constexpr std::size_t day_place = 3;
constexpr std::size_t weekday_place = 5;

struct Shorthand {
  std::string_view name;
  std::string_view expression;
};

constexpr std::array<Shorthand, 7> shorthands = {{
    {"@yearly", "0 0 1 1 *"},
    {"@annually", "0 0 1 1 *"},
    {"@monthly", "0 0 1 * *"},
    {"@weekly", "0 0 * * 0"},
    {"@daily", "0 0 * * *"},
    {"@midnight", "0 0 * * *"},
    {"@hourly", "0 * * * *"},
}};

constexpr std::uint64_t bit(int number) noexcept { return std::uint64_t{1} << number; }

constexpr bool is_blank(char c) noexcept { return c == ' ' || (c >= '\t' && c <= '\r'); }

constexpr char upper(char c) noexcept { return is_lower(c) ? static_cast<char>(c - 'a' + 'A') : c; }

constexpr bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return upper(x) == upper(y); });
}

// The readers take the text that they read off the front of `rest`.

bool take(std::string_view *rest, char c) noexcept {
  if (rest->empty() || upper(rest->front()) != c) return false;
  rest->remove_prefix(1);
  return true;
}

// -1: there is no number.
int take_number(std::string_view *rest) noexcept {
  constexpr int enough = 1000;
  int number = -1;
  for (; !rest->empty() && is_digit(rest->front()); rest->remove_prefix(1))
    number = std::min(enough, std::max(number, 0) * 10 + (rest->front() - '0'));
  return number;
}

// Takes a number or a name of the field; -1: there is neither.
int take_value(const Field &field, std::string_view *rest) noexcept {
  for (std::size_t at = 0; at < field.names.size(); at += 3) {
    if (!equal_ignoring_case(rest->substr(0, 3), field.names.substr(at, 3))) continue;
    rest->remove_prefix(3);
    return field.low + static_cast<int>(at / 3);
  }
  return take_number(rest);
}

// The readers of an item return its fault; nullptr: none.

const char *read_value(const Field &field, std::string_view *rest, int *value) noexcept {
  *value = take_value(field, rest);
  if (*value < 0) return no_syntax;
  return *value < field.low || *value > field.high ? field.out_of_range : nullptr;
}

// Reads the rest of L-3 after the L.
const char *read_day_before_end(std::string_view rest, Cron *cron) noexcept {
  int before = 0;
  if (take(&rest, '-')) before = take_number(&rest);
  if (before < 0 || !rest.empty()) return no_syntax;
  if (before > 30) return bad_day_before_end;
  cron->days_before_end |= bit(before);
  return nullptr;
}

// Reads the rest of FRI#2 after the #.
const char *read_nth(std::string_view rest, int weekday, Cron *cron) noexcept {
  const int nth = take_number(&rest);
  if (nth < 0 || !rest.empty()) return no_syntax;
  if (nth < 1 || nth > 5) return bad_nth;
  cron->nth_weekdays |= bit(7 * (nth - 1) + weekday % 7);
  return nullptr;
}

// Reads the rest of a-b after the a; a/n has the field's end.
const char *read_end(const Field &field, int low, std::string_view *rest, int *high) noexcept {
  *high = rest->starts_with('/') ? field.high : low;
  if (!take(rest, '-')) return nullptr;
  if (const char *problem = read_value(field, rest, high)) return problem;
  // A week may end with Sunday as 0.
  if (*high == 0 && low > 0) *high = field.high;
  return *high < low ? backwards : nullptr;
}

const char *read_item(std::size_t place, std::string_view item, Cron *cron) noexcept {
  const Field &field = fields[place];
  std::string_view rest = item;
  int low = field.low;
  int high = field.high;
  if (place == day_place && take(&rest, 'L')) return read_day_before_end(rest, cron);
  if (!take(&rest, '*')) {
    if (const char *problem = read_value(field, &rest, &low)) return problem;
    if (place == weekday_place && take(&rest, '#')) return read_nth(rest, low, cron);
    if (place == weekday_place && equal_ignoring_case(rest, "L")) {
      cron->last_weekdays |= bit(low % 7);
      return nullptr;
    }
    if (const char *problem = read_end(field, low, &rest, &high)) return problem;
  }
  int step = 1;
  if (take(&rest, '/')) {
    step = take_number(&rest);
    if (step == 0 || step > field.high - field.low + 1) return bad_step;
  }
  if (step < 0 || !rest.empty()) return no_syntax;
  for (int value = low; value <= high; value += step) cron->*field.set |= bit(value);
  return nullptr;
}

bool read_field(std::size_t place, std::string_view text, Cron *cron, CronError *error) noexcept {
  const bool of_days = place == day_place || place == weekday_place;
  if (of_days && text == "?") text = "*";
  for (std::string_view rest = text;;) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    const std::string_view item = rest.substr(0, comma);
    if (const char *problem = read_item(place, item, cron)) {
      *error = {fields[place].name, item, problem};
      return false;
    }
    if (comma == rest.size()) return true;
    rest.remove_prefix(comma + 1);
  }
}

using Texts = std::array<std::string_view, fields.size()>;

// Splits an expression; returns the number of parts, which may be one more than are kept.
std::size_t split(std::string_view expression, Texts *texts) noexcept {
  std::size_t count = 0;
  for (auto at = expression.begin(); count <= fields.size(); ++count) {
    at = std::find_if_not(at, expression.end(), is_blank);
    if (at == expression.end()) break;
    const auto end = std::find_if(at, expression.end(), is_blank);
    if (count < fields.size()) (*texts)[count] = std::string_view(at, end);
    at = end;
  }
  return count;
}

// Finds the texts of all fields: expands a shorthand, and adds the seconds to five fields.
bool find_fields(std::string_view expression, Texts *texts, CronError *error) noexcept {
  std::size_t count = split(expression, texts);
  if (count == 1 && texts->front().starts_with('@')) {
    const std::string_view name = texts->front();
    const auto *known = std::find_if(shorthands.begin(), shorthands.end(), [name](const Shorthand &shorthand) {
      return equal_ignoring_case(shorthand.name, name);
    });
    if (known == shorthands.end()) {
      *error = {nullptr, name, "is none of @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly"};
      return false;
    }
    count = split(known->expression, texts);
  }
  if (count == fields.size()) return true;
  if (count != fields.size() - 1) {
    *error = {nullptr, expression,
              "does not have five fields (minute, hour, day of month, month, day of week), nor six with seconds first"};
    return false;
  }
  std::shift_right(texts->begin(), texts->end(), 1);
  texts->front() = "0";
  return true;
}

// Twenty-eight years without a skipped leap day contain every calendar.
bool ever_fires(const Cron &cron) noexcept {
  for (int year = 2000; year < 2028; ++year)
    for (unsigned month = 1; month <= 12; ++month)
      if (days_of_month(cron, year, month) != 0) return true;
  return false;
}

}  // namespace

bool parse_cron(std::string_view expression, Cron *cron, CronError *error) noexcept {
  *cron = {};
  if (expression.size() > max_cron_length) {
    *error = {nullptr, expression, "is longer than 1000 bytes"};
    return false;
  }
  Texts texts;
  if (!find_fields(expression, &texts, error)) return false;
  for (std::size_t place = 0; place < fields.size(); ++place)
    if (!read_field(place, texts[place], cron, error)) return false;
  if (cron->weekdays & bit(7)) cron->weekdays = (cron->weekdays | bit(0)) & ~bit(7);

  const auto begins_with_star = [&texts](std::size_t place) { return texts[place].starts_with('*'); };
  const auto is_free = [&](std::size_t place) { return begins_with_star(place) || texts[place] == "?"; };
  cron->either_day = !is_free(day_place) && !is_free(weekday_place);
  cron->follows_elapsed_time = begins_with_star(minute_place) || begins_with_star(hour_place);
  if (!ever_fires(*cron)) {
    *error = {nullptr, expression, "never fires, for no month has such a day"};
    return false;
  }
  return true;
}

}  // namespace insula::core
