// Submitting in the caller's own transaction.
#include "wire/calls.hpp"
#include "wire/session.hpp"

#include <insula/enqueue.hpp>

namespace insula {

namespace {

void require_usable(PGconn* conn) {
  if (!conn || PQstatus(conn) != CONNECTION_OK)
    throw error{errc::unreachable, "enqueue: the connection is not open", {}, true};
  if (PQpipelineStatus(conn) != PQ_PIPELINE_OFF)
    throw error{errc::invalid, "enqueue: the connection is in pipeline mode, where an answer cannot be waited for"};
  if (PQtransactionStatus(conn) == PQTRANS_INERROR)
    throw error{errc::invalid, "enqueue: the transaction has failed and can only be rolled back"};
  if (PQtransactionStatus(conn) == PQTRANS_ACTIVE)
    throw error{errc::invalid, "enqueue: the connection is busy with another statement"};
}

}  // namespace

std::int64_t enqueue(PGconn* conn, std::string_view workflow, const Context& context, const SubmitOptions& options,
                     std::string_view tenant) {
  require_usable(conn);
  return wire::read_number(wire::exchange(conn, wire::submit(workflow, context, options, std::string{tenant})));
}

Submitted enqueue_once(PGconn* conn, std::string_view workflow, const Context& context, const SubmitOptions& options,
                       std::string_view tenant) {
  require_usable(conn);
  return wire::read_submitted(wire::exchange(conn, wire::submit_once(workflow, context, options, std::string{tenant})));
}

SqlStatement enqueue_statement(std::string_view workflow, const Context& context, const SubmitOptions& options,
                               std::string_view tenant) {
  wire::Statement statement = wire::submit_once(workflow, context, options, std::string{tenant});
  wire::require_sendable(statement);
  return {statement.sql, std::move(statement.params)};
}

std::vector<std::int64_t> enqueue_many(PGconn* conn, std::string_view workflow, std::span<const Context> contexts,
                                       const SubmitManyOptions& options, std::string_view tenant) {
  require_usable(conn);
  if (contexts.empty()) return {};
  return wire::read_numbers(wire::exchange(conn, wire::submit_many(workflow, contexts, options, std::string{tenant})));
}

}  // namespace insula
