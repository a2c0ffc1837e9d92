// Checking a RunnerConfig, naming a worker, logging.
#include "runtime/settings.hpp"

#include "wire/forever.hpp"
#include "wire/secrets.hpp"
#include "wire/text.hpp"

#include <insula/error.hpp>

#include <fmt/format.h>

#include <unistd.h>

#include <algorithm>
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

static std::string make_worker_name(const std::string& label) {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  const std::string name = fmt::format("{:.40}:{}:{:016x}", wire::plain(host.data()), getpid(), wire::random_bits());
  return label.empty() ? name : fmt::format("{}@{}", label, name);
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
  require(config.label.size() <= 32 && std::ranges::all_of(config.label, [](char c) { return c > ' ' && c <= '~'; }),
          "label must have 1 to 32 printable characters of ASCII, without spaces");
  require(std::ranges::all_of(config.middleware, [](const auto& one) { return one != nullptr; }),
          "middleware must not be null");
}

Settings make_settings(std::string_view conninfo, std::string_view tenant, RunnerConfig config) {
  check_config(config);
  config.connect_timeout = wire::bounded(config.connect_timeout);
  config.call_timeout = wire::bounded(config.call_timeout);
  std::string worker = make_worker_name(config.label);
  return {wire::ConnInfo{conninfo}, std::move(config), std::string{tenant}, std::move(worker)};
}

}  // namespace insula::detail
