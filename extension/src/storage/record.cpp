// The table `record`, over SPI; see record.hpp.
#include "storage/record.hpp"
#include "shared/clock.hpp"
#include "shared/watermarks.hpp"

#include <algorithm>

#include "storage/work.hpp"

namespace insula {

static std::int32_t definition_or_zero(std::uint64_t rows) {
  return rows ? static_cast<std::int32_t>(get_int64(0, 1)) : 0;
}

std::int32_t current_definition(const Tenant &tenant, const char *workflow) {
  static constexpr Statement current_definition = {
      "current_definition",
      R"(
        SELECT ref
        FROM {record}
        WHERE kind = {kind.current} AND owner = 0 AND name = $1 AND seq = 0)",
      {TEXTOID},
  };
  Arguments arguments;
  arguments.add_text(workflow);
  return definition_or_zero(run(tenant, current_definition, arguments));
}

std::int32_t find_definition(const Tenant &tenant, const char *workflow, Datum hash, std::int32_t *version) {
  static constexpr Statement find_definition = {
      "find_definition",
      R"(
        SELECT owner, seq
        FROM {record}
        WHERE kind = {kind.version} AND name = $1 AND hash = $2)",
      {TEXTOID, BYTEAOID},
  };
  Arguments arguments;
  arguments.add_text(workflow).add(hash);
  const auto rows = run(tenant, find_definition, arguments);
  if (rows) *version = static_cast<std::int32_t>(get_int64(0, 2));
  return definition_or_zero(rows);
}

// The body stays where it is until it is asked for.
bool read_version(const Tenant &tenant, std::int32_t number, VersionRow *row) {
  static constexpr Statement read_definition = {
      "read_definition",
      R"(
        SELECT name, seq, body, xmin
        FROM {record}
        WHERE kind = {kind.version} AND owner = $1)",
      {INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(number));
  if (run(tenant, read_definition, arguments) == 0) return false;
  *row = {get_text(0, 1), static_cast<std::int32_t>(get_int64(0, 2))};
  return true;
}

bool read_definition(const Tenant &tenant, std::int32_t number, DefinitionRow *row) {
  if (!read_version(tenant, number, row)) return false;
  row->body = get_jsonb(0, 3);
  row->written_by = DatumGetTransactionId(get_datum(0, 4));
  return true;
}

TransactionId writer_of_version(const Tenant &tenant, std::int32_t number) {
  static constexpr Statement writer_of_version = {
      "writer_of_version",
      R"(
        SELECT xmin
        FROM {record}
        WHERE kind = {kind.version} AND owner = $1)",
      {INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(number));
  return run(tenant, writer_of_version, arguments) == 0 ? InvalidTransactionId : DatumGetTransactionId(get_datum(0, 1));
}

std::int32_t last_version(const Tenant &tenant, const char *workflow) {
  static constexpr Statement last_version = {
      "last_version",
      R"(
        SELECT max(seq)
        FROM {record}
        WHERE kind = {kind.version} AND name = $1)",
      {TEXTOID},
  };
  Arguments arguments;
  arguments.add_text(workflow);
  return definition_or_zero(run(tenant, last_version, arguments));
}

std::int32_t last_task_key(const Tenant &tenant) {
  static constexpr Statement last_task_key = {
      "last_task_key",
      R"(
        SELECT owner
        FROM {record}
        WHERE kind = {kind.task_key}
        ORDER BY kind DESC, owner DESC
        LIMIT 1)",
      {},
  };
  return definition_or_zero(run(tenant, last_task_key));
}

static std::int32_t take_record_numbers(const Tenant &tenant, const char *what, int count) {
  static constexpr Statement take_record_numbers = {
      "take_record_numbers",
      R"(
        INSERT INTO {record} AS r (kind, owner, name, seq, at, ref)
        VALUES ({kind.number}, 0, $1, 0, $2, $3)
        ON CONFLICT (kind, owner, name, seq) DO UPDATE SET ref = r.ref + EXCLUDED.ref, at = EXCLUDED.at
        RETURNING ref)",
      {TEXTOID, TIMESTAMPTZOID, INT8OID},
  };
  Arguments arguments;
  arguments.add_text(what).add(TimestampTzGetDatum(clock_now())).add(Int64GetDatum(count));
  return definition_or_zero(run(tenant, take_record_numbers, arguments)) - count + 1;
}

