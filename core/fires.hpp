// Plans the fires of a schedule that are to be made now: the fires on time, and as many of the
// missed ones as its catch-up policy allows.  No clock: the caller brings the time.
#pragma once

#include <cstdint>
#include <span>

#include "core/cron.hpp"

namespace insula::core {

// The policy for fires that are later than the grace.
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
  std::int64_t ends_at = last_instant;     // no fires after
  std::int64_t jitter = 0;                 // microseconds; each fire is made up to this much later
  std::uint64_t seed = 0;                  // gives schedules with the same jitter different shares of it
};

struct FirePlan {
  int count;           // fires to be made, oldest first
  std::int64_t until;  // all fires up to here are done, even if count is 0
  std::int64_t next;   // the next fire after these; last_instant + 1: none
};

// Instants are seconds since 1970; `now`, `grace` and due times are microseconds.  The schedule
// itself held its fires back until `held`, so that time counts as lateness of none.  All fires up
// to `after` are done.  A plan holds at most fires.size() fires: the next plan continues.
FirePlan plan_fires(const FireRules &rules, std::int64_t after, std::int64_t now, std::int64_t grace, std::int64_t held,
                    std::span<std::int64_t> fires) noexcept;

// The moment at which a fire is made: its time plus its share of the jitter, always the same.
std::int64_t due_of_fire(const FireRules &rules, std::int64_t fire) noexcept;

// The first fire after `after` that the rules allow; last_instant + 1: none.
std::int64_t next_allowed_fire(const FireRules &rules, std::int64_t after) noexcept;

}  // namespace insula::core
