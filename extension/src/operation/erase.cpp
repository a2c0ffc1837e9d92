// Emptying executions, one or all whose contexts hold a value.  A walk reads the table by number, a bounded stretch at
// a time, until it has emptied enough or its budget is spent, and says where it is.  Children are emptied with the
// executions that have submitted them.  All are locked in one order, before their states are read.
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

void add_scrubbed(const Tenant &tenant, const std::int64_t *heads, int count, const Scrubbed &scrubbed,
                  Erasure *erasure) {
  erasure->executions += scrubbed.executions;
  erasure->rows += scrubbed.rows;
  note_open(erasure, scrubbed.open, scrubbed.open_head);
  if (scrubbed.executions > 0) erasure->parents += count_parents(tenant, heads, count);
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
  if (fresh > 0) add_scrubbed(tenant, all, fresh, count_scrubbable(tenant, all, fresh), erasure);
}

void scrub_with_children(const Tenant &tenant, const std::int64_t *heads, int count, bool skip, Erasure *erasure) {
  if (count == 0) return;
  const std::int64_t *all = with_children(tenant, heads, &count);
  int locked;
  const std::int64_t *held = lock_executions(tenant, all, count, skip, &locked);
  for (int i = 0; i < count; ++i)
    if (!std::binary_search(held, held + locked, all[i])) note_open(erasure, 1, all[i]);
  if (locked > 0) add_scrubbed(tenant, held, locked, scrub_executions(tenant, held, locked), erasure);
}

// Empties what has matched until enough is done, or, with a table for what is counted, only counts it; returns how many
// matches it has dealt with, at least one.
int scrub_matches(const Tenant &tenant, const ErasureMatch *matches, int count, std::int32_t most, HTAB *counted,
                  Erasure *erasure) {
  auto *heads = palloc_array_of<std::int64_t>(static_cast<std::size_t>(count));
  int done = 0;
  // One execution can have a million rows.
  constexpr std::int64_t short_step = 10000;
  for (int step = 1; done < count; step *= 2) {
    if (done > 0 && (erasure->executions >= most || budget_is_spent())) break;
    CHECK_FOR_INTERRUPTS();
    const std::int64_t began = passing_time();
    const int until = std::min(done + step, count);
    int ended = 0;
    for (; done < until; ++done) {
      if (matches[done].ended)
        heads[ended++] = matches[done].head;
      else
        note_open(erasure, 1, matches[done].head);
    }
    if (counted)
      in_stretch([&] { count_with_children(tenant, heads, ended, counted, erasure); });
    else
      in_stretch([&] { scrub_with_children(tenant, heads, ended, true, erasure); });
    if (passing_time() - began > short_step) step = std::max(step / 4, 1);
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
  scrub_with_children(tenant, &execution, 1, false, erasure);
  return erasure->open_example != execution;
}

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
    if (done < count) erasure.next = matches[done].row - 1;
    MemoryContextReset(scratch);
  } while (erasure.executions < request.most && !budget_is_spent());
  MemoryContextSwitchTo(before);
  MemoryContextDelete(scratch);
  if (counted) hash_destroy(counted);
  return erasure;
}

}  // namespace insula
