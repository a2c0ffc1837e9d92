// The places of databases in the due queue; for the files of this folder alone.
#pragma once

#include "shared/state.hpp"

namespace insula {

// A scheduler is launched so much before something is due.
inline constexpr std::int64_t launch_lead = 200000;

// The lock of shared memory; nothing where there is none.
void lock(LWLockMode mode);
void unlock();

// Under the lock; nullptr: the database has no place.
DatabaseSlot *find_slot(Oid database);
DatabaseSlot *make_slot(Oid database);  // nullptr: there is no room
TimestampTz first_due(DatabaseSlot &slot);
void remove_entries(DatabaseSlot &slot);
void wake_launcher();

// Of this database; its place never moves while it has one.
DatabaseSlot *my_slot();

}  // namespace insula
