// The handler threads.
//
// A thread that does not come back from its handler cannot be ended, only left behind:
// so all that the threads touch is shared state that outlives the Pool, and stop() joins
// those that are free and detaches those that are not.
#pragma once

#include "runtime/attempt.hpp"
#include "runtime/inbox.hpp"

#include <cstddef>
#include <memory>
#include <thread>
#include <vector>

namespace insula::detail {

class Pool {
 public:
  // The outcomes since the last call.
  struct Finished {
    std::vector<Outcome> outcomes;
    bool more_soon;  // some have not begun: no wake-up comes for the next outcome, so look again soon
  };

  // The inbox is woken for what is finished, once for all that comes together.
  explicit Pool(std::shared_ptr<Inbox> inbox);
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
  void end_threads();
  static void work(const std::shared_ptr<Shared>& shared, std::size_t index);

  std::shared_ptr<Shared> shared_;
  std::vector<std::thread> threads_;
};

}  // namespace insula::detail
