// The version of the library, which must be that of the extension's SQL objects.
#pragma once

#define INSULA_VERSION "0.1.0"

namespace insula {

// The layout of a tenant's schema; see provision/layout.cpp.
inline constexpr int layout_version = 1;

// The version of the SQL objects in this database; nullptr: there are none (tenant/installed.cpp).
const char *installed_version();
// Whether that is the library's.
bool version_fits();
// IS009 unless it is.
void require_version();

}  // namespace insula
