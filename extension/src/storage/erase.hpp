// Emptying executions that have ended: their rows stay, what they hold of persons goes.
#pragma once

#include "tenant/tenant.hpp"

namespace insula {

// Values that an SQL/JSON path finds: `path` filters by `variables`, as jsonb_path_exists takes both.
struct ErasureFilter {
  Datum path;
  Datum variables;
};

struct ErasureMatch {
  std::int64_t row;  // the first that matches
  std::int64_t head;
  bool ended;
};
// The last of the next `rows` rows, or of fewer where these are larger than `bytes`; 0: there is none.
std::int64_t end_of_search(const Tenant &tenant, std::int64_t after, int rows, std::int64_t bytes);
// Executions with a row in the stretch whose input, item, output or event matches, by row; with an execution's own
// row its checkpoints and kept events are looked at.
ErasureMatch *matching_rows(const Tenant &tenant, const ErasureFilter &filter, std::int64_t after, std::int64_t last,
                            int *count);
// Schedules and subscriptions whose context matches.
std::int64_t count_matching_contexts(const Tenant &tenant, const ErasureFilter &filter);

// The executions that these have submitted and waited for, ascending.
std::int64_t *children_of(const Tenant &tenant, const std::int64_t *ids, int count, int *found);
// Up to `most` of those that are not emptied, from behind `after` on.
std::int64_t *unemptied_children_of(const Tenant &tenant, const std::int64_t *ids, int count, std::int64_t after,
                                    int most, int *found);
// How many other executions have waited for these, and are not emptied, without those that soon will be.
std::int64_t count_parents(const Tenant &tenant, const std::int64_t *ids, int count, const std::int64_t *soon,
                           int soon_count);

bool is_scrubbed(const Tenant &tenant, std::int64_t execution);

struct Scrubbed {
  std::int64_t executions;
  std::int64_t rows;
  std::int64_t open;       // that have not ended
  std::int64_t open_head;  // one of them; 0: there is none
};
// Empties those that have ended and are not emptied yet.  The caller holds the locks of all; ids ascending.
Scrubbed scrub_executions(const Tenant &tenant, const std::int64_t *ids, int count);
// The same, without doing it.
Scrubbed count_scrubbable(const Tenant &tenant, const std::int64_t *ids, int count);

}  // namespace insula
