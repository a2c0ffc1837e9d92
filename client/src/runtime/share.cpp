// Caps by tenant.  The lists come in the order of a map: sorted.
#include "runtime/share.hpp"

#include <algorithm>

namespace insula::detail {

Share share_of(const std::map<std::string, int>& running, std::size_t slots, int max_per_tenant, int max_tenants) {
  Share share{.max_tasks = slots};
  wire::TenantChoice& choice = share.choice;
  std::vector<std::string> with_room;
  int most = 0;  // running of a tenant that has room
  for (const auto& [tenant, count] : running) {
    if (max_per_tenant > 0 && count >= max_per_tenant) {
      choice.except.push_back(tenant);
      continue;
    }
    most = std::max(most, count);
    with_room.push_back(tenant);
  }
  if (max_per_tenant > 0) choice.max_per_tenant = max_per_tenant - most;
  if (max_tenants == 0) return share;
  const auto room =
      static_cast<std::size_t>(max_tenants) - std::min(running.size(), static_cast<std::size_t>(max_tenants));
  if (room > 0) {
    share.max_tasks = std::min(slots, room);  // each may be of another tenant
    return share;
  }
  choice.except.clear();
  choice.only = std::move(with_room);
  if (choice.only.empty()) share.max_tasks = 0;
  return share;
}

bool is_wider(const wire::TenantChoice& now, const wire::TenantChoice& before) {
  if (!before.only.empty() && now.only != before.only) return true;
  return !std::includes(now.except.begin(), now.except.end(), before.except.begin(), before.except.end());
}

}  // namespace insula::detail
