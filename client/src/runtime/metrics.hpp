// The counters of a runtime, and their Prometheus text (format 0.0.4).  Thread-safe.
//
// Nothing is labelled by tenant: there may be thousands.
#pragma once

#include "runtime/settings.hpp"

#include <insula/observer.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace insula::detail {

class Metrics {
 public:
  // --- handler threads
  void task_ended(const std::string& workflow, const std::string& task, const TaskEnd& end);

  // --- the I/O thread
  std::atomic<std::uint64_t> claims{0};       // claims that the server has answered
  std::atomic<std::uint64_t> claimed{0};      // tasks that came of them
  std::atomic<std::uint64_t> leases_lost{0};  // outcomes that came too late
  std::atomic<std::uint64_t> connections_lost{0};
  std::atomic<std::size_t> running{0};      // handlers
  std::atomic<std::size_t> unsent{0};       // outcomes the server does not have yet
  std::atomic<std::size_t> connections{0};  // of the two, how many are up
  std::atomic<Clock::rep> last_answer{0};   // of the server, on the steady clock

  std::string text(int slots) const;

 private:
  static constexpr std::array<double, 11> bounds{0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 3'600};
  struct Durations {
    std::array<std::uint64_t, bounds.size()> within{};  // cumulative
    std::uint64_t count = 0;
    double sum = 0;
  };
  struct OfTask {
    std::array<std::uint64_t, 4> by_outcome{};
    Durations durations;
  };

  mutable std::mutex mutex_;
  std::map<std::string, OfTask> tasks_;  // by their labels; under mutex_
};

}  // namespace insula::detail
