// The threads that serve connections, and what a connection may send and how long it may last: the head of a request
// holds 16 kB and comes within ten seconds, or half a second where others wait for a thread; all of it is over after 45,
// however slowly its client sends or reads.
#pragma once

#include <httplib.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace insula::cli::dashboard {

// A fixed number of threads. Where all are busy, no further connection is taken from the kernel.
class Workers {
 public:
  // Keeps `is_crowded` up to date: whether connections wait, and no thread is free for them.
  Workers(std::size_t threads, std::atomic<bool>& is_crowded);
  ~Workers();
  void put(std::function<void()> work);

 private:
  void run();
  void end();
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
// number, and looks at "Range" by a regular expression that takes stack for each byte, before it asks a handler. And
// it closes the port where accept() fails, also for a reason that passes.
class BoundedServer : public httplib::Server {
 public:
  // Once it is bound: takes and serves connections until end(). False: none can be taken any more.
  bool serve(std::size_t threads);
  // All connections end soon, and no more are taken. From another thread.
  void end();

 private:
  void serve_connection(socket_t socket);
  template <typename Self>
  static void process(Self& self, httplib::Stream& stream);

  std::atomic<bool> is_ending_ = false, is_crowded_ = false;
};

}  // namespace insula::cli::dashboard
