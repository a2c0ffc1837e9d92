// How long to wait before the next attempt to connect: grows, and is spread, so that a
// crowd that lost the same server does not come back in one moment.
#pragma once

#include <algorithm>
#include <chrono>
#include <random>

namespace insula::wire {

class Backoff {
 public:
  using Milliseconds = std::chrono::milliseconds;

  explicit Backoff(Milliseconds first = Milliseconds{50}, Milliseconds limit = Milliseconds{3'000})
      : first_(first), limit_(limit), last_(first) {}

  // Between `first` and three times the last, at most `limit`.
  Milliseconds next() {
    std::uniform_int_distribution<Milliseconds::rep> spread{first_.count(), std::max(first_, last_ * 3).count()};
    last_ = std::min(limit_, Milliseconds{spread(random_)});
    return last_;
  }
  void reset() { last_ = first_; }

 private:
  Milliseconds first_;
  Milliseconds limit_;
  Milliseconds last_;
  std::minstd_rand random_{std::random_device{}()};
};

}  // namespace insula::wire
