// Beginning, committing, and leaving a borrowed connection as it was.
#include "runtime/transaction.hpp"

#include <insula/error.hpp>

#include <fmt/format.h>

#include <utility>

namespace insula::detail {

Loan::~Loan() {
  for (; left_ > 0; --left_) lender_->give_back(nullptr);
}

void Loan::take_one(const std::shared_ptr<Lender>& lender, std::stop_token stop) {
  if (!lender_) {
    const std::size_t most = lender->most_at_once();
    if (tasks_ > most && most > 0)
      throw error{errc::limit,
                  fmt::format("a batch of {} tasks has {} connections for transactions: the next ones are smaller; see "
                              "RunnerConfig::max_connections",
                              tasks_, most),
                  {},
                  true};
    lender->take(tasks_, stop);
    lender_ = lender;
    left_ = tasks_;
  }
  if (left_ > 0)
    --left_;
  else  // one that could not be begun has been given back
    lender->take_again(std::move(stop));
}

Transaction::Transaction(std::shared_ptr<Lender> lender) : lender_(std::move(lender)) {
  try {
    session_ = lender_->connect();
    conn_ = session_->connection();
    exchange({"BEGIN"});
  } catch (...) {
    lender_->give_back(nullptr);
    throw;
  }
}

Transaction::~Transaction() { lender_->give_back(is_clean() ? std::move(session_) : nullptr); }

// Rolls back what is open, and ends whatever the handler has set or made in the session: the
// next to borrow it may work for another tenant.  What cannot be cleaned is closed.
bool Transaction::is_clean() const {
  if (PQpipelineStatus(conn_) != PQ_PIPELINE_OFF || !wire::reset_client_side(conn_)) return false;
  try {
    if (PQtransactionStatus(conn_) != PQTRANS_IDLE) exchange({"ROLLBACK"});
    exchange({"DISCARD ALL"});
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

wire::Rows Transaction::exchange(const wire::Statement& statement) const {
  return wire::exchange(conn_, statement, lender_->call_timeout());
}

bool Transaction::join(const wire::Claimed& task, const std::string& tenant) {
  return wire::read_boolean(exchange(wire::join_task(task.task_id, task.lease, tenant)));
}

void require_open_transaction(const PGconn* conn) {
  if (PQstatus(conn) != CONNECTION_OK) throw error{errc::unreachable, "the transaction's connection broke", {}, true};
  if (PQpipelineStatus(conn) != PQ_PIPELINE_OFF || PQtransactionStatus(conn) == PQTRANS_ACTIVE)
    throw error{errc::invalid, "the handler left its transaction's connection busy"};
  if (PQtransactionStatus(conn) == PQTRANS_INERROR)
    throw error{errc::invalid, "a statement of the handler's transaction has failed"};
  if (PQtransactionStatus(conn) != PQTRANS_INTRANS)
    throw error{errc::invalid, "the handler ended its transaction itself; returning is what commits it"};
}

void Transaction::say(const wire::Statement& statement) {
  require_open_transaction(conn_);
  wire::reset_client_side(conn_);
  exchange({"SAVEPOINT insula"});
  try {
    exchange(statement);
  } catch (const error&) {
    exchange({"ROLLBACK TO SAVEPOINT insula"});  // throws where the connection broke
  }
}

bool Transaction::commit(const wire::Statement& outcome) {
  require_open_transaction(conn_);
  // A notice that comes now would go to an object of the handler's, which has returned.
  wire::reset_client_side(conn_);
  try {
    if (!wire::read_accepted(exchange(outcome))) return false;
  } catch (const error& e) {
    // Before the commit nothing can have been kept.
    throw error{e.code(), e.what(), e.sqlstate(), e.retryable()};
  }
  try {
    exchange({"COMMIT"});
    return true;
  } catch (const error& e) {
    if (e.sqlstate() == "IS005") return false;
    throw;
  }
}

}  // namespace insula::detail
