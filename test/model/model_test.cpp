// Random workflows, and random things that happen to them, on the real extension and on
// the model: after each step every status, attempt and context agrees.  The seed of a run
// that fails is in the message; INSULA_MODEL_SEED and INSULA_MODEL_EXECUTIONS choose others.
#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "counted.hpp"
#include "model.hpp"
#include "support/session.hpp"

namespace {

using insula_test::environment;
using insula_test::Session;
using model::Json;
using model::State;

struct Running {
  std::int64_t execution;
  model::Place place;
  std::int64_t id;
  std::int64_t lease;
  std::string worker;
};

class Model : public ::testing::Test {
 protected:
  void SetUp() override {
    sql.query("SET client_min_messages = error");
    sql.query("CREATE EXTENSION IF NOT EXISTS insula");
    sql.query("SELECT tenant FROM insula.create_tenant('modelled')");
    sql.query("SET insula.tenant = 'modelled'");
    sql.query("SET synchronous_commit = off");
    random.seed(static_cast<unsigned>(seed));
  }
  void TearDown() override {
    sql.query("RESET insula.tenant");
    sql.query("SELECT insula.drop_tenant('modelled', '0 s')");
  }

  int below(int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); }
  bool chance(int percent) { return below(100) < percent; }
  static std::string quoted(const Json& json) {
    std::string text = "'";
    for (char c : json.dump()) text += c == '\'' ? std::string("''") : std::string(1, c);
    return text + "'";
  }
  Json patch() {
    Json patch = Json::object();
    for (const char* key : {"a", "b", "c"})
      if (chance(30)) patch[key] = chance(15) ? Json(nullptr) : chance(80) ? Json(below(3)) : Json{{"x", below(3)}};
    if (chance(25)) patch["l"] = chance(10) ? Json(below(3)) : list();
    return patch;
  }
  Json list() {
    Json list = Json::array();
    for (int i = below(4); i > 0; --i)
      list.push_back(chance(20) ? Json(nullptr) : chance(80) ? Json(below(9)) : Json{{"x", 1}});
    return list;
  }
  model::Rule rule(const model::Task& task, int depth) {
    model::Rule made;
    if (depth == 0 || chance(40)) {
      const char* kinds[] = {"always", "task_success", "task_failed", "task_skipped", "context_value"};
      made.kind = kinds[below(5)];
      made.task = task.waits_for[static_cast<std::size_t>(below(static_cast<int>(task.waits_for.size())))];
      made.key = std::string(1, static_cast<char>('a' + below(3)));
      made.value = below(3);
      return made;
    }
    const char* kinds[] = {"all", "any", "none"};
    made.kind = kinds[below(3)];
    for (int i = 0, parts = 1 + below(3); i < parts; ++i) made.parts.push_back(rule(task, depth - 1));
    return made;
  }
  model::Definition definition() {
    model::Definition made;
    const int tasks = chance(30) ? 1 : 1 + below(7);
    for (int i = 0; i < tasks; ++i) {
      model::Task task;
      for (int other = 0; other < i; ++other)
        if (chance(35)) task.waits_for.push_back(other);
      if (!task.waits_for.empty() && chance(40)) task.rule = rule(task, 2);
      task.max_attempts = 1 + below(3);
      task.max_lapses = below(4);
      task.never_retried = chance(10);
      task.for_each = chance(20);
      task.allow_failures = chance(50);
      made.tasks.push_back(task);
    }
    return made;
  }

  void submit() {
    const std::size_t which = static_cast<std::size_t>(below(static_cast<int>(definitions.size())));
    const Json input = without_nulls(patch());
    const std::int64_t id =
        std::stoll(sql.query("SELECT insula.submit('w" + std::to_string(which) + "', " + quoted(input) + ")"));
    live.emplace(id, model::Execution(definitions[which], input));
    compare(id);
  }
  static Json without_nulls(const Json& patch) {
    Json stripped = Json::object();
    stripped.merge_patch(patch);
    return stripped;
  }

