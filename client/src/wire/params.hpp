// Values as parameters of statements, and out of their rows.
#pragma once

#include "wire/pq.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace insula::wire {

Param text_or_null(std::string_view text);
std::string interval(std::chrono::milliseconds d);
// As an interval.
std::string since_epoch(std::chrono::system_clock::time_point when);

// A column that read_time reads.
#define INSULA_MICROSECONDS(column) "(extract(epoch FROM " column ") OPERATOR(pg_catalog.*) 1000000)::bigint"
// nullopt: it is NULL.
std::optional<std::chrono::system_clock::time_point> read_time(const Rows& rows, int row, int column);

}  // namespace insula::wire
