// Direct access to `work`; see rows.hpp.
#include "storage/rows.hpp"

#include <algorithm>

extern "C" {
#include "access/transam.h"
#include "storage/procarray.h"
#include "utils/fmgroids.h"
}

namespace insula {

// An update moves a row in the queue.  An index that is told that nothing has changed for it
// looks for old versions of rows to delete, which among entries of other rows finds nothing
// and costs much.
static void tell_what_changes(const ResultRelInfo *target) {
  for (int i = 0; i < target->ri_NumIndices; ++i) {
    IndexInfo *info = target->ri_IndexRelationInfo[i];
    const AttrNumber *columns = info->ii_IndexAttrNumbers;
    info->ii_CheckedUnchanged = true;
    info->ii_IndexUnchanged = std::none_of(columns, columns + info->ii_NumIndexKeyAttrs, [](AttrNumber column) {
      return column == number_of(Column::lane) || column == number_of(Column::due);
    });
  }
}

// A row that is updated keeps its id, which no other row can have: its new entry in the primary
// key is made apart from the others, without a look for equal ones.
static void take_key_apart(Rows *rows, Oid key) {
  ResultRelInfo *target = rows->target;
  for (int i = 0; i < target->ri_NumIndices; ++i) {
    if (RelationGetRelid(target->ri_IndexRelationDescs[i]) != key) continue;
    rows->key = target->ri_IndexRelationDescs[i];
    rows->key_info = target->ri_IndexRelationInfo[i];
    const int last = --target->ri_NumIndices;
    std::copy(target->ri_IndexRelationDescs + i + 1, target->ri_IndexRelationDescs + last + 1,
              target->ri_IndexRelationDescs + i);
    std::copy(target->ri_IndexRelationInfo + i + 1, target->ri_IndexRelationInfo + last + 1,
              target->ri_IndexRelationInfo + i);
    return;
  }
}

static void insert_key_entry(const Rows &rows) {
  if (!rows.key || !rows.key_info->ii_ReadyForInserts) return;
  Datum id = rows.row.get(Column::id);
  bool null = false;
  (void)index_insert(rows.key, &id, &null, &rows.row.slot->tts_tid, rows.heap, UNIQUE_CHECK_NO, true, rows.key_info);
}

static Row new_row(const Rows &rows) {
  return {allocate_slot(rows.estate, RelationGetDescr(rows.heap), &TTSOpsVirtual)};
}

// The executor's own checks; those of privileges and triggers are the tenant's (tenant/tenant.cpp).
static void check_command(Relation heap, CmdType command) {
  const char *name = command == CMD_INSERT ? "INSERT" : "UPDATE";
  PreventCommandIfReadOnly(name);
  PreventCommandIfParallelMode(name);
  CheckCmdReplicaIdentity(heap, command);
}

Rows open_rows(const Tenant &tenant, CmdType command) {
  CommandCounterIncrement();
  PushActiveSnapshot(GetTransactionSnapshot());
  Rows rows = {};
  rows.heap = table_open(tenant.work, NoLock);
  rows.snapshot = GetActiveSnapshot();
  rows.estate = CreateExecutorState();
  rows.found = allocate_slot(rows.estate, RelationGetDescr(rows.heap), table_slot_callbacks(rows.heap));
  if (command == CMD_SELECT) return rows;
  check_command(rows.heap, command);
  rows.row = new_row(rows);
  rows.target = makeNode(ResultRelInfo);
  InitResultRelInfo(rows.target, rows.heap, 0, nullptr, 0);
  ExecOpenIndices(rows.target, false);
  if (command == CMD_UPDATE) {
    tell_what_changes(rows.target);
    take_key_apart(&rows, tenant.work_key);
  }
  return rows;
}

void close_rows(const Rows &rows) {
  ExecResetTupleTable(rows.estate->es_tupleTable, false);
  if (rows.target) ExecCloseIndices(rows.target);
  if (rows.key) index_close(rows.key, RowExclusiveLock);
  FreeExecutorState(rows.estate);
  table_close(rows.heap, NoLock);
  PopActiveSnapshot();
  CommandCounterIncrement();
}

IndexScanDesc begin_row_scan(const Rows &rows, Oid index, int keys) {
  return begin_index_scan(rows.heap, index_open(index, AccessShareLock), rows.snapshot, keys);
}

// The table's lock keeps its indexes: a call that goes through a thousand tenants holds fewer locks without theirs.
void end_row_scan(IndexScanDesc scan) {
  Relation index = scan->indexRelation;
  index_endscan(scan);
  index_close(index, AccessShareLock);
}

// Reads the column of an entry of the queue's index, `others` entries behind the first in the direction, without the
// row.
static bool read_entry(const Tenant &tenant, ScanKeyData (&keys)[2], ScanDirection direction, int others,
                       AttrNumber column, Datum *value) {
  Relation heap = table_open(tenant.work, NoLock);
  Relation index = index_open(tenant.work_queue, AccessShareLock);
  IndexScanDesc scan = begin_index_scan(heap, index, GetActiveSnapshot(), lengthof(keys));
  scan->xs_want_itup = true;
  index_rescan(scan, keys, lengthof(keys), nullptr, 0);
  bool found = index_getnext_tid(scan, direction) != nullptr;
  for (; found && others > 0; --others) found = index_getnext_tid(scan, direction) != nullptr;
  bool null;
  if (found) *value = index_getattr(scan->xs_itup, column, scan->xs_itupdesc, &null);
  index_endscan(scan);
  index_close(index, AccessShareLock);
  table_close(heap, NoLock);
  return found;
}

static bool find_lane_in(const Tenant &tenant, std::int32_t above, std::int32_t below, ScanDirection direction,
                         std::int32_t *lane) {
  ScanKeyData keys[2];
  ScanKeyInit(&keys[0], 1, BTGreaterStrategyNumber, F_INT4GT, Int32GetDatum(above));
  ScanKeyInit(&keys[1], 1, BTLessStrategyNumber, F_INT4LT, Int32GetDatum(below));
  Datum found;
  if (!read_entry(tenant, keys, direction, 0, 1, &found)) return false;
  *lane = DatumGetInt32(found);
  return true;
}

bool find_lane(const Tenant &tenant, std::int32_t above, std::int32_t below, std::int32_t *lane) {
  return find_lane_in(tenant, above, below, ForwardScanDirection, lane);
}

bool find_last_lane(const Tenant &tenant, std::int32_t above, std::int32_t below, std::int32_t *lane) {
  return find_lane_in(tenant, above, below, BackwardScanDirection, lane);
}

bool find_due(const Tenant &tenant, std::int32_t lane, std::int64_t from, int others, std::int64_t *due) {
  ScanKeyData keys[2];
  ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(lane));
  ScanKeyInit(&keys[1], 2, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(from));
  Datum found;
  if (!read_entry(tenant, keys, ForwardScanDirection, others, 2, &found)) return false;
  *due = DatumGetInt64(found);
  return true;
}

