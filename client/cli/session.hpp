// The connection of a command. A statement can be interrupted: Ctrl-C cancels it in the server and throws.
#pragma once

#include <libpq-fe.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace insula::cli {

struct Column {
  std::string name;
  Oid type = 0;
};
using Cell = std::optional<std::string>;  // nullopt: NULL

struct Table {
  std::vector<Column> columns;
  std::vector<std::vector<Cell>> rows;

  // Of the first row; "" where there is none, or a NULL.
  std::string value(std::size_t column = 0) const;
};

Table table_of(const PGresult* result);

class Session {
 public:
  // `conninfo` may be empty: libpq then has its own ways (PG*, services, ~/.pgpass).
  explicit Session(const std::string& conninfo);

  Table query(const std::string& sql, const std::vector<Cell>& parameters = {});
  // What COPY ... TO STDOUT sends, and what COPY ... FROM STDIN is to be sent: `fill` is given what sends a part.
  using Send = std::function<void(std::string_view)>;
  void copy_out(const std::string& sql, const Send& take);
  void copy_in(const std::string& sql, const std::function<void(const Send&)>& fill);
  PGconn* connection() const { return connection_.get(); }

 private:
  struct Closer {
    void operator()(PGconn* connection) const { PQfinish(connection); }
  };

  void wait_for_result();
  Table finish();  // takes what is left of a statement, and throws what failed
  void begin_copy(const std::string& sql, ExecStatusType wanted);

  std::unique_ptr<PGconn, Closer> connection_;
  bool cancelled_ = false;  // the statement that runs
};

// From here on Ctrl-C is seen by queries and by `interrupted`, and does not end the process.
void watch_for_interrupt();
bool interrupted();
// Waits until the descriptor can be read (-1: none), the time has passed, or Ctrl-C; true: it can be read.
bool wait_for_input(int descriptor, int milliseconds);

}  // namespace insula::cli
