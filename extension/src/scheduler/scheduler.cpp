// The scheduler of a database.  It takes each due tenant from the due queue, advances the tenant
// and fires its schedules in a transaction of its own, and requeues the tenant with its next
// moment.  Between two moments it sleeps without a transaction, a snapshot or a lock; if nothing is
// due for a while and the launcher can start another scheduler, it ends.  It connects as the
// bootstrap superuser, since PostgreSQL before 17 lets no role without LOGIN in, and is
// insula_owner from its first transaction on.
//
// Before each round it looks around: whether it was told to stop, or the extension was dropped,
// updated or copied.  A request counts once it is committed.
//
// Two schedulers of one database at the same moment would be slow, not wrong: the rows that they
// lock decide.
#include <algorithm>

#include "scheduler/scheduler.hpp"
#include "shared/clock.hpp"
#include "shared/due_queue.hpp"
#include "shared/overhead.hpp"
#include "shared/schedulers.hpp"
#include "shared/shared.hpp"
#include "spi/budget.hpp"
#include "spi/session.hpp"
#include "tenant/home.hpp"
#include "tenant/in_subtransaction.hpp"
#include "tenant/lock.hpp"
#include "version.hpp"

extern "C" {
#include "storage/lmgr.h"
PGDLLEXPORT void insula_scheduler_main(Datum);
}

