// Async commits: those that need not wait for their WAL. A claim that is lost in a crash or a
// failover is only made again, and its lease is void then; a completion under it is flushed after
// it, and so together with it.  That holds only if the transaction has written nothing but claims.
// The position of its last WAL record proves it: it must be the position at which the last claim
// ended.
#include "operation/operations.hpp"

extern "C" {
#include "access/xlog.h"
}

namespace insula {

namespace {

bool only_async = false;      // only claims were written before this one
XLogRecPtr end_of_async = 0;  // the end of the last claim's WAL; 0: the transaction wrote other WAL

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
