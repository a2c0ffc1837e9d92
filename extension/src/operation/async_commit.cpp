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

bool only_async = false;      // all that was written when the claim began
XLogRecPtr end_of_async = 0;  // of all that was written when it had ended; 0: there is more

void commit_async_if_possible() {
  if (end_of_async != 0 && end_of_async == XactLastRecEnd && synchronous_commit > SYNCHRONOUS_COMMIT_OFF)
    (void)set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
}

void forget() { end_of_async = 0; }

}  // namespace

const TransactionStep async_commit_step = {
    .before_commit = commit_async_if_possible, .committed = forget, .aborted = forget};

void begin_async_commit() {
  const bool nothing_written = !TransactionIdIsValid(GetTopTransactionIdIfAny());
  only_async = nothing_written || (end_of_async != 0 && end_of_async == XactLastRecEnd);
}

void end_async_commit() { end_of_async = only_async ? XactLastRecEnd : 0; }

}  // namespace insula
