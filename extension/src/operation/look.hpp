// The looks and claims of a wait for work, each in a transaction of its own; see wait.hpp.
#pragma once

#include "operation/wait.hpp"

namespace insula {

// Begins the call's first transaction.
void begin_looks();
// Makes the transaction see all that is committed by now, the caller's rights included.
void begin_look();
// Commits; no snapshot stays behind.
void end_look();

struct Look {
  bool ready;        // there is work to claim
  TimestampTz next;  // when time itself will change the answer
};

// Registers the wait, does all that time has made due, and looks for work.  It has committed when it
// returns.
Look look_for_work(const WorkWait &wait);

enum class ClaimAfter { look, wake_up };

// Claims what there is.  Without a look before it claims only where a claim that gets nothing wakes no
// other waiter.  False: it has claimed nothing, and has committed; true: the caller is to commit.
bool try_claim(const WorkWait &wait, ClaimAfter after, WaitingClaim *claim);

}  // namespace insula
