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
  ereport(LOG_SERVER_ONLY,
          (errcode(error->sqlerrcode), errmsg("tenant %s was passed over: %s", tenant_in_log(tenant), error->message)));
}

void note_overhead(std::int32_t tenant, Spender spender, const Stopwatch &watch, std::int64_t tasks) {
  const TimestampTz until = count_overhead(tenant, spender, watch.spent(), tasks);
  if (until == DT_NOBEGIN) return;
  ereport(LOG_SERVER_ONLY,
          (errmsg("tenant %s is put off until %s: %s spend more than %g of a core on it", tenant_in_log(tenant),
                  timestamptz_to_str(until), spender == Spender::scheduler ? "schedulers" : "calls for several tenants",
                  max_overhead()),
           errhint("It is the setting insula.max_overhead that bounds this; the log tells of it once an hour.")));
}

// A cancel and a shutdown are meant for the whole call; a deadlock and a serialization failure go
// away when the caller repeats it.
static bool ends_the_call(const ErrorData *error, const CaughtErrors &caught) {
  if (caught.sql_state != 0 && error->sqlerrcode != caught.sql_state) return true;
  const int category = ERRCODE_TO_CATEGORY(error->sqlerrcode);
  return category == ERRCODE_OPERATOR_INTERVENTION || category == ERRCODE_TRANSACTION_ROLLBACK;
}

// Without a transaction id the subtransaction has written nothing and locked no row.
static void end_subtransaction(IdleLocks locks) {
  if (locks == IdleLocks::release && !TransactionIdIsValid(GetCurrentTransactionIdIfAny()))
    RollbackAndReleaseCurrentSubTransaction();
  else
    ReleaseCurrentSubTransaction();
}

// Work that is undone has served no task.
static void note_service(std::int32_t tenant, const Service *service, const Stopwatch &watch, bool done) {
  if (service && service->is_allowed) note_overhead(tenant, Spender::call, watch, done ? service->tasks : 0);
}

bool run_in_subtransaction(std::int32_t tenant, SubtransactionWork work, void *argument, const CaughtErrors &caught,
                           IdleLocks locks, const Service *service) {
  MemoryContext memory = CurrentMemoryContext;
  ResourceOwner owner = CurrentResourceOwner;
  volatile bool done = false;
  const Stopwatch watch;
  BeginInternalSubTransaction(nullptr);
  MemoryContextSwitchTo(memory);
  PG_TRY();
  {
    work(argument);
    end_subtransaction(locks);
    done = true;
  }
  PG_CATCH();
  {
    MemoryContextSwitchTo(memory);
    ErrorData *error = CopyErrorData();
    FlushErrorState();
    RollbackAndReleaseCurrentSubTransaction();
    CurrentResourceOwner = owner;
    note_service(tenant, service, watch, false);
    if (ends_the_call(error, caught)) ReThrowError(error);
    if (caught.message)
      *caught.message = pstrdup(error->message);
    else
      log_error(tenant, error);
    FreeErrorData(error);
  }
  PG_END_TRY();
  MemoryContextSwitchTo(memory);
  CurrentResourceOwner = owner;
  if (done) note_service(tenant, service, watch, true);
  return done;
}

}  // namespace insula
