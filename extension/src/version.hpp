// The versions of the library and of the extension's SQL objects.  A library serves the SQL of its own version and of each
// earlier one down to oldest_version, since a server may load a new library long before ALTER EXTENSION insula UPDATE.
#pragma once

namespace insula {

// The library's own, as the control file tells it (tenant/installed.cpp).
extern const char library_version[];
// The oldest SQL that the library serves.
inline constexpr char oldest_version[] = "0.1.0";

// The layout of a tenant's schema; see provision/layout.cpp.
inline constexpr int layout_version = 1;

// The version of the SQL objects in this database; nullptr: there are none.
const char *installed_version();
// Whether that is older than `version`, so that it lacks what came with it.
bool installed_before(const char *version);
// Whether the library serves it.
bool version_fits();
// IS009 unless it does.
void require_version();

}  // namespace insula
