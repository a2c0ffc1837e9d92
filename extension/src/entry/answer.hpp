// The answers of SQL calls: rows of a set, or one row, made of fields.
#pragma once

#include <initializer_list>

#include "postgres.hpp"

namespace insula {

struct Field {
  Datum value;
  bool null;
};

// NULL where the pointer is nullptr.
inline Field text_field(const char *text) { return {text ? CStringGetTextDatum(text) : Datum{0}, text == nullptr}; }
inline Field json_field(Jsonb *json) { return {PointerGetDatum(json), json == nullptr}; }
inline Field int32_field(std::int32_t value) { return {Int32GetDatum(value), false}; }
inline Field int64_field(std::int64_t value) { return {Int64GetDatum(value), false}; }
inline Field bool_field(bool value) { return {BoolGetDatum(value), false}; }
inline Field time_field(TimestampTz time) { return {TimestampTzGetDatum(time), false}; }
// NULL where the time is the one that stands for none.
inline Field time_field(TimestampTz time, TimestampTz none) { return {TimestampTzGetDatum(time), time == none}; }
inline Field datum_field(Datum value) { return {value, false}; }
inline Field null_field() { return {Datum{0}, true}; }

// Begins the answer of a call that returns a set of rows.
ReturnSetInfo *begin_rows(FunctionCallInfo fcinfo);
// Begins the answer of a call that returns a set of one plain type.
ReturnSetInfo *begin_values(FunctionCallInfo fcinfo);

void put_row(ReturnSetInfo *rows, const Field *fields, int count);
inline void put_row(ReturnSetInfo *rows, std::initializer_list<Field> fields) {
  put_row(rows, fields.begin(), static_cast<int>(fields.size()));
}

// The columns of a call that returns one row.
TupleDesc answer_columns(FunctionCallInfo fcinfo);
Datum row_datum(TupleDesc columns, std::initializer_list<Field> fields);

}  // namespace insula
