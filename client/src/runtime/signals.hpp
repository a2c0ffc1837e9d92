// SIGINT and SIGTERM as something to wait for.  While a SignalWatch lives, both write into an
// eventfd, whichever thread they hit, in place of what they did before.
#pragma once

#include <signal.h>

#include <stop_token>

namespace insula::detail {

class SignalWatch {
 public:
  SignalWatch();  // throws error{invalid} if there is one already, error{limit} for want of a file descriptor
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

  // false: it was stopped before a signal came.  One thread at a time.
  bool wait(std::stop_token stop);

 private:
  void close_all() noexcept;

  int stopped_ = -1;
  struct sigaction old_int_ = {};
  struct sigaction old_term_ = {};
};

}  // namespace insula::detail
