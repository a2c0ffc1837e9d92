// What the relations of a tenant's schema must look like.  Two questions: whether one can be used
// at all, which every backend asks before its first use; and what has been added to it, which
// concerns audits, and the taking over of what others own.
#pragma once

#include "postgres.hpp"

namespace insula {

enum class Part { work, work_key, work_queue, work_limits, record, record_key, sequence, count };

inline constexpr int part_count = static_cast<int>(Part::count);

const char *name_of(Part part);
char kind_of(Part part);

// How it differs from what Insula made, as the rest of a sentence ("has the trigger t"); nullptr:
// not at all.  `table` is the one that an index must belong to.
const char *fault_of(Relation relation, Part part, Oid table);
// The same, of its owner, and of what could run code at its reads and writes.
const char *foreign_hook(Relation relation);
const char *foreign_owner(Relation relation);

// What hangs on a table without a change of its own columns, each as the rest of a sentence: checks,
// indexes and statistics may run functions of others as insula_owner.
List *additions_to(Relation relation, Part part);

}  // namespace insula
