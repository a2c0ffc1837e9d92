#include "model.hpp"

#include <algorithm>
#include <set>

namespace model {

const char* name(State state) {
  static const char* const names[] = {"pending",   "ready",  "running", "waiting",
                                      "completed", "failed", "skipped", "cancelled"};
  return names[static_cast<int>(state)];
}

bool has_ended(State state) { return state >= State::completed; }

static std::string id_of(int task) { return "t" + std::to_string(task); }
static std::size_t ix(int i) { return static_cast<std::size_t>(i); }

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
      if (placed[i] || !std::all_of(needs.begin(), needs.end(), [&](int n) { return placed[ix(n)]; })) continue;
      placed[i] = true;
      order.push_back(static_cast<int>(i));
      break;
    }
  }
  return order;
}

std::vector<bool> Definition::ancestors(int task) const {
  std::vector<bool> seen(tasks.size(), false);
  std::vector<int> stack = tasks[ix(task)].waits_for;
  while (!stack.empty()) {
    const int next = stack.back();
    stack.pop_back();
    if (seen[ix(next)]) continue;
    seen[ix(next)] = true;
    for (int n : tasks[ix(next)].waits_for) stack.push_back(n);
  }
  return seen;
}

Json Definition::json(const std::string& workflow) const {
  Json list = Json::array();
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    Json task = {{"id", id_of(static_cast<int>(i))}};
    for (int n : tasks[i].waits_for) task["depends_on"].push_back(id_of(n));
    if (tasks[i].rule) task["trigger_rule"] = tasks[i].rule->json();
    task["retry"] = {
        {"max_attempts", tasks[i].max_attempts}, {"max_lapses", tasks[i].max_lapses}, {"initial_delay", "0 s"}};
    if (tasks[i].never_retried) task["retry"]["condition"] = "never";
    if (tasks[i].for_each) task["for_each"] = {{"items", "l"}, {"allow_failures", tasks[i].allow_failures}};
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
    if (of[ix(task)] && tasks[ix(task)].state == State::completed) {
      for (const Json& patch : tasks[ix(task)].handed_over) context.merge_patch(patch);
      context.merge_patch(tasks[ix(task)].output);
    }
  return context;
}

TaskRun& Execution::at(Place place) {
  TaskRun& task = tasks[ix(place.task)];
  return place.element < 0 ? task : task.elements[ix(place.element)];
}

const TaskRun& Execution::at(Place place) const { return const_cast<Execution*>(this)->at(place); }

std::vector<std::int64_t> Execution::children() const {
  std::vector<std::int64_t> children;
  const auto look = [&](const TaskRun& run) {
    if (run.state == State::waiting && run.child) children.push_back(run.child);
  };
  for (const TaskRun& task : tasks) {
    look(task);
    for (const TaskRun& element : task.elements) look(element);
  }
  return children;
}

Json Execution::context_of(Place place) const {
  Json context = merged(definition_->ancestors(place.task));
  if (place.element >= 0) {
    context.erase("l");
    context["item"] = at(place).item;
  }
  for (const Json& patch : at(place).handed_over) context.merge_patch(patch);
  return context;
}

Json Execution::final_context() const { return merged(std::vector<bool>(tasks.size(), true)); }

namespace {

// A task's changes to one place of the context, patch after patch.
struct Said {
  int task;
  std::vector<Json> values;

  bool is_object() const { return values.back().is_object(); }
};

// The last of several values counts, or the objects at the end.
Said in_the_end(int task, const std::vector<Json>& values) {
  auto first = values.end() - 1;
  while (first->is_object() && first != values.begin() && std::prev(first)->is_object()) --first;
  return {task, {first, values.end()}};
}

void find_conflicts(const Definition& definition, const std::string& path, const std::vector<Said>& objects,
                    std::vector<Json>& found) {
  std::set<std::string> keys;
  for (const Said& said : objects)
    for (const Json& object : said.values)
      for (const auto& member : object.items()) keys.insert(member.key());
  for (const std::string& key : keys) {
    const std::string place = path + "." + key;
    std::vector<Said> holders;  // of the present value
    const auto look_below = [&] {
      if (!holders.empty() && holders[0].is_object()) find_conflicts(definition, place, holders, found);
    };
    for (const Said& said : objects) {
      std::vector<Json> values;
      for (const Json& object : said.values)
        if (object.contains(key)) values.push_back(object[key]);
      if (values.empty()) continue;
      const Said next = in_the_end(said.task, values);
      const bool goes_with =
          !holders.empty() &&
          (holders[0].is_object() ? next.is_object() : holders[0].values.back() == next.values.back());
      if (!goes_with) {
        for (const Said& holder : holders)
          if (!definition.ancestors(next.task)[ix(holder.task)])
            found.push_back({place, id_of(next.task), id_of(holder.task)});
        look_below();
        holders.clear();
      }
      holders.push_back(next);
    }
    look_below();
  }
}

}  // namespace

