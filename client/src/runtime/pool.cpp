// The handler threads.
//
// To wake a thread costs more than to run a short handler, so one is woken at a time: it
// wakes the next when it has begun and there is still something to run.  Those
// that are awake go on; handlers that take their time get all threads all the same.  The I/O
// thread is spared in the same way: it is woken for an outcome only where no other attempt
// waits to be begun, whose outcome may follow at once.
#include "runtime/pool.hpp"

#include <condition_variable>
#include <deque>
#include <iterator>
#include <mutex>
#include <optional>
#include <utility>

namespace insula::detail {

struct Pool::Shared {
  std::shared_ptr<Inbox> inbox;

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::shared_ptr<Attempt>> queue;  // under mutex, as all below
  std::vector<Outcome> finished;
  bool told = false;          // of what is finished
  std::vector<char> running;  // by thread: in a handler
  std::size_t idle = 0;       // threads that wait
  bool waking = false;        // one of them has been woken and has not begun
  bool stopping = false;

  // Whether to notify one thread, once the mutex is free.
  bool wake_one() {
    if (waking || idle == 0 || queue.empty()) return false;
    return waking = true;
  }

  // Leaves the outcome of the last and waits for the next; none: the pool is stopped.
  std::shared_ptr<Attempt> exchange(std::size_t thread, std::optional<Outcome> outcome);
};

std::shared_ptr<Attempt> Pool::Shared::exchange(std::size_t thread, std::optional<Outcome> outcome) {
  std::unique_lock lock{mutex};
  running[thread] = 0;
  if (outcome) finished.push_back(*std::move(outcome));
  if (!finished.empty() && queue.empty() && !std::exchange(told, true)) {
    lock.unlock();
    inbox->wake();
    lock.lock();
  }
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

Pool::Pool(std::shared_ptr<Inbox> inbox) : shared_(std::make_shared<Shared>()) { shared_->inbox = std::move(inbox); }

Pool::~Pool() { stop(); }

void Pool::start(int threads) {
  const auto count = static_cast<std::size_t>(threads);
  shared_->running.assign(count, 0);
  try {
    for (std::size_t i = 0; i < count; ++i) threads_.emplace_back([shared = shared_, i] { work(shared, i); });
  } catch (...) {
    end_threads();
    shared_->stopping = false;
    throw;
  }
}

void Pool::run(std::vector<std::shared_ptr<Attempt>> attempts) {
  bool wake = false;
  {
    const std::lock_guard lock{shared_->mutex};
    std::move(attempts.begin(), attempts.end(), std::back_inserter(shared_->queue));
    wake = shared_->wake_one();
  }
  if (wake) shared_->changed.notify_one();
}

Pool::Finished Pool::take_finished() {
  const std::lock_guard lock{shared_->mutex};
  shared_->told = false;
  return {std::exchange(shared_->finished, {}), !shared_->queue.empty()};
}

std::vector<std::shared_ptr<Attempt>> Pool::take_unstarted() {
  const std::lock_guard lock{shared_->mutex};
  std::vector<std::shared_ptr<Attempt>> taken{shared_->queue.begin(), shared_->queue.end()};
  shared_->queue.clear();
  return taken;
}

void Pool::stop() {
  if (!shared_) return;
  end_threads();
  // What a thread leaves that was left behind goes with that thread.
  shared_.reset();
}

void Pool::end_threads() {
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
  std::optional<Outcome> outcome;
  while (const std::shared_ptr<Attempt> attempt = shared->exchange(index, std::exchange(outcome, std::nullopt)))
    outcome = run_attempt(attempt);
}

}  // namespace insula::detail
