// From what libpq and the server say to insula::error: one place for the meaning of
// SQLSTATEs.  Pure functions.
#pragma once

#include <insula/error.hpp>

#include <libpq-fe.h>

#include <string>
#include <string_view>

namespace insula::wire {

// Whether the server ended the session with this state (shutdown, crash, too many
// connections ...), or there never was one.
bool is_connection_state(std::string_view sqlstate) noexcept;

// For a result of an error status.
error make_error(const PGresult* result);

// For a PGconn that could not be established, or broke.  Connections are made with
// verbose errors, since that is the only way to learn the SQLSTATE of a refusal.
error make_connection_error(const PGconn* conn, bool was_established);

// "FATAL:  28P01: text\nLOCATION:  ..." into its state and text; for tests.
struct Refusal {
  std::string sqlstate;
  std::string message;
};
Refusal parse_refusal(std::string_view message);

}  // namespace insula::wire
