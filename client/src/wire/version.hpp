// Whether a database's extension goes with this library: the same major and minor number.
#pragma once

#include "wire/pq.hpp"

#include <insula/error.hpp>

#include <optional>
#include <string_view>

namespace insula::wire {

inline constexpr std::string_view library_version = "0.1.0";

// One row, one column: the extension's version, NULL if there is none.
inline constexpr const char* version_query =
    "SELECT (SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'insula')";

// nullopt: they go together.
std::optional<error> check_version(const Rows& rows);

}  // namespace insula::wire