  // Everything that can be claimed is, and nothing else.
  void claim() {
    const std::string worker = "w" + std::to_string(below(3));
    const int wanted = 1 + below(4);
    int claimable = 0;
    for (const auto& [id, execution] : live)
      for (const auto& task : execution.tasks) {
        if (execution.paused || execution.ended()) continue;
        claimable += can_run(task) ? 1 : 0;
        for (const auto& element : task.elements) claimable += can_run(element) ? 1 : 0;
      }
    const Json claimed = Json::parse(sql.query("SELECT coalesce(jsonb_agg(c), '[]') FROM insula.claim('" + worker +
                                               "', max_tasks => " + std::to_string(wanted) + ") c"));
    ASSERT_EQ(static_cast<int>(claimed.size()), std::min(wanted, claimable));
    for (const Json& task : claimed) {
      const std::int64_t id = task["execution_id"];
      const model::Place place = {std::stoi(task["task"].get<std::string>().substr(1)), element_of(task["task_id"])};
      model::Execution& execution = live.at(id);
      model::TaskRun& run = execution.at(place);
      ASSERT_TRUE(can_run(run) && !execution.paused) << task;
      ASSERT_EQ(task["context"], execution.context_of(place)) << task;
      ASSERT_EQ(task["item"], run.item) << task;
      ASSERT_EQ(task["event"], run.event) << task;
      execution.claim(place);
      ASSERT_EQ(task["attempt"], run.attempt) << task;
      running.push_back({id, place, task["task_id"], task["lease"], worker});
    }
  }
  // A task that was deferred to the present may run, as a ready one.
  static bool can_run(const model::TaskRun& task) { return task.state == State::ready || is_deferred(task); }
  static bool is_deferred(const model::TaskRun& task) {
    return task.state == State::waiting && task.awaited.empty() && task.child == 0;
  }
  static std::string local(std::int64_t id) { return std::to_string(id & ((std::int64_t{1} << 36) - 1)); }
  int element_of(std::int64_t id) {
    return std::stoi(sql.query("SELECT coalesce(element, -1) FROM tenant_modelled.work WHERE id = " + local(id)));
  }

  void finish_one() {
    if (running.empty()) return;
    const std::size_t which = static_cast<std::size_t>(below(static_cast<int>(running.size())));
    const Running task = running[which];
    const std::string id_and_lease = std::to_string(task.id) + ", " + std::to_string(task.lease);
    model::Execution& execution = live.at(task.execution);
    const bool lost = execution.at(task.place).state != State::running;
    const Json said = patch();
    const int what = below(100);
    running.erase(running.begin() + static_cast<std::ptrdiff_t>(which));
    if (what < 55) {
      const std::string done = sql.query("SELECT insula.complete(" + id_and_lease + ", " + quoted(said) + ")");
      ASSERT_EQ(done, lost ? "f" : "t");
      if (!lost) execution.complete(task.place, said);
    } else if (what < 75) {
      const bool retryable = chance(80);
      const std::string next =
          sql.query("SELECT insula.fail(" + id_and_lease + ", 'no', " + (retryable ? "true" : "false") + ")");
      if (!lost) execution.fail(task.place, retryable);
      ASSERT_EQ(next, lost ? "" : model::name(execution.at(task.place).state));
    } else if (what < 80) {
      const std::string done = sql.query("SELECT insula.defer(" + id_and_lease + ", now(), " + quoted(said) + ")");
      ASSERT_EQ(done, lost ? "f" : "t");
      if (!lost) execution.defer(task.place, said);
    } else if (what < 85) {
      submit_child(task, lost);
    } else if (what < 91) {
      const std::string event = chance(50) ? "e" : "f";
      const std::string done =
          sql.query("SELECT insula.wait_event(" + id_and_lease + ", '" + event + "', NULL, " + quoted(said) + ")");
      ASSERT_EQ(done, lost ? "f" : "t");
      if (!lost) execution.wait_event(task.place, event, said);
    } else if (what < 95) {
      sql.query("SELECT insula.leave('" + task.worker + "')");
      if (!lost) execution.give_back(task.place);
      for (const Running& other : running) {
        model::Execution& of = live.at(other.execution);
        if (other.worker == task.worker && of.at(other.place).state == State::running) of.give_back(other.place);
      }
      std::erase_if(running, [&](const Running& other) { return other.worker == task.worker; });
    } else if (!lost) {
      // Time passes for this lease alone; the next claim finds it.
      sql.query("UPDATE tenant_modelled.work SET due = 0 WHERE lane = 100001 AND lease = " +
                std::to_string(task.lease));
      sql.query("SELECT insula.claim('idle', ARRAY['no.such_task'])");
      execution.lapse(task.place);
    }
    compare(task.execution);
    tell_parent(task.execution);
  }

