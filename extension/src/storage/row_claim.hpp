// Claims of rows under limits and of those under none share these; for the files of this folder alone.
#pragma once

#include "shared/watermarks.hpp"
#include "storage/rows.hpp"
#include "storage/work.hpp"

namespace insula {

// The rows of one claim.
struct RowClaim {
  const ClaimRequest &request;
  // One random number a claim, mixed with each row's own: a lease tells nothing about the
  // leases of other claims.
  std::int64_t lease;
  TimestampTz started_at;
  Datum worker;

  bool wants(std::int32_t key) const;
};
RowClaim begin_claim(const ClaimRequest &request);

// Claims the row found, unless another transaction has it.
bool claim_found(const Rows &rows, const RowClaim &claim, Claimed *claimed);

// The next lane between the two that may hold something; false: there is none.
bool next_lane(const Tenant &tenant, const WatermarksView &view, std::int32_t end, std::int32_t *lane);

// The queue from one place in a lane to another, which is not included.
IndexScanDesc begin_lane_scan(const Rows &rows, const Tenant &tenant, std::int32_t lane, std::int64_t from,
                              std::int64_t to);

// Below this a search that has found all that it wanted has left nothing.
std::int64_t passed_by(const Claimed *rows, int count, std::int64_t watermark);

}  // namespace insula
