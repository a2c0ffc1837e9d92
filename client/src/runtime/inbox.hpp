// The only door into the I/O thread: closures posted by any thread, run by that one, in
// order.  An eventfd wakes its poll.
#pragma once

#include <functional>
#include <mutex>
#include <utility>
#include <vector>

namespace insula::detail {

class Inbox {
 public:
  using Job = std::function<void()>;

  Inbox();
  ~Inbox();
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;

  // false, and the job dropped: it is closed.
  bool post(Job job);
  // Ends the present wait of the I/O thread, or the next.
  void wake() const noexcept;

  // For the I/O thread alone.
  int fd() const noexcept { return fd_; }  // readable when there is something
  void run_all();
  std::vector<Job> close();  // nothing is taken any more; what was there

  // Whether the calling thread belongs to this inbox's runtime, where waiting for the
  // runtime would be waiting for oneself.
  bool is_own_thread() const noexcept { return current_ == this; }
  void adopt_thread() const noexcept { current_ = this; }
  // The calling thread belongs to it for a while.
  class Visit {
   public:
    explicit Visit(const Inbox& inbox) noexcept : before_(std::exchange(current_, &inbox)) {}
    ~Visit() { current_ = before_; }
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;

   private:
    const Inbox* const before_;
  };
  // Whether it is the one that runs the jobs: there any answer would be waited for in vain.
  bool is_io_thread() const noexcept { return served_ == this; }
  void adopt_io_thread() const noexcept { current_ = served_ = this; }

 private:
  std::mutex mutex_;
  std::vector<Job> jobs_;  // under mutex_
  bool closed_ = false;    // under mutex_
  const int fd_;
  static thread_local const Inbox* current_;
  static thread_local const Inbox* served_;
};

}  // namespace insula::detail
