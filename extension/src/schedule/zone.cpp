// Zones over PostgreSQL's own; see zone.hpp.
#include "schedule/zone.hpp"

#include <algorithm>
#include <string_view>

namespace insula {

namespace {

constexpr std::int64_t epoch = std::int64_t{POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE} * SECS_PER_DAY;

core::Offset offset_at(const void *context, std::int64_t instant) noexcept {
  const auto *zone = static_cast<const pg_tz *>(context);
  long before;
  long after;
  int before_is_dst;
  int after_is_dst;
  pg_time_t boundary;
  const bool changes =
      pg_next_dst_boundary(&instant, &before, &before_is_dst, &boundary, &after, &after_is_dst, zone) > 0;
  return {static_cast<std::int32_t>(before), changes ? boundary : INT64_MAX};
}

// Whether pg_tzset found a zone of that name.  Otherwise it reads the name as a POSIX rule, in
// which letters and a digit are an offset: Europe/Berlin2 would be two hours west.  A zone has the
// spelling of its file; a rule is in capitals and holds a digit.
bool is_named(std::string_view spelling) {
  for (std::string_view name :
       {std::string_view{"EST5EDT"}, std::string_view{"CST6CDT"}, std::string_view{"MST7MDT"},
        std::string_view{"PST8PDT"}, std::string_view{"GMT0"}, std::string_view{"GMT+0"}, std::string_view{"GMT-0"}})
    if (spelling == name) return true;
  const auto within = [](char low, char high) { return [low, high](char c) { return c >= low && c <= high; }; };
  return std::any_of(spelling.begin(), spelling.end(), within('a', 'z')) ||
         std::none_of(spelling.begin(), spelling.end(), within('0', '9'));
}

}  // namespace

core::Zone require_zone(const char *name) {
  pg_tz *zone = pg_tzset(name);
  if (!zone || !is_named(pg_get_timezone_name(zone)))
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("time zone \"%s\" not recognized", name),
                    errhint("See the view pg_timezone_names.")));
  if (!pg_tz_acceptable(zone))
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("time zone \"%s\" appears to use leap seconds", name),
             errdetail("PostgreSQL does not support leap seconds.")));
  return {zone, &offset_at};
}

const char *spelling_of(const core::Zone &zone) {
  return pg_get_timezone_name(const_cast<pg_tz *>(static_cast<const pg_tz *>(zone.context)));
}

std::int64_t seconds_of(TimestampTz time) {
  const std::int64_t seconds = time / USECS_PER_SEC - (time % USECS_PER_SEC < 0 ? 1 : 0);
  return seconds + epoch;
}

TimestampTz time_of(std::int64_t seconds) { return (seconds - epoch) * USECS_PER_SEC; }

}  // namespace insula