std::vector<Json> Execution::conflicts() const {
  std::vector<Said> said;
  for (int task : definition_->order()) {
    const TaskRun& run = tasks[ix(task)];
    if (run.state != State::completed) continue;
    std::vector<Json> patches = run.handed_over;
    if (!run.output.is_null()) patches.push_back(run.output);
    if (!patches.empty()) said.push_back({task, patches});
  }
  std::vector<Json> found;
  find_conflicts(*definition_, "$", said, found);
  std::sort(found.begin(), found.end());
  return found;
}

bool Execution::passes(const Rule& rule, int task) const {
  const auto part = [&](const Rule& r) { return passes(r, task); };
  if (rule.kind == "always") return true;
  if (rule.kind == "all") return std::all_of(rule.parts.begin(), rule.parts.end(), part);
  if (rule.kind == "any") return std::any_of(rule.parts.begin(), rule.parts.end(), part);
  if (rule.kind == "none") return std::none_of(rule.parts.begin(), rule.parts.end(), part);
  if (rule.kind == "context_value") {
    const Json context = context_of({task});
    return context.contains(rule.key) && context[rule.key] == rule.value;
  }
  const State state = tasks[ix(rule.task)].state;
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

// Whether the task moves, now that what it waits for has ended or was missed.
bool Execution::decide(int task) {
  const Task& defined = definition_->tasks[ix(task)];
  TaskRun& run = tasks[ix(task)];
  const auto all = [&](auto test) {
    return std::all_of(defined.waits_for.begin(), defined.waits_for.end(),
                       [&](int n) { return test(tasks[ix(n)].state); });
  };
  const bool missed = !all([](State s) { return !has_ended(s) || s == State::completed; });
  if (!defined.rule && missed) {
    run.state = State::skipped;
  } else if (!all(has_ended)) {
    return false;
  } else if (defined.rule && !passes(*defined.rule, task)) {
    run.state = State::skipped;
  } else if (defined.for_each) {
    open(task);
  } else {
    run.state = State::ready;
  }
  return true;
}

void Execution::open(int task) {
  TaskRun& run = tasks[ix(task)];
  const Json context = context_of({task});
  run.state = State::failed;
  if (!context.contains("l") || !context["l"].is_array()) return;
  run.state = State::running;
  run.opened = ++opened_;
  for (const Json& item : context["l"]) {
    TaskRun element;
    element.state = State::ready;
    element.item = item;
    run.elements.push_back(element);
  }
}

bool Execution::close(int task) {
  TaskRun& run = tasks[ix(task)];
  const auto& elements = run.elements;
  if (!std::all_of(elements.begin(), elements.end(), [](const TaskRun& e) { return has_ended(e.state); })) return false;
  const bool failed =
      std::any_of(elements.begin(), elements.end(), [](const TaskRun& e) { return e.state == State::failed; });
  run.state = failed && !definition_->tasks[ix(task)].allow_failures ? State::failed : State::completed;
  Json outputs = Json::array();
  for (const TaskRun& element : elements) {
    Json output = Json::object();
    for (const Json& patch : element.handed_over) output.merge_patch(patch);
    output.merge_patch(element.output.is_null() ? Json::object() : element.output);
    outputs.push_back(element.state == State::completed ? output : Json(nullptr));
  }
  if (run.state == State::completed) run.output = {{id_of(task), outputs}};
  return true;
}

void Execution::settle() {
  for (bool moved = true; moved && !ended();) {
    moved = false;
    for (int i = 0; i < static_cast<int>(tasks.size()); ++i) {
      if (tasks[ix(i)].state == State::pending) moved = decide(i) || moved;
      if (definition_->tasks[ix(i)].for_each && tasks[ix(i)].state == State::running) moved = close(i) || moved;
    }
  }
  if (ended() || !std::all_of(tasks.begin(), tasks.end(), [](const TaskRun& t) { return has_ended(t.state); })) return;
  bool failed = false;
  for (std::size_t i = 0; i < tasks.size(); ++i)
    failed = failed || (tasks[i].state == State::failed && !handled(static_cast<int>(i)));
  end(failed ? "failed" : "completed");
}

void Execution::end(const std::string& as) {
  status = as;
  for (const Json& conflict : conflicts()) noted.push_back(conflict);
}

void Execution::claim(Place place) {
  at(place).state = State::running;
  ++at(place).attempt;
  status = "running";
}

void Execution::complete(Place place, const Json& patch) {
  at(place).state = State::completed;
  at(place).output = patch;
  settle();
}

void Execution::fail(Place place, bool retryable) {
  const Task& defined = definition_->tasks[ix(place.task)];
  TaskRun& run = at(place);
  const bool again = retryable && !defined.never_retried && run.attempt < defined.max_attempts;
  run.state = again ? State::ready : State::failed;
  run.child = 0;
  run.lapses = 0;
  failed_attempts += again ? 1 : 0;
  settle();
}

void Execution::defer(Place place, const Json& patch) {
  at(place).state = State::waiting;
  at(place).handed_over.push_back(patch);
  at(place).lapses = 0;
  --at(place).attempt;
}

void Execution::wait_event(Place place, const std::string& event, const Json& patch) {
  defer(place, patch);
  at(place).awaited = event;
  at(place).event = nullptr;
  const auto kept = std::find_if(kept_.begin(), kept_.end(), [&](const auto& k) { return k.first == event; });
  if (kept == kept_.end()) return;
  const int payload = kept->second;
  kept_.erase(kept);
  (void)send_event(event, payload);
}

void Execution::wait_child(Place place, std::int64_t child) {
  at(place).state = State::waiting;
  at(place).child = child;
}

bool Execution::send_event(const std::string& event, int payload) {
  if (ended()) return false;
  std::vector<TaskRun*> runs;
  for (TaskRun& task : tasks) runs.push_back(&task);
  // Elements come after all tasks, in the order in which they were made.
  for (int group = 1; group <= opened_; ++group)
    for (TaskRun& task : tasks)
      for (TaskRun& element : task.elements)
        if (task.opened == group) runs.push_back(&element);
  for (TaskRun* task : runs) {
    if (task->state != State::waiting || task->awaited != event) continue;
    task->state = State::ready;
    task->awaited.clear();
    task->event = {{"name", event}, {"payload", payload}};
    return true;
  }
  kept_.emplace_back(event, payload);
  return true;
}

void Execution::give_back(Place place) {
  at(place).state = State::ready;
  --at(place).attempt;
}

void Execution::lapse(Place place) {
  const Task& defined = definition_->tasks[ix(place.task)];
  const bool again = !defined.never_retried && defined.max_attempts > 1 && at(place).lapses++ < defined.max_lapses;
  at(place).state = again ? State::ready : State::failed;
  if (again) --at(place).attempt;
  settle();
}

bool Execution::cancel() {
  if (ended()) return false;
  for (TaskRun& task : tasks) {
    if (!has_ended(task.state)) task.state = State::cancelled;
    for (TaskRun& element : task.elements)
      if (!has_ended(element.state)) element.state = State::cancelled;
  }
  end("cancelled");
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

// A group runs again what of it failed or was cancelled; false: it begins anew, as others do.
bool Execution::reopen(int task, bool anew) {
  TaskRun& run = tasks[ix(task)];
  bool any = false;
  for (TaskRun& element : run.elements) {
    if (anew || element.state == State::completed) continue;
    any = true;
    const Json item = element.item;
    element = {};
    element.state = State::ready;
    element.item = item;
  }
  if (!any) return false;
  run.state = State::running;
  run.output = nullptr;
  return true;
}

bool Execution::retry() {
  if (status != "failed" && status != "cancelled") return false;
  std::vector<bool> again(tasks.size(), false);
  for (int task : definition_->order()) {
    const auto& needs = definition_->tasks[ix(task)].waits_for;
    const State state = tasks[ix(task)].state;
    const bool below = std::any_of(needs.begin(), needs.end(), [&](int n) { return again[ix(n)]; });
    const bool can = std::all_of(needs.begin(), needs.end(), [&](int n) {
      return again[ix(n)] || definition_->tasks[ix(task)].rule || tasks[ix(n)].state == State::completed;
    });
    again[ix(task)] = state == State::cancelled || (state == State::failed && !handled(task)) ||
                      (state == State::skipped && below && can);
  }
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    if (!again[i]) continue;
    const auto& needs = definition_->tasks[i].waits_for;
    const bool anew = std::any_of(needs.begin(), needs.end(), [&](int n) { return again[ix(n)]; });
    if (tasks[i].state == State::failed) ++failed_attempts;
    for (const TaskRun& element : tasks[i].elements)
      if (element.state == State::failed) ++failed_attempts;
    if (!reopen(static_cast<int>(i), anew)) tasks[i] = {};
  }
  status = std::any_of(tasks.begin(), tasks.end(), [](const TaskRun& t) { return has_ended(t.state); }) ? "running"
                                                                                                        : "pending";
  paused = false;
  settle();
  return true;
}

}  // namespace model
