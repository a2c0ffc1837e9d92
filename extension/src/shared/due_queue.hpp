// When each tenant of a database is next due, and which process looks after it.  With
// shared_preload_libraries the due queue is in shared memory: a commit that makes something due
// earlier than the due queue knew puts it there and wakes the process that would come too late, the
// database's scheduler or, where that has ended, the launcher.  Without, a scheduler keeps
// one of its own and looks at all tenants by itself.
//
// The due queue is a cache.  A scheduler that finds an empty one, as after a crash, enters
// every tenant as due at once; one that dies with a tenant in hand leaves a mark, and the
// next one takes the tenant again.
#pragma once

#include "postgres.hpp"

namespace insula {

struct DueTenant {
  std::int32_t tenant;  // 0: workers of all tenants have died
  bool reload;          // its schedules may have changed
  bool ended;           // an execution that it awaited may have ended
  bool afresh;          // the reason for which its last turn failed may have been mended
};

// ---- for the scheduler of a database ----

// False where another scheduler looks after the database, or there is no room.
bool attach_scheduler();
void detach_scheduler();

// From now on a request counts as news.
void begin_round();
// The tenants that the due queue knows; true if it has to be filled.
bool due_queue_is_empty();
// Returns how many of them had room.  `afresh`: those that are set aside are tried again.
int fill_due_queue(const std::int32_t *tenants, int count, TimestampTz due, bool afresh);

// All that are on it are due.
void make_all_due(TimestampTz due);

// Whether all that were due by then have been taken.
bool all_taken_since(TimestampTz at);
// When the first of those is due that are not taken; DT_NOEND: none.
TimestampTz next_in_due_queue();
// The next tenant that is due; it is in hand until it is put back.
bool take_due_tenant(TimestampTz now, DueTenant *due);
// DT_NOEND: nothing will be due by time alone.  `awaits`: the end of an execution makes it
// due.  due.reload: its schedules may still have changed.  `aside`: its turn has failed; it comes
// sooner if what made it fail may have been mended.  It is not taken before `not_before`, whatever becomes due for it.
void requeue_due_tenant(const DueTenant &due, TimestampTz next, bool awaits, bool aside,
                        TimestampTz not_before = DT_NOBEGIN);
// It has not been visited, and will not be before then.
void put_off_due_tenant(const DueTenant &due, TimestampTz until);
// The earliest moment, DT_NOBEGIN if the due queue has to be filled; from now on a commit with
// an earlier one sets this process's latch.
TimestampTz plan_sleep();

// The launcher's next step with the database once this scheduler has ended.
enum class Rest {
  until_due,   // start another when something is due
  absent,      // the extension is not there: forget the database
  until_told,  // do nothing until start_scheduler
  until_fit    // or until the extension's version and the library's may fit
};
void leave_database(Rest rest);
// The one before has left until_fit, and has said so.
bool looks_whether_it_fits();

// Others wait for a place.
bool others_wait();

// ---- for everybody ----

struct SchedulerReport {
  int pid;             // 0: none runs
  TimestampTz next;    // DT_NOEND: nothing is due
  bool crowded;        // not all tenants had room
  bool without_place;  // nor has this database, among all those with insula
  bool known;          // a scheduler has looked at all tenants
  bool launcher;       // one runs
};
SchedulerReport report_scheduler();

// When the tenant is next due; false: the due queue does not know.
bool due_in_queue(std::int32_t tenant, TimestampTz *due);

// The same of all tenants of this database at one moment.
struct DueReport {
  struct Item {
    std::int32_t tenant;
    TimestampTz due;
    bool is_sure;
  };
  const Item *items;  // by tenant
  int count;
  bool is_filled;

  bool knows(std::int32_t tenant, TimestampTz *due) const;
};
DueReport read_due_queue();

// In the due queues of all databases.
long due_tenants();
int databases_in_use();

// Whether a scheduler is at work in the database, or will be when something is due: then
// other sessions need not do what can wait for it.
bool left_to_scheduler();

// The same of all that time causes: a scheduler has looked at all tenants, and the queue knows them.
bool time_is_left_to_scheduler();
// A scheduler is late with a tenant that has been due for this long: others do its work.
inline constexpr std::int64_t scheduler_patience = 5 * USECS_PER_SEC;
// The tenants that it is late with; more than `room`: they are not known.
int late_tenants(TimestampTz now, std::int32_t *tenants, int room);
// Whether there is one that will soon do what time causes for the tenant.
bool is_attended(std::int32_t tenant, TimestampTz now);
// The moment at which it will be late; DT_NOEND: nothing is due.
TimestampTz scheduler_late_at();

// Whether a tenant of this database may be set aside; whether this one is.
bool any_set_aside();
bool is_aside_in_queue(std::int32_t tenant);

// A scheduler has looked, and none is to start here until start_scheduler.
bool waits_until_told();

// ---- databases that go or are copied ----

// Ends the schedulers of the database and lets none start until the transaction ends.
void hold_schedulers_off(Oid database);
void let_schedulers_back();

// ---- the clock of a test ----

void set_clock_target(TimestampTz target);
TimestampTz clock_target();  // DT_NOBEGIN: none
// The clock jumps.
void move_clock_to(TimestampTz at);

}  // namespace insula
