// Checking a RunnerConfig, naming a worker, logging.
#include "runtime/settings.hpp"

#include "wire/forever.hpp"
#include "wire/secrets.hpp"
#include "wire/text.hpp"

#include <insula/error.hpp>

#include <fmt/format.h>

#include <unistd.h>

#include <array>
#include <cstdio>
#include <utility>

namespace insula::detail {

namespace {

std::string_view name(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return "debug";
    case LogLevel::info:
      return "info";
    case LogLevel::warning:
      return "warning";
    case LogLevel::error:
      return "error";
  }
  return "";
}

}  // namespace

void Settings::log(LogLevel level, std::string_view message) const noexcept {
  try {
    if (config.log)
      config.log(level, message);
    else if (level >= LogLevel::warning)
      fmt::print(stderr, "insula: {}: {}\n", name(level), message);
  } catch (...) {
    // A log that fails has no better place to say so.
  }
}

static std::string make_worker_name() {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  return fmt::format("{:.60}:{}:{:016x}", wire::plain(host.data()), getpid(), wire::random_bits());
}

static void check_config(const RunnerConfig& config) {
  using namespace std::chrono_literals;
  const auto require = [](bool ok, const char* rule) {
    if (!ok) throw error{errc::invalid, fmt::format("RunnerConfig: {}", rule)};
  };
  require(config.max_concurrent_tasks >= 1 && config.max_concurrent_tasks <= 10'000,
          "max_concurrent_tasks must be 1 to 10000");
  require(config.max_connections >= 2, "max_connections must be at least 2: one waits for work, one reports");
  require(config.lease >= 1s && config.lease <= 24h, "lease must be 1 s to 1 day");
  require(config.connect_timeout > 0ms, "connect_timeout must be positive");
  require(config.call_timeout > 0ms, "call_timeout must be positive");
}

Settings make_settings(std::string_view conninfo, std::string_view tenant, RunnerConfig config) {
  check_config(config);
  config.connect_timeout = wire::bounded(config.connect_timeout);
  config.call_timeout = wire::bounded(config.call_timeout);
  return {wire::ConnInfo{conninfo}, std::move(config), std::string{tenant}, make_worker_name()};
}

}  // namespace insula::detail
