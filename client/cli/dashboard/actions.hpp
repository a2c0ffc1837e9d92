// What the page can change, where the dashboard was started with --allow-actions: the product's own verbs.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "dashboard/database.hpp"

namespace insula::cli::dashboard {

// Does what the request says, and tells what came of it as JSON. `actor`: the person behind a proxy; "" where unknown.
// Throws Refusal.
std::string act(Database& database, const nlohmann::json& request, const std::string& actor);

}  // namespace insula::cli::dashboard
