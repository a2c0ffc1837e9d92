// SPDX-License-Identifier: PostgreSQL
// Schedules: executions that the clock starts.
//
//   runner.schedule("nightly", "report", "0 3 * * *", {.timezone = "Europe/Rome"});
//   runner.schedule("hourly", "report", "@hourly", {.catch_up = insula::CatchUp::run_once});
//   for (const insula::ScheduleInfo& schedule : runner.schedules())
//     std::cout << schedule.name << ' ' << name(schedule.status) << '\n';
//
// A schedule lives in the database and fires there, whether or not a worker runs; each fire makes
// its execution once, whatever is killed.  It needs the extension's scheduler, which CREATE
// EXTENSION starts.
//
// A cron expression has five fields (minute, hour, day of month, month, day of week), six with
// the second first, or is one of @hourly, @daily, @weekly, @monthly, @yearly; \df+
// insula.next_fires has the whole of it, daylight saving included, and Runner::next_fires shows
// what one means.
#pragma once

#include <insula/context.hpp>
#include <insula/export.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace insula {

// The policy for fires that were missed, as in a standstill.
enum class CatchUp {
  skip,      // they are dropped
  run_once,  // the newest stands for all
  run_all,   // each is made, the oldest first, up to max_catch_up
};

// The policy for a fire while an execution of an earlier one still runs.
enum class Overlap {
  allow,   // it runs beside it
  skip,    // the fire is dropped
  queue,   // it waits for its end; the newest max_catch_up wait
  cancel,  // that one is cancelled first
};

struct ScheduleOptions {
  std::string timezone = "UTC";  // a name of pg_timezone_names
  // The executions' input; the fire adds scheduled_time (UTC), schedule_id, schedule_timezone
  // and schedule_expression.
  Context context = {};
  CatchUp catch_up = CatchUp::skip;
  int max_catch_up = 100;                                               // 1 to 1,000
  std::optional<std::chrono::system_clock::time_point> starts_at = {};  // no fire before
  std::optional<std::chrono::system_clock::time_point> ends_at = {};    // and none after
  Overlap overlap = Overlap::allow;
  std::chrono::milliseconds jitter{0};  // each fire is so much later at most, up to a day
};

enum class ScheduleStatus {
  active,
  paused,
  ended,  // it fires no more: its ends_at has passed, or no time is left that fits its expression
};

// The enumerator's name, as in "active".
INSULA_EXPORT std::string_view name(ScheduleStatus status) noexcept;

// A schedule as it stands.
struct ScheduleInfo {
  std::string name;
  std::string workflow;
  std::string cron;
  std::string timezone;
  ScheduleStatus status = ScheduleStatus::active;
  // By its expression, whatever the jitter adds; nullopt unless it is active.
  std::optional<std::chrono::system_clock::time_point> next_fire = {};
  // The newest fire that has made an execution; nullopt: none yet.
  std::optional<std::chrono::system_clock::time_point> last_fire = {};
};

}  // namespace insula
