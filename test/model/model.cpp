#include "model.hpp"

#include <algorithm>

namespace model {

const char* name(State state) {
  static const char* const names[] = {"pending",   "ready",  "running", "waiting",
                                      "completed", "failed", "skipped", "cancelled"};
  return names[static_cast<int>(state)];
}

bool has_ended(State state) { return state >= State::completed; }

namespace {

std::string id_of(int task) { return "t" + std::to_string(task); }
std::size_t at(int i) { return static_cast<std::size_t>(i); }

}  // namespace

Json Rule::json() const {
  if (kind == "always") return kind;
  if (kind == "context_value") return {{kind, {{"key", "$." + key}, {"op", "equals"}, {"value", value}}}};
  if (parts.empty()) return {{kind, id_of(task)}};
  Json list = Json::array();
  for (const Rule& part : parts) list.push_back(part.json());
  return {{kind, list}};
}

std::vector<int> Definition::order() const {
  std::vector<int> order;
  std::vector<bool> placed(tasks.size(), false);
  while (order.size() < tasks.size()) {
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      const auto& needs = tasks[i].waits_for;
      if (placed[i] || !std::all_of(needs.begin(), needs.end(), [&](int n) { return placed[at(n)]; })) continue;
      placed[i] = true;
      order.push_back(static_cast<int>(i));
      break;
    }
  }
  return order;
}

std::vector<bool> Definition::ancestors(int task) const {
  std::vector<bool> seen(tasks.size(), false);
  std::vector<int> stack = tasks[at(task)].waits_for;
  while (!stack.empty()) {
    const int next = stack.back();
    stack.pop_back();
    if (seen[at(next)]) continue;
    seen[at(next)] = true;
    for (int n : tasks[at(next)].waits_for) stack.push_back(n);
  }
  return seen;
}

Json Definition::json(const std::string& workflow) const {
  Json list = Json::array();
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    Json task = {{"id", id_of(static_cast<int>(i))}};
    for (int n : tasks[i].waits_for) task["depends_on"].push_back(id_of(n));
    if (tasks[i].rule) task["trigger_rule"] = tasks[i].rule->json();
    task["retry"] = {{"max_attempts", tasks[i].max_attempts}, {"initial_delay", "0 s"}};
    if (tasks[i].never_retried) task["retry"]["condition"] = "never";
    list.push_back(task);
  }
  return {{"name", workflow}, {"tasks", list}};
}

Execution::Execution(const Definition& definition, Json input)
    : tasks(definition.tasks.size()), definition_(&definition), input_(std::move(input)) {
  settle();
}

Json Execution::merged(const std::vector<bool>& of) const {
  Json context = input_;
  for (int task : definition_->order())
    if (of[at(task)] && tasks[at(task)].state == State::completed) {
      for (const Json& patch : tasks[at(task)].handed_over) context.merge_patch(patch);
      context.merge_patch(tasks[at(task)].output);
    }
  return context;
}

Json Execution::context_of(int task) const {
  Json context = merged(definition_->ancestors(task));
  for (const Json& patch : tasks[at(task)].handed_over) context.merge_patch(patch);
  return context;
}

Json Execution::final_context() const { return merged(std::vector<bool>(tasks.size(), true)); }

bool Execution::passes(const Rule& rule, int task) const {
  const auto part = [&](const Rule& r) { return passes(r, task); };
  if (rule.kind == "always") return true;
  if (rule.kind == "all") return std::all_of(rule.parts.begin(), rule.parts.end(), part);
  if (rule.kind == "any") return std::any_of(rule.parts.begin(), rule.parts.end(), part);
  if (rule.kind == "none") return std::none_of(rule.parts.begin(), rule.parts.end(), part);
  if (rule.kind == "context_value") {
    const Json context = context_of(task);
    return context.contains(rule.key) && context[rule.key] == rule.value;
  }
  const State state = tasks[at(rule.task)].state;
  return rule.kind == "task_success"  ? state == State::completed
         : rule.kind == "task_failed" ? state == State::failed
                                      : state == State::skipped;
}

bool Execution::handled(int task) const {
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    const auto& needs = definition_->tasks[i].waits_for;
    if (!definition_->tasks[i].rule || std::find(needs.begin(), needs.end(), task) == needs.end()) continue;
    if (tasks[i].state == State::completed || tasks[i].state == State::failed) return true;
  }
  return false;
}

