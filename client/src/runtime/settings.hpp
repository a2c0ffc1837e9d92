// The settings of a runtime, which never change, and its way to speak to the log hook.
#pragma once

#include "wire/conninfo.hpp"

#include <insula/observer.hpp>
#include <insula/runner.hpp>

#include <algorithm>
#include <chrono>
#include <exception>
#include <string>
#include <string_view>

namespace insula::detail {

using Clock = std::chrono::steady_clock;

struct Settings {
  wire::ConnInfo conninfo;
  RunnerConfig config;
  std::string tenant;  // empty: the connection's own login
  std::string worker;
  bool serves_all = false;  // tenants
  // For a worker of all tenants; 0: any number.
  int max_concurrent_per_tenant = 0;
  int max_tenants = 0;

  // A server that has not answered for so long counts as lost: there is time left then for
  // another connection to renew the leases.  But a busy one may well take a second or two, where
  // the lease allows it.
  std::chrono::milliseconds patience() const noexcept {
    const auto usual = std::max<std::chrono::milliseconds>(config.lease / 3, std::chrono::seconds{2});
    return std::min<std::chrono::milliseconds>(usual, config.lease / 2);
  }

  // How long a statement of the runtime's own may wait for a lock, at most: others wait for it.
  std::chrono::milliseconds lock_wait(std::chrono::milliseconds most) const noexcept {
    return std::min(most, patience() / 2);
  }

  // Thread-safe as far as the hook is; what the hook throws is dropped.
  void log(LogLevel level, std::string_view message) const noexcept;

  template <class Tell>
  void tell(Tell tell) const noexcept {
    if (!config.observer) return;
    try {
      tell(*config.observer);
    } catch (const std::exception& e) {
      log(LogLevel::warning, e.what());
    } catch (...) {
      log(LogLevel::warning, "the observer threw something that is no std::exception");
    }
  }
};

// With a worker's name of its own: host, process id and 64 random bits, 100 characters at most.
// Throws error{invalid} for a string or values that cannot be.
Settings make_settings(std::string_view conninfo, std::string_view tenant, RunnerConfig config);

}  // namespace insula::detail
