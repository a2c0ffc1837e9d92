// Brings a tenant's schema to the present layout, one version at a time, as insula_owner.  Layout 1
// is the first, so there is no step yet.  Each new layout adds a step here, and storage/ works on
// the layout before it until all tenants have been upgraded.
#include "provision/provision.hpp"
#include "spi/session.hpp"
#include "version.hpp"

namespace insula {

OldLayout *tenants_of_old_layout(std::int32_t most, int *count) {
  static constexpr Statement old_layouts = {
      "old_layouts",
      R"(
        SELECT tenant_no, tenant, layout_version
        FROM insula.tenant
        WHERE layout_version < $1
        ORDER BY tenant
        LIMIT $2)",
      {INT4OID, INT8OID},
  };
  MemoryContext caller = CurrentMemoryContext;
  const Session session = open_session();
  Arguments arguments;
  arguments.add(Int32GetDatum(layout_version)).add(Int64GetDatum(most));
  const auto rows = run(old_layouts, arguments);
  *count = static_cast<int>(rows);
  auto *old = static_cast<OldLayout *>(MemoryContextAlloc(caller, sizeof(OldLayout) * (rows + 1)));
  for (std::uint64_t i = 0; i < rows; ++i)
    old[i] = {get_int32(i, 1), MemoryContextStrdup(caller, get_text(i, 2)), get_int32(i, 3)};
  close_session(session);
  return old;
}

void upgrade_layout(const OldLayout &old, std::int64_t) {
  ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                  errmsg("there is no way from layout %d to layout %d", old.version, layout_version)));
}

}  // namespace insula
