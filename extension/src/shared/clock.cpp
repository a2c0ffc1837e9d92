// The clock of a database, which a test may have moved ahead; see clock.hpp and due_queue.hpp.
#include "shared/clock.hpp"

#include <algorithm>

#include "shared/due_queue.hpp"
#include "shared/slots.hpp"

extern "C" {
#include "portability/instr_time.h"
}

namespace insula {

TimestampTz clock_now() {
  const DatabaseSlot *slot = shared ? my_slot() : nullptr;
  return GetCurrentTimestamp() + (slot ? slot->ahead : 0);
}

TimestampTz count_from(TimestampTz now) { return std::max(now, clock_target()); }

std::int64_t passing_time() {
  instr_time now;
  INSTR_TIME_SET_CURRENT(now);
  return static_cast<std::int64_t>(INSTR_TIME_GET_MICROSEC(now));
}

TimestampTz on_wall(TimestampTz at) {
  if (TIMESTAMP_NOT_FINITE(at)) return at;
  const DatabaseSlot *slot = shared ? my_slot() : nullptr;
  return at - (slot ? slot->ahead : 0);
}

void set_clock_target(TimestampTz target) {
  lock(LW_EXCLUSIVE);
  if (DatabaseSlot *slot = make_slot(MyDatabaseId)) slot->clock_target = target;
  unlock();
}

TimestampTz clock_target() {
  const DatabaseSlot *slot = shared ? my_slot() : nullptr;
  return slot ? slot->clock_target : DT_NOBEGIN;
}

void move_clock_to(TimestampTz at) {
  lock(LW_EXCLUSIVE);
  DatabaseSlot &slot = *my_slot();
  slot.ahead = std::max(slot.ahead, at - GetCurrentTimestamp());
  signal_everyone(MyDatabaseId);
  unlock();
}

}  // namespace insula
