// Prints tables: aligned for people, JSON and CSV for programs. Numbers in JSON are exact, whatever their size.
#pragma once

#include <iosfwd>
#include <string>
#include <string_view>

#include "session.hpp"

namespace insula::cli {

enum class Format { table, json, csv };

struct Terminal {
  bool is_terminal = false;  // standard output is one
  bool colours = false;      // it is, and NO_COLOR is not set
  int width = 0;             // 0: not known, do not cut
  int height = 24;
};
Terminal terminal();

// Without what a terminal would obey.
std::string inert(std::string text);
// The same, on one line.
std::string plain(const std::string& text);
// JSON without the control characters that it may hold as they are; it means the same.
std::string plain_json(const std::string& json);

std::string bold(std::string_view text);
// Green, yellow or red for a word of status that is good, pending or bad.
std::string coloured(std::string_view status);

// Whether the terminal has room for all columns, cut to a few characters each.
bool fits(const Table& table, const Terminal& terminal);

// A table that does not fit is printed as records.
void print(std::ostream& out, const Table& table, Format format, const Terminal& terminal);
// One row as name and value, one below the other; JSON and CSV as ever.
void print_record(std::ostream& out, const Table& table, Format format, const Terminal& terminal);

// As many columns of a terminal as it takes, cut with an ellipsis where that is more than `most`.
std::string cut(std::string_view text, std::size_t most);
std::size_t width_of(std::string_view text);

}  // namespace insula::cli
