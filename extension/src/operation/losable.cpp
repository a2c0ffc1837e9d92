// Commits that need not wait for their WAL.  A claim that is lost in a crash, or in a
// failover, is only claimed again, and its lease is worth nothing then; what was completed
// under it was flushed after it, and so with it.  That holds only where the transaction has
// written nothing else: nothing before the claim, and nothing since, which the position of
// its last WAL record tells whoever wrote it.
#include "operation/operations.hpp"

extern "C" {
#include "access/xlog.h"
}

namespace insula {

namespace {

bool only_losable = false;      // all that was written when the claim began
XLogRecPtr end_of_losable = 0;  // of all that was written when it had ended; 0: there is more

void transaction_event(XactEvent event, void *) {
  if (event == XACT_EVENT_PRE_COMMIT && end_of_losable != 0 && end_of_losable == XactLastRecEnd &&
      synchronous_commit > SYNCHRONOUS_COMMIT_OFF)
    (void)set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
  if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE) end_of_losable = 0;
}

}  // namespace

void initialize_losable() { RegisterXactCallback(transaction_event, nullptr); }

void begin_losable() {
  const bool nothing_written = !TransactionIdIsValid(GetTopTransactionIdIfAny());
  only_losable = nothing_written || (end_of_losable != 0 && end_of_losable == XactLastRecEnd);
}

void end_losable() { end_of_losable = only_losable ? XactLastRecEnd : 0; }

}  // namespace insula
