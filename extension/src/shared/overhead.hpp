// Overhead: the time that shared processes have spent on a tenant, in shared memory.  A tenant whose average is above
// insula.max_overhead is put off: the processes that spend it do nothing for the tenant for a while.  Without shared
// memory nothing is counted, and no tenant is put off.
#pragma once

#include "core/leaky_bucket.hpp"
#include "postgres.hpp"
#include "shared/clock.hpp"

namespace insula {

// Each has an average of its own, so that claims keep no fire waiting.
enum class Spender { scheduler, call };  // a call for several tenants
inline constexpr int spenders = 2;

struct Spent {
  std::int64_t time;
  std::int64_t processor;  // of that time; a busy machine or a slow disk puts no tenant off
};

struct Stopwatch {
  std::int64_t time = passing_time();
  std::int64_t processor = processor_time();

  Spent spent() const { return {passing_time() - time, processor_time() - processor}; }
};

// It counts at once, whatever becomes of the transaction, but for a tenant of which nothing else has been counted since
// the server's start.  `tasks`: how many a call has claimed, completed or extended for it.  Returns until when that
// puts the tenant off, if the log has not told of it for an hour; else DT_NOBEGIN.
TimestampTz count_overhead(std::int32_t tenant, Spender spender, const Spent &spent, std::int64_t tasks);
std::int64_t overhead_of(std::int32_t tenant);

// Each is told of a tenant once an hour at most, since it is the tenant's doing.
enum class LogSubject { put_off, set_aside, failing_schedule, served_again };
inline constexpr int log_subjects = 4;
// False: it has told it within the hour.  True: it is to tell it now, or shared memory has no room for what it has
// told.
bool may_log(std::int32_t tenant, LogSubject subject);
inline constexpr std::int64_t between_logs = USECS_PER_HOUR;

void define_overhead_settings();
double max_overhead();

// Until when the spender does nothing for the tenant; DT_NOBEGIN: the tenant is not put off.
TimestampTz put_off_until(std::int32_t tenant, Spender spender);
// Whether a tenant that was put off until then still is: none is put off for longer than `bucket_longest`, and a moment
// further ahead dates from before the clock was set back.
inline bool is_put_off(TimestampTz until, TimestampTz now) {
  return until > now && until <= now + core::bucket_longest;
}

// Until when each spender last put it off, if it does or has in the last minutes; else, and while none is put off since
// insula.max_overhead is 0, DT_NOBEGIN.
struct PutOff {
  std::int32_t tenant;
  TimestampTz until[spenders];

  bool any() const { return until[0] != DT_NOBEGIN || until[1] != DT_NOBEGIN; }
};
PutOff put_off_lately(std::int32_t tenant);
// Those tenants of this database that are or were, by their numbers.
PutOff *all_put_off_lately(int *count);

}  // namespace insula
