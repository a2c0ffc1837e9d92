// The rows that SQL calls answer with; see answer.hpp.
#include "entry/answer.hpp"

namespace insula {

namespace {

constexpr int most_columns = 64;

struct Columns {
  Datum values[most_columns];
  bool nulls[most_columns];
};

Columns columns_of(const Field *fields, int count) {
  Assert(count <= most_columns);
  Columns columns;
  for (int i = 0; i < count; ++i) {
    columns.values[i] = fields[i].value;
    columns.nulls[i] = fields[i].null;
  }
  return columns;
}

ReturnSetInfo *begin_set(FunctionCallInfo fcinfo, std::uint32_t flags) {
  InitMaterializedSRF(fcinfo, flags);
  return reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
}

}  // namespace

ReturnSetInfo *begin_rows(FunctionCallInfo fcinfo) { return begin_set(fcinfo, 0); }

ReturnSetInfo *begin_values(FunctionCallInfo fcinfo) { return begin_set(fcinfo, MAT_SRF_USE_EXPECTED_DESC); }

void put_row(ReturnSetInfo *rows, const Field *fields, int count) {
  Columns columns = columns_of(fields, count);
  tuplestore_putvalues(rows->setResult, rows->setDesc, columns.values, columns.nulls);
}

TupleDesc answer_columns(FunctionCallInfo fcinfo) {
  TupleDesc columns;
  if (get_call_result_type(fcinfo, nullptr, &columns) != TYPEFUNC_COMPOSITE)
    elog(ERROR, "insula: unexpected result type");
  return BlessTupleDesc(columns);
}

Datum row_datum(TupleDesc desc, std::initializer_list<Field> fields) {
  Columns columns = columns_of(fields.begin(), static_cast<int>(fields.size()));
  return HeapTupleGetDatum(heap_form_tuple(desc, columns.values, columns.nulls));
}

}  // namespace insula
