// SPDX-License-Identifier: PostgreSQL
// Middleware: code of your own around every handler and every submission of a runtime: logs, traces, metrics; and what
// no server may see, such as the encryption of chosen values with a key for each tenant.  (examples/encryption.cpp
// has that with OpenSSL.)
//
//   struct Timing : insula::Middleware {
//     void around_task(insula::TaskContext& task, const std::function<void()>& run) override {
//       const Stopwatch watch{task.workflow(), task.task()};
//       run();   // throws what the handler throws; to throw something else decides the task's fate in its place
//     }
//     void before_submit(insula::Submission& submission) override {
//       submission.context.set("submitted_by", user_name());
//     }
//   };
//   insula::Runner runner{url, {.middleware = {std::make_shared<Timing>()}}};
//
// The first of several is the outermost: it sees a submission first, and what comes from the server last.  Everything
// has a body that changes nothing, so that you override what you want.  Calls come from several threads at once: the
// callers' own and those of handlers.  enqueue() has no runtime, and so no middleware.
#pragma once

#include <insula/context.hpp>
#include <insula/export.hpp>
#include <insula/task_context.hpp>

#include <functional>
#include <string>
#include <string_view>

namespace insula {

// A submission on its way.
struct Submission {
  const std::string tenant;
  const std::string workflow;
  Context context;          // to be changed, as the next
  std::string traceparent;  // as in SubmitOptions; of submit_many it stays as it is, being the same for all
};

class INSULA_EXPORT Middleware {
 public:
  Middleware() = default;
  Middleware(const Middleware&) = delete;
  Middleware& operator=(const Middleware&) = delete;
  virtual ~Middleware();

  // On the handler's thread; `run` is the handler, to be called once: without that the attempt fails, and a second call
  // throws error{invalid}.  Not called for batches.
  virtual void around_task(TaskContext& task, const std::function<void()>& run);
  // On the thread of execute, execute_async and submit_many; what it throws, they throw.
  virtual void before_submit(Submission& submission);
  // All that goes to the server, or has come from it: the input of an execution, a child or a schedule, what a task
  // hands over, the context that a handler sees, the final context of a result.  Of what a task hands over this is the
  // whole value of each key that it has set, as it is to be read again: of an object all parts, changed or not.  What
  // to_server changes replaces what the server has; of the rest only the changed parts go there.  Values of for_each
  // items, events, params with defaults and checkpoints do not come by here.  What these throw, the caller throws, or
  // fails the attempt.
  virtual void to_server(std::string_view tenant, Context& context);
  virtual void from_server(std::string_view tenant, Context& context);
};

}  // namespace insula
