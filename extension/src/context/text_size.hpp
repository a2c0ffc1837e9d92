// What JSON takes as text, which may be ten thousand times what it takes as jsonb: 1e131071 takes
// sixteen bytes there.
#pragma once

#include "postgres.hpp"

namespace insula {

inline constexpr std::size_t max_text_size = std::size_t{64} << 20;

// Whether it is larger than that as text.
bool is_too_long_as_text(Jsonb *json);

}  // namespace insula
