// What a session, or a scheduler, keeps of the catalogs.  PostgreSQL keeps all that it has read, some 40 kB a tenant,
// as long as nothing changes there.  Above insula.max_kept_catalogs the process forgets it and reads anew.
#pragma once

namespace insula {

void define_catalogs_setting();
// Counts a tenant whose relations have been made, or read and checked.
void note_catalogs_read();
// Begins anew where much is kept.  What the caller has looked up is to be looked up again.
void bound_kept_catalogs();

}  // namespace insula
