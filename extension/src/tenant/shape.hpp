// The shape that a tenant's relations must have.  Two questions: whether a relation can be used at
// all, which every backend asks before its first use; and whether it has additions, which audits
// and the taking over of others' relations ask.
#pragma once

#include "postgres.hpp"

namespace insula {

enum class Part { work, work_key, work_queue, work_limits, record, record_key, sequence, count };

inline constexpr int part_count = static_cast<int>(Part::count);

const char *name_of(Part part);
char kind_of(Part part);

// The difference from the relation that Insula makes, as the rest of a sentence ("has the trigger
// t"); nullptr: none.  `table` is the table that an index must belong to.
const char *fault_of(Relation relation, Part part, Oid table);
// The same for the owner, and for objects that run code at reads and writes.
const char *foreign_hook(Relation relation);
const char *foreign_owner(Relation relation);

// Additions that leave the columns alone, each as the rest of a sentence: checks, indexes and
// statistics may run others' functions as insula_owner.
List *additions_to(Relation relation, Part part);

}  // namespace insula
