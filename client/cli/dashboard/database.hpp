// The connections of the dashboard: few, each statement limited in time by the server and, if that does not answer, by
// this side too. Sessions are read-only; a change opens a transaction that writes. Where one tenant is shown, they act
// as that tenant's role, so that PostgreSQL itself keeps all others from them.
//
// Thread-safe; a thread that finds no free connection within two seconds is told so.
#pragma once

#include <libpq-fe.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "dashboard/dashboard.hpp"
#include "session.hpp"

namespace insula::cli::dashboard {

// The role of the sessions.
struct Identity {
  std::string database, login, role, version, server_version;
  std::string tenant;  // the only one; empty: all of them
  bool is_admin = false;
};

struct BoundedTable : Table {
  bool is_cut = false;  // there were more rows than are kept
};

// A parameter; NULL where the text is empty.
inline Cell cell_of(std::string text) { return text.empty() ? Cell{} : Cell{std::move(text)}; }

class Connection {
 public:
  // Throws Refusal: away.
  Connection(const Options& options, const std::string& role);

  // Throws Refusal. `timeout`: of this statement; zero: the usual one. What goes beyond 20,000 rows or the bytes
  // that the options allow is left out, and the table says so.
  BoundedTable query(const std::string& sql, const std::vector<Cell>& parameters = {},
                     std::chrono::milliseconds timeout = std::chrono::milliseconds{0});
  // In a transaction that writes.
  Table change(const std::string& sql, const std::vector<Cell>& parameters);
  bool is_usable() const { return PQstatus(connection_.get()) == CONNECTION_OK; }

 private:
  struct Closer {
    void operator()(PGconn* connection) const { PQfinish(connection); }
  };

  BoundedTable run(const std::string& sql, const std::vector<Cell>& parameters, std::chrono::milliseconds timeout);

  std::unique_ptr<PGconn, Closer> connection_;
  std::chrono::milliseconds usual_timeout_;
  std::size_t most_bytes_;
};

class Database {
 public:
  // Connects, and reads its role. Throws Failure.
  explicit Database(const Options& options);

  const Identity& identity() const { return identity_; }

  // A connection for as long as it lives.
  class Lease {
   public:
    Lease(Database& database, std::unique_ptr<Connection> connection)
        : database_(&database), connection_(std::move(connection)) {}
    ~Lease() { database_->give_back(std::move(connection_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Connection& operator*() const { return *connection_; }
    Connection* operator->() const { return connection_.get(); }

   private:
    Database* database_;
    std::unique_ptr<Connection> connection_;
  };
  Lease take();
  // The database's clock, in milliseconds since 1970; asked for every fifteen seconds, and counted on in between.
  double clock();

 private:
  void give_back(std::unique_ptr<Connection> connection);
  void identify(const Options& options);

  const Options options_;
  Identity identity_;
  std::string role_;  // that sessions take on; empty: none
  std::mutex mutex_;
  std::condition_variable given_back_;
  std::vector<std::unique_ptr<Connection>> idle_;
  int room_;          // for further connections, and those that are idle
  double clock_ = 0;  // at that time
  std::chrono::steady_clock::time_point clock_read_{};
};

}  // namespace insula::cli::dashboard