// Behind the columns of ours may lie dropped ones, which no new version of a row keeps.
static void clear_dropped(const Rows &rows, TupleTableSlot *slot) {
  constexpr int ours = static_cast<int>(Column::count);
  const int dropped = RelationGetDescr(rows.heap)->natts - ours;
  memset(slot->tts_isnull + ours, true, static_cast<std::size_t>(dropped));
}

void read_row(const Rows &rows, HeapTuple tuple) {
  TupleTableSlot *slot = rows.row.slot;
  heap_deform_tuple(tuple, RelationGetDescr(rows.heap), slot->tts_values, slot->tts_isnull);
  clear_dropped(rows, slot);
}

static void note_concurrent_change() {
  if (IsolationUsesXactSnapshot())
    ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
                    errmsg("could not serialize access due to concurrent update")));
}

static bool is_being_changed(HeapTuple tuple) {
  const std::uint16_t info = tuple->t_data->t_infomask;
  if (info & (HEAP_XMAX_INVALID | HEAP_XMAX_IS_MULTI)) return false;
  if (HEAP_XMAX_IS_LOCKED_ONLY(info) && HEAP_XMAX_IS_KEYSHR_LOCKED(info)) return false;
  const TransactionId changer = HeapTupleHeaderGetRawXmax(tuple->t_data);
  return !TransactionIdIsCurrentTransactionId(changer) && TransactionIdIsInProgress(changer);
}

bool is_taken(const Rows &rows) { return is_being_changed(found_tuple(rows)); }

bool is_gone(const Rows &rows) {
  const HeapTupleHeader header = found_tuple(rows)->t_data;
  if ((header->t_infomask & (HEAP_XMAX_INVALID | HEAP_XMAX_IS_MULTI)) || HEAP_XMAX_IS_LOCKED_ONLY(header->t_infomask))
    return false;
  const TransactionId changer = HeapTupleHeaderGetRawXmax(header);
  return !TransactionIdIsCurrentTransactionId(changer) && TransactionIdDidCommit(changer);
}