std::int32_t take_definition_number(const Tenant &tenant) { return take_record_numbers(tenant, "definition", 1); }

std::int32_t take_task_keys(const Tenant &tenant, int count) { return take_record_numbers(tenant, "task", count); }

static void insert_record(const Tenant &tenant, Kind kind, std::int64_t owner, const char *name, std::int64_t seq,
                          TimestampTz at, std::int64_t ref, Datum hash, Jsonb *body) {
  static constexpr Statement insert_record = {
      "insert_record",
      R"(
        INSERT INTO {record} (kind, owner, name, seq, at, ref, hash, body)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8))",
      {CHAROID, INT8OID, TEXTOID, INT8OID, TIMESTAMPTZOID, INT8OID, BYTEAOID, JSONBOID},
  };
  Arguments arguments;
  arguments.add(CharGetDatum(static_cast<char>(kind))).add(Int64GetDatum(owner)).add_text(name).add(Int64GetDatum(seq));
  arguments.add(TimestampTzGetDatum(at)).add_nullable(Int64GetDatum(ref), ref == 0).add_nullable(hash, hash == 0);
  arguments.add_nullable(PointerGetDatum(body), body == nullptr);
  (void)run(tenant, insert_record, arguments);
}

void insert_definition(const Tenant &tenant, std::int32_t number, const DefinitionRow &row, Datum hash) {
  insert_record(tenant, Kind::version, number, row.workflow, row.version, clock_now(), 0, hash, row.body);
}

void set_current_definition(const Tenant &tenant, const char *workflow, std::int32_t number) {
  static constexpr Statement set_current_definition = {
      "set_current_definition",
      R"(
        INSERT INTO {record} (kind, owner, name, seq, at, ref)
        VALUES ({kind.current}, 0, $1, 0, $2, $3)
        ON CONFLICT (kind, owner, name, seq) DO UPDATE SET ref = EXCLUDED.ref, at = EXCLUDED.at)",
      {TEXTOID, TIMESTAMPTZOID, INT8OID},
  };
  Arguments arguments;
  arguments.add_text(workflow).add(TimestampTzGetDatum(clock_now())).add(Int64GetDatum(number));
  (void)run(tenant, set_current_definition, arguments);
}

constexpr Statement pause_workflow = {
    "pause_workflow",
    R"(
      UPDATE {record}
      SET body = '{"paused": true}'
      WHERE kind = {kind.current} AND owner = 0 AND name = $1 AND seq = 0 AND body IS NULL)",
    {TEXTOID},
};

constexpr Statement resume_workflow = {
    "resume_workflow",
    R"(
      UPDATE {record}
      SET body = NULL
      WHERE kind = {kind.current} AND owner = 0 AND name = $1 AND seq = 0 AND body IS NOT NULL)",
    {TEXTOID},
};

bool set_workflow_paused(const Tenant &tenant, const char *workflow, bool paused) {
  Arguments arguments;
  arguments.add_text(workflow);
  return run(tenant, paused ? pause_workflow : resume_workflow, arguments) > 0;
}

bool is_marked_paused(const Tenant &tenant, const char *workflow) {
  static constexpr Statement is_marked_paused = {
      "is_marked_paused",
      R"(
        SELECT
        FROM {record}
        WHERE kind = {kind.current} AND owner = 0 AND name = $1 AND seq = 0 AND body IS NOT NULL)",
      {TEXTOID},
  };
  Arguments arguments;
  arguments.add_text(workflow);
  return run(tenant, is_marked_paused, arguments) > 0;
}

static TaskKey *task_keys_found(std::uint64_t rows, int *count) {
  auto *keys = palloc_array_of<TaskKey>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) keys[i] = {static_cast<std::int32_t>(get_int64(i, 1)), get_text(i, 2)};
  *count = static_cast<int>(rows);
  return keys;
}

TaskKey *all_task_keys(const Tenant &tenant, int *count) {
  static constexpr Statement all_task_keys = {
      "all_task_keys",
      R"(
        SELECT owner, name
        FROM {record}
        WHERE kind = {kind.task_key})",
      {},
  };
  return task_keys_found(run(tenant, all_task_keys), count);
}

