// The connection at which waits what would hold up others: callers' statements that have met a lock,
// and outcomes that are put off.
//
// It is made when it is wanted, and closed when it has not been for a while.  It counts as one of
// RunnerConfig::max_connections, and is not made where handlers would have none left to borrow.
// The I/O thread's alone.
#pragma once

#include "runtime/lender.hpp"
#include "runtime/settings.hpp"
#include "wire/link.hpp"

#include <memory>

namespace insula::detail {

class Aside {
 public:
  Aside(const Settings& settings, std::shared_ptr<Lender> lender);

  wire::Link& link() noexcept { return link_; }
  // Whether there is one, or will be soon.
  bool is_there() const noexcept { return link_.is_open(); }
  bool is_free() const noexcept { return link_.idle(); }

  void drive(bool wanted, Clock::time_point now);
  Clock::time_point wake_at() const noexcept;
  void close();

 private:
  const Settings& settings_;
  const std::shared_ptr<Lender> lender_;
  wire::Link link_;
  bool failed_ = false;
  Clock::time_point not_before_{};  // the server had no connection for it
  Clock::time_point wanted_at_{};   // the last time
};

}  // namespace insula::detail