Hold hold_found(const Rows &rows) {
  HeapTuple tuple = found_tuple(rows);
  if (is_being_changed(tuple)) return Hold::none;
  if (updates_without_waiting && (tuple->t_data->t_infomask & HEAP_XMAX_INVALID)) return Hold::unsure;
  ItemPointerData at = tuple->t_self;
  TM_FailureData failure;
  switch (table_tuple_lock(rows.heap, &at, rows.snapshot, rows.found, GetCurrentCommandId(true),
                           LockTupleNoKeyExclusive, LockWaitSkip, 0, &failure)) {
    case TM_Ok:
      return Hold::held;
    case TM_Updated:
    case TM_Deleted:
      note_concurrent_change();
      return Hold::none;
    default:
      return Hold::none;
  }
}

static TM_Result update_row(const Rows &rows, ItemPointer at, bool wait) {
  MemoryContext caller = MemoryContextSwitchTo(GetPerTupleMemoryContext(rows.estate));
  ExecClearTuple(rows.row.slot);
  ExecStoreVirtualTuple(rows.row.slot);
  TM_FailureData failure;
  UpdatedIndexes updated;
  const TM_Result result = update_tuple(rows.heap, at, rows.row.slot, rows.snapshot, wait, &failure, &updated);
  if (result == TM_Ok) {
    if (updates_all(updated)) insert_key_entry(rows);
    insert_index_entries(rows.target, rows.row.slot, rows.estate, true, updated);
  }
  MemoryContextSwitchTo(caller);
  ResetPerTupleExprContext(rows.estate);
  return result;
}

bool write_held(const Rows &rows, Hold hold) {
  ItemPointerData at = rows.found->tts_tid;
  switch (update_row(rows, &at, hold == Hold::held)) {
    case TM_Ok:
      return true;
    case TM_Updated:
    case TM_Deleted:
      note_concurrent_change();
      return false;
    default:
      return false;
  }
}

// Follows the row to its newest version, which is locked then.
static Written follow_row(const Rows &rows, ItemPointer at, LockWait wait, bool *traversed) {
  TM_FailureData failure;
  const TM_Result result = table_tuple_lock(
      rows.heap, at, rows.snapshot, rows.found, GetCurrentCommandId(true), LockTupleNoKeyExclusive,
      wait == LockWait::skip ? LockWaitSkip : LockWaitBlock, TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &failure);
  *traversed = failure.traversed;
  if (result == TM_Ok) return Written::moved;
  return result == TM_WouldBlock ? Written::taken : Written::gone;
}

Written write_row(const Rows &rows, HeapTuple old, LockWait wait) {
  ItemPointerData at = old->t_self;
  bool traversed = false;
  if (wait == LockWait::skip) {
    // Mostly no transaction has the row, which an update finds by itself.
    const bool try_first = updates_without_waiting && (old->t_data->t_infomask & HEAP_XMAX_INVALID) != 0;
    if (try_first && update_row(rows, &at, false) == TM_Ok) return Written::done;
    at = old->t_self;
    const Written locked = follow_row(rows, &at, wait, &traversed);
    if (locked != Written::moved || traversed) return locked;
  }
  switch (update_row(rows, &at, true)) {
    case TM_Ok:
      return Written::done;
    case TM_Updated:
      break;
    case TM_Deleted:
      note_concurrent_change();
      return Written::gone;
    default:
      return Written::gone;
  }
  note_concurrent_change();
  return follow_row(rows, &at, wait, &traversed);
}

Row next_new_row(const Rows &rows, NewRows &batch) {
  Row &row = batch.rows[batch.count];
  if (!row.slot) row = new_row(rows);
  ExecClearTuple(row.slot);
  memset(row.slot->tts_isnull, true, static_cast<std::size_t>(RelationGetDescr(rows.heap)->natts));
  return row;
}

// A batch copies no more of its rows than this and one row.
static constexpr std::size_t batch_bytes = 65536;

void add_new_row(const Rows &rows, NewRows &batch, std::size_t bytes) {
  ExecStoreVirtualTuple(batch.rows[batch.count++].slot);
  batch.bytes += bytes;
  if (batch.count == NewRows::room || batch.bytes > batch_bytes) insert_new_rows(rows, batch);
}

void insert_new_rows(const Rows &rows, NewRows &batch) {
  if (batch.count == 0) return;
  CHECK_FOR_INTERRUPTS();
  MemoryContext caller = MemoryContextSwitchTo(GetPerTupleMemoryContext(rows.estate));
  TupleTableSlot *slots[NewRows::room];
  for (int i = 0; i < batch.count; ++i) slots[i] = batch.rows[i].slot;
  table_multi_insert(rows.heap, slots, batch.count, GetCurrentCommandId(true), 0, nullptr);
  for (int i = 0; i < batch.count; ++i) insert_index_entries(rows.target, slots[i], rows.estate, false, all_indexes);
  MemoryContextSwitchTo(caller);
  ResetPerTupleExprContext(rows.estate);
  batch.count = 0;
  batch.bytes = 0;
}

}  // namespace insula
