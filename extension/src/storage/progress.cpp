// Progress of tasks, over SPI; see progress.hpp.
#include "storage/progress.hpp"

#include "spi/session.hpp"
#include "storage/codes.hpp"

namespace insula {

void write_progress(const Tenant &tenant, std::int64_t execution, std::int64_t task, TimestampTz now,
                    const Progress &progress) {
  static constexpr Statement write_progress = {
      "write_progress",
      R"(
        INSERT INTO {record} AS r (kind, owner, name, seq, at, body)
        SELECT {kind.progress}, $1, '', $2, $3, coalesce(jsonb_object_agg(m.key, m.value), '{}')
        FROM (VALUES ('checkpoint', $4), ('progress', to_jsonb($5)), ('note', to_jsonb($6))) m(key, value)
        WHERE m.value IS NOT NULL
        ON CONFLICT (kind, owner, name, seq) DO UPDATE SET at = EXCLUDED.at, body = r.body || EXCLUDED.body)",
      {INT8OID, INT8OID, TIMESTAMPTZOID, JSONBOID, FLOAT8OID, TEXTOID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(execution)).add(Int64GetDatum(task)).add(TimestampTzGetDatum(now));
  arguments.add_nullable(PointerGetDatum(progress.checkpoint), !progress.checkpoint);
  if (progress.reached)
    arguments.add(Float8GetDatum(*progress.reached));
  else
    arguments.add_null();
  arguments.add_text(progress.note);
  (void)run(tenant, write_progress, arguments);
}

Jsonb *read_checkpoint(const Tenant &tenant, std::int64_t task, std::int64_t lease) {
  static constexpr Statement read_checkpoint = {
      "read_checkpoint",
      R"(
        SELECT r.body -> 'checkpoint'
        FROM {work} w, {record} r
        WHERE w.id = $1 AND w.lease = $2 AND w.state = {state.running}
          AND r.kind = {kind.progress} AND r.owner = coalesce(w.head, w.id) AND r.name = '' AND r.seq = w.id)",
      {INT8OID, INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(task)).add(Int64GetDatum(lease));
  return run(tenant, read_checkpoint, arguments) > 0 ? get_jsonb(0, 1) : nullptr;
}

ShownProgress *read_progress(const Tenant &tenant, std::int64_t execution, int *count) {
  static constexpr Statement read_progress = {
      "read_progress",
      R"(
        SELECT seq, body - 'checkpoint'
        FROM {record}
        WHERE kind = {kind.progress} AND owner = $1
        ORDER BY seq)",
      {INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(execution));
  const auto rows = run(tenant, read_progress, arguments);
  auto *progress = palloc_array_of<ShownProgress>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) progress[i] = {get_int64(i, 1), get_jsonb(i, 2)};
  *count = static_cast<int>(rows);
  return progress;
}

}  // namespace insula
