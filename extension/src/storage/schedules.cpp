// Schedules and fires in the table `record`, over SPI; see schedules.hpp.
#include "storage/schedules.hpp"

#include "storage/tell.hpp"

namespace insula {

namespace {

TimestampTz fire_or_none(std::uint64_t row, int column) {
  return is_null(row, column) ? DT_NOBEGIN : get_int64(row, column);
}

ScheduleRow row_at(std::uint64_t row) {
  return {get_text(row, 1), get_int64(row, 2), get_int64(row, 3), get_jsonb(row, 4), fire_or_none(row, 5)};
}

}  // namespace

ScheduleRow *schedules_after(const Tenant &tenant, const char *name, int most, int *count) {
  static constexpr Statement schedules_after = {
      "schedules_after",
      R"(
        SELECT d.name, d.ref, d.at, d.body, (
          SELECT f.seq
          FROM {record} f
          WHERE f.kind = {kind.fire} AND f.owner = d.ref AND f.name = ''
          ORDER BY f.seq DESC
          LIMIT 1)
        FROM {record} d
        WHERE d.kind = {kind.schedule} AND d.owner = 0 AND d.name > $1
        ORDER BY d.name
        LIMIT $2)",
      {TEXTOID, INT8OID},
  };
  Arguments arguments;
  arguments.add_text(name).add(Int64GetDatum(most));
  const auto rows = run(tenant, schedules_after, arguments);
  auto *schedules = palloc_array_of<ScheduleRow>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) schedules[i] = row_at(i);
  *count = static_cast<int>(rows);
  return schedules;
}

ListedSchedule *list_schedules(const Tenant &tenant, int *count) {
  static constexpr Statement list_schedules = {
      "list_schedules",
      R"(
        SELECT d.name, d.ref, d.at, d.body, (
          SELECT f.seq
          FROM {record} f
          WHERE f.kind = {kind.fire} AND f.owner = d.ref AND f.name = ''
          ORDER BY f.seq DESC
          LIMIT 1), l.seq, l.ref
        FROM {record} d
        LEFT JOIN LATERAL (
          SELECT f.seq, f.ref
          FROM {record} f
          WHERE f.kind = {kind.fire} AND f.owner = d.ref AND f.name = '' AND f.ref IS NOT NULL
          ORDER BY f.seq DESC
          LIMIT 1) l ON true
        WHERE d.kind = {kind.schedule} AND d.owner = 0
        ORDER BY d.name)",
      {},
  };
  const auto rows = run(tenant, list_schedules);
  auto *schedules = palloc_array_of<ListedSchedule>(rows);
  for (std::uint64_t i = 0; i < rows; ++i)
    schedules[i] = {row_at(i), fire_or_none(i, 6), get_int64(i, 7)};
  *count = static_cast<int>(rows);
  return schedules;
}

bool find_schedule(const Tenant &tenant, const char *name, ScheduleRow *row) {
  static constexpr Statement find_schedule = {
      "find_schedule",
      R"(
        SELECT ref, at, body
        FROM {record}
        WHERE kind = {kind.schedule} AND owner = 0 AND name = $1 AND seq = 0)",
      {TEXTOID},
  };
  Arguments arguments;
  arguments.add_text(name);
  if (run(tenant, find_schedule, arguments) == 0) return false;
  *row = {name, get_int64(0, 1), get_int64(0, 2), get_jsonb(0, 3), DT_NOBEGIN};
  return true;
}

Jsonb *listed_context(const Tenant &tenant, std::int64_t number) {
  static constexpr Statement listed_context = {
      "listed_context",
      R"(
        SELECT body
        FROM {record}
        WHERE kind = {kind.schedule_context} AND owner = $1 AND name = '' AND seq = 0)",
      {INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(number));
  return run(tenant, listed_context, arguments) > 0 ? get_jsonb(0, 1) : nullptr;
}

Jsonb *schedule_context(const Tenant &tenant, const ScheduleRow &schedule) {
  static constexpr Statement schedule_context = {
      "schedule_context",
      R"(
        SELECT c.body
        FROM {record} d
        JOIN {record} c ON c.kind = {kind.schedule_context} AND c.owner = d.ref AND c.name = '' AND c.seq = 0
        WHERE d.kind = {kind.schedule} AND d.owner = 0 AND d.name = $1 AND d.seq = 0 AND d.ref = $2 AND d.body = $3)",
      {TEXTOID, INT8OID, JSONBOID},
  };
  Arguments arguments;
  arguments.add_text(schedule.name).add(Int64GetDatum(schedule.number)).add(JsonbPGetDatum(schedule.body));
  return run(tenant, schedule_context, arguments) > 0 ? get_jsonb(0, 1) : nullptr;
}

bool is_schedule_number(const Tenant &tenant, std::int64_t number) {
  static constexpr Statement is_schedule_number = {
      "is_schedule_number",
      R"(
        SELECT
        FROM {record}
        WHERE (kind = {kind.schedule} AND owner = 0 AND ref = $1) OR (kind = {kind.fire} AND owner = $1)
        LIMIT 1)",
      {INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(number));
  return run(tenant, is_schedule_number, arguments) > 0;
}

