// What a runtime is told once and never changes, and its way to speak to the log hook.
#pragma once

#include "wire/conninfo.hpp"

#include <insula/runner.hpp>

#include <chrono>
#include <string>
#include <string_view>

namespace insula::detail {

using Clock = std::chrono::steady_clock;

struct Settings {
  wire::ConnInfo conninfo;
  RunnerConfig config;
  std::string tenant;  // empty: the connection's own login
  std::string worker;

  // Thread-safe as far as the hook is; what the hook throws is dropped.
  void log(LogLevel level, std::string_view message) const noexcept;
};

// Unique for every runtime: host, process id and 64 random bits, 100 characters at most.
std::string make_worker_name();

// Throws error{invalid} for values that cannot be.
void check_config(const RunnerConfig& config);

}  // namespace insula::detail