// By a search for each: names in an array may be looked for among all of the tenant's.
TaskKey *find_task_keys(const Tenant &tenant, const char *const *names, int count, int *found) {
  static constexpr Statement find_task_keys = {
      "find_task_keys",
      R"(
        SELECT k.ref, k.name
        FROM unnest($1) u(name),
          LATERAL (
            SELECT r.ref, r.name
            FROM {record} r
            WHERE r.kind = {kind.key_number} AND r.owner = 0 AND r.name = u.name AND r.seq = 0
            LIMIT 1) k)",
      {TEXTARRAYOID},
  };
  Arguments arguments;
  arguments.add(text_array(names, count));
  return task_keys_found(run(tenant, find_task_keys, arguments), found);
}

// Names hold no dot, and '/' is the character after it.
std::int32_t *task_keys_of(const Tenant &tenant, const char *workflow, int *count) {
  static constexpr Statement task_keys_of = {
      "task_keys_of",
      R"(
        SELECT ref
        FROM {record}
        WHERE kind = {kind.key_number} AND owner = 0 AND name >= $1 AND name < $2)",
      {TEXTOID, TEXTOID},
  };
  Arguments arguments;
  arguments.add_text(psprintf("%s.", workflow)).add_text(psprintf("%s/", workflow));
  const auto rows = run(tenant, task_keys_of, arguments);
  auto *numbers = palloc_array_of<std::int32_t>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) numbers[i] = static_cast<std::int32_t>(get_int64(i, 1));
  *count = static_cast<int>(rows);
  return numbers;
}

void insert_task_keys(const Tenant &tenant, std::int32_t first, const char *const *names, int count) {
  static constexpr Statement insert_task_keys = {
      "insert_task_keys",
      R"(
        INSERT INTO {record} (kind, owner, name, seq, at, ref)
        SELECT k.kind, k.owner, u.name, 0, $1, k.ref
        FROM unnest($3) WITH ORDINALITY u(name, place),
          LATERAL (VALUES
            ({kind.task_key}::"char", $2 + u.place, NULL),
            ({kind.key_number}::"char", 0, $2 + u.place)) k(kind, owner, ref))",
      {TIMESTAMPTZOID, INT8OID, TEXTARRAYOID},
  };
  Arguments arguments;
  arguments.add(TimestampTzGetDatum(clock_now())).add(Int64GetDatum(first - 1)).add(text_array(names, count));
  (void)run(tenant, insert_task_keys, arguments);
}

std::span<const std::uint8_t> held_task_keys(const Tenant &tenant) {
  static constexpr Statement held_task_keys = {
      "held_task_keys",
      R"(
        SELECT hash
        FROM {record}
        WHERE kind = {kind.held_keys} AND owner = 0 AND name = '' AND seq = 0)",
      {},
  };
  if (run(tenant, held_task_keys) == 0) return {};
  const bytea *bits = DatumGetByteaPCopy(get_datum(0, 1));
  return {reinterpret_cast<const std::uint8_t *>(VARDATA(bits)), VARSIZE(bits) - VARHDRSZ};
}

// The row stays where no bit is set: a transaction with an older snapshot then fails, and writes back no bit.
void write_held_task_keys(const Tenant &tenant, std::span<const std::uint8_t> held) {
  static constexpr Statement write_held_task_keys = {
      "write_held_task_keys",
      R"(
        INSERT INTO {record} (kind, owner, name, seq, at, hash)
        VALUES ({kind.held_keys}, 0, '', 0, $1, $2)
        ON CONFLICT (kind, owner, name, seq) DO UPDATE SET hash = EXCLUDED.hash, at = EXCLUDED.at)",
      {TIMESTAMPTZOID, BYTEAOID},
  };
  while (!held.empty() && held.back() == 0) held = held.first(held.size() - 1);
  auto *bits = static_cast<bytea *>(palloc(held.size() + VARHDRSZ));
  SET_VARSIZE(bits, held.size() + VARHDRSZ);
  std::copy(held.begin(), held.end(), reinterpret_cast<std::uint8_t *>(VARDATA(bits)));
  Arguments arguments;
  arguments.add(TimestampTzGetDatum(clock_now())).add(PointerGetDatum(bits));
  (void)run(tenant, write_held_task_keys, arguments);
}

