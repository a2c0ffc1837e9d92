// The builder: collects, and has the whole checked in build().  A built workflow's state is
// immutable; build() copies it out of the builder.
#include "runtime/workflow_state.hpp"

#include <insula/error.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace insula {

using detail::WorkflowState;

Workflow::Builder Workflow::builder(std::string name) { return Builder{std::move(name)}; }

const std::string& Workflow::name() const noexcept { return state_->name; }
const std::string& Workflow::definition_json() const noexcept { return state_->definition; }

Workflow::Builder::Builder(std::string name) : state_(std::make_shared<WorkflowState>()) {
  state_->name = std::move(name);
}

Workflow::Builder::Builder(const Builder& other) : state_(std::make_shared<WorkflowState>(*other.state_)) {}

Workflow::Builder& Workflow::Builder::operator=(const Builder& other) {
  Builder copy{other};
  state_.swap(copy.state_);
  return *this;
}

Workflow::Builder& Workflow::Builder::description(std::string text) {
  state_->description = std::move(text);
  return *this;
}

Workflow::Builder& Workflow::Builder::timeout(std::chrono::milliseconds most) {
  state_->timeout = most;
  return *this;
}

Workflow::Builder& Workflow::Builder::limit(int max, std::string key) {
  state_->limited = true;
  state_->limit = max;
  state_->limit_key = std::move(key);
  return *this;
}

Workflow::Builder& Workflow::Builder::param(std::string name, ParamType type, ParamOptions options) {
  state_->params.push_back({std::move(name), type, std::move(options)});
  return *this;
}

namespace {

// The handler, whose exceptions are final where the predicate says so.
template <class Tasks>
std::function<void(Tasks)> with_retry_if(std::function<void(Tasks)> handler,
                                         std::function<bool(const std::exception&)> retry_if) {
  if (!handler || !retry_if) return handler;
  return [run = std::move(handler), retry_if = std::move(retry_if)](Tasks tasks) {
    try {
      run(tasks);
    } catch (const permanent_error&) {
      throw;
    } catch (const retry_after&) {
      throw;
    } catch (const stopped&) {
      throw;
    } catch (const std::exception& e) {
      if (retry_if(e)) throw;
      throw detail::not_again{e.what()};
    }
  };
}

}  // namespace

Workflow::Builder& Workflow::Builder::add(std::string id, std::function<void(TaskContext&)> handler,
                                          TaskOptions options) {
  auto run = with_retry_if(std::move(handler), options.retry_if);
  auto kept = run ? std::make_shared<const detail::Handler>(std::move(run)) : nullptr;
  state_->tasks.push_back({std::move(id), std::move(options), std::move(kept)});
  return *this;
}

Workflow::Builder& Workflow::Builder::batch(std::string id, std::function<void(std::span<TaskContext* const>)> handler,
                                            TaskOptions options, int most) {
  auto run = with_retry_if(std::move(handler), options.retry_if);
  const auto at_most = static_cast<std::size_t>(std::max(most, 0));
  auto kept = run ? std::make_shared<const detail::Handler>(std::move(run), at_most) : nullptr;
  state_->tasks.push_back({std::move(id), std::move(options), std::move(kept)});
  return *this;
}

Workflow Workflow::Builder::build() const {
  const auto problems = detail::problems_of(*state_);
  if (!problems.empty())
    throw error{errc::invalid, fmt::format("workflow \"{}\":\n  {}", state_->name, fmt::join(problems, "\n  "))};
  auto built = std::make_shared<WorkflowState>(*state_);
  built->definition = detail::definition_of(*built);
  return Workflow{std::move(built)};
}

}  // namespace insula
