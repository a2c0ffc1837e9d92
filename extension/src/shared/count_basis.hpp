// Counting rows with a snapshot while other transactions commit: each of them adds to the count at its
// commit what the snapshot does not show.  For the files of this folder alone.
#pragma once

#include "postgres.hpp"

namespace insula {

// The snapshot that rows were counted with.
struct CountBasis {
  std::uint64_t xmax;
  int running_count;
  TransactionId running[65];  // and the one that took it

  bool take(const SnapshotData &snapshot);      // false: more transactions run than fit
  bool shows(std::uint64_t transaction) const;  // one that has committed
};

enum class TallyState { unknown, counting, known };

}  // namespace insula
