// Gives up caches that have grown; see caches.hpp.
#include "tenant/caches.hpp"

extern "C" {
#include "utils/guc.h"
#include "utils/inval.h"
}

namespace insula {

namespace {

int cache_kilobytes = 64 * 1024;
// To ask how large the caches are takes a while, with thousands of relations in them.
constexpr int tenants_between_looks = 64;
int tenants_read = 0;

}  // namespace

void define_cache_settings() {
  DefineCustomIntVariable("insula.cache_size", "The memory that a process keeps of the tenants that it has served.",
                          "What it has read of their relations is given up when it takes more.", &cache_kilobytes,
                          cache_kilobytes, 8 * 1024, MAX_KILOBYTES, PGC_SIGHUP, GUC_UNIT_KB, nullptr, nullptr, nullptr);
}

void note_relations_read() { ++tenants_read; }

void give_up_large_caches() {
  if (tenants_read < tenants_between_looks) return;
  tenants_read = 0;
  if (MemoryContextMemAllocated(CacheMemoryContext, true) / 1024 < static_cast<Size>(cache_kilobytes)) return;
  InvalidateSystemCaches();
}

}  // namespace insula
