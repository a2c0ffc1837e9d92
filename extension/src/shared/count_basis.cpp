// Snapshots of counts; see count_basis.hpp.
#include "shared/count_basis.hpp"

#include <algorithm>

extern "C" {
#include "access/transam.h"
#include "utils/snapmgr.h"
}

namespace insula {

static std::uint64_t full_xmax(const SnapshotData &snapshot) {
  const std::uint64_t next = U64FromFullTransactionId(ReadNextFullTransactionId());
  return next - (static_cast<std::uint32_t>(next) - snapshot.xmax);
}

bool CountBasis::take(const SnapshotData &snapshot) {
  if (snapshot.xcnt >= lengthof(running)) return false;
  xmax = full_xmax(snapshot);
  running_count = static_cast<int>(snapshot.xcnt);
  std::copy(snapshot.xip, snapshot.xip + snapshot.xcnt, running);
  // A snapshot does not name the transaction that takes it, which has not committed either.
  const TransactionId own = GetTopTransactionIdIfAny();
  if (TransactionIdIsValid(own)) running[running_count++] = own;
  return true;
}

bool CountBasis::shows(std::uint64_t transaction) const {
  const TransactionId *end = running + running_count;
  return transaction < xmax && std::find(running, end, static_cast<TransactionId>(transaction)) == end;
}

}  // namespace insula
