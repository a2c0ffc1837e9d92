// The budget of a visit: what one call may do for one tenant in one go.  Each call begins with a whole one, and
// one for several tenants begins anew with each.  Work that can be put off asks budget_is_spent() between two
// bounded steps and leaves the rest to another turn, so that a shared process (a scheduler, a claim or a batch of
// outcomes for many tenants) is held for no longer by any tenant.
#pragma once

#include <cstddef>
#include <cstdint>

namespace insula {

void define_budget_settings();

void begin_budget();
// With this time, if that is less.
void begin_budget(std::int64_t microseconds);
// Contexts of this size were read or made.
void charge(std::size_t bytes);
std::int64_t visit_microseconds();
std::size_t visit_bytes();
// The time of one tenant's share of a call for several.
std::int64_t share_microseconds();
// The time or the bytes are used up.
bool budget_is_spent();
// The bytes alone: for small steps that would take time only by their contexts.
bool budget_bytes_are_spent();
std::size_t budget_bytes_left();

}  // namespace insula
