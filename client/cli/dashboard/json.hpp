// JSON for the page. Whole numbers of eight bytes and numerics are strings, since a browser's numbers hold 53 bits;
// JSON of the database is a string too, which the page reads itself, digit by digit.
#pragma once

#include <string>
#include <string_view>

#include "session.hpp"

namespace insula::cli::dashboard {

// In quotes; bytes that are no UTF-8 are replaced.
std::string json_text(std::string_view text);
// The first `most` bytes as UTF-8, ended at a character; bytes that are no UTF-8 are replaced.
std::string cut_text(std::string_view text, std::size_t most);
// An array of objects.
std::string json_rows(const Table& table);

}  // namespace insula::cli::dashboard
