// The handler does nothing but write to the eventfd.
#include "runtime/signals.hpp"

#include <insula/error.hpp>

#include <fmt/format.h>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <system_error>

namespace insula::detail {

namespace {

std::atomic<int> signal_fd{-1};  // of the one watch there is
std::atomic<bool> watched{false};

void add_to(int fd) {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto n = ::write(fd, &one, sizeof one);
}

void on_signal(int) {
  const int saved = errno;
  if (const int fd = signal_fd; fd >= 0) add_to(fd);
  errno = saved;
}

}  // namespace

SignalWatch::SignalWatch() {
  if (watched.exchange(true)) throw error{errc::invalid, "run_until_signal() is under way in this process already"};
  stopped_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  signal_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
  if (stopped_ < 0 || signal_fd < 0) {
    const std::error_code why{errno, std::generic_category()};
    close_all();
    throw error{errc::limit, fmt::format("no file descriptor to wait for signals at: {}", why.message()), {}, true};
  }
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, &old_int_);
  sigaction(SIGTERM, &action, &old_term_);
}

SignalWatch::~SignalWatch() {
  sigaction(SIGINT, &old_int_, nullptr);
  sigaction(SIGTERM, &old_term_, nullptr);
  close_all();
}

void SignalWatch::close_all() noexcept {
  for (const int fd : {signal_fd.exchange(-1), stopped_})
    if (fd >= 0) ::close(fd);
  watched = false;
}

bool SignalWatch::wait(std::stop_token stop) {
  bool signalled = false;
  {
    const std::stop_callback wake{stop, [this] { add_to(stopped_); }};
    std::array<pollfd, 2> entries{pollfd{signal_fd, POLLIN, 0}, pollfd{stopped_, POLLIN, 0}};
    while (!signalled && !stop.stop_requested()) {
      if (poll(entries.data(), entries.size(), -1) < 0) continue;
      std::uint64_t count = 0;
      signalled = ::read(entries[0].fd, &count, sizeof count) > 0;
    }
  }
  std::uint64_t count = 0;
  [[maybe_unused]] const auto n = ::read(stopped_, &count, sizeof count);  // for the next wait
  return signalled;
}

}  // namespace insula::detail