void Execution::settle() {
  for (bool moved = true; moved;) {
    moved = false;
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      if (tasks[i].state != State::pending) continue;
      const auto& needs = definition_->tasks[i].waits_for;
      const auto all = [&](auto test) {
        return std::all_of(needs.begin(), needs.end(), [&](int n) { return test(tasks[at(n)].state); });
      };
      const bool missed = !all([](State s) { return !has_ended(s) || s == State::completed; });
      const auto& rule = definition_->tasks[i].rule;
      if (rule && all(has_ended))
        tasks[i].state = passes(*rule, static_cast<int>(i)) ? State::ready : State::skipped;
      else if (!rule && missed)
        tasks[i].state = State::skipped;
      else if (!rule && all(has_ended))
        tasks[i].state = State::ready;
      moved = moved || tasks[i].state != State::pending;
    }
  }
  if (ended() || !std::all_of(tasks.begin(), tasks.end(), [](const TaskRun& t) { return has_ended(t.state); })) return;
  status = "completed";
  for (std::size_t i = 0; i < tasks.size(); ++i)
    if (tasks[i].state == State::failed && !handled(static_cast<int>(i))) status = "failed";
}

void Execution::claim(int task) {
  tasks[at(task)].state = State::running;
  ++tasks[at(task)].attempt;
  status = "running";
}

void Execution::complete(int task, const Json& patch) {
  tasks[at(task)].state = State::completed;
  tasks[at(task)].output = patch;
  settle();
}

void Execution::fail(int task, bool retryable) {
  const Task& defined = definition_->tasks[at(task)];
  const bool again = retryable && !defined.never_retried && tasks[at(task)].attempt < defined.max_attempts;
  tasks[at(task)].state = again ? State::ready : State::failed;
  failed_attempts += again ? 1 : 0;
  settle();
}

void Execution::defer(int task, const Json& patch) {
  tasks[at(task)].state = State::waiting;
  tasks[at(task)].handed_over.push_back(patch);
  --tasks[at(task)].attempt;
}

void Execution::wait_event(int task, const std::string& event, const Json& patch) {
  defer(task, patch);
  tasks[at(task)].awaited = event;
  tasks[at(task)].event = nullptr;
  const auto kept = std::find_if(kept_.begin(), kept_.end(), [&](const auto& k) { return k.first == event; });
  if (kept == kept_.end()) return;
  const int payload = kept->second;
  kept_.erase(kept);
  (void)send_event(event, payload);
}

bool Execution::send_event(const std::string& event, int payload) {
  if (ended()) return false;
  for (TaskRun& task : tasks) {
    if (task.state != State::waiting || task.awaited != event) continue;
    task.state = State::ready;
    task.awaited.clear();
    task.event = {{"name", event}, {"payload", payload}};
    return true;
  }
  kept_.emplace_back(event, payload);
  return true;
}

void Execution::give_back(int task) {
  tasks[at(task)].state = State::ready;
  --tasks[at(task)].attempt;
}

void Execution::lapse(int task) {
  const Task& defined = definition_->tasks[at(task)];
  const bool again = !defined.never_retried && tasks[at(task)].attempt < defined.max_attempts;
  tasks[at(task)].state = again ? State::ready : State::failed;
  settle();
}

bool Execution::cancel() {
  if (ended()) return false;
  for (TaskRun& task : tasks)
    if (!has_ended(task.state)) task.state = State::cancelled;
  status = "cancelled";
  paused = false;
  return true;
}

bool Execution::pause() {
  if (ended() || paused) return false;
  return paused = true;
}

bool Execution::resume() {
  if (ended() || !paused) return false;
  paused = false;
  return true;
}

bool Execution::retry() {
  if (status != "failed" && status != "cancelled") return false;
  std::vector<bool> again(tasks.size(), false);
  for (int task : definition_->order()) {
    const auto& needs = definition_->tasks[at(task)].waits_for;
    const State state = tasks[at(task)].state;
    const bool below = std::any_of(needs.begin(), needs.end(), [&](int n) { return again[at(n)]; });
    const bool can = std::all_of(needs.begin(), needs.end(), [&](int n) {
      return again[at(n)] || definition_->tasks[at(task)].rule || tasks[at(n)].state == State::completed;
    });
    again[at(task)] = state == State::cancelled || (state == State::failed && !handled(task)) ||
                      (state == State::skipped && below && can);
  }
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    if (tasks[i].state == State::failed) ++failed_attempts;
    if (again[i]) tasks[i] = {};
  }
  status = std::any_of(tasks.begin(), tasks.end(), [](const TaskRun& t) { return has_ended(t.state); }) ? "running"
                                                                                                        : "pending";
  paused = false;
  settle();
  return true;
}

}  // namespace model
