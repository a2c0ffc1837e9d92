// What the page shows: for each view its SQL, over the extension's public functions and views.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>

#include "dashboard/database.hpp"

namespace insula::cli::dashboard {

// The value of a parameter of the request; "" where there is none.
using Ask = std::function<std::string(const std::string& name)>;

// The view's JSON. Throws Refusal: 404 where there is no such view, 403 where it is an administrator's.
std::string show_view(Database& database, const std::string& name, const Ask& ask);

// The filter of the list of executions. A value that begins with "!" wants all others. Throws Refusal where it wants
// nothing.
struct Filter {
  Cell workflow, status, after, before, error, context, tenant;
};
Filter filter_of(const Ask& ask);
// A page of executions after `from`, the last id of the page before.
std::string list_executions(Database& database, const Filter& filter, Cell from);
struct FoundExecution {
  std::string id, tenant;
};
// Those that fit, the oldest first, `most` of them at most; `all`: there are no more.
std::vector<FoundExecution> find_executions(Database& database, const Filter& filter, std::size_t most, bool* all);
// Those of the ids that fit, the lowest first; `all`: each has been looked at.
std::vector<FoundExecution> find_among(Database& database, const Filter& filter, const std::set<std::uint64_t>& ids,
                                       bool* all);

}  // namespace insula::cli::dashboard
