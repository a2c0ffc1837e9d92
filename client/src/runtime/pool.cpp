// The handler threads.
//
// To wake a thread costs more than to run a short handler, so one is woken at a time: it
// wakes the next when it has begun and there is still something to run.  Those
// that are awake go on; handlers that take their time get all threads all the same.  The I/O
// thread is spared in the same way: it is woken for an outcome only where no other attempt
// waits to be begun, whose outcome may follow at once.
#include "runtime/pool.hpp"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <iterator>
#include <mutex>
#include <utility>

#include <pthread.h>

namespace insula::detail {

// An executor is given these.  One that it drops, or refuses by an exception, puts its attempt off.
struct Pool::Job {
  explicit Job(std::shared_ptr<Shared> its) : shared(std::move(its)) {}
  ~Job();
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;
  void run();

  std::shared_ptr<Shared> shared;  // nullptr: it has run
};

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

  using Batch = std::vector<std::shared_ptr<Attempt>>;  // of one handler

  // Leaves the outcomes of the last and waits for the next; none: the pool is stopped.
  Batch exchange(std::size_t thread, std::vector<Outcome> outcomes);
  // Under mutex, which is free for a moment.  `at_once`: whatever waits to be begun.
  void leave(std::unique_lock<std::mutex>& lock, std::vector<Outcome> outcomes, bool at_once);
  Batch take();
};

void Pool::Shared::leave(std::unique_lock<std::mutex>& lock, std::vector<Outcome> outcomes, bool at_once) {
  std::move(outcomes.begin(), outcomes.end(), std::back_inserter(finished));
  if (finished.empty() || (!queue.empty() && !at_once) || std::exchange(told, true)) return;
  lock.unlock();
  inbox->wake();
  lock.lock();
}

Pool::Shared::Batch Pool::Shared::take() {
  Batch batch{std::move(queue.front())};
  queue.pop_front();
  const std::shared_ptr<const Handler> handler = batch.front()->handler;
  const std::size_t most = batch.front()->most_together();
  for (auto next = queue.begin(); next != queue.end() && batch.size() < most;) {
    if ((*next)->handler != handler) {
      ++next;
      continue;
    }
    batch.push_back(std::move(*next));
    next = queue.erase(next);
  }
  return batch;
}

Pool::Shared::Batch Pool::Shared::exchange(std::size_t thread, std::vector<Outcome> outcomes) {
  std::unique_lock lock{mutex};
  running[thread] = 0;
  leave(lock, std::move(outcomes), false);
  while (!stopping && queue.empty()) {
    ++idle;
    changed.wait(lock);
    --idle;
    waking = false;
  }
  if (stopping) return {};
  Batch batch = take();
  running[thread] = 1;
  const bool wake = wake_one();
  lock.unlock();
  if (wake) changed.notify_one();
  return batch;
}

void name_thread(const std::string& name) noexcept { pthread_setname_np(pthread_self(), name.substr(0, 15).c_str()); }

Pool::Pool(std::shared_ptr<Inbox> inbox, Executor executor)
    : shared_(std::make_shared<Shared>()), executor_(std::move(executor)) {
  shared_->inbox = std::move(inbox);
}

Pool::~Pool() { stop(); }

void Pool::start(int threads) {
  if (executor_) return;
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
  const std::size_t count = attempts.size();
  {
    const std::lock_guard lock{shared_->mutex};
    std::move(attempts.begin(), attempts.end(), std::back_inserter(shared_->queue));
    wake = shared_->wake_one();
  }
  if (wake) shared_->changed.notify_one();
  if (!executor_) return;
  for (std::size_t i = 0; i < count; ++i) {
    try {
      executor_([job = std::make_shared<Job>(shared_)] { job->run(); });
    } catch (...) {
      // The job is gone, which says all.
    }
  }
}

Pool::Job::~Job() {
  if (!shared) return;
  std::unique_lock lock{shared->mutex};
  if (shared->stopping || shared->queue.empty()) return;
  std::vector<Outcome> outcomes{refuse_attempt(shared->queue.back())};
  shared->queue.pop_back();
  shared->leave(lock, std::move(outcomes), true);
}

// The attempt that it was made for may be there no more: a batch has taken it, or a shutdown.
void Pool::Job::run() {
  const auto its = std::exchange(shared, nullptr);
  if (!its) return;
  const Inbox::Visit visit{*its->inbox};
  std::unique_lock lock{its->mutex};
  if (its->stopping || its->queue.empty()) return;
  Shared::Batch batch = its->take();
  lock.unlock();
  // An attempt that was stopped while it waited is not begun.
  const auto stopped =
      std::stable_partition(batch.begin(), batch.end(), [](const auto& a) { return !a->is_stopping(); });
  std::vector<Outcome> outcomes;
  for (auto attempt = stopped; attempt != batch.end(); ++attempt) outcomes.push_back(refuse_attempt(*attempt));
  batch.erase(stopped, batch.end());
  if (!batch.empty()) std::ranges::move(run_attempts(batch), std::back_inserter(outcomes));
  batch.clear();  // not under the lock: its end may be that of what handlers have captured
  lock.lock();
  // The queue may wait long: the executor may have fewer threads than there are attempts.
  its->leave(lock, std::move(outcomes), true);
}

Pool::Finished Pool::take_finished() {
  const std::lock_guard lock{shared_->mutex};
  shared_->told = false;
  return {std::exchange(shared_->finished, {}), !executor_ && !shared_->queue.empty()};
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
  name_thread("insula-task-" + std::to_string(index));
  shared->inbox->adopt_thread();
  std::vector<Outcome> outcomes;
  for (;;) {
    const Shared::Batch batch = shared->exchange(index, std::move(outcomes));
    if (batch.empty()) return;
    outcomes = run_attempts(batch);
  }
}

}  // namespace insula::detail
