// Where these tenants are at home.  A copy of the database (restored from a dump, made with
// TEMPLATE, recovered to a point in time) holds the same queue as the original, so it does
// no work until somebody says that it shall: the table insula.home records the system
// identifier, the database and the last point-in-time recovery that the tenants belong to.
// A promoted standby, a crashed server that starts again, and a cluster that pg_upgrade has made are no copies.
#pragma once

#include "postgres.hpp"

namespace insula {

// Raises IS008 in a copy that nobody has adopted.
void require_home();
// What makes this a copy; nullptr: it is none.
const char *why_not_home();
// The home was recorded in another database of this very cluster, so roles are shared with it.
bool shares_roles_with_home();

// Where pg_upgrade has made the cluster, records this database: until then the next copy could be taken for what
// pg_upgrade has made.  True: it has done so, and a scheduler may have to be asked for.
bool settle_after_upgrade();
// Where the cluster was recovered to a point in time: what pg_upgrade makes of it is a copy as well.
void forget_mark_of_copy();

// Records this database, and says whether it did: then a scheduler may have to be asked for.
bool record_home();
// The same, where there is no tenant yet.
bool record_home_of_none();

// For the relation cache's invalidations; InvalidOid: any relation.
void home_changed(Oid relation);

// ---- recovery.cpp ----

// From the postmaster, at start: takes note of a start from recovery.signal.
void note_recovery();
// Names the last one; empty: none.
const char *last_recovery();

}  // namespace insula
