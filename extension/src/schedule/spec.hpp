// What a schedule says, and its form as JSON in the table `record`.
#pragma once

#include "core/fires.hpp"
#include "postgres.hpp"

namespace insula {

// When the execution of the fire before has not ended.
enum class Overlap {
  allow,   // one more runs beside it
  skip,    // the fire is passed over
  queue,   // the fire waits for its end
  cancel,  // it is cancelled
};

struct ScheduleSpec {
  const char *workflow;
  const char *cron;
  const char *timezone;
  Jsonb *context;  // nullptr: not read
  core::CatchUp catch_up;
  std::int32_t max_catch_up;
  TimestampTz starts_at;  // DT_NOBEGIN: no bound
  TimestampTz ends_at;    // DT_NOEND: no bound
  Overlap overlap;
  std::int64_t jitter;  // microseconds
  bool paused;
};

// False: there is no such word.
bool read_catch_up(const char *word, core::CatchUp *catch_up);
bool read_overlap(const char *word, Overlap *overlap);

Jsonb *spec_as_json(const ScheduleSpec &spec);
ScheduleSpec spec_from_json(Jsonb *body);

// 22023 where cron or time zone are none.
core::FireRules fire_rules(const ScheduleSpec &spec, std::int64_t number);

}  // namespace insula
