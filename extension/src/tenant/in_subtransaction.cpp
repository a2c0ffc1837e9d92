// Subtransactions around one tenant's part of a call; see in_subtransaction.hpp.
#include "tenant/in_subtransaction.hpp"

#include "shared/clock.hpp"
#include "tenant/tenant.hpp"

extern "C" {
#include "utils/resowner.h"
}

namespace insula {

static void log_error(std::int32_t tenant, const ErrorData *error) {
  static std::int64_t last = PG_INT64_MIN / 2;
  const std::int64_t now = passing_time();
  if (now - last < 10 * USECS_PER_SEC) return;
  last = now;
  ereport(LOG,
          (errcode(error->sqlerrcode), errmsg("tenant %s was passed over: %s", tenant_in_log(tenant), error->message)));
}

// A cancel and a shutdown are meant for the whole call; a deadlock and a serialization failure go
// away when the caller repeats it.
static bool ends_the_call(const ErrorData *error) {
  const int category = ERRCODE_TO_CATEGORY(error->sqlerrcode);
  return category == ERRCODE_OPERATOR_INTERVENTION || category == ERRCODE_TRANSACTION_ROLLBACK;
}

bool run_in_subtransaction(std::int32_t tenant, SubtransactionWork work, void *argument, const char **message) {
  MemoryContext memory = CurrentMemoryContext;
  ResourceOwner owner = CurrentResourceOwner;
  volatile bool done = false;
  BeginInternalSubTransaction(nullptr);
  MemoryContextSwitchTo(memory);
  PG_TRY();
  {
    work(argument);
    ReleaseCurrentSubTransaction();
    done = true;
  }
  PG_CATCH();
  {
    MemoryContextSwitchTo(memory);
    ErrorData *error = CopyErrorData();
    FlushErrorState();
    RollbackAndReleaseCurrentSubTransaction();
    CurrentResourceOwner = owner;
    if (ends_the_call(error)) ReThrowError(error);
    if (message)
      *message = pstrdup(error->message);
    else
      log_error(tenant, error);
    FreeErrorData(error);
  }
  PG_END_TRY();
  MemoryContextSwitchTo(memory);
  CurrentResourceOwner = owner;
  return done;
}

}  // namespace insula
