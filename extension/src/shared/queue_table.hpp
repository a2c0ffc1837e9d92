// Room in queues, as the end of a transaction changes it, for the other files of this folder.  Under the
// lock of the counters.
#pragma once

#include "shared/memory.hpp"

namespace insula {

bool any_queue_is_limited();  // without the lock, too
// The transaction has committed.
void add_queued(std::int32_t tenant, std::int64_t tasks, std::uint64_t transaction);
void drop_queue_reservations();
void drop_queue_room_of(Oid database, std::int32_t tenant);

}  // namespace insula
