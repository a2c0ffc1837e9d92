// The handler threads.
//
// A thread that does not come back from its handler cannot be ended, only left behind:
// so all that the threads touch is shared state that outlives the Pool, and stop() joins
// those that are free and detaches those that are not.
// With an executor there are none: for each attempt it is given a job, which runs what waits then.
#pragma once

#include "runtime/attempt.hpp"
#include "runtime/inbox.hpp"

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace insula::detail {

// Names the calling thread, for debuggers and top; 15 characters.
void name_thread(const std::string& name) noexcept;

class Pool {
  using Executor = std::function<void(std::function<void()>)>;

 public:
  // The outcomes since the last call.
  struct Finished {
    std::vector<Outcome> outcomes;
    bool more_soon;  // some have not begun: no wake-up comes for the next outcome, so look again soon
  };

  // The inbox is woken for what is finished, once for all that comes together.
  // `executor`: runs the handlers in place of threads of our own, where it is set.
  explicit Pool(std::shared_ptr<Inbox> inbox, Executor executor = {});
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // All of them, or none: throws std::system_error.  Once, unless it threw.
  void start(int threads);
  void run(std::vector<std::shared_ptr<Attempt>> attempts);
  Finished take_finished();
  // Takes back what no thread has begun.
  std::vector<std::shared_ptr<Attempt>> take_unstarted();
  void stop();  // for good

 private:
  struct Shared;
  struct Job;
  void end_threads();
  static void work(const std::shared_ptr<Shared>& shared, std::size_t index);

  std::shared_ptr<Shared> shared_;
  const Executor executor_;
  std::vector<std::thread> threads_;
};

}  // namespace insula::detail
