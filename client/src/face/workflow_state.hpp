// What a Workflow holds: shared by its copies and, task by task, by the runners that have
// it.  Written by the builder only.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace insula {
class TaskContext;
}

namespace insula::detail {

using Handler = std::function<void(TaskContext&)>;

struct TaskState {
  std::string id;
  std::vector<std::string> depends_on;
  std::shared_ptr<const Handler> handler;  // shared with running attempts
};

struct WorkflowState {
  std::string name;
  std::string description;
  std::vector<TaskState> tasks;
  std::string definition;  // JSON; filled by build()
};

}  // namespace insula::detail