  void submit_child(const Running& task, bool lost) {
    int depth = 0;
    for (auto at = parents.find(task.execution); at != parents.end(); at = parents.find(at->second.execution)) ++depth;
    const std::size_t which = static_cast<std::size_t>(below(static_cast<int>(definitions.size())));
    const Json input = without_nulls(patch());
    const std::string id_and_lease = std::to_string(task.id) + ", " + std::to_string(task.lease);
    if (depth > 4) {
      ASSERT_EQ(sql.query("SELECT insula.complete(" + id_and_lease + ")"), lost ? "f" : "t");
      if (!lost) live.at(task.execution).complete(task.place, Json::object());
      return;
    }
    const std::string child = sql.query("SELECT insula.submit_child(" + id_and_lease + ", 'w" + std::to_string(which) +
                                        "', " + quoted(input) + ")");
    ASSERT_EQ(child.empty(), lost);
    if (lost) return;
    const std::int64_t id = std::stoll(child);
    live.at(task.execution).wait_child(task.place, id);
    live.emplace(id, model::Execution(definitions[which], input));
    parents[id] = task;
    ++outcomes["children"];
    compare(id);
    tell_parent(id);
  }

  // Tells the task that waits for the execution that it has ended.
  void tell_parent(std::int64_t id) {
    const model::Execution& execution = live.at(id);
    const auto link = parents.find(id);
    if (!execution.ended() || link == parents.end()) return;
    const auto parent = live.find(link->second.execution);
    const model::Place place = link->second.place;
    if (parent == live.end()) return;
    const auto& elements = parent->second.tasks[static_cast<std::size_t>(place.task)].elements;
    if (place.element >= static_cast<int>(elements.size())) return;
    const model::TaskRun& run = parent->second.at(place);
    if (run.state != State::waiting || run.child != id) return;
    if (execution.status == "completed")
      parent->second.complete(place, {{"t" + std::to_string(place.task), execution.final_context()}});
    else
      parent->second.fail(place, execution.status != "cancelled");
    ++outcomes["children " + execution.status];
    compare(parent->first);
    tell_parent(parent->first);
  }

  bool cancel_in_model(std::int64_t id) {
    const std::vector<std::int64_t> children = live.at(id).children();
    if (!live.at(id).cancel()) return false;
    for (std::int64_t child : children) {
      (void)cancel_in_model(child);
      compare(child);
    }
    return true;
  }

  void disturb() {
    if (live.empty()) return;
    const int what = below(100);
    auto chosen = live.begin();
    std::advance(chosen, below(static_cast<int>(live.size())));
    // Only one that has ended can be retried, and few do not run.
    if (what >= 78 && !chosen->second.ended())
      chosen = std::find_if(live.begin(), live.end(), [](const auto& entry) { return entry.second.ended(); });
    if (chosen == live.end()) return;
    auto& [id, execution] = *chosen;
    const std::string call = "(" + std::to_string(id);
    std::string answer;
    bool expected = false;
    if (what < 30) {
      const std::string event = chance(50) ? "e" : "f";
      const int payload = below(1000);
      answer = sql.query("SELECT insula.send_event" + call + ", '" + event + "', '" + std::to_string(payload) + "')");
      expected = execution.send_event(event, payload);
    } else if (what < 45) {
      answer = sql.query("SELECT insula.pause" + call + ")");
      expected = execution.pause();
    } else if (what < 68) {
      answer = sql.query("SELECT insula.resume" + call + ")");
      expected = execution.resume();
    } else if (what < 78) {
      answer = sql.query("SELECT insula.cancel" + call + ")");
      expected = cancel_in_model(id);
    } else {
      answer = sql.query("SELECT insula.retry" + call + ")");
      const std::string before = execution.status;
      expected = execution.retry();
      if (expected) ++outcomes["retried " + before];
      if (expected) std::erase_if(running, [&, id = id](const Running& task) { return task.execution == id; });
    }
    ASSERT_EQ(answer, expected ? "t" : "f") << what;
    compare(id);
    tell_parent(id);
  }

