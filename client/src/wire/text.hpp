// Texts on their way to the server: what it can store, and what it can be told instead.
#pragma once

#include <string>
#include <string_view>

namespace insula::wire {

// Valid UTF-8 without NUL, of a bearable length.  Any other byte becomes a question mark, since
// a mangled message is better than none.
std::string storable(std::string text);

// Writes each character that is not ASCII as \u20ac, or \U0001f600: every database can
// store that, whatever its encoding.
std::string escaped(std::string_view text);

bool is_ascii(std::string_view text) noexcept;

// With an underscore in place of what is no printable ASCII.
std::string plain(std::string text);

}  // namespace insula::wire
