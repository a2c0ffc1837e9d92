// The budget of a session: what one call may do for one tenant in one go.  Each session begins with a whole
// one.  Work that can be put off asks budget_is_spent() between two bounded steps and leaves the rest to
// another turn, so that a shared process (a scheduler, a claim or a batch of outcomes for many tenants)
// is held for no longer by any tenant.
#pragma once

#include <cstddef>
#include <cstdint>

namespace insula {

void define_budget_settings();

// By open_session.
void begin_budget();
// To this time from now on.
void shorten_budget(std::int64_t microseconds);
// Contexts of this size were read or made.
void charge(std::size_t bytes);
std::int64_t visit_microseconds();
// Of one tenant's share of a call for several.
std::int64_t share_microseconds();
// The time or the bytes are used up.
bool budget_is_spent();
// The bytes alone: for small steps that would take time only by their contexts.
bool budget_bytes_are_spent();

}  // namespace insula
