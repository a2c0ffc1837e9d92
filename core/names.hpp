// The rules for names that server and client both check: tenant ids, and the names of workflows,
// tasks and events.  Pure functions on bytes; no locale, no allocation.
#pragma once

#include <cstddef>
#include <string_view>

namespace insula::core {

inline constexpr std::size_t tenant_id_min = 3;
inline constexpr std::size_t tenant_id_max = 30;
inline constexpr std::size_t name_max = 63;

constexpr bool is_lower(char c) noexcept { return c >= 'a' && c <= 'z'; }
constexpr bool is_upper(char c) noexcept { return c >= 'A' && c <= 'Z'; }
constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

// A tenant id: 3 to 30 characters of [a-z0-9_], beginning with a letter, and none of the words that
// mean something else in a database.
constexpr bool is_valid_tenant_id(std::string_view id) noexcept {
  if (id.size() < tenant_id_min || id.size() > tenant_id_max || !is_lower(id.front())) return false;
  for (char c : id)
    if (!is_lower(c) && !is_digit(c) && c != '_') return false;
  for (std::string_view word : {std::string_view{"public"}, std::string_view{"none"}, std::string_view{"postgres"},
                                std::string_view{"information_schema"}})
    if (id == word) return false;
  return !id.starts_with("pg_") && !id.starts_with("insula");
}

// A workflow, task or event name: [A-Za-z_][A-Za-z0-9_-]{0,62}.  No dot, since
// `workflow.task` is a task's key.
constexpr bool is_valid_name(std::string_view name) noexcept {
  if (name.empty() || name.size() > name_max) return false;
  if (char first = name.front(); !is_lower(first) && !is_upper(first) && first != '_') return false;
  for (char c : name)
    if (!is_lower(c) && !is_upper(c) && !is_digit(c) && c != '_' && c != '-') return false;
  return true;
}

}  // namespace insula::core
