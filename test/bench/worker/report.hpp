// A worker's report to the bench that started it (bench::Workers), line by line: "ready",
// then after "go" how many jobs have been handled so far ("done 1000"), and for each job
// whose start was asked for, when that was ("at 17 <nanoseconds>").  The end of its input is
// the sign to stop.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <thread>

namespace bench {

class Report {
 public:
  // Says that it is ready, and returns once it is told to go.
  void await_go();
  void count(long jobs) { handled_.fetch_add(jobs, std::memory_order_relaxed); }
  // This job has begun: on the monotonic clock of the system, which is that of all processes.
  void start(long job);
  void await_end();
  bool ended() const { return ended_.load(std::memory_order_relaxed); }

 private:
  void tell();

  std::atomic<long> handled_{0};
  std::atomic<bool> ended_{false};
  long told_ = 0;
  std::mutex mutex_;
  std::string starts_;  // under mutex_
  std::jthread teller_;
};

}  // namespace bench
