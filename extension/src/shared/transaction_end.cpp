// Runs the steps at the end of a transaction; see transaction_end.hpp.
#include "shared/transaction_end.hpp"

extern "C" {
#include "utils/resowner.h"
}

namespace insula {

namespace {

const TransactionStep *const *steps = nullptr;
int step_count = 0;

template <typename Step>
void for_each_step(Step run) {
  for (int i = 0; i < step_count; ++i) run(*steps[i]);
}

void refuse_prepare_if_pending(const TransactionStep &step) {
  if (step.before_prepare) step.before_prepare();
  const char *pending = step.pending ? step.pending() : nullptr;
  if (pending)
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("cannot PREPARE a transaction that %s", pending)));
}

void transaction_ends(XactEvent event, void *) {
  for_each_step([event](const TransactionStep &step) {
    switch (event) {
      case XACT_EVENT_PRE_COMMIT:
        if (step.before_commit) step.before_commit();
        break;
      case XACT_EVENT_PRE_PREPARE:
        refuse_prepare_if_pending(step);
        break;
      case XACT_EVENT_COMMIT:
        if (step.committed) step.committed();
        break;
      case XACT_EVENT_PREPARE:
        if (step.prepared || step.aborted) (step.prepared ? step.prepared : step.aborted)();
        break;
      case XACT_EVENT_ABORT:
        if (step.aborted) step.aborted();
        break;
      default:  // a parallel worker writes nothing
        break;
    }
  });
}

void subtransaction_ends(SubXactEvent event, SubTransactionId, SubTransactionId parent, void *) {
  for_each_step([event, parent](const TransactionStep &step) {
    if (event == SUBXACT_EVENT_COMMIT_SUB && step.subtransaction_committed) step.subtransaction_committed(parent);
    if (event == SUBXACT_EVENT_ABORT_SUB && step.subtransaction_aborted) step.subtransaction_aborted();
  });
}

void resources_released(ResourceReleasePhase phase, bool committed, bool top_level, void *) {
  if (phase != RESOURCE_RELEASE_AFTER_LOCKS) return;
  for_each_step([committed, top_level](const TransactionStep &step) {
    if (step.locks_released) step.locks_released(committed, top_level);
  });
}

}  // namespace

void run_at_transaction_end(const TransactionStep *const *list, int count) {
  steps = list;
  step_count = count;
  RegisterXactCallback(transaction_ends, nullptr);
  RegisterSubXactCallback(subtransaction_ends, nullptr);
  RegisterResourceReleaseCallback(resources_released, nullptr);
}

}  // namespace insula
