// Which version of the SQL objects this database has: read from the catalog without SQL, which
// would need rights on it that can be revoked.
#include "postgres.hpp"
#include "version.hpp"

extern "C" {
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "utils/fmgroids.h"
}

namespace insula {

const char *installed_version() {
  ScanKeyData key;
  ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum("insula"));
  Relation catalog = table_open(ExtensionRelationId, AccessShareLock);
  SysScanDesc scan = systable_beginscan(catalog, ExtensionNameIndexId, true, nullptr, 1, &key);
  HeapTuple row = systable_getnext(scan);
  bool null = true;
  const Datum version =
      HeapTupleIsValid(row) ? heap_getattr(row, Anum_pg_extension_extversion, RelationGetDescr(catalog), &null) : 0;
  const char *installed = null ? nullptr : text_to_cstring(DatumGetTextPP(version));
  systable_endscan(scan);
  table_close(catalog, AccessShareLock);
  return installed;
}

}  // namespace insula
