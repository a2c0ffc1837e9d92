// Triggers: names that something outside fires, and the workflows that it starts.
#pragma once

#include "storage/record.hpp"

namespace insula {

// False: the workflow was subscribed already, and is now on these terms.
bool subscribe(const Tenant &tenant, const char *trigger, const char *workflow, Jsonb *context, bool allow_concurrent,
               TimestampTz now);

struct Started {
  const char *workflow;
  std::int64_t execution;  // its whole id
  bool fresh;              // else it was running already
};
// nullptr: there is no such trigger.  `dedupe_key` nullptr: the payload itself.
Started *fire_trigger(const Tenant &tenant, const char *trigger, Jsonb *payload, const char *dedupe_key,
                      TimestampTz now, int *count);

struct TriggerTerms {
  Jsonb *context;
  bool allow_concurrent;
};
TriggerTerms terms_of(const Subscription &subscription);

}  // namespace insula
