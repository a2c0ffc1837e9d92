// Times and durations as the texts of ISO 8601, in the forms that PostgreSQL writes and reads.
#include <insula/context.hpp>
#include <insula/error.hpp>

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>

namespace insula::detail {

namespace {

using namespace std::chrono;

// Takes a number of exactly that many digits off the text.
std::optional<int> take_digits(std::string_view& text, std::size_t digits) {
  if (text.size() < digits) return std::nullopt;
  int number = 0;
  const auto read = std::from_chars(text.data(), text.data() + digits, number);
  if (read.ec != std::errc{} || read.ptr != text.data() + digits || text.front() == '-') return std::nullopt;
  text.remove_prefix(digits);
  return number;
}

bool take(std::string_view& text, std::string_view any_of) {
  if (text.empty() || any_of.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

// The digits after a point, as microseconds; what is finer is cut off.
std::optional<microseconds> take_fraction(std::string_view& text) {
  std::int64_t number = 0;
  std::size_t digits = 0;
  for (; digits < text.size() && text[digits] >= '0' && text[digits] <= '9'; ++digits)
    if (digits < 6) number = number * 10 + (text[digits] - '0');
  if (digits == 0) return std::nullopt;
  for (std::size_t i = digits; i < 6; ++i) number *= 10;
  text.remove_prefix(digits);
  return microseconds{number};
}

// The offset of a zone from UTC: Z, +02, +02:00, +0200.
std::optional<minutes> take_offset(std::string_view& text) {
  if (take(text, "Zz")) return minutes{0};
  const bool west = text.starts_with('-');
  if (!take(text, "+-")) return std::nullopt;
  const auto hour = take_digits(text, 2);
  if (!hour) return std::nullopt;
  const bool more = take(text, ":") || !text.empty();
  const auto minute = more ? take_digits(text, 2) : std::optional{0};
  if (!minute || *hour > 15 || *minute > 59) return std::nullopt;
  const minutes offset = hours{*hour} + minutes{*minute};
  return west ? -offset : offset;
}

std::optional<microseconds> take_time_of_day(std::string_view& text) {
  const auto hour = take_digits(text, 2);
  if (!hour || !take(text, ":")) return std::nullopt;
  const auto minute = take_digits(text, 2);
  if (!minute) return std::nullopt;
  const auto second = take(text, ":") ? take_digits(text, 2) : std::optional{0};
  if (!second || *hour > 23 || *minute > 59 || *second > 59) return std::nullopt;
  const auto fraction = take(text, ".,") ? take_fraction(text) : std::optional{microseconds{0}};
  if (!fraction) return std::nullopt;
  return hours{*hour} + minutes{*minute} + seconds{*second} + *fraction;
}

// Without zeros at the end, and without the point if there is no fraction.
std::string fraction_of(std::int64_t microseconds_left) {
  if (microseconds_left == 0) return {};
  std::string text = fmt::format(".{:06}", microseconds_left);
  return text.erase(text.find_last_not_of('0') + 1);
}

// The units of a duration, before and after its T.
std::optional<microseconds> unit_of(char letter, bool after_t) {
  if (after_t) {
    if (letter == 'H') return hours{1};
    if (letter == 'M') return minutes{1};
    if (letter == 'S') return seconds{1};
    return std::nullopt;
  }
  if (letter == 'W') return hours{7 * 24};
  if (letter == 'D') return hours{24};
  return std::nullopt;
}

// One "1.5H"; false: it is none, or more than a duration holds.
bool add_part(std::string_view& text, bool after_t, microseconds& sum) {
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  std::int64_t number = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
  if (read.ec != std::errc{} || number < 0) return false;
  text.remove_prefix(static_cast<std::size_t>(read.ptr - text.data()));
  const auto fraction = take(text, ".,") ? take_fraction(text) : std::optional{microseconds{0}};
  if (!fraction || text.empty()) return false;
  const auto unit = unit_of(text.front(), after_t);
  if (!unit) return false;
  text.remove_prefix(1);
  std::int64_t part = 0;
  const std::int64_t of_fraction = fraction->count() * unit->count() / 1'000'000;
  if (__builtin_mul_overflow(number, unit->count(), &part) || __builtin_add_overflow(part, of_fraction, &part))
    return false;
  std::int64_t all = 0;
  const bool too_large =
      negative ? __builtin_sub_overflow(sum.count(), part, &all) : __builtin_add_overflow(sum.count(), part, &all);
  sum = microseconds{all};
  return !too_large;
}

}  // namespace

void refuse_duration() { throw error{errc::invalid, "context: a duration or time must be within 292,000 years"}; }

std::string text_of(microseconds duration) {
  // Without a sign of its own: the least number has no opposite.
  const std::int64_t whole = duration.count() / 1'000'000;
  const std::int64_t rest = duration.count() % 1'000'000;
  const char* sign = duration.count() < 0 && whole == 0 ? "-" : "";
  return fmt::format("PT{}{}{}S", sign, whole, fraction_of(std::abs(rest)));
}

std::string text_of(sys_time<microseconds> time) {
  const auto day = floor<days>(time);
  const year_month_day date{day};
  constexpr sys_days first{year{1} / 1 / 1};
  constexpr sys_days end{year{10'000} / 1 / 1};
  if (day < first || day >= end) throw error{errc::invalid, "context: a time must lie between the years 1 and 9999"};
  const hh_mm_ss clock{time - day};
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), clock.hours().count(),
                     clock.minutes().count(), clock.seconds().count(), fraction_of(clock.subseconds().count()));
}

std::optional<microseconds> duration_of(std::string_view text) noexcept {
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  if (!take(text, "P") || text.empty()) return std::nullopt;
  microseconds sum{0};
  bool after_t = false;
  while (!text.empty()) {
    if (!after_t && take(text, "T")) {
      after_t = true;
      if (text.empty()) return std::nullopt;
    }
    if (!add_part(text, after_t, sum)) return std::nullopt;
  }
  if (negative && sum == microseconds::min()) return std::nullopt;
  return negative ? -sum : sum;
}

std::optional<sys_time<microseconds>> time_of(std::string_view text) noexcept {
  const auto y = take_digits(text, 4);
  if (!y || !take(text, "-")) return std::nullopt;
  const auto m = take_digits(text, 2);
  if (!m || !take(text, "-")) return std::nullopt;
  const auto d = take_digits(text, 2);
  if (!d || !take(text, "Tt ")) return std::nullopt;
  const year_month_day date{year{*y}, month{static_cast<unsigned>(*m)}, day{static_cast<unsigned>(*d)}};
  const auto clock = take_time_of_day(text);
  if (!date.ok() || !clock) return std::nullopt;
  const auto offset = take_offset(text);
  if (!offset || !text.empty()) return std::nullopt;
  return sys_days{date} + *clock - *offset;
}

}  // namespace insula::detail
