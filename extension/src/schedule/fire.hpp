// Making due fires in a scheduler's transaction.
#pragma once

#include "spi/session.hpp"
#include "tenant/tenant.hpp"

namespace insula {

struct FireVisit {
  bool reload;          // the schedules may have changed
  bool ended;           // an execution that a fire waits for may have ended
  bool carefully;       // a schedule that fails must not stop the others
  TimestampTz next;     // when the next fire is due; DT_NOEND: none
  bool awaits;          // a fire waits for an execution to end
  bool troubled;        // a schedule fails
  const char *trouble;  // the first error of this visit; nullptr: none
};
void make_due_fires(const Tenant &tenant, TimestampTz now, FireVisit *visit);

void define_fire_settings();

}  // namespace insula
