// SPI, wrapped once; see session.hpp.
#include "spi/session.hpp"

extern "C" {
#include "access/detoast.h"
#include "utils/datum.h"
}

namespace insula {

Session open_session() {
  Session session = {enter_owner(), CurrentMemoryContext};
  SPI_connect();
  return session;
}

Session open_callers_session() {
  Session session = {stay_caller(), CurrentMemoryContext};
  SPI_connect();
  return session;
}

void close_session(const Session &session) {
  SPI_finish();
  leave_owner(session.owner);
}

void open_stretch() {
  MemoryContext callers = CurrentMemoryContext;
  SPI_connect();
  MemoryContextSwitchTo(callers);
}

void close_stretch() { SPI_finish(); }

// SPI leaves a memory context of its own behind as the current one: the caller gets back the one that it had, or
// what it allocates and caches would go with the session.
static std::uint64_t run_plan(const TenantTables *tenant, const Statement &statement, Arguments &arguments,
                              Snapshot snapshot) {
  arguments.nulls[arguments.count] = '\0';
  MemoryContext callers = CurrentMemoryContext;
  int status;
  if (snapshot) {
    const Snapshot registered = RegisterSnapshot(snapshot);
    status = SPI_execute_snapshot(plan_of(tenant, statement), arguments.values, arguments.nulls, registered,
                                  InvalidSnapshot, false, false, 0);
    UnregisterSnapshot(registered);
  } else {
    status = SPI_execute_plan(plan_of(tenant, statement), arguments.values, arguments.nulls, false, 0);
  }
  MemoryContextSwitchTo(callers);
  if (status < 0) elog(ERROR, "insula: statement %s failed: %s", statement.name, SPI_result_code_string(status));
  return SPI_processed;
}

std::uint64_t run(const TenantTables &tenant, const Statement &statement, Arguments &arguments) {
  return run_plan(&tenant, statement, arguments, nullptr);
}

std::uint64_t run(const TenantTables &tenant, const Statement &statement) {
  Arguments none;
  return run(tenant, statement, none);
}

std::uint64_t run_on(const TenantTables &tenant, const Statement &statement, Arguments &arguments, Snapshot snapshot) {
  return run_plan(&tenant, statement, arguments, snapshot);
}

std::uint64_t run_on_latest(const TenantTables &tenant, const Statement &statement, Arguments &arguments) {
  return run_on(tenant, statement, arguments, GetLatestSnapshot());
}

std::uint64_t run(const Statement &statement, Arguments &arguments) {
  return run_plan(nullptr, statement, arguments, nullptr);
}

std::uint64_t run(const Statement &statement) {
  Arguments none;
  return run(statement, none);
}

std::uint64_t run_on_latest(const Statement &statement, Arguments &arguments) {
  return run_plan(nullptr, statement, arguments, GetLatestSnapshot());
}

BatchedQuery begin_query(const TenantTables &tenant, const Statement &statement, Arguments &arguments) {
  arguments.nulls[arguments.count] = '\0';
  MemoryContext callers = CurrentMemoryContext;
  Portal portal = SPI_cursor_open(nullptr, plan_of(&tenant, statement), arguments.values, arguments.nulls, false);
  MemoryContextSwitchTo(callers);
  return {portal};
}

std::uint64_t next_batch(const BatchedQuery &query) {
  constexpr long batch = 1000;
  MemoryContext callers = CurrentMemoryContext;
  if (SPI_tuptable) SPI_freetuptable(SPI_tuptable);
  SPI_cursor_fetch(query.portal, true, batch);
  const std::uint64_t rows = SPI_processed;
  if (rows == 0) SPI_cursor_close(query.portal);
  MemoryContextSwitchTo(callers);
  return rows;
}

bool is_null(std::uint64_t row, int column) {
  bool null;
  (void)SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &null);
  return null;
}

Datum get_datum(std::uint64_t row, int column) {
  bool null;
  const Datum value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &null);
  return null ? Datum{0} : value;
}

std::int64_t get_int64(std::uint64_t row, int column) { return DatumGetInt64(get_datum(row, column)); }
std::int32_t get_int32(std::uint64_t row, int column) { return DatumGetInt32(get_datum(row, column)); }
std::int32_t get_int16(std::uint64_t row, int column) { return DatumGetInt16(get_datum(row, column)); }

char *get_text(std::uint64_t row, int column) {
  return is_null(row, column) ? nullptr : text_to_cstring(DatumGetTextPP(get_datum(row, column)));
}

Jsonb *get_jsonb(std::uint64_t row, int column) {
  return is_null(row, column) ? nullptr : DatumGetJsonbPCopy(get_datum(row, column));
}

Datum get_stored(std::uint64_t row, int column) {
  return is_null(row, column) ? Datum{0} : datumCopy(get_datum(row, column), false, -1);
}

std::size_t stored_size(Datum value) { return value ? toast_raw_datum_size(value) : 0; }

Datum int64_array(const std::int64_t *values, int count) {
  auto *datums = palloc_array_of<Datum>(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) datums[i] = Int64GetDatum(values[i]);
  return PointerGetDatum(construct_array(datums, count, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

Datum int32_array(const std::int32_t *values, int count) {
  auto *datums = palloc_array_of<Datum>(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) datums[i] = Int32GetDatum(values[i]);
  return PointerGetDatum(construct_array(datums, count, INT4OID, 4, true, TYPALIGN_INT));
}

Datum text_array(const char *const *values, int count) {
  auto *datums = palloc_array_of<Datum>(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) datums[i] = CStringGetTextDatum(values[i]);
  return PointerGetDatum(construct_array(datums, count, TEXTOID, -1, false, TYPALIGN_INT));
}

Datum nullable_text_array(const char *const *values, int count) {
  auto *datums = palloc_array_of<Datum>(static_cast<std::size_t>(count));
  auto *nulls = palloc_array_of<bool>(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    nulls[i] = values[i] == nullptr;
    datums[i] = nulls[i] ? Datum{0} : CStringGetTextDatum(values[i]);
  }
  int dims[] = {count};
  int lower[] = {1};
  return PointerGetDatum(
      construct_md_array(datums, nulls, count ? 1 : 0, dims, lower, TEXTOID, -1, false, TYPALIGN_INT));
}

Datum jsonb_array(Jsonb *const *values, int count) {
  auto *datums = palloc_array_of<Datum>(static_cast<std::size_t>(count));
  auto *nulls = palloc_array_of<bool>(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    nulls[i] = values[i] == nullptr;
    datums[i] = nulls[i] ? Datum{0} : JsonbPGetDatum(values[i]);
  }
  int dims[] = {count};
  int lower[] = {1};
  return PointerGetDatum(
      construct_md_array(datums, nulls, count ? 1 : 0, dims, lower, JSONBOID, -1, false, TYPALIGN_INT));
}

}  // namespace insula
