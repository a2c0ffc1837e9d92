// Which fires of a schedule are to be made now: those that are on time, and of those that
// were missed as many as its catch-up policy says.  No clock: the caller brings the time.
#pragma once

#include <cstdint>
#include <span>

#include "core/cron.hpp"

namespace insula::core {

// What becomes of fires that are later than the grace.
enum class CatchUp : std::uint8_t {
  skip,      // they are dropped
  run_once,  // the newest stands for all
  run_all,   // each is made, the newest max_catch_up of them
};

struct FireRules {
  Cron cron;
  Zone zone;
  CatchUp catch_up = CatchUp::skip;
  std::int32_t max_catch_up = 100;
  std::int64_t starts_at = first_instant;  // no fires before
  std::int64_t ends_at = last_instant;     // nor after
  std::int64_t jitter = 0;                 // microseconds: each fire is late by up to so much
  std::uint64_t seed = 0;                  // tells schedules with the same jitter apart
};

struct FirePlan {
  int count;           // fires to be made, oldest first
  std::int64_t until;  // all up to here have been dealt with, where count is 0 too
  std::int64_t next;   // the next fire after these; last_instant + 1: none
};

// Instants are seconds since 1970; `now`, `grace` and due times are microseconds.  `held`:
// until then the schedule itself kept its fires back, so that time counts for none of them.
// All fires up to `after` have been dealt with.  Fills `fires`, whose size bounds what one
// plan holds: the rest is for the next.
FirePlan plan_fires(const FireRules &rules, std::int64_t after, std::int64_t now, std::int64_t grace, std::int64_t held,
                    std::span<std::int64_t> fires) noexcept;

// When a fire is made: its time and its share of the jitter, the same each time one asks.
std::int64_t due_of_fire(const FireRules &rules, std::int64_t fire) noexcept;

// The first fire after `after` that the rules allow; last_instant + 1: none.
std::int64_t next_allowed_fire(const FireRules &rules, std::int64_t after) noexcept;

}  // namespace insula::core
