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

// Returns the finished executions up to `last` that may go, and counts the others.
std::int64_t *removable(const Tenant &tenant, TimestampTz now, const Sweep &sweep, std::int64_t last, int *count,
                        int *left) {
  const Limits &limits = tenant.limits;
  const TimestampTz too_old = limits.retain_us < 0 ? DT_NOBEGIN : now - limits.retain_us;
  const std::int64_t newest = newest_number(tenant);
  const std::int64_t too_many = limits.retain_count < 0 ? 0 : finished_beyond(tenant, newest, limits.retain_count);
  int found;
  const FinishedExecution *finished = finished_executions(tenant, sweep.after, last, &found);
  int rule_count = 0;
  const RetentionRule *rules = limits.has_rules && found > 0 ? retention_rules(tenant, &rule_count) : nullptr;
  auto *ids = palloc_array_of<std::int64_t>(static_cast<std::size_t>(found));
  *count = 0;
  for (int i = 0; i < found; ++i) {
    const RetentionRule *rule = rule_for(rules, rule_count, finished[i]);
    const bool goes =
        rule ? rule->retain_us >= 0 && finished[i].finished_at <= now - rule->retain_us
             : finished[i].finished_at <= too_old || (too_many && core::came_by(finished[i].id, too_many, newest));
    if (goes) ids[(*count)++] = finished[i].id;
  }
  *left = found - *count;
  return ids;
}

}  // namespace

bool retention_due(const Tenant &tenant, TimestampTz now, TimestampTz *next) {
  if (!tenant.limits.retains() || tenant.suspended || left_to_scheduler()) return false;
  const Sweep sweep = read_sweep(tenant);
  // Only age makes executions due by time alone.
  if (next && tenant.limits.retains_by_age() && sweep.something_left) *next = std::min(*next, sweep.next_at);
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
    int left;
    const std::int64_t *ids = removable(tenant, now, sweep, last, &count, &left);
    int locked = 0;
    const std::int64_t *held = count ? lock_executions(tenant, ids, count, true, &locked) : nullptr;
    const std::int64_t done = remove_in_steps(tenant, held, locked, last);
    write_sweep(tenant, {now, done, sweep.something_left || left > 0});
  } else {
    write_sweep(tenant, {now + tenant.limits.between_sweeps(), 0, sweep.something_left && sweep.after > 0});
  }
  merge_usage(tenant);
}

}  // namespace insula
