#include "dashboard/actions.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <set>
#include <span>

#include "dashboard/json.hpp"
#include "dashboard/views.hpp"

namespace insula::cli::dashboard {

namespace {

using nlohmann::json;

constexpr std::size_t most_in_bulk = 10000;
constexpr std::size_t chunk = 200;     // executions of one transaction
constexpr std::size_t most_told = 20;  // of those that could not be changed
constexpr int most_waits = 3;          // for locks of one tenant's executions; then the rest of its are left
constexpr std::size_t longest_reason = 2000;

// A change of many ends before the page loses patience, whatever the search before it has taken.
constexpr std::chrono::seconds bulk_lasts{30}, change_lasts{5};

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

// A tenant is named where all are shown; where one is, its role names it.
Cell tenant_of(const Database& database, const json& request) {
  return database.identity().is_admin ? cell_of(text_of(request, "tenant")) : Cell{};
}

// The history keeps what was said, and the role.
std::string reason_of(const Database& database, const json& request, const std::string& actor) {
  const Identity& identity = database.identity();
  std::string by = actor.empty() ? "role " + identity.login : actor + ", role " + identity.login;
  if (identity.role != identity.login) by += " as " + identity.role;
  const std::string said = cut_text(text_of(request, "reason"), longest_reason);
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

// ---- all that fit a filter ----

struct Named {
  const char* verb;
  std::vector<const char*> members;  // of a request, beside the verb
};

const std::vector<Named>& known_requests() {
  static const std::vector<Named> all = {{"cancel", {"id", "reason"}},
                                         {"retry", {"id", "reason"}},
                                         {"pause", {"id", "reason"}},
                                         {"resume", {"id", "reason"}},
                                         {"bulk", {"action", "filter", "everything", "dry_run", "expect", "reason"}},
                                         {"run", {"workflow", "input", "priority", "run_at", "key", "tenant"}},
                                         {"run_same", {"id", "priority", "key"}},
                                         {"run_schedule", {"name", "key", "tenant"}},
                                         {"pause_schedule", {"name", "tenant"}},
                                         {"resume_schedule", {"name", "tenant"}},
                                         {"pause_workflow", {"name", "tenant"}},
                                         {"resume_workflow", {"name", "tenant"}}};
  return all;
}

constexpr std::array filter_members = {"workflow", "status", "error", "with", "after", "before", "tenant"};

// A word that is misspelled shall not widen what is acted upon.
void check_members(const json& object, std::span<const char* const> known, const char* also = nullptr) {
  for (const auto& [name, value] : object.items()) {
    const bool is_known =
        (also && name == also) || std::any_of(known.begin(), known.end(), [&](const char* one) { return name == one; });
    if (!is_known) throw Refusal(422, "usage", "\"" + cut_text(name, 60) + "\" is not known here");
  }
}

Filter filter_in(const Database& database, const json& request) {
  const auto found = request.find("filter");
  if (found == request.end() || !found->is_object()) throw Refusal(422, "usage", "filter must be an object");
  check_members(*found, filter_members);
  for (const auto& [name, value] : found->items())
    if (!value.is_string()) throw Refusal(422, "usage", "filter: " + name + " must be a string");
  Filter filter = filter_of([&](const std::string& name) { return text_of(*found, name.c_str()); });
  if (!database.identity().is_admin) filter.tenant.reset();
  return filter;
}

bool is_everything(const Filter& filter) {
  return !filter.workflow && !filter.status && !filter.after && !filter.before && !filter.error && !filter.context &&
         !filter.tenant;
}

// Changes executions in transactions of many. Where one of them cannot be changed, as it has gone or is locked, its
// chunk is gone through one by one, so that it keeps no other from being changed.
class Bulk {
 public:
  Bulk(Database& database, const std::string& verb, const std::string& reason)
      : connection_(database.take()),
        reason_(reason),
        sql_("SELECT count(*) FILTER (WHERE insula." + verb +
             "(id, $2)) FROM (SELECT id FROM pg_catalog.unnest($1::bigint[]) id ORDER BY id) ids") {}

  void change(const std::vector<FoundExecution>& all, std::chrono::steady_clock::time_point until) {
    for (std::size_t at = 0; at < all.size(); at += chunk) {
      const std::span some(all.data() + at, std::min(chunk, all.size() - at));
      if (!is_stopped(until) && change_at_once(some)) continue;
      for (const FoundExecution& one : some) {
        if (is_stopped(until))
          ++left_;
        else
          change_one(one);
      }
    }
  }

  void leave(std::size_t more) { left_ += more; }

  std::string told() const {
    return "\"done\":" + std::to_string(done_) + ",\"skipped\":" + std::to_string(skipped_) +
           ",\"left\":" + std::to_string(left_) + ",\"skips\":[" + skips_ +
           "],\"error\":" + (error_.empty() ? "null" : json_text(error_));
  }

 private:
  bool is_stopped(std::chrono::steady_clock::time_point until) {
    return !error_.empty() || interrupted() || std::chrono::steady_clock::now() > until;
  }

  bool change_at_once(std::span<const FoundExecution> some) {
    std::string ids;
    for (const FoundExecution& one : some) {
      if (is_locked(one.tenant)) return false;
      ids += (ids.empty() ? "{" : ",") + one.id;
    }
    try {
      done_ += std::stoul(connection_->change(sql_, {ids + "}", reason_}).value());
      return true;
    } catch (const Refusal& refusal) {
      stop_if_away(refusal);
      return false;
    }
  }

  void change_one(const FoundExecution& one) {
    if (is_locked(one.tenant)) return skip(one, "others of its tenant are locked");
    try {
      done_ += std::stoul(connection_->change(sql_, {"{" + one.id + "}", reason_}).value());
    } catch (const Refusal& refusal) {
      if (stop_if_away(refusal)) {
        ++left_;
        return;
      }
      if (refusal.kind == "timeout") ++waits_[one.tenant];
      skip(one, refusal.what());
    }
  }

  bool is_locked(const std::string& tenant) const {
    const auto found = waits_.find(tenant);
    return found != waits_.end() && found->second >= most_waits;
  }

  void skip(const FoundExecution& one, const std::string& why) {
    if (++skipped_ > most_told) return;
    skips_ += (skips_.empty() ? "" : ",") + std::string("{\"id\":") + json_text(one.id) +
              ",\"message\":" + json_text(why) + "}";
  }

  bool stop_if_away(const Refusal& refusal) {
    if (connection_->is_usable() && refusal.kind != "away") return false;
    error_ = refusal.what();
    return true;
  }

  Database::Lease connection_;
  std::string reason_, sql_, skips_, error_;
  std::map<std::string, int> waits_;
  std::size_t done_ = 0, skipped_ = 0, left_ = 0;
};

// A person has confirmed those that were counted: no other one is changed.
std::set<std::uint64_t> confirmed_in(const json& request) {
  constexpr std::size_t longest_id = 16;
  const auto found = request.find("expect");
  const auto is_id = [](const json& one) {
    if (!one.is_string()) return false;
    const auto& text = one.get_ref<const std::string&>();
    return !text.empty() && text.size() <= longest_id && text.find_first_not_of("0123456789") == std::string::npos;
  };
  if (found == request.end() || !found->is_array() || found->size() > most_in_bulk ||
      !std::all_of(found->begin(), found->end(), is_id))
    throw Refusal(422, "usage", "expect must hold the ids that were counted before");
  std::set<std::uint64_t> ids;
  for (const json& one : *found) ids.insert(std::stoull(one.get_ref<const std::string&>()));
  return ids;
}

std::string told_count(const std::vector<FoundExecution>& found, bool all) {
  std::string ids;
  for (const FoundExecution& one : found) ids += (ids.empty() ? "" : ",") + json_text(one.id);
  return "{\"count\":" + std::to_string(found.size()) + ",\"all\":" + (all ? "true" : "false") + ",\"ids\":[" + ids +
         "],\"done\":0,\"error\":null}";
}

// Those that have changed in the meantime are passed over, as the verbs themselves do; those that fit no more, or have
// come since, are left as they are.
std::string act_on_many(Database& database, const json& request, const std::string& actor) {
  const auto began = std::chrono::steady_clock::now();
  const std::string verb = required_text(request, "action");
  if (!is_verb(verb)) throw Refusal(422, "usage", "there is no such action");
  const Filter filter = filter_in(database, request);
  bool all = false;
  if (request.value("dry_run", true)) {
    const std::vector<FoundExecution> counted = find_executions(database, filter, most_in_bulk, &all);
    return told_count(counted, all);
  }
  if (is_everything(filter) && !request.value("everything", false))
    throw Refusal(422, "usage", "the filter is empty: all executions need \"everything\": true");
  const std::set<std::uint64_t> confirmed = confirmed_in(request);
  const std::vector<FoundExecution> found = find_among(database, filter, confirmed, &all);
  const std::size_t missing = confirmed.size() - found.size();
  Bulk bulk(database, verb, reason_of(database, request, actor));
  bulk.change(found, std::max(began + bulk_lasts, std::chrono::steady_clock::now() + change_lasts));
  if (!all) bulk.leave(missing);  // the search has taken too long
  return "{\"count\":" + std::to_string(confirmed.size()) + ",\"gone\":" + std::to_string(all ? missing : 0) + "," +
         bulk.told() + "}";
}

// ---- new executions ----

std::string told_of_new(const Table& id, const char* what) {
  if (id.rows.empty()) throw Refusal(404, "missing", std::string("there is no such ") + what);
  return "{\"done\":true,\"execution_id\":" + json_text(id.value()) + "}";
}

std::string priority_of(const json& request) {
  const std::string priority = text_of(request, "priority");
  return priority.empty() ? "0" : priority;
}

std::string run_workflow(Database& database, const json& request) {
  auto connection = database.take();
  const std::string input = text_of(request, "input");
  return told_of_new(
      connection->change(
          "SELECT insula.submit($1, $2::jsonb, $3::integer, coalesce($4::timestamptz, now()), $5, $6)",
          {required_text(request, "workflow"), input.empty() ? "{}" : input, priority_of(request),
           cell_of(text_of(request, "run_at")), cell_of(text_of(request, "key")), tenant_of(database, request)}),
      "workflow");
}

// With the input of another one, which may be too large or too deep for the page.
std::string run_same(Database& database, const json& request) {
  auto connection = database.take();
  return told_of_new(
      connection->change("SELECT insula.submit(r.workflow, s.input, $2::integer, pg_catalog.now(), $3, s.tenant_name) "
                         "FROM insula.execution_source($1::bigint) s, insula.result($1::bigint) r",
                         {required_text(request, "id"), priority_of(request), cell_of(text_of(request, "key"))}),
      "execution");
}

// With the input of its executions, at once, and beside what it fires by itself.
std::string run_schedule(Database& database, const json& request) {
  auto connection = database.take();
  return told_of_new(
      connection->change(
          "SELECT insula.submit(s.workflow, s.context, idempotency_key => $3, tenant => $2) FROM "
          "insula.schedules($2) s WHERE s.name = $1",
          {required_text(request, "name"), tenant_of(database, request), cell_of(text_of(request, "key"))}),
      "schedule");
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
  const auto& all = known_requests();
  const auto known = std::find_if(all.begin(), all.end(), [&](const Named& one) { return one.verb == verb; });
  if (known == all.end()) throw Refusal(422, "usage", "there is no such action");
  check_members(request, known->members, "verb");
  if (is_verb(verb)) return act_on_one(database, request, verb, actor);
  if (verb == "bulk") return act_on_many(database, request, actor);
  if (verb == "run") return run_workflow(database, request);
  if (verb == "run_same") return run_same(database, request);
  if (verb == "run_schedule") return run_schedule(database, request);
  return switch_named(database, request, verb);
}

std::string summary_of(const json& request) {
  constexpr std::size_t longest_value = 200;
  if (!request.is_object()) return "no object";
  std::string out;
  const auto add = [&](const json& object, const char* name) {
    const auto found = object.find(name);
    if (found == object.end() || (found->is_string() && found->get_ref<const std::string&>().empty())) return;
    // What should be text or a number and is none may be as deep as it likes: it is not written out.
    const std::string value = found->is_array()        ? "[" + std::to_string(found->size()) + "]"
                              : found->is_structured() ? "(...)"
                                                       : found->dump(-1, ' ', false, json::error_handler_t::replace);
    out += (out.empty() ? "" : " ") + std::string(name) + "=" + cut_text(value, longest_value);
  };
  for (const char* name :
       {"verb", "action", "id", "name", "workflow", "tenant", "dry_run", "expect", "everything", "key"})
    add(request, name);
  if (const auto filter = request.find("filter"); filter != request.end() && filter->is_object()) {
    out += " filter:";
    for (const char* name : filter_members) add(*filter, name);
  }
  for (const char* name : {"reason", "priority", "run_at", "input"}) add(request, name);
  return out;
}

}  // namespace insula::cli::dashboard
