// The version of the SQL objects in this database.  It is read from the catalog without SQL, which
// needs rights that can be revoked.
#include "errors.hpp"
#include "postgres.hpp"
#include "version.hpp"

extern "C" {
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "utils/fmgroids.h"
}

namespace insula {

const char library_version[] = INSULA_VERSION;

namespace {

// Whether `version` is older; versions are numbers with dots between them.
bool is_older(const char *version, const char *than) {
  for (;;) {
    char *rest;
    char *rest_of_other;
    const long number = strtol(version, &rest, 10);
    const long other = strtol(than, &rest_of_other, 10);
    if (number != other) return number < other;
    if (*rest != '.' || *rest_of_other != '.') return *rest == '\0' && *rest_of_other == '.';
    version = rest + 1;
    than = rest_of_other + 1;
  }
}

void refuse_version(const char *version) {
  const bool library_is_older = version && is_older(library_version, version);
  ereport(ERROR,
          (errcode(INSULA_VERSION_MISMATCH),
           errmsg("extension \"insula\" has version %s, its library %s", version ? version : "(none)", library_version),
           library_is_older
               ? errhint("Install the library of version %s, if that has not been done, and restart the server; "
                         "without shared_preload_libraries it is enough to connect again.",
                         version)
               : errhint("Run ALTER EXTENSION insula UPDATE.")));
}

}  // namespace

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

bool installed_before(const char *version) {
  const char *installed = installed_version();
  return !installed || is_older(installed, version);
}

// The extension may be dropped, or updated, between two looks at the catalog: it is looked at once.
static bool fits(const char *version) {
  if (!version || is_older(version, oldest_version)) return false;
  return is_older(version, library_version) || strcmp(version, library_version) == 0;
}

bool version_fits() { return fits(installed_version()); }

void require_version() {
  const char *version = installed_version();
  if (!fits(version)) refuse_version(version);
}

}  // namespace insula
