// Randomness from the strong source, which neither repeats after a crash nor on a
// promoted standby.
#pragma once

#include "postgres.hpp"

namespace insula {

inline std::uint64_t random_bits() {
  std::uint64_t bits;
  if (!pg_strong_random(&bits, sizeof bits))
    ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values")));
  return bits;
}

// 63 bits, never 0 in its upper half by chance alone; ids are mixed into the lower.
inline std::int64_t random_lease() { return static_cast<std::int64_t>(random_bits() >> 1); }

// In [0, 1).
inline double random_fraction() { return static_cast<double>(random_bits() >> 11) / 9007199254740992.0; }

}  // namespace insula
