// Ids of executions and tasks: 17 bits of tenant number above 36 bits of local number.  Their 53
// bits are safe in JSON, and an id tells its tenant.  Tables hold local numbers; whole ids leave
// the extension.
#pragma once

#include <cstdint>

namespace insula::core {

inline constexpr int tenant_bits = 17;
inline constexpr int local_bits = 36;
inline constexpr std::int64_t max_tenant_number = (std::int64_t{1} << tenant_bits) - 1;
inline constexpr std::int64_t max_local_number = (std::int64_t{1} << local_bits) - 1;

constexpr std::int64_t make_id(std::int32_t tenant, std::int64_t local) noexcept {
  return (std::int64_t{tenant} << local_bits) | local;
}

// Tenant numbers and local numbers start at 1, so no other id was ever given.
constexpr bool is_plausible_id(std::int64_t id) noexcept {
  return id > 0 && (id >> local_bits) >= 1 && (id >> local_bits) <= max_tenant_number && (id & max_local_number) != 0;
}

constexpr std::int32_t tenant_of(std::int64_t id) noexcept { return static_cast<std::int32_t>(id >> local_bits); }

constexpr std::int64_t local_of(std::int64_t id) noexcept { return id & max_local_number; }

// Local numbers wrap around when all have been taken.  Whether `local` was taken no later than
// `other`; `newest` is the one that was taken last.
constexpr bool came_by(std::int64_t local, std::int64_t other, std::int64_t newest) noexcept {
  return local_of(local - newest - 1) <= local_of(other - newest - 1);
}

}  // namespace insula::core