  void compare(std::int64_t id) {
    const model::Execution& execution = live.at(id);
    const Json result = Json::parse(sql.query("SELECT to_jsonb(r) FROM insula.result(" + std::to_string(id) + ") r"));
    std::string status = execution.status;
    if (execution.paused && !execution.ended()) status = "paused";
    // Whether a retried execution counts as started is for the timestamps to say.
    if (status == "running") status = result["status"] == "pending" ? "pending" : "running";
    if (status == "pending") status = result["status"] == "running" ? "running" : "pending";
    ASSERT_EQ(result["status"], status) << result;
    for (const Json& task : result["tasks"]) {
      const std::string name = task["task"];
      const auto bracket = name.find('[');
      const model::Place place = {std::stoi(name.substr(1)),
                                  bracket == std::string::npos ? -1 : std::stoi(name.substr(bracket + 1))};
      ASSERT_LT(place.element, static_cast<int>(execution.at({place.task}).elements.size())) << result;
      const model::TaskRun& run = execution.at(place);
      // A task that was deferred to the present is ready at the next look.
      const bool released = is_deferred(run) && task["status"] == "ready";
      ASSERT_EQ(task["status"], released ? "ready" : model::name(run.state)) << name << " of " << result;
      ASSERT_EQ(task["attempt"], run.attempt) << name << " of " << result;
    }
    std::size_t runs = 0;
    for (const auto& task : execution.tasks) runs += 1 + task.elements.size();
    ASSERT_EQ(result["tasks"].size(), runs) << result;
    if (execution.ended()) {
      ASSERT_EQ(result["final_context"], execution.final_context()) << result;
    }
  }

  static Json sorted(Json list) {
    std::sort(list.begin(), list.end());
    return list;
  }

  // Ended executions may be retried a while; then their history is counted, and they go.
  void retire() {
    for (auto at = live.begin(); at != live.end();) {
      if (!at->second.ended() || !chance(10)) {
        ++at;
        continue;
      }
      const std::string lines = sql.query(
          "SELECT count(*) FROM tenant_modelled.record WHERE kind = 'h' AND name = 'task_attempt_failed' AND owner = " +
          local(at->first));
      ASSERT_EQ(lines, std::to_string(at->second.failed_attempts));
      const Json noted = Json::parse(
          sql.query("SELECT coalesce(jsonb_agg(jsonb_build_array(body->'path', body->'kept', body->'replaced')), '[]') "
                    "FROM tenant_modelled.record WHERE kind = 'h' AND name = 'context_conflict' AND owner = " +
                    local(at->first)));
      ASSERT_EQ(sorted(noted), sorted(at->second.noted));
      outcomes["conflicts"] += static_cast<int>(noted.size());
      std::erase_if(running, [&](const Running& task) { return task.execution == at->first; });
      ++outcomes[at->second.status];
      for (const model::TaskRun& task : at->second.tasks) ++outcomes[model::name(task.state)];
      at = live.erase(at);
      ++done;
    }
  }

  const int seed = std::stoi(environment("INSULA_MODEL_SEED", "20261124"));
  std::mt19937 random;
  Session sql;
  std::vector<model::Definition> definitions;
  std::map<std::int64_t, model::Execution> live;
  std::vector<Running> running;
  std::map<std::int64_t, Running> parents;  // of executions, the tasks that have submitted them
  std::map<std::string, int> outcomes;      // of executions and of tasks
  int done = 0;
};

TEST_F(Model, AgreesWithTheExtension) {
  const int wanted = std::stoi(environment("INSULA_MODEL_EXECUTIONS", "10000"));
  for (int i = 0; i < 300; ++i) {
    definitions.push_back(definition());
    sql.query("SELECT insula.register_workflow(" + quoted(definitions.back().json("w" + std::to_string(i))) + ")");
  }
  for (int step = 0; done < wanted && !HasFatalFailure(); ++step) {
    SCOPED_TRACE("seed " + std::to_string(seed) + ", step " + std::to_string(step));
    if (live.size() < 6 && done + static_cast<int>(live.size()) < wanted + 6) submit();
    const int what = below(100);
    if (what < 40)
      claim();
    else if (what < 85)
      finish_one();
    else
      disturb();
    if (HasFatalFailure()) return;
    retire();
    if (step % 100 == 0) model::expect_counted(sql, "modelled", "tenant_modelled");
    if (step % 1000 == 0) sql.query("SELECT insula.stat_reset()");
    if (HasNonfatalFailure()) return;
  }
  // It has been everywhere.
  for (const char* outcome : {"completed", "failed", "cancelled", "skipped", "retried failed", "retried cancelled",
                              "children", "children completed", "children failed", "conflicts"})
    EXPECT_GT(outcomes[outcome], wanted / 100) << outcome;
}

}  // namespace
