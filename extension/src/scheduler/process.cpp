// The common parts of launcher and scheduler: signals, sleep, and transactions whose failure does
// not end the process.
#include <algorithm>

#include "scheduler/scheduler.hpp"

extern "C" {
#include "postmaster/interrupt.h"
#include "tcop/tcopprot.h"
}

namespace insula {

namespace {

volatile sig_atomic_t end_requested = false;

// Cancels the running statement, so that the loop sees the request and the process ends in good
// order, with an exit status that keeps the postmaster from restarting it.
void request_end(INSULA_SIGNAL_PARAMETERS) {
  const int saved = errno;
  end_requested = true;
  QueryCancelPending = true;
  InterruptPending = true;
  SetLatch(MyLatch);
  errno = saved;
}

}  // namespace

void start_process(const char *activity) {
  pqsignal(SIGHUP, SignalHandlerForConfigReload);
  pqsignal(SIGTERM, request_end);
  BackgroundWorkerUnblockSignals();
  pgstat_report_activity(STATE_IDLE, activity);
}

bool must_end() {
  if (ConfigReloadPending) {
    ConfigReloadPending = false;
    ProcessConfigFile(PGC_SIGHUP);
  }
  return end_requested;
}

// The system clock may be set during a sleep.
constexpr long longest_sleep_ms = 30000;

void sleep_until(TimestampTz at, const char *activity) {
  pgstat_report_activity(STATE_IDLE, activity);
  int events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;
  long milliseconds = -1;
  if (at != DT_NOEND) {
    events |= WL_TIMEOUT;
    milliseconds = at == DT_NOBEGIN ? 0 : TimestampDifferenceMilliseconds(GetCurrentTimestamp(), at);
    milliseconds = std::min(milliseconds, longest_sleep_ms);
  }
  (void)WaitLatch(MyLatch, events, milliseconds, wait_event("InsulaNextDue"));
  ResetLatch(MyLatch);
  // A request to end that arrives between two statements must not cancel the next one.
  if (end_requested) QueryCancelPending = false;
  CHECK_FOR_INTERRUPTS();
}

bool run_transaction(TransactionWork work, void *argument, ErrorData **error) {
  MemoryContext memory = CurrentMemoryContext;
  volatile bool done = false;
  *error = nullptr;
  PG_TRY();
  {
    SetCurrentStatementStartTimestamp();
    StartTransactionCommand();
    PushActiveSnapshot(GetTransactionSnapshot());
    MemoryContextSwitchTo(memory);
    work(argument);
    if (ActiveSnapshotSet()) PopActiveSnapshot();
    CommitTransactionCommand();
    done = true;
  }
  PG_CATCH();
  {
    hold_interrupts();
    MemoryContextSwitchTo(memory);
    *error = CopyErrorData();
    FlushErrorState();
    AbortCurrentTransaction();
    resume_interrupts();
  }
  PG_END_TRY();
  MemoryContextSwitchTo(memory);
  pgstat_report_stat(false);
  return done;
}

}  // namespace insula
