// The table `record`, over SPI; see record.hpp.
#include "storage/record.hpp"
#include "shared/clock.hpp"
#include "shared/watermarks.hpp"

#include "storage/work.hpp"

namespace insula {

static std::int32_t definition_or_zero(std::uint64_t rows) {
  return rows ? static_cast<std::int32_t>(get_int64(0, 1)) : 0;
}

std::int32_t current_definition(const Tenant &tenant, const char *workflow) {
  Arguments arguments;
  arguments.add_text(workflow);
  return definition_or_zero(run(tenant, statement_of(TenantStatement::current_definition), arguments));
}

std::int32_t find_definition(const Tenant &tenant, const char *workflow, Datum hash, std::int32_t *version) {
  Arguments arguments;
  arguments.add_text(workflow).add(hash);
  const auto rows = run(tenant, statement_of(TenantStatement::definition_by_hash), arguments);
  if (rows) *version = static_cast<std::int32_t>(get_int64(0, 2));
  return definition_or_zero(rows);
}

bool read_definition(const Tenant &tenant, std::int32_t number, DefinitionRow *row) {
  Arguments arguments;
  arguments.add(Int64GetDatum(number));
  if (run(tenant, statement_of(TenantStatement::definition), arguments) == 0) return false;
  *row = {get_text(0, 1), static_cast<std::int32_t>(get_int64(0, 2)), get_jsonb(0, 3)};
  return true;
}

std::int32_t last_version(const Tenant &tenant, const char *workflow) {
  Arguments arguments;
  arguments.add_text(workflow);
  return definition_or_zero(run(tenant, statement_of(TenantStatement::last_version), arguments));
}

std::int32_t last_task_key(const Tenant &tenant) {
  return definition_or_zero(run(tenant, statement_of(TenantStatement::last_task_key)));
}

static std::int32_t take_record_numbers(const Tenant &tenant, const char *what, int count) {
  Arguments arguments;
  arguments.add_text(what).add(TimestampTzGetDatum(clock_now())).add(Int64GetDatum(count));
  return definition_or_zero(run(tenant, statement_of(TenantStatement::take_record_numbers), arguments)) - count + 1;
}

std::int32_t take_definition_number(const Tenant &tenant) { return take_record_numbers(tenant, "definition", 1); }

std::int32_t take_task_keys(const Tenant &tenant, int count) { return take_record_numbers(tenant, "task", count); }

static void insert_record(const Tenant &tenant, char kind, std::int64_t owner, const char *name, std::int64_t seq,
                          TimestampTz at, std::int64_t ref, Datum hash, Jsonb *body) {
  Arguments arguments;
  arguments.add(CharGetDatum(kind)).add(Int64GetDatum(owner)).add_text(name).add(Int64GetDatum(seq));
  arguments.add(TimestampTzGetDatum(at)).add_nullable(Int64GetDatum(ref), ref == 0).add_nullable(hash, hash == 0);
  arguments.add_nullable(PointerGetDatum(body), body == nullptr);
  (void)run(tenant, statement_of(TenantStatement::insert_record), arguments);
}

void insert_definition(const Tenant &tenant, std::int32_t number, const DefinitionRow &row, Datum hash) {
  insert_record(tenant, 'w', number, row.workflow, row.version, clock_now(), 0, hash, row.body);
}

void set_current_definition(const Tenant &tenant, const char *workflow, std::int32_t number) {
  Arguments arguments;
  arguments.add_text(workflow).add(TimestampTzGetDatum(clock_now())).add(Int64GetDatum(number));
  (void)run(tenant, statement_of(TenantStatement::set_current), arguments);
}

bool set_workflow_paused(const Tenant &tenant, const char *workflow, bool paused) {
  Arguments arguments;
  arguments.add_text(workflow);
  return run(tenant,
             paused ? statement_of(TenantStatement::pause_workflow) : statement_of(TenantStatement::resume_workflow),
             arguments) > 0;
}

TaskKey *all_task_keys(const Tenant &tenant, int *count) {
  const auto rows = run(tenant, statement_of(TenantStatement::all_keys));
  auto *keys = palloc_array_of<TaskKey>(rows);
  for (std::uint64_t i = 0; i < rows; ++i)
    keys[i] = {static_cast<std::int32_t>(get_int64(i, 1)), get_text(i, 2), DatumGetBool(get_datum(i, 3))};
  *count = static_cast<int>(rows);
  return keys;
}

void insert_task_key(const Tenant &tenant, const TaskKey &key) {
  insert_record(tenant, 't', key.number, key.name, 0, clock_now(), 0, Datum{0}, nullptr);
}

// Where `name` stands in the sorted names.
static int position_of(const char *name, const char *const *names, int count) {
  int low = 0;
  for (int high = count; low < high;) {
    const int middle = (low + high) / 2;
    if (strcmp(names[middle], name) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low < count && strcmp(names[low], name) == 0 ? low : -1;
}

void take_idempotency_keys(const Tenant &tenant, const char *const *names, const std::int64_t *executions, int count,
                           bool *taken) {
  Arguments arguments;
  arguments.add(TimestampTzGetDatum(clock_now())).add(text_array(names, count));
  arguments.add(int64_array(executions, count));
  const auto rows = run(tenant, statement_of(TenantStatement::take_idempotency_keys), arguments);
  for (int i = 0; i < count; ++i) taken[i] = false;
  for (std::uint64_t row = 0; row < rows; ++row) {
    const int at = position_of(get_text(row, 1), names, count);
    if (at >= 0) taken[at] = true;
  }
}

void find_idempotency_keys(const Tenant &tenant, const char *const *names, int count, std::int64_t *executions) {
  Arguments arguments;
  arguments.add(text_array(names, count));
  const auto rows = run(tenant, statement_of(TenantStatement::find_idempotency_keys), arguments);
  for (int i = 0; i < count; ++i) executions[i] = 0;
  for (std::uint64_t row = 0; row < rows; ++row) {
    const int at = position_of(get_text(row, 1), names, count);
    if (at >= 0) executions[at] = get_int64(row, 2);
  }
}

void keep_event(const Tenant &tenant, std::int64_t execution, TimestampTz now, const char *event, Jsonb *payload) {
  insert_record(tenant, 'e', execution, event, take_serial(tenant), now, 0, Datum{0}, payload);
}

bool take_kept_event(const Tenant &tenant, std::int64_t execution, const char *event, Jsonb **payload) {
  Arguments arguments;
  arguments.add(Int64GetDatum(execution)).add_text(event);
  if (run_on_latest(tenant, statement_of(TenantStatement::take_kept_event), arguments) == 0) return false;
  *payload = get_jsonb(0, 1);
  return true;
}

int kept_events(const Tenant &tenant, std::int64_t execution, int most, std::int64_t *bytes) {
  Arguments arguments;
  arguments.add(Int64GetDatum(execution)).add(Int64GetDatum(most));
  (void)run(tenant, statement_of(TenantStatement::kept_events), arguments);
  *bytes = get_int64(0, 2);
  return static_cast<int>(get_int64(0, 1));
}

TimestampTz rate_spent(const Tenant &tenant) {
  return run(tenant, statement_of(TenantStatement::rate_spent)) > 0 ? get_int64(0, 1) : DT_NOBEGIN;
}

void spend_rate(const Tenant &tenant, TimestampTz until) {
  Arguments arguments;
  arguments.add(TimestampTzGetDatum(until));
  (void)run(tenant, statement_of(TenantStatement::spend_rate), arguments);
}

void insert_event(const Tenant &tenant, std::int64_t execution, std::int64_t task, const char *event, TimestampTz at,
                  Jsonb *detail) {
  insert_record(tenant, 'h', execution, event, take_serial(tenant), at, task, Datum{0}, detail);
}

void release_idempotency_key(const Tenant &tenant, const char *name, std::int64_t execution) {
  Arguments arguments;
  arguments.add_text(name).add(Int64GetDatum(execution));
  announce_racing(tenant.number);
  (void)run(tenant, statement_of(TenantStatement::release_key), arguments);
}

// Names hold no dot, and '/' is the character after it.
static void add_range(Arguments &arguments, const char *trigger, const char *workflow) {
  if (!trigger)
    arguments.add_text("").add_text("\x7f");
  else if (workflow)
    arguments.add_text(psprintf("%s.%s", trigger, workflow)).add_text(psprintf("%s.%s\x01", trigger, workflow));
  else
    arguments.add_text(psprintf("%s.", trigger)).add_text(psprintf("%s/", trigger));
}

Subscription *subscriptions_of(const Tenant &tenant, const char *trigger, int *count) {
  Arguments arguments;
  add_range(arguments, trigger, nullptr);
  const auto rows = run(tenant, statement_of(TenantStatement::subscriptions), arguments);
  auto *subscriptions = palloc_array_of<Subscription>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) {
    char *name = get_text(i, 1);
    char *dot = strchr(name, '.');
    *dot = '\0';
    subscriptions[i] = {name, dot + 1, get_jsonb(i, 2)};
  }
  *count = static_cast<int>(rows);
  return subscriptions;
}

bool put_subscription(const Tenant &tenant, const Subscription &subscription, TimestampTz now) {
  Arguments arguments;
  arguments.add_text(psprintf("%s.%s", subscription.trigger, subscription.workflow));
  arguments.add(TimestampTzGetDatum(now)).add(JsonbPGetDatum(subscription.body));
  (void)run(tenant, statement_of(TenantStatement::put_subscription), arguments);
  return DatumGetBool(get_datum(0, 1));
}

int delete_subscriptions(const Tenant &tenant, const char *trigger, const char *workflow) {
  Arguments arguments;
  add_range(arguments, trigger, workflow);
  return static_cast<int>(run(tenant, statement_of(TenantStatement::delete_subscriptions), arguments));
}

}  // namespace insula
