// RAII over libpq's C types, and what is read from and sent to it: rows, and a statement with
// its parameters.  Nothing here blocks or locks; an object belongs to one
// thread at a time.
#pragma once

#include <libpq-fe.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace insula::wire {

struct PgDeleter {
  void operator()(PGconn* p) const noexcept { PQfinish(p); }
  void operator()(PGresult* p) const noexcept { PQclear(p); }
};
using PgConn = std::unique_ptr<PGconn, PgDeleter>;

// A statement's rows.  Reading past them is a bug of the caller's.
class Rows {
 public:
  Rows() = default;
  explicit Rows(PGresult* result) : result_(result) {}

  PGresult* get() const noexcept { return result_.get(); }
  int size() const noexcept { return result_ ? PQntuples(result_.get()) : 0; }
  int columns() const noexcept { return result_ ? PQnfields(result_.get()) : 0; }
  bool is_null(int row, int column) const noexcept { return PQgetisnull(result_.get(), row, column) != 0; }
  std::string_view text(int row, int column) const noexcept {
    return {PQgetvalue(result_.get(), row, column), static_cast<std::size_t>(PQgetlength(result_.get(), row, column))};
  }
  std::string string(int row, int column) const { return std::string{text(row, column)}; }  // NULL: empty
  std::int64_t integer(int row, int column) const;
  bool boolean(int row, int column) const noexcept { return text(row, column) == "t"; }

 private:
  std::unique_ptr<PGresult, PgDeleter> result_;
};

using Param = std::optional<std::string>;  // nullopt: NULL

// One statement, always unnamed and with nothing that has to outlive it in the session,
// so that it works behind a transaction pooler.
struct Statement {
  const char* sql = "";
  std::vector<Param> params = {};
  bool binary = false;         // the format of the answer; else text
  unsigned binary_params = 0;  // bit 0 for $1 and so on: this one is in the binary format

  // PQsendQueryParams; false: see PQerrorMessage.
  bool send(PGconn* conn) const;
};

// Throws error{invalid} for a text with a NUL character, which would be cut off there.
void require_sendable(const Statement& statement);

// Array literals for parameters like $1::bigint[].  In one a NULL may be a text to the server
// (array_nulls): arrays that may hold NULLs go in the binary format.
std::string array_of(const std::vector<std::int64_t>& values);
std::string array_of(const std::vector<std::string>& values);

}  // namespace insula::wire
