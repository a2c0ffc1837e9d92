// The handler threads.
//
// A thread that does not come back from its handler cannot be ended, only left behind:
// so all that the threads touch is shared state that outlives the Pool, and stop() joins
// those that are free and detaches those that are not.
#pragma once

#include "runtime/attempt.hpp"
#include "runtime/inbox.hpp"

#include <cstddef>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

namespace insula::detail {

class Pool {
 public:
  // `deliver` is called on the handler threads, also after stop() by those left behind.
  Pool(std::shared_ptr<Inbox> inbox, std::function<void(Outcome)> deliver);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  void start(int threads);  // once
  bool started() const noexcept { return !threads_.empty(); }
  void run(std::shared_ptr<Attempt> attempt);
  // Takes back what no thread has begun.
  std::vector<std::shared_ptr<Attempt>> take_unstarted();
  void stop();

 private:
  struct Shared;
  static void work(const std::shared_ptr<Shared>& shared, std::size_t index);

  std::shared_ptr<Shared> shared_;
  std::vector<std::thread> threads_;
};

}  // namespace insula::detail
