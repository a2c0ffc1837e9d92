// The thread on which handlers are asked to stop.
//
// A std::stop_callback of a handler is called by the thread that asks, so that cannot be the I/O
// thread: the callback may call the runner, which would wait for the I/O thread, or may take its
// time while leases run out.  Here callbacks hold up nothing but each other.  A callback that does not
// return is left behind, as a handler is.
#pragma once

#include "runtime/attempt.hpp"
#include "runtime/inbox.hpp"

#include <memory>
#include <thread>

namespace insula::detail {

class Stopper {
 public:
  explicit Stopper(std::shared_ptr<Inbox> inbox);
  ~Stopper();
  Stopper(const Stopper&) = delete;
  Stopper& operator=(const Stopper&) = delete;

  void start();  // once; throws std::system_error
  bool started() const noexcept { return thread_.joinable(); }
  // The reason is the attempt's at once, its stop token follows.
  void ask(const std::shared_ptr<Attempt>& attempt, StopReason why);
  void stop();

 private:
  struct Shared;
  static void work(const std::shared_ptr<Shared>& shared);

  std::shared_ptr<Shared> shared_;
  std::thread thread_;
};

}  // namespace insula::detail
