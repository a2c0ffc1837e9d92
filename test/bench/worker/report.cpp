// Lines to the bench; see report.hpp.
#include "report.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <iostream>

namespace bench {

void Report::await_go() {
  fmt::print("ready\n");
  std::fflush(stdout);
  std::string line;
  std::getline(std::cin, line);
  teller_ = std::jthread([this](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      std::this_thread::sleep_for(std::chrono::milliseconds{5});
      tell();
    }
  });
}

void Report::start(long job) {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  const std::lock_guard lock{mutex_};
  starts_ += fmt::format("at {} {}\n", job, std::chrono::nanoseconds{now}.count());
}

void Report::await_end() {
  for (std::string line; std::getline(std::cin, line);) continue;
  ended_ = true;
  teller_ = {};
  tell();
}

void Report::tell() {
  std::string starts;
  {
    const std::lock_guard lock{mutex_};
    starts.swap(starts_);
  }
  const long handled = handled_.load(std::memory_order_relaxed);
  if (handled == told_ && starts.empty()) return;
  told_ = handled;
  fmt::print("{}done {}\n", starts, handled);
  std::fflush(stdout);
}

}  // namespace bench
