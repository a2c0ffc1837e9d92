// Emptying executions, one or all whose contexts hold a value.  A walk reads the table by number, a bounded stretch at
// a time, until it has emptied enough or its budget is spent, and says where it is.  Children are emptied with the
// executions that have submitted them; a walk empties them first, so that one that is broken off finds the others
// again.  What is emptied together is locked in one order, before its states are read.
#include <algorithm>

#include "core/ids.hpp"
#include "operation/operations.hpp"
#include "shared/clock.hpp"
#include "spi/budget.hpp"
#include "storage/erase.hpp"

namespace insula {

namespace {

// Rows of one search, of which each can have three contexts, and about how many bytes as they are stored.
constexpr int stretch = 1000;
constexpr std::int64_t stretch_bytes = std::int64_t{16} << 20;

// The executions and all that were submitted below them, ascending.
std::int64_t *with_children(const Tenant &tenant, const std::int64_t *heads, int *count) {
  int total = *count;
  auto *all = palloc_array_of<std::int64_t>(static_cast<std::size_t>(total));
  std::copy(heads, heads + total, all);
  std::sort(all, all + total);
  int found;
  const std::int64_t *children = children_of(tenant, all, total, &found);
  while (found > 0) {
    CHECK_FOR_INTERRUPTS();
    all = static_cast<std::int64_t *>(repalloc_huge(all, static_cast<Size>(total + found) * sizeof(std::int64_t)));
    std::copy(children, children + found, all + total);
    total += found;
    children = children_of(tenant, children, found, &found);
  }
  std::sort(all, all + total);
  *count = static_cast<int>(std::unique(all, all + total) - all);
  return all;
}

void note_open(Erasure *erasure, std::int64_t count, std::int64_t example) {
  erasure->open += count;
  if (count > 0 && !erasure->open_example) erasure->open_example = example;
}

// `level`: what has submitted them, and will be emptied afterwards.
struct Level {
  const std::int64_t *ids;
  int count;
  std::int64_t after;  // its children up to this one have been dealt with
};
constexpr Level no_level = {nullptr, 0, 0};

void add_scrubbed(const Tenant &tenant, const std::int64_t *heads, int count, const Level &level,
                  const Scrubbed &scrubbed, Erasure *erasure) {
  erasure->executions += scrubbed.executions;
  erasure->rows += scrubbed.rows;
  note_open(erasure, scrubbed.open, scrubbed.open_head);
  if (scrubbed.executions > 0) erasure->parents += count_parents(tenant, heads, count, level.ids, level.count);
}

// The executions that a dry run has counted; emptied ones would not be emptied again.
HTAB *make_counted() {
  HASHCTL control = {};
  control.keysize = control.entrysize = sizeof(std::int64_t);
  control.hcxt = CurrentMemoryContext;
  return hash_create("insula dry run", 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

void count_with_children(const Tenant &tenant, const std::int64_t *heads, int count, HTAB *counted, Erasure *erasure) {
  if (count == 0) return;
  std::int64_t *all = with_children(tenant, heads, &count);
  int fresh = 0;
  for (int i = 0; i < count; ++i) {
    bool found;
    (void)hash_search(counted, &all[i], HASH_ENTER, &found);
    if (!found) all[fresh++] = all[i];
  }
  if (fresh > 0) add_scrubbed(tenant, all, fresh, no_level, count_scrubbable(tenant, all, fresh), erasure);
}

// Ids ascend.
void scrub_those(const Tenant &tenant, const std::int64_t *ids, int count, const Level &level, bool skip,
                 Erasure *erasure) {
  int locked;
  const std::int64_t *held = lock_executions(tenant, ids, count, skip, &locked);
  for (int i = 0; i < count; ++i)
    if (!std::binary_search(held, held + locked, ids[i])) note_open(erasure, 1, ids[i]);
  if (locked > 0) add_scrubbed(tenant, held, locked, level, scrub_executions(tenant, held, locked), erasure);
}

void scrub_with_children(const Tenant &tenant, std::int64_t head, Erasure *erasure) {
  int count = 1;
  const std::int64_t *all = with_children(tenant, &head, &count);
  scrub_those(tenant, all, count, no_level, false, erasure);
}

// How many are emptied together, as one execution can have a million rows.
class StepSize {
 public:
  int size() const { return size_; }
  void note(std::int64_t microseconds) {
    constexpr std::int64_t short_step = 10000;
    size_ = microseconds > short_step ? std::max(size_ / 4, 1) : std::min(2 * size_, stretch);
  }

 private:
  int size_ = 1;
};

// Empties executions and all that was submitted below them, these first, level by level; false: the budget was spent
// before that was done.  Something has been done at any rate: what is emptied is passed over by the next walk.
bool scrub_from_below(const Tenant &tenant, std::int64_t *heads, int count, StepSize *step, Erasure *erasure) {
  if (count == 0) return true;
  std::sort(heads, heads + count);
  int room = 16;
  auto *levels = palloc_array_of<Level>(static_cast<std::size_t>(room) + 1);
  levels[0] = no_level;
  levels[1] = {heads, count, 0};
  // An execution that is open is passed over, and is met again by the next walk.
  const auto before = erasure->executions;
  bool any = false;
  for (int depth = 1; depth > 0;) {
    CHECK_FOR_INTERRUPTS();
    if (any && budget_is_spent()) return false;
    const std::int64_t began = passing_time();
    Level &level = levels[depth];
    int found;
    const std::int64_t *children;
    in_stretch([&] {
      children = unemptied_children_of(tenant, level.ids, level.count, level.after, step->size(), &found);
      if (found == 0) scrub_those(tenant, level.ids, level.count, levels[depth - 1], true, erasure);
    });
    if (found == 0) {
      --depth;
      any = any || erasure->executions > before;
      step->note(passing_time() - began);
      continue;
    }
    level.after = children[found - 1];
    if (depth == room) {
      room *= 2;
      levels = static_cast<Level *>(repalloc(levels, (static_cast<Size>(room) + 1) * sizeof(Level)));
    }
    levels[++depth] = {children, found, 0};
  }
  return true;
}

// Empties what has matched until enough is done, or, with a table for what is counted, only counts it; returns how many
// matches it has dealt with.
int scrub_matches(const Tenant &tenant, const ErasureMatch *matches, int count, std::int32_t most, HTAB *counted,
                  Erasure *erasure) {
  auto *heads = palloc_array_of<std::int64_t>(static_cast<std::size_t>(count));
  int done = 0;
  for (StepSize step; done < count;) {
    if (done > 0 && (erasure->executions >= most || budget_is_spent())) break;
    CHECK_FOR_INTERRUPTS();
    const std::int64_t began = passing_time();
    const int until = std::min(done + step.size(), count);
    int ended = 0;
    for (int i = done; i < until; ++i)
      if (matches[i].ended) heads[ended++] = matches[i].head;
    if (counted) {
      in_stretch([&] { count_with_children(tenant, heads, ended, counted, erasure); });
      step.note(passing_time() - began);
    } else if (!scrub_from_below(tenant, heads, ended, &step, erasure)) {
      break;
    }
    for (; done < until; ++done)
      if (!matches[done].ended) note_open(erasure, 1, matches[done].head);
  }
  return done;
}

}  // namespace

bool scrub(const Tenant &tenant, std::int64_t execution, Erasure *erasure) {
  finish_put_off(tenant, clock_now(), execution);
  int locked;
  (void)lock_executions(tenant, &execution, 1, false, &locked);
  ExecutionRow row;
  if (!read_execution(tenant, execution, &row) || !has_ended(row.state)) return false;
  scrub_with_children(tenant, execution, erasure);
  return erasure->open_example != execution;
}

// 0 would say that all were read.
constexpr std::int64_t before_all_rows = -1;

Erasure erase(const Tenant &tenant, const ErasureRequest &request) {
  Erasure erasure = {};
  if (request.after == 0) erasure.schedules = count_matching_contexts(tenant, request.filter);
  MemoryContext before = CurrentMemoryContext;
  MemoryContext scratch = AllocSetContextCreate(before, "insula erase", ALLOCSET_DEFAULT_SIZES);
  HTAB *counted = request.dry_run ? make_counted() : nullptr;
  MemoryContextSwitchTo(scratch);
  erasure.next = request.after;
  do {
    CHECK_FOR_INTERRUPTS();
    const std::int64_t after = erasure.next;
    erasure.next = end_of_search(tenant, after, stretch, stretch_bytes);
    if (erasure.next == 0) break;
    int count;
    const ErasureMatch *matches = matching_rows(tenant, request.filter, after, erasure.next, &count);
    const int done = count ? scrub_matches(tenant, matches, count, request.most, counted, &erasure) : 0;
    if (done < count) erasure.next = matches[done].row > 1 ? matches[done].row - 1 : before_all_rows;
    MemoryContextReset(scratch);
  } while (erasure.executions < request.most && !budget_is_spent());
  MemoryContextSwitchTo(before);
  MemoryContextDelete(scratch);
  if (counted) hash_destroy(counted);
  return erasure;
}

}  // namespace insula
