// A reference of the workflow engine, too simple to be wrong: after each change it goes
// over all tasks again and again until nothing moves.  It knows nothing of queues, leases
// or time; a retry is ready at once.
#pragma once

#include <nlohmann/json.hpp>

#include <optional>
#include <string>
#include <vector>

namespace model {

using Json = nlohmann::json;

enum class State { pending, ready, running, waiting, completed, failed, skipped, cancelled };
const char* name(State state);
bool has_ended(State state);

// A trigger rule: a leaf, or all, any or none of its parts.
struct Rule {
  std::string kind;  // always, all, any, none, task_success, task_failed, task_skipped, context_value
  int task = 0;
  std::string key;  // context_value: the key equals the value
  int value = 0;
  std::vector<Rule> parts;

  Json json() const;
};

struct Task {
  std::vector<int> waits_for;
  std::optional<Rule> rule;
  int max_attempts = 3;
  int max_lapses = 10;
  bool never_retried = false;
  bool for_each = false;  // of the array at key l
  bool allow_failures = false;
};

struct Place {
  int task;
  int element = -1;  // -1: the task itself
};

struct Definition {
  std::vector<Task> tasks;

  std::vector<int> order() const;  // topological, ties by declared position
  std::vector<bool> ancestors(int task) const;
  Json json(const std::string& workflow) const;
};

struct TaskRun {
  State state = State::pending;
  int attempt = 0;
  int lapses = 0;                 // in a row
  std::vector<Json> handed_over;  // what it said when it was deferred
  Json output;
  std::string awaited;     // the event that it waits for
  Json event;              // the one that it got
  std::int64_t child = 0;  // the execution that it waits for
  Json item;               // an element's
  std::vector<TaskRun> elements;
  int opened = 0;  // which group of the execution it was to be opened, counted from 1
};

class Execution {
 public:
  Execution(const Definition& definition, Json input);

  bool ended() const { return status == "completed" || status == "failed" || status == "cancelled"; }
  Json context_of(Place place) const;  // what a run of it sees
  TaskRun& at(Place place);
  const TaskRun& at(Place place) const;
  std::vector<std::int64_t> children() const;  // that it waits for
  Json final_context() const;
  // The places at which the tasks' order alone has decided on the value: [path, kept, replaced], sorted.
  std::vector<Json> conflicts() const;

  // Events of a task.
  void claim(Place place);
  void complete(Place place, const Json& patch);
  void fail(Place place, bool retryable);  // true: it will run again
  void defer(Place place, const Json& patch);
  void wait_event(Place place, const std::string& event, const Json& patch);
  void wait_child(Place place, std::int64_t child);
  void give_back(Place place);
  void lapse(Place place);
  // Events of the execution; false: nothing happens.
  bool send_event(const std::string& event, int payload);
  bool cancel();
  bool pause();
  bool resume();
  bool retry();

  std::vector<TaskRun> tasks;
  std::string status = "pending";
  bool paused = false;
  int failed_attempts = 0;  // lines of history: runs that failed and were tried again
  std::vector<Json> noted;  // and conflicts, each time that it has ended

 private:
  Json merged(const std::vector<bool>& of) const;
  bool passes(const Rule& rule, int task) const;
  bool handled(int task) const;
  bool decide(int task);
  void open(int task);
  bool close(int task);
  bool reopen(int task, bool anew);
  void settle();
  void end(const std::string& as);

  const Definition* definition_;
  Json input_;
  int opened_ = 0;
  std::vector<std::pair<std::string, int>> kept_;  // events that no task has waited for
};

}  // namespace model
