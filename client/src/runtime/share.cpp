// Caps by tenant.  The lists come in the order of a map: sorted.
#include "runtime/share.hpp"

#include <algorithm>

namespace insula::detail {

Share share_of(const std::map<std::string, int>& running, std::size_t slots, const Caps& caps, bool wide) {
  Share share{.max_tasks = slots, .choice = {.except = caps.crowded}};
  wire::TenantChoice& choice = share.choice;
  const int least = wide ? (caps.max_per_tenant + 1) / 2 : 1;  // room that a tenant must have
  std::vector<std::string> with_room;
  int most = 0;  // running of a tenant that has room
  for (const auto& [tenant, count] : running) {
    if (std::ranges::binary_search(caps.crowded, tenant)) continue;
    if (caps.max_per_tenant > 0 && caps.max_per_tenant - count < least) {
      choice.except.push_back(tenant);
      continue;
    }
    most = std::max(most, count);
    with_room.push_back(tenant);
  }
  std::ranges::sort(choice.except);
  if (caps.max_per_tenant > 0) choice.max_per_tenant = caps.max_per_tenant - most;
  if (caps.max_tenants == 0) return share;
  const auto most_tenants = static_cast<std::size_t>(caps.max_tenants);
  const std::size_t room = most_tenants - std::min(running.size(), most_tenants);
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
