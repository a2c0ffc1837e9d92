// Verbs on all executions that a filter fits, oldest first, up to a number of them.  Each
// is dealt with as by itself, so one that has changed meanwhile is left out.
#include "operation/operations.hpp"

namespace insula {

namespace {

// Rows looked through at a time.
constexpr int stretch = 10000;

bool apply(const Tenant &tenant, Verb verb, std::int64_t id, TimestampTz now, const char *reason) {
  switch (verb) {
    case Verb::cancel:
      return cancel(tenant, id, now, reason) == Change::done;
    case Verb::retry:
      return retry(tenant, id, now, reason) == Change::done;
    case Verb::remove:
      return remove_executions(tenant, &id, 1) > 0;
  }
  return false;
}

}  // namespace

std::int64_t *apply_to_all(const Tenant &tenant, const BulkRequest &request, int *count) {
  auto *ids = palloc_array_of<std::int64_t>(static_cast<std::size_t>(request.most));
  *count = 0;
  MemoryContext before = CurrentMemoryContext;
  MemoryContext scratch = AllocSetContextCreate(before, "insula bulk", ALLOCSET_DEFAULT_SIZES);
  MemoryContextSwitchTo(scratch);
  for (std::int64_t after = 0; *count < request.most;) {
    const std::int64_t last = end_of_stretch(tenant, after, stretch);
    if (last == 0) break;
    int found;
    const std::int64_t *matching = matching_executions(tenant, request.filter, after, last, &found);
    for (int i = 0; i < found && *count < request.most; ++i) {
      CHECK_FOR_INTERRUPTS();
      if (request.dry_run || apply(tenant, request.verb, matching[i], request.now, request.reason))
        ids[(*count)++] = matching[i];
    }
    after = last;
    MemoryContextReset(scratch);
  }
  MemoryContextSwitchTo(before);
  MemoryContextDelete(scratch);
  return ids;
}

}  // namespace insula
