// Watches, for the other files of this folder; shared.hpp has the calls of sessions.  Under the lock of
// shared memory.
#pragma once

#include "shared/memory.hpp"

namespace insula {

struct WorkerEntry;

// The executions of this database have ended: their watchers are kicked.
void kick_watchers(const std::int64_t *executions, int count);
// Up to `most` of them; true: some are left.
bool drop_watches_of(WorkerEntry *worker, int most);

}  // namespace insula
