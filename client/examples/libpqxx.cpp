// Insula beside libpqxx 6.4: both speak over one libpq connection, so that one transaction
// holds the work of both.  (libpqxx 7 has connection::seize_raw_connection for this.)
//
//   1. enqueue in a pqxx::work: the order and its execution are there together, or neither.
//   2. a handler's transaction through pqxx: the booking and the task's completion likewise.
//
//   DATABASE_URL=postgresql://admin@localhost/mydb ./libpqxx
#include <insula/insula.hpp>

#include <libpq-fe.h>
#include <pqxx/pqxx>

#include <cstdlib>
#include <iostream>
#include <memory>
#include <stdexcept>

namespace {

// A libpqxx connection over a PGconn of another owner, which it neither makes nor closes.
class Borrowed : public pqxx::connectionpolicy {
 public:
  explicit Borrowed(PGconn* conn) : pqxx::connectionpolicy{""}, conn_(conn) {}

  handle do_startconnect(handle) override { return conn_; }
  handle do_completeconnect(handle conn) override { return conn; }
  handle do_dropconnect(handle) noexcept override { return nullptr; }
  handle do_disconnect(handle) noexcept override { return nullptr; }
  bool is_ready(handle conn) const noexcept override { return conn != nullptr; }

 private:
  PGconn* conn_;
};

class BorrowedConnection : public pqxx::connection_base {
 public:
  explicit BorrowedConnection(PGconn* conn) : pqxx::connection_base{policy_}, policy_(conn) { init(); }
  ~BorrowedConnection() { close(); }

 private:
  Borrowed policy_;
};

void book(insula::TaskContext& ctx) {
  BorrowedConnection conn{ctx.transaction()};
  pqxx::nontransaction work{conn};  // the transaction is there; returning commits it
  work.exec_params("INSERT INTO bookings VALUES ($1)", ctx.at<int>("order"));
}

}  // namespace

int main() {
  const char* set = std::getenv("DATABASE_URL");
  const std::string url = set ? set : "";
  auto runner = insula::Runner::with_schema(url, "pqxx_demo");
  runner.add(insula::Workflow::builder("order").task("book", book).build());

  const std::unique_ptr<PGconn, void (*)(PGconn*)> conn{PQconnectdb(url.c_str()), PQfinish};
  if (PQstatus(conn.get()) != CONNECTION_OK) throw std::runtime_error{PQerrorMessage(conn.get())};
  BorrowedConnection shop{conn.get()};
  pqxx::nontransaction{shop}.exec(
      "CREATE TABLE IF NOT EXISTS orders (id int); CREATE TABLE IF NOT EXISTS bookings (id int)");

  pqxx::work work{shop};
  work.exec("INSERT INTO orders VALUES (42)");
  const auto id = insula::enqueue(conn.get(), "order", {{"order", 42}}, {}, "pqxx_demo");
  work.commit();

  const insula::Result result = runner.execution(id).wait();
  const auto booked = pqxx::nontransaction{shop}.exec1("SELECT count(*) FROM bookings WHERE id = 42");
  std::cout << "order 42: " << result.status << ", booked " << booked[0].as<int>() << " time(s)\n";
  runner.shutdown();
}
