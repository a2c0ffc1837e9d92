// Verbs on all executions that a filter fits, oldest first, up to a number of them.  Each execution
// is checked again before it is changed, so one that has changed since is left out.
#include <algorithm>

#include "core/ids.hpp"
#include "operation/operations.hpp"

namespace insula {

namespace {

// The rows of one search.
constexpr int stretch = 10000;

bool apply(const Tenant &tenant, const BulkRequest &request, std::int64_t id) {
  const auto verb = request.verb == Verb::cancel   ? cancel
                    : request.verb == Verb::pause  ? pause
                    : request.verb == Verb::resume ? resume
                                                   : retry;
  return verb(tenant, id, request.now, request.reason) == Change::done;
}

// Local numbers in the order in which they were taken, which may wrap around.
struct Range {
  std::int64_t after;
  std::int64_t last;
};

// Collects up to `most` matching executions from the front of the range, and shortens the range.
int collect(const Tenant &tenant, const ExecutionFilter &filter, Range *range, std::int64_t *ids, int most) {
  MemoryContext before = CurrentMemoryContext;
  MemoryContext scratch = AllocSetContextCreate(before, "insula bulk", ALLOCSET_DEFAULT_SIZES);
  MemoryContextSwitchTo(scratch);
  int count = 0;
  while (count < most) {
    CHECK_FOR_INTERRUPTS();
    const std::int64_t last = end_of_stretch(tenant, range->after, range->last, stretch);
    if (last == 0) break;
    int found;
    const std::int64_t *matching = matching_executions(tenant, filter, range->after, last, &found);
    const int taken = std::min(found, most - count);
    std::copy(matching, matching + taken, ids + count);
    count += taken;
    range->after = taken < found ? matching[taken - 1] : last;
    MemoryContextReset(scratch);
  }
  MemoryContextSwitchTo(before);
  MemoryContextDelete(scratch);
  return count;
}

// Moves the ids of the removed executions to the front; returns how many.
int remove_all(const Tenant &tenant, std::int64_t *ids, int count) {
  constexpr int step = 1000;
  MemoryContext before = CurrentMemoryContext;
  MemoryContext scratch = AllocSetContextCreate(before, "insula bulk", ALLOCSET_DEFAULT_SIZES);
  MemoryContextSwitchTo(scratch);
  int done = 0;
  for (int first = 0; first < count; first += step) {
    CHECK_FOR_INTERRUPTS();
    int locked;
    const std::int64_t *held = lock_executions(tenant, ids + first, std::min(step, count - first), false, &locked);
    int removed;
    const std::int64_t *gone = remove_executions(tenant, held, locked, &removed);
    std::copy(gone, gone + removed, ids + done);
    done += removed;
    MemoryContextReset(scratch);
  }
  MemoryContextSwitchTo(before);
  MemoryContextDelete(scratch);
  return done;
}

// Moves the ids of the changed executions to the front; returns how many.
int apply_to_each(const Tenant &tenant, const BulkRequest &request, std::int64_t *ids, int count) {
  // Executions that wait for these are locked with them, all in one order.
  if (request.verb == Verb::cancel || request.verb == Verb::retry) lock_lineages(tenant, ids, count);
  MemoryContext before = CurrentMemoryContext;
  MemoryContext scratch = AllocSetContextCreate(before, "insula bulk", ALLOCSET_DEFAULT_SIZES);
  MemoryContextSwitchTo(scratch);
  int done = 0;
  for (int i = 0; i < count; ++i) {
    CHECK_FOR_INTERRUPTS();
    bool applied = false;
    in_stretch([&] { applied = apply(tenant, request, ids[i]); });
    if (applied) ids[done++] = ids[i];
    MemoryContextReset(scratch);
  }
  MemoryContextSwitchTo(before);
  MemoryContextDelete(scratch);
  return done;
}

// Moves the ids of executions that are not scrubbed to the front; returns how many.
int keep_retryable(const Tenant &tenant, std::int64_t *ids, int count) {
  return static_cast<int>(std::remove_if(ids, ids + count, [&](std::int64_t id) { return is_scrubbed(tenant, id); }) -
                          ids);
}

}  // namespace

std::int64_t *apply_to_all(const Tenant &tenant, const BulkRequest &request, int *count) {
  auto *ids = palloc_array_of<std::int64_t>(static_cast<std::size_t>(request.most));
  *count = 0;
  const std::int64_t newest = newest_number(tenant);
  for (Range range : {Range{newest, core::max_local_number}, Range{0, newest}}) {
    while (*count < request.most) {
      const int found = collect(tenant, request.filter, &range, ids + *count, request.most - *count);
      if (found == 0) break;
      std::int64_t *next = ids + *count;
      if (request.dry_run)
        *count += request.verb == Verb::retry ? keep_retryable(tenant, next, found) : found;
      else
        *count += request.verb == Verb::remove ? remove_all(tenant, next, found)
                                               : apply_to_each(tenant, request, next, found);
    }
  }
  return ids;
}

}  // namespace insula
