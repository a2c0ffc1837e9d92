// SQL entry points that cancel, pause, resume, retry or delete many executions.
#include "core/ids.hpp"
#include "entry/answer.hpp"
#include "entry/arguments.hpp"
#include "entry/prologue.hpp"
#include "operation/operations.hpp"
#include "shared/clock.hpp"

using namespace insula;

INSULA_FUNCTION(insula_cancel_executions);
INSULA_FUNCTION(insula_pause_executions);
INSULA_FUNCTION(insula_resume_executions);
INSULA_FUNCTION(insula_retry_executions);
INSULA_FUNCTION(insula_delete_executions);

namespace {

constexpr int most_at_once = 100000;

// A verb, and the statuses of the executions that it applies to.
struct VerbFacts {
  Verb verb;
  const char *call;
  const char *statuses[3];  // nullptr where they are fewer
};
constexpr VerbFacts cancel_facts = {Verb::cancel, "insula.cancel_executions()", {"pending", "running", "paused"}};
constexpr VerbFacts pause_facts = {Verb::pause, "insula.pause_executions()", {"pending", "running", nullptr}};
constexpr VerbFacts resume_facts = {Verb::resume, "insula.resume_executions()", {"paused", nullptr, nullptr}};
constexpr VerbFacts retry_facts = {Verb::retry, "insula.retry_executions()", {"failed", "cancelled", nullptr}};
constexpr VerbFacts delete_facts = {Verb::remove, "insula.delete_executions()", {"completed", "failed", "cancelled"}};

void check_status(const VerbFacts &facts, const char *status) {
  if (!status) return;
  for (const char *known : facts.statuses)
    if (known && strcmp(known, status) == 0) return;
  ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("status \"%s\" does not fit", status),
                  !facts.statuses[1] ? errdetail("It must be %s.", facts.statuses[0])
                  : facts.statuses[2]
                      ? errdetail("It must be %s, %s or %s.", facts.statuses[0], facts.statuses[1], facts.statuses[2])
                      : errdetail("It must be %s or %s.", facts.statuses[0], facts.statuses[1])));
}

Datum apply_verb(FunctionCallInfo fcinfo, const VerbFacts &facts, const char *reason, int next_argument) {
  BulkRequest request = {};
  request.verb = facts.verb;
  request.now = clock_now();
  request.reason = reason;
  request.filter = {text_argument(fcinfo, 0), text_argument(fcinfo, 1), DT_NOEND, facts.statuses};
  check_status(facts, request.filter.status);
  if (!PG_ARGISNULL(2)) request.filter.before = request.now - required_duration(fcinfo, 2, "older_than");
  request.dry_run = required_bool(fcinfo, next_argument, "dry_run");
  if (!request.dry_run) require_writable(facts.call);
  request.most = required_int32(fcinfo, next_argument + 1, "max_executions");
  if (request.most < 1 || request.most > most_at_once)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("max_executions must be between 1 and %d", most_at_once)));
  const Tenant *tenant = open_named_tenant(fcinfo, next_argument + 2, Access::write);

  ReturnSetInfo *result = begin_values(fcinfo);
  in_session([&] {
    int count;
    const std::int64_t *ids = apply_to_all(*tenant, request, &count);
    for (int i = 0; i < count; ++i) put_row(result, {int64_field(core::make_id(tenant->number, ids[i]))});
  });
  return Datum{0};
}

}  // namespace

Datum insula_cancel_executions(PG_FUNCTION_ARGS) {
  return apply_verb(fcinfo, cancel_facts, message_argument(fcinfo, 3), 4);
}
Datum insula_pause_executions(PG_FUNCTION_ARGS) {
  return apply_verb(fcinfo, pause_facts, message_argument(fcinfo, 3), 4);
}
Datum insula_resume_executions(PG_FUNCTION_ARGS) {
  return apply_verb(fcinfo, resume_facts, message_argument(fcinfo, 3), 4);
}
Datum insula_retry_executions(PG_FUNCTION_ARGS) {
  return apply_verb(fcinfo, retry_facts, message_argument(fcinfo, 3), 4);
}
Datum insula_delete_executions(PG_FUNCTION_ARGS) { return apply_verb(fcinfo, delete_facts, nullptr, 3); }
