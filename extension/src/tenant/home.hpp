// The home of these tenants.  A copy of the database (restored from a dump, made with TEMPLATE,
// recovered to a point in time) holds the same queue as the original, so it does no work until it
// is adopted: the table insula.home records the system identifier, the database and the last
// point-in-time recovery that the tenants belong to.  A promoted standby, a crashed server that
// starts again, and a cluster made by pg_upgrade are no copies.
#pragma once

#include "postgres.hpp"

namespace insula {

// Raises IS008 in a copy that has not been adopted.
void require_home();
// The reason why this database is a copy; nullptr: it is none.
const char *why_not_home();
// Whether the home is another database of this cluster, so that its roles are shared with it.
bool shares_roles_with_home();

// After pg_upgrade, records this database: until then a later copy could pass for a cluster made by
// pg_upgrade.  True: it did, and the caller may have to ask for a scheduler.
bool record_home_after_upgrade();
// After a point-in-time recovery: a cluster that pg_upgrade makes of this one is a copy as well.
void forget_mark_of_copy();

// Records this database as the home.  True: it was not, and the caller may have to ask for a
// scheduler.
bool record_home();
// The same, if there is no tenant yet.
bool record_home_of_none();

// Called for each relation cache invalidation; InvalidOid: any relation may have changed.
void home_changed(Oid relation);

// ---- recovery.cpp ----

// Called in the postmaster at its start; records a start from recovery.signal.
void note_recovery();
// Names the last point-in-time recovery; empty: none.
const char *last_recovery();

}  // namespace insula
