// Samples of the counters over time, for the charts: one series for all tenants and one for each tenant that is looked
// at, so that a page that is opened later shows the last minutes too. A sample is taken every two seconds while a page
// has asked within the last ten minutes. One of all tenants costs a look at shared memory; one of one tenant reads the
// counters of all, and what each counted workflow is called. Nothing is asked when no page is open.
//
// Thread-safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "dashboard/database.hpp"

namespace insula::cli::dashboard {

class Samples {
 public:
  explicit Samples(Database& database);
  ~Samples();
  Samples(const Samples&) = delete;
  Samples& operator=(const Samples&) = delete;

  // Those after number `after`, as JSON; takes one if the newest is old. `tenant` "": of all.
  std::string after(const std::string& tenant, std::int64_t after);

 private:
  using Clock = std::chrono::steady_clock;

  struct Sample {
    std::int64_t number;
    std::string json;
  };
  struct Series {
    std::deque<Sample> samples;
    std::int64_t last_number = 0;
    Clock::time_point taken;
    Clock::time_point asked;
    bool is_being_taken = false;
    std::optional<Refusal> error;  // of the last try
  };

  void take(const std::string& tenant);
  void run();

  Database& database_;
  std::mutex mutex_;
  std::condition_variable stopping_;
  bool is_stopping_ = false;
  std::map<std::string, Series> series_;
  std::thread thread_;
};

}  // namespace insula::cli::dashboard
