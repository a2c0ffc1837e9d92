// Sleeping on the backend's latch; see park.hpp.  The set of events is made once a
// session: the latch and the client's socket stay the same.
#include "shared/park.hpp"
#include "shared/clock.hpp"

extern "C" {
#include "libpq/libpq.h"
#include "storage/proc.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"
#include "utils/timeout.h"
}

namespace insula {

namespace {

WaitEventSet *events = nullptr;

WaitEventSet *events_of_session() {
  if (events) return events;
  events = create_event_set(3);
  AddWaitEventToSet(events, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, nullptr);
  AddWaitEventToSet(events, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, nullptr, nullptr);
  // A dead client is noticed at once, where the platform can tell.
  if (MyProcPort && MyProcPort->sock != PGINVALID_SOCKET && WaitEventSetCanReportClosed())
    AddWaitEventToSet(events, WL_SOCKET_CLOSED, MyProcPort->sock, nullptr, nullptr);
  return events;
}

// The limits that a sleep sets aside begin anew after it.
void set_limits_aside(bool *is_aside) {
  for (const TimeLimit &limit : time_limits) {
    bool &aside = is_aside[&limit - time_limits];
    aside = get_timeout_active(limit.timer);
    if (aside) disable_timeout(limit.timer, false);
  }
}

void begin_limits_anew(const bool *is_aside) {
  for (const TimeLimit &limit : time_limits)
    if (is_aside[&limit - time_limits] && *limit.milliseconds > 0)
      enable_timeout_after(limit.timer, *limit.milliseconds);
}

}  // namespace

volatile sig_atomic_t is_parked = false;
volatile std::int64_t woke_at = 0;

void park(TimestampTz until, const char *event_name, Timed timed) {
  bool is_aside[lengthof(time_limits)] = {};
  if (timed == Timed::no) set_limits_aside(is_aside);
  const long milliseconds = TimestampDifferenceMilliseconds(clock_now(), until);
  WaitEvent event;
  is_parked = true;
  const int happened = WaitEventSetWait(events_of_session(), milliseconds, &event, 1, wait_event(event_name));
  woke_at = passing_time();
  is_parked = false;
  begin_limits_anew(is_aside);
  if (happened && (event.events & WL_SOCKET_CLOSED)) {
    whereToSendOutput = DestNone;
    ereport(FATAL, (errcode(ERRCODE_CONNECTION_FAILURE), errmsg("connection to client lost")));
  }
  if (happened && (event.events & WL_LATCH_SET)) ResetLatch(MyLatch);
  CHECK_FOR_INTERRUPTS();
}

}  // namespace insula
