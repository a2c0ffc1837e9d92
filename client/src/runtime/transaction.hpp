// A transaction that is tied to an attempt: the handler's own statements, the task's outcome
// and nothing else are in it, and commit together or not at all.  The handler thread's.
#pragma once

#include "runtime/lender.hpp"
#include "wire/calls.hpp"

#include <memory>
#include <stop_token>
#include <string>

namespace insula::detail {

// Throws error{invalid} for a handler's transaction that can no longer be committed.
void require_open_transaction(const PGconn* conn);

// Connections for the transactions of a batch, one for each of its tasks: taken with the first, and given back, those
// that were not used, at its end.  The handler thread's.
class Loan {
 public:
  explicit Loan(std::size_t tasks) : tasks_(tasks) {}
  ~Loan();
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;

  // Throws insula::error, which a batch that is larger than Lender::most_at_once gets at once, or stopped.
  void take_one(const std::shared_ptr<Lender>& lender, std::stop_token stop);

 private:
  const std::size_t tasks_;
  std::shared_ptr<Lender> lender_;  // once all were taken
  std::size_t left_ = 0;
};

class Transaction {
 public:
  // Begins one, over a connection that was taken, which is given back with it.  Throws insula::error.
  explicit Transaction(std::shared_ptr<Lender> lender);
  ~Transaction();  // what has not been committed is rolled back
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  // false: the lease is lost.  Calls in it act for `tenant`; empty: the login's own.
  bool join(const wire::Claimed& task, const std::string& tenant);
  PGconn* connection() const noexcept { return conn_; }

  // A statement of our own in it; what the server refuses of that changes nothing.
  void say(const wire::Statement& statement);
  // Tells the task's outcome, and commits.  false: the lease was lost, and nothing of it
  // stays.  Throws insula::error, with outcome_unknown() if the commit was under way.
  bool commit(const wire::Statement& outcome);

 private:
  // On this very connection: a session would make a new one, with nothing of ours in it.
  wire::Rows exchange(const wire::Statement& statement) const;
  bool is_clean() const;

  const std::shared_ptr<Lender> lender_;
  std::unique_ptr<wire::Session> session_;
  PGconn* conn_ = nullptr;
};

}  // namespace insula::detail
