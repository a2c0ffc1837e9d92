// Posting to the I/O thread.
#include "runtime/inbox.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>
#include <utility>

namespace insula::detail {

thread_local const Inbox* Inbox::current_ = nullptr;
thread_local const Inbox* Inbox::served_ = nullptr;

Inbox::Inbox() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (fd_ < 0) throw std::system_error{errno, std::generic_category(), "eventfd"};
}

Inbox::~Inbox() { ::close(fd_); }

bool Inbox::post(Job job) {
  const std::lock_guard lock{mutex_};
  if (closed_) return false;
  jobs_.push_back(std::move(job));
  if (jobs_.size() == 1) wake();
  return true;
}

void Inbox::wake() const noexcept {
  const std::uint64_t one = 1;
  // Fails only when the counter is full, and then it is readable all the more.
  [[maybe_unused]] const auto n = ::write(fd_, &one, sizeof one);
}

void Inbox::run_all() {
  std::uint64_t count = 0;
  [[maybe_unused]] const auto n = ::read(fd_, &count, sizeof count);
  std::vector<Job> jobs;
  {
    const std::lock_guard lock{mutex_};
    jobs.swap(jobs_);
  }
  for (Job& job : jobs) job();
}

std::vector<Inbox::Job> Inbox::close() {
  const std::lock_guard lock{mutex_};
  closed_ = true;
  return std::exchange(jobs_, {});
}

}  // namespace insula::detail
