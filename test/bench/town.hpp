// A database with tenants, and a fleet that serves them; for the bars T.
#pragma once

#include "bench.hpp"

#include <chrono>
#include <map>
#include <mutex>

namespace bench {

using Clock = std::chrono::steady_clock;

// It is dropped with the object.
class Town {
 public:
  explicit Town(const std::string& name);
  ~Town();

  Sql& sql() { return *sql_; }
  const std::string& database() const { return name_; }
  // Makes tenants, with a login and the workflow w, until there are `count`: t_0, t_1, ...
  void grow(int count);
  int tenants() const { return tenants_; }

  static std::string name_of(int tenant);

 private:
  std::string name_;
  std::unique_ptr<Sql> sql_;
  int tenants_ = 0;
};

// A fleet whose handlers take a while, and that notes when each task has begun.
class TownFleet {
 public:
  TownFleet(const Town& town, int handlers, std::chrono::microseconds task, int handlers_per_tenant = 0);
  ~TownFleet();

  struct Start {
    std::string tenant;
    long n;  // of the job
    Clock::time_point at;
  };
  // Those since the last call.
  std::vector<Start> starts();
  long count();
  std::vector<std::string> pids(Sql& sql) const;

 private:
  std::mutex mutex_;
  std::vector<Start> starts_;
  long count_ = 0;
  std::unique_ptr<insula::Fleet> fleet_;
};

// In megabytes, of its own.
double memory_of(const std::string& pid);

}  // namespace bench
