// Brings a tenant's schema to the present layout, one version at a time, as insula_owner.  Layout 1
// is the first, so there is no step yet.  Each new layout adds a step here, and storage/ works on
// the layout before it until all tenants have been upgraded.
#include "provision/provision.hpp"
#include "spi/session.hpp"
#include "version.hpp"

namespace insula {

OldLayout *tenants_of_old_layout(std::int32_t most, int *count) {
  MemoryContext caller = CurrentMemoryContext;
  const Session session = open_session();
  Datum values[] = {Int32GetDatum(layout_version), Int64GetDatum(most)};
  if (SPI_execute_plan(shared_plan(SharedStatement::old_layouts), values, nullptr, false, 0) != SPI_OK_SELECT)
    elog(ERROR, "insula: reading layouts failed");
  *count = static_cast<int>(SPI_processed);
  auto *old = static_cast<OldLayout *>(MemoryContextAlloc(caller, sizeof(OldLayout) * (SPI_processed + 1)));
  for (std::uint64_t i = 0; i < SPI_processed; ++i)
    old[i] = {get_int32(i, 1), MemoryContextStrdup(caller, get_text(i, 2)), get_int32(i, 3)};
  close_session(session);
  return old;
}

void upgrade_layout(const OldLayout &old, std::int64_t) {
  ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                  errmsg("there is no way from layout %d to layout %d", old.version, layout_version)));
}

}  // namespace insula
