// Checks all of a tenant's relations: for audits, and before relations of other roles are taken
// over.
#pragma once

#include "postgres.hpp"

namespace insula {

struct Fault {
  const char *level;   // error or warning
  const char *object;  // its name in insula.audit()
  const char *finding;
};

// Calls `tell` with each fault of any tenant's relations that a query on the catalogs cannot find.
void read_faults(void (*tell)(void *argument, const char *tenant, const Fault &fault), void *argument);

// A list of Faults: the reasons why the schema, with all that is in it, must not be given to
// insula_owner.  With `lock` its relations stay locked until the end of the transaction.
List *reasons_against(const char *schema, bool lock);

}  // namespace insula
