#include "dashboard/actions.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>

#include "dashboard/json.hpp"
#include "dashboard/views.hpp"

namespace insula::cli::dashboard {

namespace {

using nlohmann::json;

constexpr std::size_t most_in_bulk = 10000;
constexpr std::size_t chunk = 200;  // executions of one transaction

std::string text_of(const json& request, const char* name) {
  const auto found = request.find(name);
  if (found == request.end() || found->is_null()) return {};
  if (!found->is_string()) throw Refusal(422, "usage", std::string(name) + " must be a string");
  return found->get<std::string>();
}

std::string required_text(const json& request, const char* name) {
  std::string text = text_of(request, name);
  if (text.empty()) throw Refusal(422, "usage", std::string(name) + " is missing");
  return text;
}

Cell cell_of(std::string text) { return text.empty() ? Cell{} : Cell{std::move(text)}; }

// A tenant is named where all are shown; where one is, its role names it.
Cell tenant_of(const Database& database, const json& request) {
  return database.identity().is_admin ? cell_of(text_of(request, "tenant")) : Cell{};
}

// The history keeps what was said, and the role.
std::string reason_of(const Database& database, const json& request, const std::string& actor) {
  const Identity& identity = database.identity();
  std::string by = actor.empty() ? "role " + identity.login : actor + ", role " + identity.login;
  if (identity.role != identity.login) by += " as " + identity.role;
  const std::string said = text_of(request, "reason").substr(0, 1000);
  return (said.empty() ? "" : said + " ") + "(dashboard: " + by + ")";
}

std::string told(const Table& done) {
  return std::string("{\"done\":") + (done.value() == "t" ? "true" : "false") + "}";
}

constexpr std::array verbs_of_one = {"cancel", "retry", "pause", "resume"};

bool is_verb(const std::string& verb) {
  return std::find(verbs_of_one.begin(), verbs_of_one.end(), verb) != verbs_of_one.end();
}

std::string act_on_one(Database& database, const json& request, const std::string& verb, const std::string& actor) {
  auto connection = database.take();
  return told(connection->change("SELECT insula." + verb + "($1::bigint, $2)",
                                 {required_text(request, "id"), reason_of(database, request, actor)}));
}

std::string array_of(const std::vector<std::string>& ids, std::size_t from, std::size_t to) {
  std::string out = "{";
  for (std::size_t i = from; i < to; ++i) out += (i > from ? "," : "") + ids[i];
  return out + "}";
}

// Those that have changed in the meantime are passed over, as the verbs themselves do.
std::string act_on_many(Database& database, const json& request, const std::string& actor) {
  const std::string verb = required_text(request, "action");
  if (!is_verb(verb)) throw Refusal(422, "usage", "there is no such action");
  const json filter_json = request.value("filter", json::object());
  Filter filter = filter_of([&](const std::string& name) { return text_of(filter_json, name.c_str()); });
  if (!database.identity().is_admin) filter.tenant.reset();
  bool all = false;
  const std::vector<std::string> ids = find_executions(database, filter, most_in_bulk, &all);
  const auto answer = [&](std::size_t done, const std::string& error) {
    return "{\"count\":" + std::to_string(ids.size()) + ",\"all\":" + (all ? "true" : "false") +
           ",\"done\":" + std::to_string(done) + ",\"error\":" + (error.empty() ? "null" : json_text(error)) + "}";
  };
  if (request.value("dry_run", true)) return answer(0, "");
  const std::string reason = reason_of(database, request, actor);
  const std::string sql = "SELECT count(*) FILTER (WHERE insula." + verb +
                          "(id, $2)) FROM (SELECT id FROM pg_catalog.unnest($1::bigint[]) id ORDER BY id) ids";
  std::size_t done = 0;
  try {
    auto connection = database.take();
    for (std::size_t at = 0; at < ids.size(); at += chunk) {
      const Table changed = connection->change(sql, {array_of(ids, at, std::min(at + chunk, ids.size())), reason});
      done += std::stoul(changed.value());
    }
  } catch (const Refusal& refusal) {
    return answer(done, refusal.what());
  }
  return answer(done, "");
}

std::string run_workflow(Database& database, const json& request) {
  auto connection = database.take();
  const std::string input = text_of(request, "input");
  const std::string priority = text_of(request, "priority");
  const Table id = connection->change(
      "SELECT insula.submit($1, $2::jsonb, $3::integer, coalesce($4::timestamptz, now()), $5, $6)",
      {required_text(request, "workflow"), input.empty() ? "{}" : input, priority.empty() ? "0" : priority,
       cell_of(text_of(request, "run_at")), cell_of(text_of(request, "key")), tenant_of(database, request)});
  return "{\"done\":true,\"execution_id\":" + json_text(id.value()) + "}";
}

// With the input of its executions, at once, and beside what it fires by itself.
std::string run_schedule(Database& database, const json& request) {
  auto connection = database.take();
  const Table id = connection->change(
      "SELECT insula.submit(s.workflow, s.context, tenant => $2) FROM insula.schedules($2) s WHERE s.name = $1",
      {required_text(request, "name"), tenant_of(database, request)});
  if (id.rows.empty()) throw Refusal(404, "missing", "there is no such schedule");
  return "{\"done\":true,\"execution_id\":" + json_text(id.value()) + "}";
}

std::string switch_named(Database& database, const json& request, const std::string& verb) {
  auto connection = database.take();
  return told(connection->change("SELECT insula." + verb + "($1, $2)",
                                 {required_text(request, "name"), tenant_of(database, request)}));
}

}  // namespace

std::string act(Database& database, const json& request, const std::string& actor) {
  if (!request.is_object()) throw Refusal(422, "usage", "the request must be a JSON object");
  const std::string verb = required_text(request, "verb");
  if (is_verb(verb)) return act_on_one(database, request, verb, actor);
  if (verb == "bulk") return act_on_many(database, request, actor);
  if (verb == "run") return run_workflow(database, request);
  if (verb == "run_schedule") return run_schedule(database, request);
  for (const char* named : {"pause_schedule", "resume_schedule", "pause_workflow", "resume_workflow"})
    if (verb == named) return switch_named(database, request, verb);
  throw Refusal(422, "usage", "there is no such action");
}

}  // namespace insula::cli::dashboard
