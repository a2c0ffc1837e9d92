// The size of JSON as text, which may be ten thousand times its size as jsonb: 1e131071 takes
// sixteen bytes there.
#pragma once

#include "postgres.hpp"

namespace insula {

// The size as jsonb, with long numbers and control characters as they are written.  It is never less than the size as
// jsonb, and never more for JSON of other values.
std::size_t text_size(Jsonb *json);
std::size_t text_size(const JsonbValue &value);

inline constexpr std::size_t max_text_size = std::size_t{64} << 20;

// Whether the value takes more than max_text_size as text.
bool is_too_long_as_text(Jsonb *json);

}  // namespace insula
