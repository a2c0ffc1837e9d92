// Waiting and waking across backends.  Without shared memory every call here does
// nothing and says so; callers then look once a second.
#pragma once

#include "postgres.hpp"
#include "shared/transaction_end.hpp"

namespace insula {

// From _PG_init, while preloading.  `in_postmaster` runs once the postmaster starts.
void request_shared_memory(void (*in_postmaster)());
extern bool shared_memory_made;
inline bool shared_memory_available() { return shared_memory_made; }

// ---- what the current transaction will tell others when it commits ----

void announce_ready(std::int32_t tenant, std::int32_t key);  // key 0: of any task
// Tasks of the tenant that no claim would take can be claimed from now on.
void announce_resumed(std::int32_t tenant);
// Something will be due: a session that waits must look by then.
void announce_due(std::int32_t tenant, TimestampTz due);
// The same for what a scheduler alone does: no other session need look.
void announce_upkeep(std::int32_t tenant, TimestampTz due);
// This database is to have a scheduler, which is to look at everything.
void announce_scheduler_asked();
// It is to have none until start_scheduler.
void announce_scheduler_stopped();
// The reason for which tenants are set aside may be mended: they are tried again.
void announce_mended();
// The tenant's schedules change, or when they fire.
void announce_rescheduled(std::int32_t tenant);
// The tenant changes or goes: sessions that wait for it must look.
void announce_changed(std::int32_t tenant);
// It is not known of which tenants tasks have become claimable.
void announce_unknown();
bool announces_changes();
void announce_dropped(std::int32_t tenant);
// At once: whatever is known of the tenant that had the number, which another one gets.
void forget_tenant_number(std::int32_t tenant);
// A claim in this transaction: its abort frees what it took, its commit answers the session's last wake-up.
void announce_claimed(std::int32_t tenant);
// The transaction has the tenant's permits lock: a claim that finds it held goes without, and is woken
// when it is free.
void announce_permits_lock(std::int32_t tenant);
void announce_ended(std::int64_t execution);
void announce_dead_worker_reaped(Oid role, const char *name);
extern const TransactionStep announcements_step;

// Tenants of this database that have changed since the last call; `unknown`: all may have.
inline constexpr int changes_remembered = 64;
int take_changed_tenants(std::int32_t (&tenants)[changes_remembered], bool *unknown);

// ---- waiting ----

struct WaitFilter {
  std::int32_t tenant;       // 0: all
  const std::int32_t *keys;  // task keys; nullptr: any
  int key_count;
  const char *worker;      // nullptr: none
  Oid role;                // the worker's role
  std::int64_t execution;  // to be awaited; 0: none
};

// Between the two, commits that fit the filter set this backend's latch.
void begin_wait(const WaitFilter &filter);
void end_wait();

// The moment at which this waiter means to look by itself; earlier, if something has become due since.
TimestampTz plan_look(TimestampTz at);

// Takes note of a wake-up; false if there was none.
bool take_wake_up();
bool has_wake_up();
// A woken waiter that found nothing to do passes the wake-up on.
void pass_wake_up_on();
// A claim that may have left work behind wakes one more.
void wake_another(std::int32_t tenant);
// Permits came back; and whether this session has been woken for such, and has not claimed since.
void wake_for_permit(std::int32_t tenant);  // 0: of any tenant
bool woken_for_permit();
// It has claimed, and may have left some of those, or taken none of them: another shall look.
void pass_permits_on();
// The claim was given all that it wanted, perhaps not by the commit that woke it.
void pass_owed_on();
void answer_wake_up();  // at a commit that has claimed

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

// The workers of this database.
struct KnownWorker {
  Oid role;
  std::int32_t tenant;  // 0: all, or not known
  int pid;              // of its life line; 0: none
  bool parked;
  TimestampTz died_at;  // 0: it lives
  char name[129];
};
KnownWorker *list_workers(int *count);

bool has_dead_worker(std::int32_t tenant);
// Dead workers that may hold tasks of the tenant.
DeadWorker *dead_workers_of(std::int32_t tenant, int *count);

}  // namespace insula
