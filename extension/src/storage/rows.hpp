// Rows of `work` found by an index and written without SQL, where SQL costs more than the work:
// submission, claim and completion.  What the executor does besides is done here: every index
// of the table gets its entries, a snapshot is as fresh as the isolation level lets it be,
// commands are counted, so that what follows in the same statement sees what was written, and
// where the isolation level wants it a concurrent change fails the transaction.
//
// Buffers, snapshots and relations go back with the transaction's abort where an error comes in
// between.
#pragma once

#include "tenant/columns.hpp"
#include "tenant/tenant.hpp"

namespace insula {

// The values of a row, in a slot of its own.
struct Row {
  TupleTableSlot *slot;

  bool is_null(Column column) const { return slot->tts_isnull[static_cast<int>(column)]; }
  Datum get(Column column) const { return is_null(column) ? Datum{0} : slot->tts_values[static_cast<int>(column)]; }
  std::int64_t get_int64(Column column) const { return DatumGetInt64(get(column)); }
  std::int32_t get_int32(Column column) const { return DatumGetInt32(get(column)); }
  std::int32_t get_int16(Column column) const { return DatumGetInt16(get(column)); }
  void set(Column column, Datum value) const {
    slot->tts_values[static_cast<int>(column)] = value;
    slot->tts_isnull[static_cast<int>(column)] = false;
  }
  void set_null(Column column) const { slot->tts_isnull[static_cast<int>(column)] = true; }
  void set_nullable(Column column, Datum value, bool null) const { null ? set_null(column) : set(column, value); }
};

struct Rows {
  Relation heap;
  Snapshot snapshot;
  EState *estate;
  ResultRelInfo *target;  // the table with its indexes, for an update without its primary key
  Relation key;           // that, for an update
  IndexInfo *key_info;
  TupleTableSlot *found;  // where a scan has come to
  Row row;                // to be written
};

// For an insert, an update, or a select, which writes nothing.
Rows open_rows(const Tenant &tenant, CmdType command);
void close_rows(const Rows &rows);

IndexScanDesc begin_row_scan(const Rows &rows, Oid index, int keys);
void end_row_scan(IndexScanDesc scan);
// Goes on to the next row that the snapshot shows.
inline bool next_row(const Rows &rows, IndexScanDesc scan) {
  return index_getnext_slot(scan, ForwardScanDirection, rows.found);
}

// The same, but skips at most *entries entries of rows that the snapshot does not show; *entries < 0: it has
// given up.
inline bool next_row_within(const Rows &rows, IndexScanDesc scan, int *entries) {
  for (;;) {
    if (!scan->xs_heap_continue && !index_getnext_tid(scan, ForwardScanDirection)) return false;
    if (index_fetch_heap(scan, rows.found)) return true;
    if (--*entries < 0) return false;
    CHECK_FOR_INTERRUPTS();
  }
}

// Columns of the row found; 0 where NULL.
inline Datum found_column(const Rows &rows, Column column) {
  bool null;
  const Datum value = slot_getattr(rows.found, number_of(column), &null);
  return null ? Datum{0} : value;
}
inline bool found_is_null(const Rows &rows, Column column) { return slot_attisnull(rows.found, number_of(column)); }
inline std::int32_t found_int32(const Rows &rows, Column column) { return DatumGetInt32(found_column(rows, column)); }
inline std::int64_t found_int64(const Rows &rows, Column column) { return DatumGetInt64(found_column(rows, column)); }
// The row found, as it is stored: in a buffer, until the scan goes on.
inline HeapTuple found_tuple(const Rows &rows) { return ExecFetchSlotHeapTuple(rows.found, false, nullptr); }
// The first lane, and the last one, between the two that the queue's index holds an entry of, dead or alive: it
// costs one descent whatever lies in the lanes.
bool find_lane(const Tenant &tenant, std::int32_t above, std::int32_t below, std::int32_t *lane);
bool find_last_lane(const Tenant &tenant, std::int32_t above, std::int32_t below, std::int32_t *lane);

// The due of the entry, dead or alive, `others` entries behind the first one of the lane from `from` on; false:
// there is none.
bool find_due(const Tenant &tenant, std::int32_t lane, std::int64_t from, int others, std::int64_t *due);

// Fills rows.row; its values lie in the tuple.
void read_row(const Rows &rows, HeapTuple tuple);

// Puts rows.row in the place of the row found, unless another transaction holds or has changed that.
enum class Hold {
  none,    // another transaction has it
  unsure,  // none had when it was looked at
  held     // this transaction
};
Hold hold_found(const Rows &rows);
// Whether another transaction is changing it right now, which is seen at less than what a lock costs.
bool is_taken(const Rows &rows);
// Whether another transaction has changed it since the snapshot.
bool is_gone(const Rows &rows);
bool write_held(const Rows &rows, Hold hold);

// Puts rows.row in the place of a row.
enum class Written {
  done,
  moved,  // another transaction has changed it: rows.found is the newest version, which is locked
  taken,  // another transaction holds it
  gone    // deleted, or written by this command before
};
Written write_row(const Rows &rows, HeapTuple old, LockWait wait);

// Rows to be inserted, some at a time.
struct NewRows {
  static constexpr int room = 100;

  Row rows[room];
  int count;
  std::size_t bytes;
};
// A row for `add_new_row`, with all columns NULL.
Row next_new_row(const Rows &rows, NewRows &batch);
// `bytes`: what its largest value takes.
void add_new_row(const Rows &rows, NewRows &batch, std::size_t bytes);
void insert_new_rows(const Rows &rows, NewRows &batch);

}  // namespace insula
