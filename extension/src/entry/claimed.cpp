// Puts claimed tasks into an answer, as rows or packed; see claimed.hpp.
#include "entry/claimed.hpp"

#include <algorithm>

#include "core/ids.hpp"
#include "entry/arguments.hpp"

extern "C" {
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "utils/fmgroids.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
}

using namespace insula;

INSULA_FUNCTION(insula_read_claimed);

namespace insula {

namespace {

// The header of an array of one dimension, as array_send writes it.
struct PackedHeader {
  std::uint32_t dimensions;
  std::uint32_t has_nulls;
  std::uint32_t element_type;
  std::uint32_t length;
  std::uint32_t first;
};
constexpr int header_end = VARHDRSZ + static_cast<int>(sizeof(PackedHeader));
constexpr int header_end_of_none = VARHDRSZ + static_cast<int>(offsetof(PackedHeader, length));

constexpr int fields = 14;

// Memory above this is given back when tasks are taken back.
constexpr int room_to_keep = 1 << 20;

// Leaves room for the length of the bytes that follow; end_bytes fills it in.
int begin_bytes(StringInfo out) {
  pq_sendint32(out, 0);
  return out->len;
}

void end_bytes(StringInfo out, int begin) {
  const std::uint32_t length = pg_hton32(static_cast<std::uint32_t>(out->len - begin));
  memcpy(out->data + begin - sizeof(length), &length, sizeof(length));
}

// nullptr: the client's encoding lacks a character, or these bytes are no text.  The conversion holds
// nothing that its error would leave behind.
char *to_client(char *text, int length) {
  MemoryContext callers = CurrentMemoryContext;
  char *volatile sent = nullptr;
  PG_TRY();
  sent = pg_server_to_client(text, length);
  PG_CATCH();
  {
    if (geterrcode() != ERRCODE_UNTRANSLATABLE_CHARACTER && geterrcode() != ERRCODE_CHARACTER_NOT_IN_REPERTOIRE)
      PG_RE_THROW();
    MemoryContextSwitchTo(callers);
    FlushErrorState();
  }
  PG_END_TRY();
  return sent;
}

// False: the text cannot be sent.
bool end_text(StringInfo out, int begin) {
  char *text = out->data + begin;
  char *sent = to_client(text, out->len - begin);
  if (sent == text) return true;
  out->len = begin;
  if (!sent) return false;
  appendStringInfoString(out, sent);
  pfree(sent);
  return true;
}

// The columns of insula.claimed_task, one after the other.
class PackedRow {
 public:
  PackedRow(StringInfo out, TupleDesc desc) : out_(out), desc_(desc), begin_(begin_bytes(out)) {
    pq_sendint32(out, fields);
  }

  void add(std::int32_t value) {
    add_type();
    pq_sendint32(out_, sizeof(value));
    pq_sendint32(out_, static_cast<std::uint32_t>(value));
  }
  void add(std::int64_t value) {
    add_type();
    pq_sendint32(out_, sizeof(value));
    pq_sendint64(out_, static_cast<std::uint64_t>(value));
  }
  void add_null() {
    add_type();
    pq_sendint32(out_, static_cast<std::uint32_t>(-1));
  }
  void add(const char *text) {
    add_type();
    const int begin = begin_bytes(out_);
    appendStringInfoString(out_, text);
    can_be_sent_ = end_text(out_, begin) && can_be_sent_;
    end_bytes(out_, begin);
  }
  void add(Jsonb *json) {
    if (!json) return add_null();
    add_type();
    const int begin = begin_bytes(out_);
    pq_sendint8(out_, 1);  // jsonb_send's version
    const int text = out_->len;
    (void)JsonbToCString(out_, &json->root, static_cast<int>(VARSIZE(json)));
    can_be_sent_ = end_text(out_, text) && can_be_sent_;
    end_bytes(out_, begin);
  }
  bool end() {
    end_bytes(out_, begin_);
    return can_be_sent_;
  }

 private:
  void add_type() { pq_sendint32(out_, TupleDescAttr(desc_, column_++)->atttypid); }

  StringInfo out_;
  TupleDesc desc_;
  int begin_;
  int column_ = 0;
  bool can_be_sent_ = true;
};

// The columns of insula.claimed_task, as a row of the set.
class SetRow {
 public:
  explicit SetRow(ClaimedRows *rows) : rows_(rows) {}

  void add(std::int32_t value) { put(Int32GetDatum(value)); }
  void add(std::int64_t value) { put(Int64GetDatum(value)); }
  void add(const char *text) { put(CStringGetTextDatum(text)); }
  void add(Jsonb *json) {
    if (!json) return add_null();
    put(JsonbPGetDatum(json));
  }
  void add_null() { nulls_[column_++] = true; }
  bool end() {
    MemoryContext callers = MemoryContextSwitchTo(rows_->memory);
    rows_->waiting = lappend(rows_->waiting, heap_form_tuple(rows_->desc, values_, nulls_));
    MemoryContextSwitchTo(callers);
    return true;
  }

 private:
  void put(Datum value) { values_[column_++] = value; }

