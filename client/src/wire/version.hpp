// The first question to a server: whether its extension goes with this library.  It does if the first numbers of
// both are the same, and the second is not below the library's: what a library calls stays in later versions, so that
// servers are updated first, under workers that run, and programs afterwards.
#pragma once

#include "wire/pq.hpp"

#include <insula/error.hpp>

#include <chrono>
#include <optional>
#include <string_view>

namespace insula::wire {

inline constexpr std::string_view library_version = "0.1.0";

// One row: the extension's version, NULL if there is none; after how many milliseconds the server
// ends a session that is idle, 0 if never; and the session's process.
inline constexpr const char* version_query =
    "SELECT (SELECT extversion FROM pg_catalog.pg_extension WHERE extname OPERATOR(pg_catalog.=) 'insula'), "
    "(pg_catalog.date_part('epoch', pg_catalog.current_setting('idle_session_timeout', true)::interval) "
    "OPERATOR(pg_catalog.*) 1000)::bigint, pg_catalog.pg_backend_pid()";

// The answer of a server that has closed pg_extension to this role: whether they go together shows
// in the calls.
bool hides_version(const error& failure);

// nullopt: they go together.
std::optional<error> check_version(const Rows& rows);
std::chrono::milliseconds idle_limit(const Rows& rows);
// Whether the connection is the session's own: a pooler makes up a process for its clients, and what is
// set in a session through it is set for others.
bool is_direct(const Rows& rows, int process);

}  // namespace insula::wire
