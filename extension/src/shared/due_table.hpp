// The entries of the due queue, for due_queue.cpp and due_report.cpp alone.  Under the lock of shared memory.
#pragma once

#include "shared/databases.hpp"

namespace insula {

struct DueEntry {
  TenantKey key;
  pairingheap_node node;
  TimestampTz due;         // DT_NOEND: it is not in the heap
  TimestampTz not_before;  // it is put off until then; DT_NOBEGIN: it is not
  bool in_hand;            // a scheduler looks at the tenant
  bool reload;             // its schedules may have changed
  bool awaits;             // an execution's end makes it due
  bool ended;              // one has ended since it was taken
  bool aside;              // its last turn has failed
  bool afresh;             // it may have been mended since
};

extern SharedTable<DueEntry> shared_dues;
extern SharedTable<DueEntry> own_dues;  // of a scheduler without shared memory

inline const SharedTable<DueEntry> &dues() { return shared_memory_available() ? shared_dues : own_dues; }
inline DueEntry *find_due(Oid database, std::int32_t tenant) { return dues().find({database, tenant}); }

}  // namespace insula
