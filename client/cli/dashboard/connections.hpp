// The threads that serve connections, and the end of connections that last too long.
#pragma once

#include <httplib.h>

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace insula::cli::dashboard {

// A fixed number of threads. Where all are busy, no further connection is taken from the kernel.
class Workers : public httplib::TaskQueue {
  using Enqueued = decltype(std::declval<httplib::TaskQueue&>().enqueue(std::declval<std::function<void()>>()));

 public:
  explicit Workers(std::size_t threads);
  Enqueued enqueue(std::function<void()> work) override;
  void shutdown() override;

 private:
  void put(std::function<void()> work);
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
  std::vector<std::thread> threads_;
  bool is_stopping_ = false;
};

// Ends each connection to the port that is older than 45 seconds; all of them when it goes.
class Deadline {
 public:
  explicit Deadline(int port);
  ~Deadline();
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  void look(bool ends_all);

  int port_;
  std::map<std::string, Clock::time_point> since_;  // by descriptor and peer
  std::mutex mutex_;
  std::condition_variable stopping_;
  bool is_stopping_ = false;
  std::thread thread_;
};

}  // namespace insula::cli::dashboard
