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

// A time limit that is set aside for a sleep, and begins anew after it.
class TimeLimit {
 public:
  explicit TimeLimit(TimeoutId id) : id_(id) {}
  void set_aside() {
    is_aside_ = get_timeout_active(id_);
    if (is_aside_) disable_timeout(id_, false);
  }
  void begin_anew(int milliseconds) const {
    if (is_aside_ && milliseconds > 0) enable_timeout_after(id_, milliseconds);
  }

 private:
  TimeoutId id_;
  bool is_aside_ = false;
};

}  // namespace

void park(TimestampTz until, const char *event_name, Timed timed) {
  TimeLimit statement(STATEMENT_TIMEOUT);
  if (timed == Timed::no) statement.set_aside();
#if PG_VERSION_NUM >= 170000
  TimeLimit transaction(TRANSACTION_TIMEOUT);
  if (timed == Timed::no) transaction.set_aside();
#endif
  const long milliseconds = TimestampDifferenceMilliseconds(clock_now(), until);
  WaitEvent event;
  const int happened = WaitEventSetWait(events_of_session(), milliseconds, &event, 1, wait_event(event_name));
  statement.begin_anew(StatementTimeout);
#if PG_VERSION_NUM >= 170000
  transaction.begin_anew(TransactionTimeout);
#endif
  if (happened && (event.events & WL_SOCKET_CLOSED)) {
    whereToSendOutput = DestNone;
    ereport(FATAL, (errcode(ERRCODE_CONNECTION_FAILURE), errmsg("connection to client lost")));
  }
  if (happened && (event.events & WL_LATCH_SET)) ResetLatch(MyLatch);
  CHECK_FOR_INTERRUPTS();
}

}  // namespace insula
