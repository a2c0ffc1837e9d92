// The threads that serve connections, and what a connection may send and how long it may last: the head of a request
// holds 16 kB and comes within ten seconds, or half a second where others wait for a thread; all of it is over after 45,
// however slowly its client sends or reads.
#pragma once

#include <httplib.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace insula::cli::dashboard {

// A fixed number of threads. Where all are busy, no further connection is taken from the kernel.
class Workers : public httplib::TaskQueue {
  using Enqueued = decltype(std::declval<httplib::TaskQueue&>().enqueue(std::declval<std::function<void()>>()));

 public:
  // Keeps `is_crowded` up to date: whether connections wait, and no thread is free for them.
  Workers(std::size_t threads, std::atomic<bool>& is_crowded);
  Enqueued enqueue(std::function<void()> work) override;
  void shutdown() override;

 private:
  void put(std::function<void()> work);
  void run();
  void note_crowd();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
  std::size_t busy_ = 0;
  std::atomic<bool>& is_crowded_;
  std::vector<std::thread> threads_;
  bool is_stopping_ = false;
};

// The library's server, but that a request is bounded before the library sees it: it reads lines of any length and any
// number, and looks at "Range" by a regular expression that takes stack for each byte, before it asks a handler.
class BoundedServer : public httplib::Server {
 public:
  explicit BoundedServer(std::size_t threads);

  // All connections end soon, and so do those that are still taken.
  void end_connections() { is_ending_ = true; }

 private:
  bool process_and_close_socket(socket_t socket) override;
  template <typename Self>
  static bool process(Self& self, httplib::Stream& stream);

  std::atomic<bool> is_ending_ = false, is_crowded_ = false;
};

}  // namespace insula::cli::dashboard
