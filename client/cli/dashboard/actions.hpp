// What the page can change, where the dashboard was started with --allow-actions: the product's own verbs.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "dashboard/database.hpp"

namespace insula::cli::dashboard {

// Does what the request says, and tells what came of it as JSON. `actor`: the person behind a proxy; "" where unknown.
// Throws Refusal.
std::string act(Database& database, const nlohmann::json& request, const std::string& actor);
// What a request asks for, for the log: what it is about first, and each value cut, so that no text pushes out another.
std::string summary_of(const nlohmann::json& request);

}  // namespace insula::cli::dashboard
