// Asking handlers to stop, one after the other.
#include "runtime/stopper.hpp"

#include "runtime/pool.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>

namespace insula::detail {

struct Stopper::Shared {
  std::shared_ptr<Inbox> inbox;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::shared_ptr<Attempt>> queue;  // under mutex, as all below
  bool busy = false;                           // in a callback, perhaps
  bool stopping = false;
};

Stopper::Stopper(std::shared_ptr<Inbox> inbox) : shared_(std::make_shared<Shared>()) {
  shared_->inbox = std::move(inbox);
}

Stopper::~Stopper() { stop(); }

void Stopper::start() {
  thread_ = std::thread{[shared = shared_] { work(shared); }};
}

void Stopper::ask(const std::shared_ptr<Attempt>& attempt, StopReason why) {
  if (!attempt->note_stop(why)) return;
  const std::lock_guard lock{shared_->mutex};
  shared_->queue.push_back(attempt);
  shared_->changed.notify_one();
}

void Stopper::stop() {
  if (!thread_.joinable()) return;
  bool busy = false;
  {
    const std::lock_guard lock{shared_->mutex};
    shared_->stopping = true;
    busy = shared_->busy || !shared_->queue.empty();
  }
  shared_->changed.notify_one();
  if (busy)
    thread_.detach();
  else
    thread_.join();
}

void Stopper::work(const std::shared_ptr<Shared>& shared) {
  name_thread("insula-stop");
  shared->inbox->adopt_thread();
  std::unique_lock lock{shared->mutex};
  for (;;) {
    shared->busy = false;
    shared->changed.wait(lock, [&] { return shared->stopping || !shared->queue.empty(); });
    if (shared->queue.empty()) return;
    std::shared_ptr<Attempt> attempt = std::move(shared->queue.front());
    shared->queue.pop_front();
    shared->busy = true;
    lock.unlock();
    attempt->stop.request_stop();
    attempt.reset();
    lock.lock();
  }
}

}  // namespace insula::detail
