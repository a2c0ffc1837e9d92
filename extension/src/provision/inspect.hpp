// Looking at tenants' relations as a whole: for audits, and before what another role owns is taken over.
#pragma once

#include "postgres.hpp"

namespace insula {

struct Fault {
  const char *level;   // error or warning
  const char *object;  // as insula.audit() names it
  const char *finding;
};

// Of all tenants' relations, what the catalogs alone do not tell at a glance; calls `tell` with each.
void read_faults(void (*tell)(void *argument, const char *tenant, const Fault &fault), void *argument);

// Why the schema must not be handed to insula_owner, with all that is in it: a list of Faults.  With
// `lock`, its relations are locked, so that they stay as they are until the end of the transaction.
List *reasons_against(const char *schema, bool lock);

}  // namespace insula