// Finds the place of `name` in the sorted names; -1: there is none.
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
  static constexpr Statement take_idempotency_keys = {
      "take_idempotency_keys",
      R"(
        INSERT INTO {record} (kind, owner, name, seq, at, ref)
        SELECT {kind.idempotency_key}, 0, u.name, 0, $1, u.ref
        FROM unnest($2, $3) u(name, ref)
        ON CONFLICT DO NOTHING
        RETURNING name)",
      {TIMESTAMPTZOID, TEXTARRAYOID, INT8ARRAYOID},
  };
  Arguments arguments;
  arguments.add(TimestampTzGetDatum(clock_now())).add(text_array(names, count));
  arguments.add(int64_array(executions, count));
  const auto rows = run(tenant, take_idempotency_keys, arguments);
  for (int i = 0; i < count; ++i) taken[i] = false;
  for (std::uint64_t row = 0; row < rows; ++row) {
    const int at = position_of(get_text(row, 1), names, count);
    if (at >= 0) taken[at] = true;
  }
}

// A search for each: planned for a small table, one for all of them would read every key of a large one.
void find_idempotency_keys(const Tenant &tenant, const char *const *names, int count, std::int64_t *executions) {
  static constexpr Statement find_idempotency_keys = {
      "find_idempotency_keys",
      R"(
        SELECT r.name, r.ref
        FROM unnest($1) u(name)
          CROSS JOIN LATERAL (
            SELECT k.name, k.ref FROM {record} k
            WHERE k.kind = {kind.idempotency_key} AND k.owner = 0 AND k.name = u.name AND k.seq = 0
            LIMIT 1) r)",
      {TEXTARRAYOID},
  };
  Arguments arguments;
  arguments.add(text_array(names, count));
  const auto rows = run(tenant, find_idempotency_keys, arguments);
  for (int i = 0; i < count; ++i) executions[i] = 0;
  for (std::uint64_t row = 0; row < rows; ++row) {
    const int at = position_of(get_text(row, 1), names, count);
    if (at >= 0) executions[at] = get_int64(row, 2);
  }
}

void keep_event(const Tenant &tenant, std::int64_t execution, TimestampTz now, const char *event, Jsonb *payload) {
  insert_record(tenant, Kind::event, execution, event, take_serial(tenant), now, 0, Datum{0}, payload);
}

bool take_kept_event(const Tenant &tenant, std::int64_t execution, const char *event, Jsonb **payload) {
  static constexpr Statement take_kept_event = {
      "take_kept_event",
      R"(
        WITH c AS (
          SELECT q.seq
          FROM {record} q
          WHERE q.kind = {kind.event} AND q.owner = $1 AND q.name = $2
          ORDER BY q.seq
          LIMIT 1)
        DELETE FROM {record} r
        USING c
        WHERE r.kind = {kind.event} AND r.owner = $1 AND r.name = $2 AND r.seq = c.seq
        RETURNING r.body)",
      {INT8OID, TEXTOID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(execution)).add_text(event);
  if (run_on_latest(tenant, take_kept_event, arguments) == 0) return false;
  *payload = get_jsonb(0, 1);
  return true;
}

int kept_events(const Tenant &tenant, std::int64_t execution, int most, std::int64_t *bytes) {
  static constexpr Statement kept_events = {
      "kept_events",
      R"(
        SELECT count(*), coalesce(sum(pg_column_size(q.body)), 0)::bigint
        FROM (SELECT body FROM {record} WHERE kind = {kind.event} AND owner = $1 LIMIT $2) q)",
      {INT8OID, INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(execution)).add(Int64GetDatum(most));
  (void)run(tenant, kept_events, arguments);
  *bytes = get_int64(0, 2);
  return static_cast<int>(get_int64(0, 1));
}

TimestampTz rate_spent(const Tenant &tenant) {
  static constexpr Statement rate_spent = {
      "rate_spent",
      R"(
        SELECT at
        FROM {record}
        WHERE kind = {kind.rate} AND owner = 0 AND name = '' AND seq = 0)",
      {},
  };
  return run(tenant, rate_spent) > 0 ? get_int64(0, 1) : DT_NOBEGIN;
}

