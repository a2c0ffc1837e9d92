// See kept_catalogs.hpp.  It is measured after some tenants, and so does not cost each of them.
#include "tenant/kept_catalogs.hpp"

#include "postgres.hpp"

extern "C" {
#include "nodes/memnodes.h"
}

namespace insula {

namespace {

constexpr int tenants_between_looks = 256;

int most_kilobytes = 128 * 1024;
int tenants_read = 0;

// Without what has been freed, which a context keeps for its next allocations.
Size bytes_in_use(MemoryContext context) {
  MemoryContextCounters counters = {};
  context->methods->stats(context, nullptr, nullptr, &counters, false);
  Size bytes = counters.totalspace - counters.freespace;
  for (MemoryContext child = context->firstchild; child; child = child->nextchild) bytes += bytes_in_use(child);
  return bytes;
}

}  // namespace

void define_catalogs_setting() {
  DefineCustomIntVariable("insula.max_kept_catalogs",
                          "How much of the catalogs a session or a scheduler that uses tenants keeps in memory.",
                          "Of each tenant it is some 40 kB.  Above this it forgets all of them and reads them anew.",
                          &most_kilobytes, 128 * 1024, 64, MAX_KILOBYTES, PGC_SUSET, GUC_UNIT_KB, nullptr, nullptr,
                          nullptr);
}

void note_catalogs_read() { ++tenants_read; }

void bound_kept_catalogs() {
  if (tenants_read < tenants_between_looks) return;
  tenants_read = 0;
  const Size most = static_cast<Size>(most_kilobytes) * 1024;
  // The first is quick, and an upper bound of the second.
  if (MemoryContextMemAllocated(CacheMemoryContext, true) < most || bytes_in_use(CacheMemoryContext) < most) return;
  InvalidateSystemCaches();
}

}  // namespace insula
