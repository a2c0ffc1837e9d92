// Serves many tenants in one call: an error of one tenant must not stop the others.
#pragma once

#include "postgres.hpp"

namespace insula {

using SubtransactionWork = void (*)(void *argument);

// Runs the work in a subtransaction.  An error undoes the work and is written to the server's log,
// at most one every ten seconds in a session; a cancel, a shutdown and a deadlock are raised again.
// With `message` the caller gets the error's message instead of the log.
bool run_in_subtransaction(std::int32_t tenant, SubtransactionWork work, void *argument, const char **message);

template <typename Work>
bool in_subtransaction(std::int32_t tenant, Work work, const char **message = nullptr) {
  return run_in_subtransaction(
      tenant, [](void *argument) { (*static_cast<Work *>(argument))(); }, &work, message);
}

}  // namespace insula
