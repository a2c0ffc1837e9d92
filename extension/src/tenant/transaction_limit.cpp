// Ends transactions that tenants' logins hold; see transaction_limit.hpp.
//
// The first thing that a session does, a statement that is parsed or run or a function that is called, sets a timer of
// its process, and from then on the timer looks whether a transaction is too old.  It is none of PostgreSQL's timeouts,
// since each error in a session disables those, and a transaction with a savepoint outlives errors.  A transaction
// whose statements the hooks have not seen, as one that began in a DO block, is as old as PostgreSQL says.  A session
// that waits for work holds nothing.
#include "tenant/transaction_limit.hpp"

#include <algorithm>
#include <csignal>
#include <ctime>

#include "shared/clock.hpp"
#include "shared/park.hpp"
#include "tenant/caller.hpp"

extern "C" {
#include "access/parallel.h"
#include "catalog/objectaccess.h"
#include "executor/executor.h"
#include "parser/analyze.h"
#include "storage/ipc.h"
#include "tcop/utility.h"
#include "utils/guc.h"
}

namespace insula {

namespace {

int limit_ms = 3600 * 1000;
bool is_kept = false;
ExecutorStart_hook_type previous_start = nullptr;
ProcessUtility_hook_type previous_utility = nullptr;
post_parse_analyze_hook_type previous_parse = nullptr;
object_access_hook_type previous_access = nullptr;

// The start of the transaction in passing time, which the signal handler reads; 0: none is limited.
volatile std::int64_t began_at = 0;
volatile sig_atomic_t limit_for_signal = 0;
volatile sig_atomic_t has_ended_session = false;
timer_t timer;
bool has_timer = false;
volatile sig_atomic_t is_timing = false;  // the timer is set
bool has_tried = false;

// What is known of the session's user.
Oid known_user = InvalidOid;
bool is_login = false;

void set_timer(std::int64_t microseconds) {
  itimerspec when = {};
  when.it_value.tv_sec = microseconds / USECS_PER_SEC;
  when.it_value.tv_nsec = std::max<std::int64_t>(microseconds % USECS_PER_SEC * 1000, 1);
  (void)timer_settime(timer, 0, &when, nullptr);
}

// By the clock of the day, of which a jump counts.
std::int64_t age_of_transaction() {
  return std::max<std::int64_t>(GetCurrentTimestamp() - GetCurrentTransactionStartTimestamp(), 0);
}

// Only what a signal handler may do.
void time_is_up(int) {
  const int error = errno;
  const std::int64_t limit = std::int64_t{limit_for_signal} * 1000;
  std::int64_t left = limit;
  if (IsTransactionOrTransactionBlock() && !is_parked) {
    const std::int64_t began = began_at != 0 ? began_at : passing_time() - age_of_transaction();
    const std::int64_t woke = woke_at;
    left = std::max(began, woke) + limit - passing_time();
  }
  if (left <= 0 && limit > 0) {
    has_ended_session = true;
    (void)kill(getpid(), SIGTERM);
  }
  // Another transaction may have begun since the timer was set.
  set_timer(left > 0 ? left : USECS_PER_SEC);
  errno = error;
}

void tell_of_end(int, Datum) {
  if (!has_ended_session) return;
  ereport(LOG, (errmsg("a session of role \"%s\" was ended: it held a transaction for longer than "
                       "insula.max_tenant_transaction",
                       MyProcPort && MyProcPort->user_name ? MyProcPort->user_name : "?")));
}

bool make_timer() {
  if (has_tried) return has_timer;
  has_tried = true;
  for (int number = SIGRTMIN; number <= SIGRTMAX && !has_timer; ++number) {
    struct sigaction before;
    if (sigaction(number, nullptr, &before) != 0 || before.sa_handler != SIG_DFL) continue;
    struct sigaction action = {};
    action.sa_handler = time_is_up;
    action.sa_flags = SA_RESTART;
    (void)sigemptyset(&action.sa_mask);
    sigevent event = {};
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = number;
    has_timer = timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && sigaction(number, &action, nullptr) == 0;
  }
  if (has_timer)
    before_shmem_exit(tell_of_end, Datum{0});
  else
    ereport(LOG, (errmsg("insula.max_tenant_transaction is not kept to: there is no timer")));
  return has_timer;
}

bool is_of_tenant() {
  const Oid user = GetSessionUserId();
  if (user != known_user) {
    is_login = is_tenant_login(user);
    known_user = user;
  }
  return is_login;
}

// Before whatever a session does.
void note_statement() {
  if (limit_ms == 0 || began_at != 0 || MyBackendType != B_BACKEND || IsParallelWorker() || !IsTransactionState() ||
      !is_of_tenant() || !make_timer())
    return;
  const bool is_sooner = limit_ms < limit_for_signal;
  limit_for_signal = limit_ms;
  began_at = passing_time() - age_of_transaction();
  if (is_timing && !is_sooner) return;
  is_timing = true;
  set_timer(std::int64_t{limit_ms} * 1000);
}

void parse(ParseState *state, Query *query, ParsedConstants *constants) {
  note_statement();
  if (previous_parse) previous_parse(state, query, constants);
}

// The fast path of the protocol calls a function without a statement.
void access(ObjectAccessType access, Oid classid, Oid object, int sub, void *argument) {
  if (access == OAT_FUNCTION_EXECUTE) note_statement();
  if (previous_access) previous_access(access, classid, object, sub, argument);
}

void start_executor(QueryDesc *query, int flags) {
  note_statement();
  (previous_start ? previous_start : standard_ExecutorStart)(query, flags);
}

void run_utility(PlannedStmt *planned, const char *query, bool read_only_tree, ProcessUtilityContext context,
                 ParamListInfo params, QueryEnvironment *environment, DestReceiver *receiver,
                 QueryCompletion *completion) {
  note_statement();
  (previous_utility ? previous_utility : standard_ProcessUtility)(planned, query, read_only_tree, context, params,
                                                                  environment, receiver, completion);
}

void transaction_ended() { began_at = 0; }

void roles_changed(Datum, CacheId, uint32) { known_user = InvalidOid; }

}  // namespace

void define_transaction_limit() {
  DefineCustomIntVariable("insula.max_tenant_transaction", "How long a tenant's login may hold a transaction.",
                          "The session of one that is held for longer ends.  0: for ever.", &limit_ms, limit_ms, 0,
                          PG_INT32_MAX, PGC_SUSET, GUC_UNIT_MS, nullptr, nullptr, nullptr);
}

void limit_tenant_transactions() {
  is_kept = true;
  CacheRegisterSyscacheCallback(AUTHMEMMEMROLE, roles_changed, Datum{0});
  previous_start = ExecutorStart_hook;
  ExecutorStart_hook = start_executor;
  previous_utility = ProcessUtility_hook;
  ProcessUtility_hook = run_utility;
  previous_parse = post_parse_analyze_hook;
  post_parse_analyze_hook = parse;
  previous_access = object_access_hook;
  object_access_hook = access;
}

int tenant_transaction_limit() { return is_kept ? limit_ms : 0; }

const TransactionStep transaction_limit_step = {.committed = transaction_ended, .aborted = transaction_ended};

}  // namespace insula
