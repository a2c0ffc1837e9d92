// Retention: finished executions that are too old or too many are removed with all their rows.  A
// sweep walks the table by number, a bounded stretch at a time, and stores its position; it leaves
// locked executions for the next sweep.  It merges what is stored of the usage of those that are gone.
#include <algorithm>

#include "core/ids.hpp"
#include "operation/operations.hpp"
#include "shared/clock.hpp"
#include "shared/due_queue.hpp"
#include "spi/budget.hpp"
#include "storage/record.hpp"
#include "storage/usage.hpp"
#include "tenant/lock.hpp"

namespace insula {

namespace {

constexpr int stretch = 10000;  // rows of one stretch

// nullptr: no rule fits.
const RetentionRule *rule_for(const RetentionRule *rules, int count, const FinishedExecution &execution) {
  const auto is_before = [](const RetentionRule &rule, const FinishedExecution &other) {
    return rule.definition != other.definition ? rule.definition < other.definition : rule.state < other.state;
  };
  const RetentionRule *found = std::lower_bound(rules, rules + count, execution, is_before);
  const bool fits =
      found < rules + count && found->definition == execution.definition && found->state == execution.state;
  return fits ? found : nullptr;
}

// The rules that fit some of the executions.
const RetentionRule *rules_for(const Tenant &tenant, const FinishedExecution *finished, int found, int *count) {
  *count = 0;
  if (!tenant.limits.has_rules || found == 0) return nullptr;
  auto *definitions = palloc_array_of<std::int64_t>(static_cast<std::size_t>(found));
  for (int i = 0; i < found; ++i) definitions[i] = finished[i].definition;
  std::sort(definitions, definitions + found);
  const int distinct = static_cast<int>(std::unique(definitions, definitions + found) - definitions);
  return retention_rules(tenant, definitions, distinct, count);
}

// When age takes an execution; DT_NOEND: it does not.
TimestampTz due_by_age(const Limits &limits, const RetentionRule *rule, const FinishedExecution &execution) {
  const std::int64_t retain = rule ? rule->retain_us : limits.retain_us;
  return retain < 0 ? DT_NOEND : execution.finished_at + retain;
}

// Returns the finished executions up to `last` that may go, and when age takes the first of the others.
std::int64_t *removable(const Tenant &tenant, TimestampTz now, const Sweep &sweep, std::int64_t last, int *count,
                        TimestampTz *first_due) {
  const Limits &limits = tenant.limits;
  const std::int64_t newest = newest_number(tenant);
  const std::int64_t too_many = limits.retain_count < 0 ? 0 : finished_beyond(tenant, newest, limits.retain_count);
  int found;
  const FinishedExecution *finished = finished_executions(tenant, sweep.after, last, &found);
  int rule_count;
  const RetentionRule *rules = rules_for(tenant, finished, found, &rule_count);
  auto *ids = palloc_array_of<std::int64_t>(static_cast<std::size_t>(found));
  *count = 0;
  *first_due = DT_NOEND;
  for (int i = 0; i < found; ++i) {
    const RetentionRule *rule = rule_for(rules, rule_count, finished[i]);
    const TimestampTz due = due_by_age(limits, rule, finished[i]);
    if (due <= now || (!rule && too_many && core::came_by(finished[i].id, too_many, newest)))
      ids[(*count)++] = finished[i].id;
    else
      *first_due = std::min(*first_due, due);
  }
  return ids;
}

}  // namespace

bool retention_due(const Tenant &tenant, TimestampTz now, TimestampTz *next) {
  if (!tenant.limits.retains() || tenant.suspended || left_to_scheduler()) return false;
  const Sweep sweep = read_sweep(tenant);
  // Only age makes executions due by time alone.
  if (next && tenant.limits.retains_by_age()) {
    // A visit after a sweep can come of executions that have ended since: the next sweep sees to these.
    const bool has_just_swept = sweep.after == 0 && sweep.next_at == now + tenant.limits.between_sweeps();
    const TimestampTz due = has_just_swept ? std::max(sweep.next_at, sweep.first_due) : sweep.next_at;
    *next = std::min(*next, due);
  }
  return sweep.next_at <= now;
}

// Removes the executions, ids ascending, until the budget is spent, but at least one; returns up to which number.
static std::int64_t remove_in_steps(const Tenant &tenant, const std::int64_t *ids, int count, std::int64_t last) {
  // One execution can have a million rows.
  constexpr std::int64_t short_step = 10000;
  for (int done = 0, step = 1; done < count; step *= 2) {
    if (done > 0 && budget_is_spent()) return ids[done - 1];
    const std::int64_t began = passing_time();
    const int now_done = std::min(step, count - done);
    int removed;
    (void)remove_executions(tenant, ids + done, now_done, &removed);
    done += now_done;
    if (passing_time() - began > short_step) step = std::max(step / 4, 1);
  }
  return last;
}

void remove_finished(const Tenant &tenant, TimestampTz now) {
  if (!retention_due(tenant, now, nullptr)) return;
  if (!try_lock_tenant(tenant.number, TenantLock::retention)) return;
  Sweep sweep = read_sweep(tenant);
  const std::int64_t last = end_of_stretch(tenant, sweep.after, core::max_local_number, stretch);
  if (last > 0) {
    int count;
    TimestampTz first_due;
    const std::int64_t *ids = removable(tenant, now, sweep, last, &count, &first_due);
    int locked = 0;
    const std::int64_t *held = count ? lock_executions(tenant, ids, count, true, &locked) : nullptr;
    const std::int64_t done = remove_in_steps(tenant, held, locked, last);
    // Those that a transaction holds are due.
    if (locked < count) first_due = now;
    if (sweep.after > 0) first_due = std::min(first_due, sweep.first_due);
    write_sweep(tenant, {now, done, first_due});
  } else {
    write_sweep(tenant, {now + tenant.limits.between_sweeps(), 0, sweep.after > 0 ? sweep.first_due : DT_NOEND});
  }
  merge_usage(tenant);
}

}  // namespace insula
