// Mending after a restore, and the adoption of copies.
#pragma once

#include "postgres.hpp"

namespace insula {

struct Mending {
  ReturnSetInfo *rows;  // tenant, object, action, error
  bool dry_run;
};
void reconcile(const Mending &mending);

// Makes this database the home of its tenants.
void adopt();

}  // namespace insula
