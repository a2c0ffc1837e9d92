// Triggers: names that the application fires, and the workflows that each starts.
#pragma once

#include "storage/record.hpp"

namespace insula {

// False: the workflow was subscribed before, and its terms are replaced.
bool subscribe(const Tenant &tenant, const char *trigger, const char *workflow, Jsonb *context, bool allow_concurrent,
               TimestampTz now);

struct Started {
  const char *workflow;
  std::int64_t execution;  // its whole id
  bool fresh;              // false: it ran already
};
// nullptr: no trigger has the name.  Without `dedupe_key` the payload itself is the key.
Started *fire_trigger(const Tenant &tenant, const char *trigger, Jsonb *payload, const char *dedupe_key,
                      TimestampTz now, int *count);

struct TriggerTerms {
  Jsonb *context;
  bool allow_concurrent;
};
TriggerTerms terms_of(const Subscription &subscription);

}  // namespace insula