  ClaimedRows *rows_;
  Datum values_[fields] = {};
  bool nulls_[fields] = {};
  int column_ = 0;
};

template <typename Row>
bool fill(Row row, const Tenant &tenant, const ClaimedTask &task, TimestampTz lease_expires) {
  const Claimed &claimed = task.row;
  const Definition &definition = definition_of(tenant, claimed.definition);
  row.add(tenant.name);
  row.add(core::make_id(tenant.number, claimed.id));
  row.add(claimed.lease);
  row.add(core::make_id(tenant.number, claimed.head ? claimed.head : claimed.id));
  row.add(definition.workflow);
  row.add(definition.version);
  row.add(definition.ids[claimed.task]);
  row.add(claimed.attempt);
  row.add(definition.options[claimed.task].retry.max_attempts);
  row.add(task.context);
  if (claimed.deadline)
    row.add(claimed.deadline);
  else
    row.add_null();
  row.add(claimed.deadline ? std::min(claimed.deadline, lease_expires) : lease_expires);
  row.add(task.event);
  row.add(task.item);
  return row.end();
}

bool put(void *self, const Tenant &tenant, const ClaimedTask &task, TimestampTz lease_expires, std::size_t *bytes) {
  auto *rows = static_cast<ClaimedRows *>(self);
  if (rows->set) {
    ++rows->count;
    *bytes = task.text_size;
    return fill(SetRow{rows}, tenant, task, lease_expires);
  }
  const int before = rows->packed.len;
  if (!fill(PackedRow{&rows->packed, rows->desc}, tenant, task, lease_expires)) {
    rows->packed.len = before;
    return false;
  }
  ++rows->count;
  *bytes = static_cast<std::size_t>(rows->packed.len - before);
  return true;
}

void take_back(void *self) {
  auto *rows = static_cast<ClaimedRows *>(self);
  rows->count = rows->kept_count;
  rows->packed.len = rows->kept_length;
  list_free_deep(rows->waiting);
  rows->waiting = NIL;
  // A long wait must not hold the memory of tasks that were taken back.
  if (rows->packed.maxlen <= room_to_keep || rows->packed.len > rows->packed.maxlen / 2) return;
  rows->packed.maxlen = rows->packed.len + 1;
  rows->packed.data = static_cast<char *>(repalloc(rows->packed.data, static_cast<Size>(rows->packed.maxlen)));
}

void keep(void *self) {
  auto *rows = static_cast<ClaimedRows *>(self);
  rows->kept_count = rows->count;
  rows->kept_length = rows->packed.len;
  ListCell *cell;
  foreach (cell, rows->waiting) tuplestore_puttuple(rows->set, static_cast<HeapTuple>(lfirst(cell)));
  list_free_deep(rows->waiting);
  rows->waiting = NIL;
}

}  // namespace

ClaimedRows claimed_set(TupleDesc desc, Tuplestorestate *set) {
  return {desc, set, {}, 0, 0, 0, NIL, CurrentMemoryContext};
}

ClaimedRows claimed_packed() {
  const Oid type = get_rel_type_id(get_relname_relid("claimed_task", get_namespace_oid("insula", false)));
  ClaimedRows rows = {lookup_rowtype_tupdesc_copy(type, -1), nullptr, {}, 0, 0, 0, NIL, nullptr};
  if (rows.desc->natts != fields)
    ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH), errmsg("insula.claimed_task has been changed")));
  initStringInfo(&rows.packed);
  rows.packed.len = rows.kept_length = header_end;
  return rows;
}

ClaimOutput output_to(ClaimedRows *rows) { return {rows, put, keep, take_back}; }

Datum claimed_bytes(ClaimedRows *rows) {
  const auto count = static_cast<std::uint32_t>(rows->count);
  const PackedHeader header = {pg_hton32(count ? 1U : 0U), 0, pg_hton32(rows->desc->tdtypeid), pg_hton32(count),
                               pg_hton32(1U)};
  memcpy(rows->packed.data + VARHDRSZ, &header, sizeof(header));
  if (count == 0) rows->packed.len = header_end_of_none;
  SET_VARSIZE(rows->packed.data, rows->packed.len);
  return PointerGetDatum(rows->packed.data);
}

// Reads an array.  PostgreSQL calls a wrong version of a jsonb an internal error; here it is a bad
// value of the caller's.  The error leaves nothing behind.
static Datum receive(StringInfo bytes, Oid type) {
  MemoryContext callers = CurrentMemoryContext;
  volatile Datum tasks = 0;
  PG_TRY();
  tasks = OidReceiveFunctionCall(F_ARRAY_RECV, bytes, type, -1);
  PG_CATCH();
  {
    if (geterrcode() != ERRCODE_INTERNAL_ERROR) PG_RE_THROW();
    MemoryContextSwitchTo(callers);
    FlushErrorState();
    ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION), errmsg("these are no claimed tasks")));
  }
  PG_END_TRY();
  return tasks;
}

}  // namespace insula

Datum insula_read_claimed(PG_FUNCTION_ARGS) {
  require_not_null(fcinfo, 0, "claimed");
  const bytea *claimed = PG_GETARG_BYTEA_PP(0);
  StringInfoData bytes;
  initStringInfo(&bytes);
  appendBinaryStringInfo(&bytes, VARDATA_ANY(claimed), static_cast<int>(VARSIZE_ANY_EXHDR(claimed)));
  const Oid type = get_element_type(get_func_rettype(fcinfo->flinfo->fn_oid));
  const Datum tasks = receive(&bytes, type);
  if (bytes.cursor != bytes.len)
    ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION), errmsg("there is more in it than claimed tasks")));
  PG_RETURN_DATUM(tasks);
}
