// SQL entry points for the progress of running tasks.
#include "storage/progress.hpp"

#include "core/ids.hpp"
#include "entry/arguments.hpp"
#include "entry/prologue.hpp"
#include "operation/operations.hpp"
#include "shared/clock.hpp"

using namespace insula;

INSULA_FUNCTION(insula_save_progress);
INSULA_FUNCTION(insula_checkpoint);

namespace {

bool says_nothing(const Progress &progress) { return !progress.checkpoint && !progress.reached && !progress.note; }

// Locks the running task without waiting, and writes its progress.  A call that says nothing asks whether the lease
// is lost, which takes no lock.
Told save(const Tenant &tenant, std::int64_t id, std::int64_t lease, const Progress &progress) {
  int locked = 0;
  if (!says_nothing(progress)) (void)lock_leases(tenant, &id, &lease, 1, &locked);
  int found;
  const TaskRow *task = peek_tasks(tenant, &id, 1, &found);
  if (found == 0 || task->state != State::running || task->lease != lease) return Told::lost;
  if (says_nothing(progress)) return Told::done;
  if (locked == 0) return Told::later;
  write_progress(tenant, task->execution(), id, clock_now(), progress);
  return Told::done;
}

}  // namespace

Datum insula_save_progress(PG_FUNCTION_ARGS) {
  require_writable("insula.save_progress()");
  const std::int64_t id = required_int64(fcinfo, 0, "task_id");
  const std::int64_t lease = required_int64(fcinfo, 1, "lease");
  Progress progress = {};
  if (!PG_ARGISNULL(2)) progress.checkpoint = PG_GETARG_JSONB_P(2);
  if (progress.checkpoint) check_json(progress.checkpoint, "checkpoint");
  const double reached = PG_ARGISNULL(3) ? 0 : PG_GETARG_FLOAT8(3);
  if (!(reached >= 0 && reached <= 1))
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("progress must be between 0 and 1")));
  if (!PG_ARGISNULL(3)) progress.reached = &reached;
  progress.note = message_argument(fcinfo, 4);
  const TenantOfTasks opened = open_tenant_of_tasks(id, nullptr);
  if (opened.locked) PG_RETURN_NULL();
  if (!opened.tenant) PG_RETURN_BOOL(false);
  const Told told =
      in_outcome_session(*opened.tenant, [&] { return save(*opened.tenant, core::local_of(id), lease, progress); });
  if (told == Told::later) PG_RETURN_NULL();
  PG_RETURN_BOOL(told == Told::done);
}

Datum insula_checkpoint(PG_FUNCTION_ARGS) {
  const std::int64_t id = required_int64(fcinfo, 0, "task_id");
  const std::int64_t lease = required_int64(fcinfo, 1, "lease");
  const Tenant *tenant = open_tenant_of_task(id);
  if (!tenant) PG_RETURN_NULL();
  MemoryContext callers = CurrentMemoryContext;
  Jsonb *checkpoint = in_session([&]() -> Jsonb * {
    Jsonb *saved = read_checkpoint(*tenant, core::local_of(id), lease);
    if (!saved) return nullptr;
    auto *copy = static_cast<Jsonb *>(MemoryContextAlloc(callers, VARSIZE(saved)));
    memcpy(copy, saved, VARSIZE(saved));
    return copy;
  });
  if (!checkpoint) PG_RETURN_NULL();
  PG_RETURN_JSONB_P(checkpoint);
}
