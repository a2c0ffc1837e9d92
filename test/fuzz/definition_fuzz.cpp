// Any bytes as the calls of a workflow's builder: it refuses with error{invalid}, or makes a
// definition that is JSON, the same each time, and names each of its tasks.
//
// An input is a line for the name, then a line for each task: a letter that chooses its
// options, its id, and the ids that it depends on, with spaces between.
#include <insula/error.hpp>
#include <insula/workflow.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

using insula::Context;
using insula::TaskOptions;
using insula::TriggerRule;
using insula::Workflow;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

std::string take(std::string_view* rest, char end) {
  const std::size_t size = std::min(rest->find(end), rest->size());
  std::string taken{rest->substr(0, size)};
  rest->remove_prefix(std::min(size + 1, rest->size()));
  return taken;
}

TaskOptions options_of(char choice, const std::vector<std::string>& after) {
  TaskOptions options;
  options.depends_on = after;
  if (choice & 1) options.retry = {.max_attempts = choice, .initial_delay = std::chrono::milliseconds{choice * 100}};
  if (choice & 2) options.priority = choice;
  if (choice & 4) options.timeout = std::chrono::seconds{choice};
  if (choice & 8 && !after.empty()) options.trigger_rule = TriggerRule::any({TriggerRule::task_failed(after.front())});
  if (choice & 16 && !after.empty()) options.for_each = {.items = after.back()};
  return options;
}

std::optional<Workflow> build(std::string_view input, std::vector<std::string>* ids) {
  auto builder = Workflow::builder(take(&input, '\n'));
  while (!input.empty() && ids->size() < 200) {
    const std::string line = take(&input, '\n');
    std::string_view rest = line;
    const std::string choice = take(&rest, ' ');
    ids->push_back(take(&rest, ' '));
    std::vector<std::string> after;
    while (!rest.empty()) after.push_back(take(&rest, ' '));
    builder.task(
        ids->back(), [](insula::TaskContext&) {}, options_of(choice.empty() ? '\0' : choice.front(), after));
  }
  try {
    return builder.build();
  } catch (const insula::error& e) {
    require(e.code() == insula::errc::invalid);
    return std::nullopt;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  std::vector<std::string> ids;
  const auto workflow = build(input, &ids);
  if (!workflow) return 0;
  const Context definition = Context::from_json(workflow->definition_json());
  require(definition.to_json() == workflow->definition_json());
  require(definition.at<std::string>("name") == workflow->name());
  const auto tasks = definition.at<std::vector<Context>>("tasks");
  require(tasks.size() == ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) require(tasks[i].at<std::string>("id") == ids[i]);
  return 0;
}
