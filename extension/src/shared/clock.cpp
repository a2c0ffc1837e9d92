// The clock of a database, which a test may have moved ahead; see clock.hpp and due_queue.hpp.
#include "shared/clock.hpp"

#include <algorithm>

#include "shared/databases.hpp"
#include "shared/due_queue.hpp"
#include "shared/waiters.hpp"

extern "C" {
#include "portability/instr_time.h"
}

namespace insula {

TimestampTz clock_now() {
  const DatabaseSlot *slot = my_shared_database();
  return GetCurrentTimestamp() + (slot ? slot->ahead : 0);
}

TimestampTz count_from(TimestampTz now) { return std::max(now, clock_target()); }

std::int64_t passing_time() {
  instr_time now;
  INSTR_TIME_SET_CURRENT(now);
  return static_cast<std::int64_t>(INSTR_TIME_GET_MICROSEC(now));
}

std::int64_t processor_time() {
  timespec used;
  if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) != 0) return 0;
  return static_cast<std::int64_t>(used.tv_sec) * USECS_PER_SEC + used.tv_nsec / 1000;
}

TimestampTz on_wall(TimestampTz at) {
  if (TIMESTAMP_NOT_FINITE(at)) return at;
  const DatabaseSlot *slot = my_shared_database();
  return at - (slot ? slot->ahead : 0);
}

void set_clock_target(TimestampTz target) {
  lock_shared_memory(LW_EXCLUSIVE);
  if (DatabaseSlot *slot = make_database(MyDatabaseId)) slot->clock_target = target;
  unlock_shared_memory();
}

TimestampTz clock_target() {
  const DatabaseSlot *slot = my_shared_database();
  return slot ? slot->clock_target : DT_NOBEGIN;
}

void move_clock_to(TimestampTz at) {
  lock_shared_memory(LW_EXCLUSIVE);
  DatabaseSlot &slot = *my_database();
  slot.ahead = std::max(slot.ahead, at - GetCurrentTimestamp());
  wake_all_waiters(MyDatabaseId);
  unlock_shared_memory();
}

}  // namespace insula
