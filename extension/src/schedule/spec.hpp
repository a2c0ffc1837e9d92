// The settings of a schedule but for its context, and their form as JSON in the table `record`.
#pragma once

#include "core/fires.hpp"
#include "postgres.hpp"

namespace insula {

// The policy while the execution of an earlier fire runs.
enum class Overlap {
  allow,   // both run
  skip,    // no execution is submitted
  queue,   // the fire waits for the execution's end
  cancel,  // the execution is cancelled
};

struct ScheduleSpec {
  const char *workflow;
  const char *cron;
  const char *timezone;
  core::CatchUp catch_up;
  std::int32_t max_catch_up;
  TimestampTz starts_at;  // DT_NOBEGIN: no bound
  TimestampTz ends_at;    // DT_NOEND: no bound
  Overlap overlap;
  std::int64_t jitter;  // microseconds
  bool paused;
};

// False: the word is no policy.
bool read_catch_up(const char *word, core::CatchUp *catch_up);
bool read_overlap(const char *word, Overlap *overlap);

Jsonb *spec_as_json(const ScheduleSpec &spec);
ScheduleSpec spec_from_json(Jsonb *body);

// Raises 22023 if the cron expression or the time zone is invalid.
core::FireRules fire_rules(const ScheduleSpec &spec, std::int64_t number);

}  // namespace insula
