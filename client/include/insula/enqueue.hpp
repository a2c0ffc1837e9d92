// SPDX-License-Identifier: PostgreSQL
// enqueue: starts an execution in a transaction of your own, over your own connection, so
// that it is there if and only if your work is.
//
//   PGconn* conn = PQconnectdb("dbname=mydb");
//   PQclear(PQexec(conn, "BEGIN"));
//   PQclear(PQexec(conn, "INSERT INTO orders VALUES (42)"));
//   insula::enqueue(conn, "ship", {{"order", 42}});
//   PQclear(PQexec(conn, "COMMIT"));                     // both, or neither
//
//   insula::enqueue_many(conn, "ship", contexts, {.idempotency_keys = {"a", "b"}});   // one for each
//
// Any runner of the tenant may do the work; none is needed here.  With a library that hides its PGconn, or has none,
// send the statement yourself:
//
//   insula::SqlStatement submit = insula::enqueue_statement("ship", {{"order", 42}});
//   pqxx::params params;
//   for (const auto& parameter : submit.parameters) params.append(parameter);
//   pqxx::row answer = transaction.exec_params1(submit.sql, params);   // execution_id, is_new
#pragma once

#include <insula/context.hpp>
#include <insula/error.hpp>
#include <insula/export.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

extern "C" {
typedef struct pg_conn PGconn;  // as in libpq-fe.h
}

namespace insula {

// How an execution is started; all have defaults.
struct SubmitOptions {
  int priority = 0;  // -32,767 to 32,767, higher first, inside the tenant
  // Not to be started before; nullopt: at once.
  std::optional<std::chrono::system_clock::time_point> run_at = {};
  // Added to run_at, or to the server's present time.
  std::chrono::milliseconds delay{0};
  // Starts at most one execution per key and workflow: later ones get the first one's id.
  // With a key a submit is safe to repeat.  Up to 255 bytes.
  std::string idempotency_key = {};
  // A W3C trace context, "00-<trace id>-<span id>-<flags>", for the handlers of the tasks: it is
  // put into the context, under traceparent_key, where every task finds it, and handed on to
  // child executions.  What is not of that form is refused: error{invalid}.
  std::string traceparent = {};
};

// The same for many executions of one workflow that are started together.
struct SubmitManyOptions {
  int priority = 0;
  std::optional<std::chrono::system_clock::time_point> run_at = {};
  std::chrono::milliseconds delay{0};
  // Either none, or one for each context; an empty one means that this context has none.  Only
  // if all have one is the call safe to repeat.
  std::vector<std::string> idempotency_keys = {};
  std::string traceparent = {};
};

// The key of the context under which a trace context travels; SQL users put it there by hand.
inline constexpr std::string_view traceparent_key = "traceparent";

// Returns the execution's id.  The tenant is the one whose login the connection's user is,
// or `tenant`, which takes rights on it.  Outside of a transaction block it commits by itself.
//
// Blocks until the server has answered; the connection must not be used by another thread
// during the call.  Throws insula::error, and as after any failed statement, a transaction block
// can then only be rolled back; error{invalid}, with nothing sent, for a transaction that
// has failed already, for a connection that is busy or in pipeline mode, and for a text that is
// not ASCII where the connection's client_encoding is not UTF8 (see PQsetClientEncoding).
INSULA_EXPORT std::int64_t enqueue(PGconn* conn, std::string_view workflow, const Context& context = {},
                                   const SubmitOptions& options = {}, std::string_view tenant = {});

// Starts an execution for each of the contexts, all or none, in one statement; returns their ids
// in that order.  As enqueue in all else; without contexts nothing is sent.
INSULA_EXPORT std::vector<std::int64_t> enqueue_many(PGconn* conn, std::string_view workflow,
                                                     std::span<const Context> contexts,
                                                     const SubmitManyOptions& options = {},
                                                     std::string_view tenant = {});

// The same, and whether this call has started the execution: false where its idempotency key was known.
struct Submitted {
  std::int64_t execution_id = 0;
  bool is_new = true;
};
[[nodiscard]] INSULA_EXPORT Submitted enqueue_once(PGconn* conn, std::string_view workflow, const Context& context = {},
                                                   const SubmitOptions& options = {}, std::string_view tenant = {});

// enqueue_once as data: SQL with $1, $2 and so on, and their values as text, nullopt being NULL; the answer is a row
// of execution_id, a bigint, and is_new, a boolean.  Nothing is sent.
struct SqlStatement {
  std::string sql;
  std::vector<std::optional<std::string>> parameters;
};
[[nodiscard]] INSULA_EXPORT SqlStatement enqueue_statement(std::string_view workflow, const Context& context = {},
                                                           const SubmitOptions& options = {},
                                                           std::string_view tenant = {});

}  // namespace insula
