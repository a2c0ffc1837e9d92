// The end of a transaction.  This room's .cpp is the only file that registers callbacks of transactions,
// subtransactions and resource owners; module.cpp lists the steps in the order in which they run.  A
// prepared transaction would commit in another backend, which knows nothing of what is pending here, so
// PREPARE is refused while any step has something pending; after one that is not refused a step ends as
// after an abort, unless it has its own way.
#pragma once

#include "postgres.hpp"

namespace insula {

// One step; nullptr where it has nothing to do.  But for before_commit and before_prepare none may fail.
struct TransactionStep {
  // Completes "cannot PREPARE a transaction that ..."; nullptr: nothing is pending.
  const char *(*pending)() = nullptr;
  void (*before_prepare)() = nullptr;
  void (*before_commit)() = nullptr;
  void (*committed)() = nullptr;
  void (*aborted)() = nullptr;
  void (*prepared)() = nullptr;
  // While the subtransaction is still the current one.
  void (*subtransaction_committed)(SubTransactionId parent) = nullptr;
  void (*subtransaction_aborted)() = nullptr;
  // After the resource owner has released the locks; those of a subtransaction that commits pass to its parent.
  void (*locks_released)(bool committed, bool top_level) = nullptr;
};

// Once, when the library is loaded; the list outlives the process.
void run_at_transaction_end(const TransactionStep *const *steps, int count);

}  // namespace insula
