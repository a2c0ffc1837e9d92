// Any bytes as a cron expression and a zone: an error points into the expression, and the
// fires of one that is accepted are what cron.hpp says of them.
//
// An input is the expression's line; what follows it is an instant and a zone.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>

#include "core/cron.hpp"

using namespace insula::core;

namespace {

constexpr std::int64_t day = 86400;
constexpr std::int64_t forty_one_years = 41 * 366 * day;

void require(bool holds) {
  if (!holds) std::abort();
}

// A few changes of the clock, of up to a day and more or less apart.
struct FuzzZone {
  static constexpr int most = 4;
  std::int32_t first = 0;
  int count = 0;
  std::int64_t instants[most];
  std::int32_t offsets[most];

  static Offset at(const void *context, std::int64_t instant) noexcept {
    const auto *self = static_cast<const FuzzZone *>(context);
    const auto *end = self->instants + self->count;
    const auto *next = std::upper_bound(self->instants, end, instant);
    return {next == self->instants ? self->first : self->offsets[next - self->instants - 1],
            next == end ? INT64_MAX : *next};
  }
};

// Takes numbers off the input; zeros once there is nothing left.
template <typename Number>
Number take(std::string_view *rest) {
  Number number = 0;
  const std::size_t size = std::min(sizeof number, rest->size());
  std::memcpy(&number, rest->data(), size);
  rest->remove_prefix(size);
  return number;
}

std::int32_t take_offset(std::string_view *rest) { return take<std::int32_t>(rest) % static_cast<std::int32_t>(day); }

FuzzZone take_zone(std::string_view *rest, std::int64_t about) {
  FuzzZone zone;
  zone.first = take_offset(rest);
  std::int64_t instant = about - day;
  while (zone.count < FuzzZone::most && !rest->empty()) {
    instant += 1 + take<std::uint32_t>(rest) % (2 * day);
    zone.instants[zone.count] = instant;
    zone.offsets[zone.count++] = take_offset(rest);
  }
  return zone;
}

bool has(std::uint64_t set, std::int64_t number) { return set >> number & 1; }

bool fits(const Cron &cron, std::int64_t local) {
  using namespace std::chrono;
  const auto date = floor<days>(sys_seconds{seconds{local}});
  const year_month_day ymd{date};
  const std::int64_t time = local - date.time_since_epoch().count() * day;
  return has(cron.hours, time / 3600) && has(cron.minutes, time / 60 % 60) && has(cron.seconds, time % 60) &&
         has(days_of_month(cron, int{ymd.year()}, unsigned{ymd.month()}), unsigned{ymd.day()});
}

void check_error(std::string_view expression, const CronError &error) {
  require(error.problem != nullptr);
  require(error.part.data() >= expression.data());
  require(error.part.data() + error.part.size() <= expression.data() + expression.size());
}

void check_fire(const Cron &cron, const Zone &zone, std::int64_t after, std::int64_t fire, std::int64_t between) {
  require(fire > after && fire <= last_instant && fire < std::max(after, first_instant) + forty_one_years);
  const std::int32_t offset = zone.at(fire).seconds;
  const bool after_gap = offset > zone.at(fire - 1).seconds;
  require(fits(cron, fire + offset) || (!cron.follows_elapsed_time && after_gap));
  require(next_fire(cron, zone, fire - 1) == fire);
  require(next_fire(cron, zone, after + between % (fire - after)) == fire);
  require(last_fire(cron, zone, after, fire) == fire);
  require(!last_fire(cron, zone, after, fire - 1));
}

void check_fires(const Cron &cron, std::string_view rest) {
  std::int64_t after = take<std::int64_t>(&rest);
  // Mostly where people live.
  if (take<std::uint8_t>(&rest) > 0) after %= 200 * 366 * day;
  const std::int64_t between = take<std::uint32_t>(&rest);
  const FuzzZone changes = take_zone(&rest, std::clamp(after, first_instant, last_instant));
  const Zone zone{&changes, &FuzzZone::at};
  for (int i = 0; i < 5; ++i) {
    const auto fire = next_fire(cron, zone, after);
    if (!fire) return require(after > last_instant - forty_one_years);
    check_fire(cron, zone, std::max(after, first_instant - 1), *fire, between);
    after = *fire;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char *>(data), size);
  const std::size_t line = std::min(input.find('\n'), input.size());
  const std::string_view expression = input.substr(0, line);
  Cron cron;
  CronError error{};
  if (parse_cron(expression, &cron, &error)) {
    check_fires(cron, input.substr(std::min(line + 1, input.size())));
  } else {
    check_error(expression, error);
  }
  return 0;
}