void spend_rate(const Tenant &tenant, TimestampTz until) {
  static constexpr Statement spend_rate = {
      "spend_rate",
      R"(
        INSERT INTO {record} (kind, owner, name, seq, at)
        VALUES ({kind.rate}, 0, '', 0, $1)
        ON CONFLICT (kind, owner, name, seq) DO UPDATE SET at = EXCLUDED.at)",
      {TIMESTAMPTZOID},
  };
  Arguments arguments;
  arguments.add(TimestampTzGetDatum(until));
  (void)run(tenant, spend_rate, arguments);
}

void insert_event(const Tenant &tenant, std::int64_t execution, std::int64_t task, const char *event, TimestampTz at,
                  Jsonb *detail) {
  insert_record(tenant, Kind::history, execution, event, take_serial(tenant), at, task, Datum{0}, detail);
}

bool take_event_key(const Tenant &tenant, std::int64_t execution, const char *key, TimestampTz now) {
  static constexpr Statement take_event_key = {
      "take_event_key",
      R"(
        INSERT INTO {record} (kind, owner, name, seq, at)
        VALUES ({kind.event_key}, $1, $2, 0, $3)
        ON CONFLICT (kind, owner, name, seq) DO NOTHING)",
      {INT8OID, TEXTOID, TIMESTAMPTZOID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(execution)).add_text(key).add(TimestampTzGetDatum(now));
  return run(tenant, take_event_key, arguments) > 0;
}

bool knows_event_key(const Tenant &tenant, std::int64_t execution, const char *key) {
  static constexpr Statement knows_event_key = {
      "knows_event_key",
      R"(
        SELECT 1
        FROM {record}
        WHERE kind = {kind.event_key} AND owner = $1 AND name = $2 AND seq = 0)",
      {INT8OID, TEXTOID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(execution)).add_text(key);
  return run(tenant, knows_event_key, arguments) > 0;
}

void release_idempotency_key(const Tenant &tenant, const char *name, std::int64_t execution) {
  static constexpr Statement release_idempotency_key = {
      "release_idempotency_key",
      R"(
        WITH k AS (
          DELETE FROM {record}
          WHERE kind = {kind.idempotency_key} AND owner = 0 AND name = $1 AND seq = 0 AND ref = $2)
        UPDATE {work} w
        SET idempotency_key = NULL
        WHERE w.id = ANY (ARRAY[$2]) AND w.state >= {state.completed})",
      {TEXTOID, INT8OID},
  };
  Arguments arguments;
  arguments.add_text(name).add(Int64GetDatum(execution));
  announce_maybe_locked(tenant.number);
  (void)run(tenant, release_idempotency_key, arguments);
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
  static constexpr Statement subscriptions_of = {
      "subscriptions_of",
      R"(
        SELECT name, body
        FROM {record}
        WHERE kind = {kind.subscription} AND owner = 0 AND name >= $1 AND name < $2
        ORDER BY name)",
      {TEXTOID, TEXTOID},
  };
  Arguments arguments;
  add_range(arguments, trigger, nullptr);
  const auto rows = run(tenant, subscriptions_of, arguments);
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
  static constexpr Statement put_subscription = {
      "put_subscription",
      R"(
        INSERT INTO {record} AS r (kind, owner, name, seq, at, body)
        VALUES ({kind.subscription}, 0, $1, 0, $2, $3)
        ON CONFLICT (kind, owner, name, seq) DO UPDATE SET body = EXCLUDED.body
        RETURNING r.at = $2)",
      {TEXTOID, TIMESTAMPTZOID, JSONBOID},
  };
  Arguments arguments;
  arguments.add_text(psprintf("%s.%s", subscription.trigger, subscription.workflow));
  arguments.add(TimestampTzGetDatum(now)).add(JsonbPGetDatum(subscription.body));
  (void)run(tenant, put_subscription, arguments);
  return DatumGetBool(get_datum(0, 1));
}

int delete_subscriptions(const Tenant &tenant, const char *trigger, const char *workflow) {
  static constexpr Statement delete_subscriptions = {
      "delete_subscriptions",
      R"(
        DELETE FROM {record}
        WHERE kind = {kind.subscription} AND owner = 0 AND name >= $1 AND name < $2)",
      {TEXTOID, TEXTOID},
  };
  Arguments arguments;
  add_range(arguments, trigger, workflow);
  return static_cast<int>(run(tenant, delete_subscriptions, arguments));
}

}  // namespace insula
