// Waiting and waking across backends.  Without shared memory every call here does
// nothing and says so; callers then look once a second.
#pragma once

#include "postgres.hpp"

namespace insula {

// From _PG_init, while preloading; the postmaster calls that when it starts.
void request_shared_memory(void (*postmaster_starts)());
bool shared_memory_available();

// ---- what the current transaction will tell others when it commits ----

void announce_ready(std::int32_t tenant, std::int32_t key);  // key 0: of any task
// Something will be due: somebody who waits must look by then.
void announce_due(std::int32_t tenant, TimestampTz due);
// The same for what a scheduler alone does: nobody else need look.
void announce_upkeep(std::int32_t tenant, TimestampTz due);
// This database is to have a scheduler, which is to look at everything.
void announce_scheduler_asked();
// It is to have none until somebody asks.
void announce_scheduler_stopped();
// What keeps tenants from being served may be mended: those that are set aside are tried again.
void announce_mended();
// The tenant's schedules change, or when they fire.
void announce_rescheduled(std::int32_t tenant);
// The tenant changes or goes: whoever waits for it must look.
void announce_changed(std::int32_t tenant);
void announce_dropped(std::int32_t tenant);
// At once: whatever is known of the tenant that had the number, which another one gets.
void forget_tenant_number(std::int32_t tenant);
// A claim in this transaction: its abort frees what it took, its commit settles what the
// session's last wake-up promised.
void announce_claimed(std::int32_t tenant);
// It has the tenant's permits lock: who finds that held goes without, and is woken when it is let go.
void announce_permits_lock(std::int32_t tenant);
void announce_ended(std::int64_t execution);
void announce_dead_worker_reaped(Oid role, const char *name);
void initialize_announcements();

// Tenants of this database that have changed since the last call; `unknown`: all may have.
inline constexpr int changes_remembered = 64;
int take_changed_tenants(std::int32_t (&tenants)[changes_remembered], bool *unknown);

// ---- waiting ----

struct WaitFilter {
  std::int32_t tenant;       // 0: all
  const std::int32_t *keys;  // task keys; nullptr: any
  int key_count;
  const char *worker;      // nullptr: none
  Oid role;                // whose worker that is
  std::int64_t execution;  // to be awaited; 0: none
};

// Between the two, commits that fit the filter set this backend's latch.
void begin_wait(const WaitFilter &filter);
void end_wait();

// When this waiter means to look by itself; earlier, if something became due meanwhile.
TimestampTz plan_look(TimestampTz at);

// Takes note of a signal; false if there was none.
bool take_signal();
bool has_signal();
// A signalled waiter that found nothing to do passes the signal on.
void pass_signal_on();
// A claim that may have left work behind wakes one more.
void wake_another(std::int32_t tenant);
// Permits came back; and whether this session has been woken for such, and has not claimed since.
void wake_for_permit(std::int32_t tenant);  // 0: of anybody
bool woken_for_permit();
// It has claimed, and may have left some of those, or taken none of them: another shall look.
void pass_permits_on();
// It was given all that it wanted, maybe by others than who woke it.
void pass_owed_on();
void settle_wake_up();  // at a commit that has claimed

int waiting_sessions();
long known_workers();
long watched_executions();
long tenants_with_watermarks();  // of all databases, as the others

// ---- workers ----

void check_worker_name(const char *name);
// This session becomes the worker's life line.
void take_life_line(const char *worker, std::int32_t tenant);
// Ends a kick: true if the worker had been kicked, or must look by itself.
bool take_kick(const char *worker, bool *blind);
void nudge_worker(const char *worker);
// Forgets the worker; its tenant is returned, -1 if it was not known.
std::int32_t leave_worker(const char *worker);
// Without room the worker has to look by itself.
void watch_execution(const char *worker, std::int64_t execution);
void unwatch_execution(const char *worker, std::int64_t execution);

struct DeadWorker {
  Oid role;
  std::int32_t tenant;
  char name[129];
};

bool has_dead_worker(std::int32_t tenant);
// Dead workers that may hold tasks of the tenant.
DeadWorker *dead_workers_of(std::int32_t tenant, int *count);

}  // namespace insula
