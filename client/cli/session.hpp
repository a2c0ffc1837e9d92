// The connection of a command. A statement can be interrupted: Ctrl-C cancels it in the server and throws.
#pragma once

#include <libpq-fe.h>

#include <memory>
#include <optional>
#include <string>
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

class Session {
 public:
  // `conninfo` may be empty: libpq then has its own ways (PG*, services, ~/.pgpass).
  explicit Session(const std::string& conninfo);

  Table query(const std::string& sql, const std::vector<Cell>& parameters = {});
  PGconn* connection() const { return connection_.get(); }

 private:
  struct Closer {
    void operator()(PGconn* connection) const { PQfinish(connection); }
  };

  std::unique_ptr<PGconn, Closer> connection_;
};

// From here on Ctrl-C is seen by queries and by `interrupted`, and does not end the process.
void watch_for_interrupt();
bool interrupted();
// Waits until the descriptor can be read (-1: none), the time has passed, or Ctrl-C; true: it can be read.
bool wait_for_input(int descriptor, int milliseconds);

}  // namespace insula::cli