namespace insula {

namespace {

// The process ends after this time with nothing due.
constexpr std::int64_t linger = 5 * USECS_PER_SEC;
constexpr std::int64_t linger_while_others_wait = USECS_PER_SEC / 2;
// While other databases wait, the process ends after this time even if more is due.
constexpr std::int64_t turn_while_others_wait = 2 * USECS_PER_SEC;
// A round takes tenants for this long before the scheduler looks around again.
constexpr std::int64_t longest_round = USECS_PER_SEC;
// Without room in the due queue, or without a due queue that sessions can reach, a round visits all
// tenants: at most once a second and with a twentieth of a core.
constexpr std::int64_t shortest_round = USECS_PER_SEC;
constexpr int round_share = 20;
constexpr std::int64_t least_visit = 50000;
constexpr std::int64_t pause_after_error = USECS_PER_SEC;
constexpr char lock_timeout[] = "100ms";

// In passing time; round_started is zero between rounds.
std::int64_t round_started = 0;
std::int64_t next_round = 0;

// ---- standing ----

struct Standing {
  Rest rest;
  bool serves;
  const char *why_not;
};

// The role is missing until the first CREATE EXTENSION of the cluster has committed.
void become_owner() {
  const Oid owner = get_role_oid("insula_owner", true);
  if (OidIsValid(owner) && owner != GetSessionUserId()) SetSessionAuthorization(owner, false);
}

void set(const char *name, const char *value) { SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE); }

void set_settings() {
  become_owner();
  set("application_name", "insula scheduler");
  set("lock_timeout", lock_timeout);
  set("statement_timeout", "0");
  if (has_transaction_timeout) set("transaction_timeout", "0");
  set("default_transaction_isolation", "read committed");
  set("default_transaction_read_only", "off");
  set("search_path", "pg_catalog, pg_temp");
}

// The extension may come, go, be updated or turn into a copy at any time.
Standing look_around() {
  become_owner();
  if (!OidIsValid(get_extension_oid("insula", true))) return {Rest::absent, false, nullptr};
  if (!version_fits()) {
    // The reason is logged once, not at each look.
    const char *why = looks_whether_it_fits() ? nullptr : "the extension has another version than its library";
    return {Rest::until_fit, false, why};
  }
  if (why_not_home()) {
    forget_mark_of_copy();
    return {Rest::until_told, false, "the database is a copy that has not been adopted"};
  }
  if (record_home_after_upgrade()) ask_for_scheduler();
  if (!scheduler_is_wanted()) return {Rest::until_told, false, "it was stopped"};
  return {Rest::until_due, true, nullptr};
}

// ---- one round ----

struct AllTenants {
  std::int32_t *numbers;
  int count;
};

AllTenants read_all_tenants() {
  AllTenants all;
  const TenantShare *tenants = active_tenants(&all.count);
  all.numbers = palloc_array_of<std::int32_t>(static_cast<std::size_t>(all.count));
  for (int i = 0; i < all.count; ++i) all.numbers[i] = tenants[i].number;
  return all;
}

// Until another tenant is due.
std::int64_t time_for_visit() {
  const TimestampTz now = clock_now();
  const TimestampTz next = next_in_due_queue();
  if (next <= now + least_visit) return least_visit;
  return std::max(least_visit, std::min(next - now, visit_microseconds()));
}

int dying_count = 0;

// Tasks of dead workers of all tenants come back at once.
TimestampTz not_before(std::int32_t tenant) {
  return dying_count > 0 ? DT_NOBEGIN : put_off_until(tenant, Spender::scheduler);
}

void visit(const DueTenant &due) {
  if (const TimestampTz until = not_before(due.tenant); until != DT_NOBEGIN) return put_off_due_tenant(due, until);
  if (due.reload && is_aside_for_deaths(due.tenant)) read_trouble_again(due.tenant);
  const bool for_deaths = is_aside_for_deaths(due.tenant);
  if (const TimestampTz until = set_aside_until(due.tenant); (!due.afresh || for_deaths) && until > clock_now()) {
    requeue_due_tenant(due, until, false, !for_deaths);
    return;
  }
  Visit visit = {due.tenant, due.reload, due.ended, DT_NOEND, false, false, time_for_visit()};
  ErrorData *error;
  const Stopwatch watch;
  begin_turn(due.tenant);
  const bool visited = in_transaction([&] { visit_tenant(&visit); }, &error);
  end_turn();
  note_overhead(due.tenant, Spender::scheduler, watch, 0);
  if (visited) {
    if (!visit.trouble) {
      no_longer_aside(due.tenant);
      visit.next = std::min(visit.next, deaths_are_forgotten_at(due.tenant));
    } else if (for_deaths) {
      read_trouble_again(due.tenant);
    }
  } else {
    visit.next = must_end() ? DT_NOBEGIN : set_aside(due.tenant, error);
    visit.reload = true;
    visit.awaits = false;
  }
  requeue_due_tenant({due.tenant, visit.reload, false, false}, visit.next, visit.awaits, is_set_aside(due.tenant),
                     not_before(due.tenant));
}

// A failure because the process was told to end is no error.
template <typename Work>
bool succeeds(Work work) {
  ErrorData *error;
  if (in_transaction(work, &error)) return true;
  if (!must_end()) ReThrowError(error);
  return false;
}

// Visits the tenants that found no room in the due queue one by one.
void start_round() {
  const std::int64_t now = passing_time();
  const bool crowded = report_scheduler().crowded;
  const bool again = (crowded || !shared_memory_available()) && now >= next_round;
  const bool empty = due_queue_is_empty();
  if (!empty && !again) return;
  round_started = now;
  AllTenants all = {};
  if (!succeeds([&] { all = read_all_tenants(); })) return;
  int entered = fill_due_queue(all.numbers, all.count, clock_now(), empty);
  MemoryContext one = AllocSetContextCreate(CurrentMemoryContext, "insula visit", ALLOCSET_DEFAULT_SIZES);
  for (; entered < all.count && !must_end(); ++entered) {
    MemoryContext round = MemoryContextSwitchTo(one);
    visit({all.numbers[entered], true, true, empty});
    MemoryContextSwitchTo(round);
    MemoryContextReset(one);
  }
}

void end_round() {
  if (round_started == 0) return;
  const std::int64_t now = passing_time();
  next_round = now + std::max(shortest_round, (now - round_started) * round_share);
  round_started = 0;
}

// ---- workers of all tenants that have died ----

DeadWorker *dying = nullptr;
TimestampTz roused_at = DT_NOBEGIN;

// A lease makes its tenant due, so each tenant with a task of a dead worker is in the due queue.
void rouse_for_dead_workers() {
  int count;
  const DeadWorker *dead = dead_workers_of(0, &count);
  if (dying) pfree(dying);
  dying = static_cast<DeadWorker *>(
      MemoryContextAlloc(TopMemoryContext, sizeof(DeadWorker) * (static_cast<Size>(count) + 1)));
  dying_count = 0;
  for (int i = 0; i < count; ++i)
    if (dead[i].tenant == 0) dying[dying_count++] = dead[i];
  roused_at = clock_now();
  make_all_due(roused_at);
  requeue_due_tenant({0, false, false, false}, DT_NOEND, false, false);
}

// A dead worker can be forgotten once every tenant has been visited after its end; until then each
// tenant stays due.
void forget_dead_workers() {
  if (dying_count == 0 || !all_taken_since(roused_at)) return;
  ErrorData *error;
  (void)in_transaction(
      [] {
        for (int i = 0; i < dying_count; ++i) announce_dead_worker_reaped(dying[i].role, dying[i].name);
      },
      &error);
  dying_count = 0;
}

// ---- the loop ----

bool may_end(TimestampTz next, std::int64_t started) {
  if (!shared_memory_available() || next == DT_NOBEGIN) return false;
  const bool others = others_wait();
  if (others && passing_time() - started > turn_while_others_wait) return true;
  // The scheduler alone knows when the tenants outside the due queue are due.
  if (report_scheduler().crowded) return false;
  return next - clock_now() > (others ? linger_while_others_wait : linger);
}

// Moves a test's clock to the next moment instead of waiting for it, once nothing is due.
bool jump(TimestampTz next) {
  const TimestampTz target = clock_target();
  if (target == DT_NOBEGIN) return false;
  if (clock_now() < target)
    move_clock_to(std::max(clock_now(), std::min(next, target)));
  else
    set_clock_target(DT_NOBEGIN);
  return true;
}

// True if nothing is due any more.
bool do_what_is_due(MemoryContext round) {
  pgstat_report_activity(STATE_RUNNING, "doing what is due");
  const std::int64_t end = passing_time() + longest_round;
  for (DueTenant due; take_due_tenant(clock_now(), &due); MemoryContextReset(round)) {
    if (due.tenant == 0)
      rouse_for_dead_workers();
    else
      visit(due);
    forget_dead_workers();
    if (must_end() || passing_time() > end) return false;
  }
  return true;
}

// Whether this process has fitted the database before.
bool served = false;

Rest serve() {
  const std::int64_t started = passing_time();
  static MemoryContext round = nullptr;
  if (!round) round = AllocSetContextCreate(TopMemoryContext, "insula scheduler round", ALLOCSET_DEFAULT_SIZES);
  ErrorData *error;
  if (const std::int32_t died = open_turns()) (void)in_transaction([died] { note_death(died); }, &error);
  end_turn();
  (void)in_transaction(read_troubled_tenants, &error);
  while (!must_end()) {
    MemoryContextReset(round);
    MemoryContextSwitchTo(round);
    Standing standing = {};
    begin_round();
    if (!succeeds([&] { standing = look_around(); })) break;
    if (!standing.serves) {
      if (standing.why_not) ereport(LOG, (errmsg("insula scheduler ends: %s", standing.why_not)));
      return standing.rest;
    }
    served = true;
    if (!schedulers_are_on()) {
      if (shared_memory_available()) break;
      // Without shared memory no launcher would start another scheduler.
      sleep_until(DT_NOEND, "turned off by insula.scheduler");
      continue;
    }
    start_round();
    const bool drained = do_what_is_due(round);
    if (drained) end_round();
    TimestampTz next = plan_sleep();
    if (drained && jump(next)) continue;
    if (may_end(next, started)) return Rest::until_due;
    if (!drained) continue;
    if (!shared_memory_available() || report_scheduler().crowded)
      next = std::min(next, clock_now() + next_round - passing_time());
    sleep_until(on_wall(next), "waiting until something is due");
  }
  return Rest::until_due;
}

void recover_from_error() {
  hold_interrupts();
  EmitErrorReport();
  LWLockReleaseAll();
  AbortOutOfAnyTransaction();
  MemoryContextSwitchTo(TopMemoryContext);
  FlushErrorState();
  resume_interrupts();
}

// With a launcher an error ends the process, and the launcher starts another.  Without, the
// postmaster would restart it for ever, even after its database was dropped; so it goes on by
// itself.
Rest serve_until_told() {
  volatile bool failed = false;
  volatile bool done = false;
  volatile Rest rest = Rest::until_due;
  while (!done) {
    PG_TRY();
    {
      if (failed) sleep_until(GetCurrentTimestamp() + pause_after_error, "waiting after an error");
      rest = serve();
      done = true;
    }
    PG_CATCH();
    {
      if (shared_memory_available()) PG_RE_THROW();
      recover_from_error();
      failed = true;
    }
    PG_END_TRY();
  }
  return rest;
}

void end_scheduler(int, Datum) {
  close_turns();
  detach_scheduler();
}

// An update makes the SQL newer than the library that a process has loaded long ago.  Without shared memory the
// postmaster starts it again if it ends so, which loads the library that is there now; if that does not fit either, it
// has not served and ends for good.
int exit_code(Rest rest) { return rest == Rest::until_fit && served && !shared_memory_available() ? 1 : 0; }

// The postmaster may start the process again long after its starter has ended, whose short id then is another's.
bool may_run(FullTransactionId starter) {
  constexpr std::uint64_t ids_in_use = std::uint64_t{1} << 31;
  const FullTransactionId next = ReadNextFullTransactionId();
  return FullTransactionIdIsValid(starter) &&
         U64FromFullTransactionId(next) - U64FromFullTransactionId(starter) < ids_in_use;
}

// CREATE EXTENSION starts a scheduler before other transactions can see the extension.
void wait_for_starter() {
  FullTransactionId starter;
  memcpy(&starter, MyBgworkerEntry->bgw_extra, sizeof starter);
  ErrorData *error;
  if (!in_transaction(
          [&] {
            set_settings();
            if (may_run(starter)) XactLockTableWait(XidFromFullTransactionId(starter), nullptr, nullptr, XLTW_None);
          },
          &error))
    ReThrowError(error);
}

// Without shared memory a lock keeps a second scheduler out.  A scheduler that was just stopped
// frees the lock soon.
bool be_the_only_one() {
  if (shared_memory_available()) return true;
  ErrorData *error;
  return in_transaction(
      [] {
        set("lock_timeout", "5s");
        lock_scheduling();
        set("lock_timeout", lock_timeout);
      },
      &error);
}

}  // namespace

}  // namespace insula

using namespace insula;

void insula_scheduler_main(Datum database) {
  start_process("starting");
  BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(database), InvalidOid, 0);
  wait_for_starter();
  if (!be_the_only_one() || !attach_scheduler()) proc_exit(0);
  before_shmem_exit(end_scheduler, Datum{0});
  const Rest rest = serve_until_told();
  leave_database(rest);
  proc_exit(exit_code(rest));
}