std::int64_t store_schedule(const Tenant &tenant, const ScheduleRow &row) {
  static constexpr Statement store_schedule = {
      "store_schedule",
      R"(
        INSERT INTO {record} (kind, owner, name, seq, ref, at, body)
        VALUES ({kind.schedule}, 0, $1, 0, $2, $3, $4)
        ON CONFLICT (kind, owner, name, seq) DO UPDATE SET at = EXCLUDED.at, body = EXCLUDED.body
        RETURNING ref)",
      {TEXTOID, INT8OID, TIMESTAMPTZOID, JSONBOID},
  };
  Arguments arguments;
  arguments.add_text(row.name).add(Int64GetDatum(row.number)).add(TimestampTzGetDatum(row.since));
  arguments.add(JsonbPGetDatum(row.body));
  (void)run(tenant, store_schedule, arguments);
  tell_schedule(tenant);
  return get_int64(0, 1);
}

void store_schedule_context(const Tenant &tenant, std::int64_t number, TimestampTz now, Jsonb *context) {
  static constexpr Statement store_schedule_context = {
      "store_schedule_context",
      R"(
        INSERT INTO {record} (kind, owner, name, seq, at, body)
        VALUES ({kind.schedule_context}, $1, '', 0, $2, $3)
        ON CONFLICT (kind, owner, name, seq) DO UPDATE SET at = EXCLUDED.at, body = EXCLUDED.body)",
      {INT8OID, TIMESTAMPTZOID, JSONBOID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(number)).add(TimestampTzGetDatum(now)).add(JsonbPGetDatum(context));
  (void)run(tenant, store_schedule_context, arguments);
}

void delete_schedule(const Tenant &tenant, const char *name, std::int64_t number) {
  static constexpr Statement delete_schedule = {
      "delete_schedule",
      R"(
        DELETE FROM {record}
        WHERE kind = {kind.schedule} AND owner = 0 AND name = $1 AND seq = 0)",
      {TEXTOID},
  };
  static constexpr Statement delete_context = {
      "delete_schedule_context",
      R"(
        DELETE FROM {record}
        WHERE kind = {kind.schedule_context} AND owner = $1 AND name = '' AND seq = 0)",
      {INT8OID},
  };
  Arguments by_name;
  by_name.add_text(name);
  (void)run(tenant, delete_schedule, by_name);
  Arguments by_number;
  by_number.add(Int64GetDatum(number));
  (void)run(tenant, delete_context, by_number);
  tell_schedule(tenant);
  prune_fires(tenant, number, 0);
}

bool insert_fire(const Tenant &tenant, std::int64_t schedule, TimestampTz fire, TimestampTz now,
                 std::int64_t execution) {
  static constexpr Statement insert_fire = {
      "insert_fire",
      R"(
        INSERT INTO {record} (kind, owner, name, seq, at, ref)
        VALUES ({kind.fire}, $1, '', $2, $3, $4)
        ON CONFLICT DO NOTHING
        RETURNING seq)",
      {INT8OID, INT8OID, TIMESTAMPTZOID, INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(schedule)).add(Int64GetDatum(fire)).add(TimestampTzGetDatum(now));
  arguments.add_nullable(Int64GetDatum(execution), execution == 0);
  return run(tenant, insert_fire, arguments) > 0;
}

std::int64_t *newest_fired(const Tenant &tenant, std::int64_t schedule, int most, int *count) {
  static constexpr Statement newest_fired = {
      "newest_fired",
      R"(
        SELECT ref
        FROM {record}
        WHERE kind = {kind.fire} AND owner = $1 AND name = ''
        ORDER BY seq DESC
        LIMIT $2)",
      {INT8OID, INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(schedule)).add(Int64GetDatum(most));
  const auto rows = run(tenant, newest_fired, arguments);
  auto *executions = palloc_array_of<std::int64_t>(rows);
  *count = 0;
  for (std::uint64_t i = 0; i < rows; ++i)
    if (!is_null(i, 1)) executions[(*count)++] = get_int64(i, 1);
  return executions;
}

void prune_fires(const Tenant &tenant, std::int64_t schedule, int kept) {
  static constexpr Statement prune_fires = {
      "prune_fires",
      R"(
        DELETE FROM {record}
        WHERE kind = {kind.fire} AND owner = $1 AND name = '' AND seq <= (
          SELECT f.seq
          FROM {record} f
          WHERE f.kind = {kind.fire} AND f.owner = $1 AND f.name = ''
          ORDER BY f.seq DESC
          OFFSET $2
          LIMIT 1))",
      {INT8OID, INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(schedule)).add(Int64GetDatum(kept));
  (void)run(tenant, prune_fires, arguments);
}

int count_schedules(const Tenant &tenant) {
  static constexpr Statement count_schedules = {
      "count_schedules",
      R"(
        SELECT count(*)
        FROM {record}
        WHERE kind = {kind.schedule} AND owner = 0)",
      {},
  };
  (void)run(tenant, count_schedules);
  return static_cast<int>(get_int64(0, 1));
}

}  // namespace insula
