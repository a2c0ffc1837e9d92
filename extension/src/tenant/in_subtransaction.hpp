// Serves many tenants in one call: an error of one tenant must not stop the others.
#pragma once

#include "postgres.hpp"
#include "shared/overhead.hpp"

namespace insula {

using SubtransactionWork = void (*)(void *argument);

// What becomes of the locks of work that has written nothing.
enum class IdleLocks { keep, release };

// What the work tells of itself while it runs; it is read at the end.
struct Service {
  int tasks = 0;           // claimed, completed or extended
  bool is_allowed = true;  // else the caller has no rights to the tenant, and the time is not its overhead
};

// Runs the work in a subtransaction.  An error undoes the work and is written to the server's log,
// at most one every ten seconds in a session; a cancel, a shutdown and a deadlock are raised again.
struct CaughtErrors {
  const char **message;  // gets the error's instead of the log; nullptr: not asked
  int sql_state;         // the only one that is caught; 0: any
};
// `service`: the time is the tenant's overhead, however the work ends; nullptr: it is not.
bool run_in_subtransaction(std::int32_t tenant, SubtransactionWork work, void *argument, const CaughtErrors &caught,
                           IdleLocks locks, const Service *service);

template <typename Work>
bool in_subtransaction(std::int32_t tenant, Work work, const char **message = nullptr, int sql_state = 0) {
  return run_in_subtransaction(
      tenant, [](void *argument) { (*static_cast<Work *>(argument))(); }, &work, {message, sql_state}, IdleLocks::keep,
      nullptr);
}

// The same for one of many tenants that a call goes through: of those for which it has written nothing it keeps
// neither a lock nor a transaction id.
template <typename Work>
bool visit_in_subtransaction(std::int32_t tenant, Work work, const Service *service = nullptr) {
  return run_in_subtransaction(
      tenant, [](void *argument) { (*static_cast<Work *>(argument))(); }, &work, {nullptr, 0}, IdleLocks::release,
      service);
}

// Counts the time since `watch` began as the tenant's overhead, and logs that the tenant is put off for it.
void note_overhead(std::int32_t tenant, Spender spender, const Stopwatch &watch, std::int64_t tasks);

// The same where the time is the tenant's overhead.
template <typename Work>
bool serve_in_subtransaction(std::int32_t tenant, const Service &service, Work work) {
  return visit_in_subtransaction(tenant, work, &service);
}

}  // namespace insula
