// The handler threads.
//
// To wake a thread costs more than to run a short handler, so one is woken at a time: it
// wakes the next when it has begun and there is still something to run.  Meanwhile those
// that are awake go on; handlers that take their time get all threads all the same.
#include "runtime/pool.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>

namespace insula::detail {

struct Pool::Shared {
  std::shared_ptr<Inbox> inbox;
  std::function<void(Outcome)> deliver;

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::shared_ptr<Attempt>> queue;  // under mutex, as all below
  std::vector<char> running;                   // by thread: in a handler
  std::size_t idle = 0;                        // threads that wait
  bool waking = false;                         // one of them has been woken and has not begun
  bool stopping = false;

  // Whether to notify one thread, once the mutex is free.
  bool wake_one() {
    if (waking || idle == 0 || queue.empty()) return false;
    return waking = true;
  }

  // Waits for the next; none: the pool is stopped.
  std::shared_ptr<Attempt> take(std::size_t thread);
};

std::shared_ptr<Attempt> Pool::Shared::take(std::size_t thread) {
  std::unique_lock lock{mutex};
  while (!stopping && queue.empty()) {
    ++idle;
    changed.wait(lock);
    --idle;
    waking = false;
  }
  if (stopping) return nullptr;
  std::shared_ptr<Attempt> attempt = std::move(queue.front());
  queue.pop_front();
  running[thread] = 1;
  const bool wake = wake_one();
  lock.unlock();
  if (wake) changed.notify_one();
  return attempt;
}

Pool::Pool(std::shared_ptr<Inbox> inbox, std::function<void(Outcome)> deliver) : shared_(std::make_shared<Shared>()) {
  shared_->inbox = std::move(inbox);
  shared_->deliver = std::move(deliver);
}

Pool::~Pool() { stop(); }

void Pool::start(int threads) {
  const auto count = static_cast<std::size_t>(threads);
  shared_->running.assign(count, 0);
  for (std::size_t i = 0; i < count; ++i) threads_.emplace_back([shared = shared_, i] { work(shared, i); });
}

void Pool::run(std::shared_ptr<Attempt> attempt) {
  bool wake = false;
  {
    const std::lock_guard lock{shared_->mutex};
    shared_->queue.push_back(std::move(attempt));
    wake = shared_->wake_one();
  }
  if (wake) shared_->changed.notify_one();
}

std::vector<std::shared_ptr<Attempt>> Pool::take_unstarted() {
  const std::lock_guard lock{shared_->mutex};
  std::vector<std::shared_ptr<Attempt>> taken{shared_->queue.begin(), shared_->queue.end()};
  shared_->queue.clear();
  return taken;
}

void Pool::stop() {
  std::vector<char> running;
  {
    const std::lock_guard lock{shared_->mutex};
    shared_->stopping = true;
    running = shared_->running;
  }
  shared_->changed.notify_all();
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    if (running[i])
      threads_[i].detach();
    else
      threads_[i].join();
  }
  threads_.clear();
}

void Pool::work(const std::shared_ptr<Shared>& shared, std::size_t index) {
  shared->inbox->adopt_thread();
  for (;;) {
    std::shared_ptr<Attempt> attempt = shared->take(index);
    if (!attempt) return;
    Outcome outcome = run_attempt(attempt);
    attempt.reset();
    {
      const std::lock_guard lock{shared->mutex};
      shared->running[index] = 0;
    }
    shared->deliver(std::move(outcome));
  }
}

}  // namespace insula::detail
