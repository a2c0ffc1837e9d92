// The watermarks of all tenants, as transactions change them at their end; for the files of this folder
// alone.  Under the lock of shared memory.
#pragma once

#include "shared/memory.hpp"
#include "shared/watermarks.hpp"

namespace insula {

struct RaisedWatermark {
  std::int32_t tenant;
  std::uint64_t version;
  core::Searched searched;
  bool of_place;
};

struct RacedWatermarks {
  std::int32_t tenant;
  std::uint64_t version;
};

void raise_watermark(Oid database, const RaisedWatermark &raised);
void lower_watermarks(Oid database, std::int32_t tenant, std::int64_t due);
void forget_watermarks_of(Oid database, std::int32_t tenant);
// Where another transaction has lowered them, or may have; false: none has.
bool forget_watermarks_since(Oid database, const RacedWatermarks &raced);
void forget_beginnings_of(Oid database, std::int32_t tenant);
void forget_all_watermarks(Oid database);
// Their entries go, too.
void drop_watermarks_of(Oid database, std::int32_t tenant);
void forget_watermarks_in(Oid database);

}  // namespace insula
