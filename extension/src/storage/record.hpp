// The table `record` of a tenant: all that is the customer's and is no execution, under
// one key (kind, owner, name, seq); storage/codes.hpp lists the kinds.
#pragma once

#include <span>

#include "spi/session.hpp"
#include "storage/codes.hpp"
#include "tenant/tenant.hpp"

namespace insula {

struct VersionRow {
  const char *workflow;
  std::int32_t version;
};

struct DefinitionRow : VersionRow {
  Jsonb *body;
  TransactionId written_by = InvalidTransactionId;
};

struct TaskKey {
  std::int32_t number;
  const char *name;
};

// Definition numbers; 0: none.
std::int32_t current_definition(const Tenant &tenant, const char *workflow);
std::int32_t find_definition(const Tenant &tenant, const char *workflow, Datum hash, std::int32_t *version);
bool read_definition(const Tenant &tenant, std::int32_t number, DefinitionRow *row);
// Without the body, of which it reads no page.
bool read_version(const Tenant &tenant, std::int32_t number, VersionRow *row);
// The transaction that registered it; InvalidTransactionId: there is no such version.
TransactionId writer_of_version(const Tenant &tenant, std::int32_t number);
std::int32_t last_version(const Tenant &tenant, const char *workflow);
// The first of `count` new numbers.  Under REPEATABLE READ a concurrent taker is a
// serialization failure, so that no number is given twice.
std::int32_t take_definition_number(const Tenant &tenant);
std::int32_t take_task_keys(const Tenant &tenant, int count);

void insert_definition(const Tenant &tenant, std::int32_t number, const DefinitionRow &row, Datum hash);
void set_current_definition(const Tenant &tenant, const char *workflow, std::int32_t number);

bool is_marked_paused(const Tenant &tenant, const char *workflow);
// False: so already, or there is no such workflow.
bool set_workflow_paused(const Tenant &tenant, const char *workflow, bool paused);

TaskKey *all_task_keys(const Tenant &tenant, int *count);
std::int32_t last_task_key(const Tenant &tenant);
// Those that there are of the names.
TaskKey *find_task_keys(const Tenant &tenant, const char *const *names, int count, int *found);
// The numbers of a workflow's keys, of all its versions.
std::int32_t *task_keys_of(const Tenant &tenant, const char *workflow, int *count);
// Numbered from `first` on.
void insert_task_keys(const Tenant &tenant, std::int32_t first, const char *const *names, int count);
// A bit for each number of a paused workflow's key; empty: none is paused.
std::span<const std::uint8_t> held_task_keys(const Tenant &tenant);
void write_held_task_keys(const Tenant &tenant, std::span<const std::uint8_t> held);

// Takes idempotency keys that no execution has: `taken[i]` says whether names[i] was free.
// Names come sorted and distinct.
void take_idempotency_keys(const Tenant &tenant, const char *const *names, const std::int64_t *executions, int count,
                           bool *taken);
// The executions that hold the keys; 0 where none does.
void find_idempotency_keys(const Tenant &tenant, const char *const *names, int count, std::int64_t *executions);

// The key is free again, if an execution that has ended holds it.
void release_idempotency_key(const Tenant &tenant, const char *name, std::int64_t execution);

// Workflows that the trigger starts, by name; nullptr: of all triggers.
struct Subscription {
  const char *trigger;
  const char *workflow;
  Jsonb *body;
};
Subscription *subscriptions_of(const Tenant &tenant, const char *trigger, int *count);
// False: it was known, and is now otherwise.
bool put_subscription(const Tenant &tenant, const Subscription &subscription, TimestampTz now);
// nullptr: all workflows; returns how many went.
int delete_subscriptions(const Tenant &tenant, const char *trigger, const char *workflow);

// How far retention has come through the executions.
struct Sweep {
  TimestampTz next_at;
  std::int64_t after;     // the number it has come to; 0: it begins anew
  TimestampTz first_due;  // of the finished executions that it has passed over; DT_NOEND: age takes none of them
};
Sweep read_sweep(const Tenant &tenant);
void write_sweep(const Tenant &tenant, const Sweep &sweep);

// Events sent to an execution, oldest first; a payload may be nullptr.
void keep_event(const Tenant &tenant, std::int64_t execution, TimestampTz now, const char *event, Jsonb *payload);
bool take_kept_event(const Tenant &tenant, std::int64_t execution, const char *event, Jsonb **payload);
// False: an event with this key was sent before.
bool take_event_key(const Tenant &tenant, std::int64_t execution, const char *key, TimestampTz now);
bool knows_event_key(const Tenant &tenant, std::int64_t execution, const char *key);
// How many there are, counted up to `most`, and how many bytes they take.
int kept_events(const Tenant &tenant, std::int64_t execution, int most, std::int64_t *bytes);

// The moment up to which the rate limit is spent; DT_NOBEGIN: none of it.
TimestampTz rate_spent(const Tenant &tenant);
void spend_rate(const Tenant &tenant, TimestampTz until);

// A line of history.
inline constexpr const char *attempt_event = "task_attempt_failed";
inline constexpr const char *free_retry_event = "task_put_off";  // an attempt that failed and uses none
inline constexpr const char *lapse_event = "task_lease_lapsed";
void insert_event(const Tenant &tenant, std::int64_t execution, std::int64_t task, const char *event, TimestampTz at,
                  Jsonb *detail);

}  // namespace insula
