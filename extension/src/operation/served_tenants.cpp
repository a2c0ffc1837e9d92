// The tenants of a call for all tenants; see served_tenants.hpp.
#include "operation/served_tenants.hpp"

#include <algorithm>

#include "shared/clock.hpp"
#include "shared/due_queue.hpp"

extern "C" {
#include "common/hashfn.h"
}

namespace insula {

namespace {

// Tenants that are swept, or helped because their scheduler is late, at a time.
constexpr int swept_at_once = 256;
constexpr int helped_at_once = 64;

std::uint64_t filter_of(const char *const *tasks, int count) {
  if (!tasks) return 0;
  std::uint64_t hash = 1;
  for (int i = 0; i < count; ++i) {
    const auto *name = reinterpret_cast<const unsigned char *>(tasks[i]);
    hash = hash_bytes_extended(name, static_cast<int>(strlen(tasks[i])), hash);
  }
  return hash | 1;
}

ServedTenant *all_active(int *count) {
  const TenantShare *tenants = active_tenants(count);
  auto *batch = palloc_array_of<ServedTenant>(static_cast<std::size_t>(*count) + 1);
  for (int i = 0; i < *count; ++i) batch[i] = {{tenants[i].number, 0}, tenants[i].weight};
  return batch;
}

// Those of the tenants that exist and are active, with their weights.
ServedTenant *weighed(const ReadyTenant *tenants, int count, int *kept) {
  auto *batch = palloc_array_of<ServedTenant>(static_cast<std::size_t>(count) + 1);
  *kept = 0;
  for (int i = 0; i < count; ++i) {
    CHECK_FOR_INTERRUPTS();
    const Tenant *tenant = find_tenant(tenants[i].tenant);
    if (tenant && !tenant->suspended)
      batch[(*kept)++] = {tenants[i], tenant->limits.weight};
    else if (tenants[i].version != 0)
      note_nothing_ready(tenants[i], 0, DT_NOEND);
  }
  return batch;
}

// The tenants of the set, and those that the scheduler is late with.
ServedTenant *first_batch(ServedTenants *served, int *count) {
  const TimestampTz now = clock_now();
  int ready_count;
  const ReadyTenant *ready = ready_tenants(served->filter, now, &ready_count, &served->next);
  served->next = std::min(served->next, scheduler_late_at());
  std::int32_t late[helped_at_once];
  const int late_count = overdue_tenants(now - scheduler_patience, late, helped_at_once);
  auto *tenants = palloc_array_of<ReadyTenant>(static_cast<std::size_t>(ready_count + late_count) + 1);
  int all = static_cast<int>(std::copy(ready, ready + ready_count, tenants) - tenants);
  for (int i = 0; i < late_count; ++i) {
    const bool known =
        std::any_of(ready, ready + ready_count, [&](const ReadyTenant &tenant) { return tenant.tenant == late[i]; });
    if (!known && late[i] != 0) tenants[all++] = {late[i], 0};
  }
  auto *begun_with = palloc_array_of<std::int32_t>(static_cast<std::size_t>(all) + 1);
  for (int i = 0; i < all; ++i) begun_with[i] = tenants[i].tenant;
  std::sort(begun_with, begun_with + all);
  served->begun_with = begun_with;
  served->begun_count = all;
  return weighed(tenants, all, count);
}

ServedTenant *swept_batch(ServedTenants *served, int *count) {
  std::int32_t numbers[swept_at_once];
  const int found = active_tenants_after(served->sweep.after, numbers, swept_at_once);
  const bool last = found < swept_at_once;
  auto *tenants = palloc_array_of<ReadyTenant>(swept_at_once);
  for (int i = 0; i < found; ++i) tenants[i] = {numbers[i], 0};
  enter_swept_tenants(served->sweep, tenants, found, last);
  served->sweep.after = last ? PG_INT32_MAX : numbers[found - 1];
  const ReadyTenant *end = std::remove_if(tenants, tenants + found, [served](const ReadyTenant &tenant) {
    return std::binary_search(served->begun_with, served->begun_with + served->begun_count, tenant.tenant);
  });
  return weighed(tenants, static_cast<int>(end - tenants), count);
}

}  // namespace

ServedTenants begin_serving(const char **tasks, int task_count) {
  ServedTenants served = {tasks, task_count, filter_of(tasks, task_count), false, false, nullptr, 0, {}, DT_NOEND};
  // A snapshot that is older than what the set says may not see what has entered a tenant.
  if (IsolationUsesXactSnapshot() || !time_is_left_to_scheduler()) return served;
  served.sweep = read_ready_sweep();
  served.are_known = served.sweep.usable;
  return served;
}

ServedTenant *next_batch(ServedTenants *served, int *count) {
  if (!served->begun) {
    served->begun = true;
    return served->are_known ? first_batch(served, count) : all_active(count);
  }
  if (!served->are_known || served->sweep.after == PG_INT32_MAX) return nullptr;
  return swept_batch(served, count);
}

void note_if_nothing_claimable(const ServedTenants &served, const ServedTenant &visited, const Tenant &tenant) {
  if (visited.ready.version == 0) return;
  TimestampTz next = DT_NOEND;
  if (!would_claim(tenant, served.tasks, served.task_count, &next))
    note_nothing_claimable(served, visited, tenant, next);
}

void note_nothing_claimable(const ServedTenants &served, const ServedTenant &visited, const Tenant &tenant,
                            TimestampTz next) {
  // Visits do what time causes for a tenant that the scheduler has set aside.
  if (visited.ready.version == 0 || is_aside_in_queue(tenant.number)) return;
  std::uint64_t filter = served.filter;
  TimestampTz next_of_any = DT_NOEND;
  if (filter != 0 && next == DT_NOEND && !would_claim(tenant, nullptr, 0, &next_of_any) && next_of_any == DT_NOEND)
    filter = 0;
  note_nothing_ready(visited.ready, filter, next);
}

void note_not_open(const ServedTenant &visited) {
  // Nothing tells when the relations of a tenant that exists are as they were made again.
  if (visited.ready.version != 0 && !find_tenant(visited.ready.tenant)) note_nothing_ready(visited.ready, 0, DT_NOEND);
}

}  // namespace insula
