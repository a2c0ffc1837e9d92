// The handler threads.
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
  bool stopping = false;
};

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
  {
    const std::lock_guard lock{shared_->mutex};
    shared_->queue.push_back(std::move(attempt));
  }
  shared_->changed.notify_one();
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
    std::shared_ptr<Attempt> attempt;
    {
      std::unique_lock lock{shared->mutex};
      shared->changed.wait(lock, [&] { return shared->stopping || !shared->queue.empty(); });
      if (shared->stopping) return;
      attempt = std::move(shared->queue.front());
      shared->queue.pop_front();
      shared->running[index] = 1;
    }
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
