// A stretch of work on one tenant's tables: as the owner, connected to SPI.  Statements
// run through `run`; its rows are read with the typed getters below, from SPI's result.
// A result that must outlive the session is allocated in `session.caller`.
#pragma once

#include "spi/owner.hpp"
#include "spi/plans.hpp"

namespace insula {

struct Session {
  Owner owner;
  MemoryContext caller;
};

Session open_session();
// As the caller: for statements that read catalogs, which may be closed to the owner.
Session open_callers_session();
void close_session(const Session &session);

// Within a session: what the statements of `work` leave in memory goes with it.  For loops of many.
void open_stretch();
void close_stretch();
template <class Work>
void in_stretch(Work work) {
  open_stretch();
  work();
  close_stretch();
}

// Also frees what the work leaves in the caller's memory: contexts are large.
template <typename Work>
void in_scratch(MemoryContext scratch, Work work) {
  MemoryContext before = MemoryContextSwitchTo(scratch);
  in_stretch(work);
  MemoryContextSwitchTo(before);
  MemoryContextReset(scratch);
}

// Arguments of one statement.
struct Arguments {
  Datum values[16];
  char nulls[17];
  int count = 0;

  Arguments &add(Datum value) {
    values[count] = value;
    nulls[count++] = ' ';
    return *this;
  }
  Arguments &add_null() {
    values[count] = Datum{0};
    nulls[count++] = 'n';
    return *this;
  }
  Arguments &add_nullable(Datum value, bool is_null) { return is_null ? add_null() : add(value); }
  Arguments &add_text(const char *text) { return text ? add(CStringGetTextDatum(text)) : add_null(); }
};

// Runs a statement on a tenant's tables and returns how many rows it returned or wrote.
std::uint64_t run(const TenantTables &tenant, const Statement &statement, Arguments &arguments);
std::uint64_t run(const TenantTables &tenant, const Statement &statement);
// The same on what has been committed by now, whatever snapshot the transaction has.
std::uint64_t run_on_latest(const TenantTables &tenant, const Statement &statement, Arguments &arguments);
std::uint64_t run_on(const TenantTables &tenant, const Statement &statement, Arguments &arguments, Snapshot snapshot);
// The same on tables of no tenant: the extension's own, and catalogs.
std::uint64_t run(const Statement &statement, Arguments &arguments);
std::uint64_t run(const Statement &statement);
std::uint64_t run_on_latest(const Statement &statement, Arguments &arguments);

// A query whose rows are read in batches, all of one snapshot, so that memory holds one batch alone.  A batch is the
// last result until the next one; at 0 rows the query is closed.
struct BatchedQuery {
  Portal portal;
};
BatchedQuery begin_query(const TenantTables &tenant, const Statement &statement, Arguments &arguments);
std::uint64_t next_batch(const BatchedQuery &query);

// Columns, from 1, of row `row` of the last result.
bool is_null(std::uint64_t row, int column);
Datum get_datum(std::uint64_t row, int column);
std::int64_t get_int64(std::uint64_t row, int column);  // 0 where NULL
std::int32_t get_int32(std::uint64_t row, int column);
std::int32_t get_int16(std::uint64_t row, int column);
char *get_text(std::uint64_t row, int column);    // nullptr where NULL
Jsonb *get_jsonb(std::uint64_t row, int column);  // nullptr where NULL; detoasted
// As it is stored, maybe compressed and elsewhere; 0 where NULL.
Datum get_stored(std::uint64_t row, int column);
// The bytes that reading a stored value would make.
std::size_t stored_size(Datum value);

Datum int64_array(const std::int64_t *values, int count);
Datum int32_array(const std::int32_t *values, int count);
Datum text_array(const char *const *values, int count);
Datum nullable_text_array(const char *const *values, int count);
Datum jsonb_array(Jsonb *const *values, int count);  // nullptr becomes NULL

}  // namespace insula
