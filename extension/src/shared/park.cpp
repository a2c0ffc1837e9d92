// Sleeping on the backend's latch; see park.hpp.  The set of events is made once a
// session: the latch and the client's socket stay the same.
#include "shared/park.hpp"
#include "shared/clock.hpp"

extern "C" {
#include "libpq/libpq.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"
}

namespace insula {

namespace {

WaitEventSet *events = nullptr;

WaitEventSet *events_of_session() {
  if (events) return events;
#if PG_VERSION_NUM >= 170000
  events = CreateWaitEventSet(nullptr, 3);
#else
  events = CreateWaitEventSet(TopMemoryContext, 3);
#endif
  AddWaitEventToSet(events, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, nullptr);
  AddWaitEventToSet(events, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, nullptr, nullptr);
  // A dead client is noticed at once, where the platform can tell.
  if (MyProcPort && MyProcPort->sock != PGINVALID_SOCKET && WaitEventSetCanReportClosed())
    AddWaitEventToSet(events, WL_SOCKET_CLOSED, MyProcPort->sock, nullptr, nullptr);
  return events;
}

}  // namespace

void park(TimestampTz until, const char *event_name) {
  const long milliseconds = TimestampDifferenceMilliseconds(clock_now(), until);
  WaitEvent event;
  const int happened = WaitEventSetWait(events_of_session(), milliseconds, &event, 1, wait_event(event_name));
  if (happened && (event.events & WL_SOCKET_CLOSED)) {
    whereToSendOutput = DestNone;
    ereport(FATAL, (errcode(ERRCODE_CONNECTION_FAILURE), errmsg("connection to client lost")));
  }
  if (happened && (event.events & WL_LATCH_SET)) ResetLatch(MyLatch);
  CHECK_FOR_INTERRUPTS();
}

}  // namespace insula
