// Making and closing the connection.
#include "runtime/aside.hpp"

#include <utility>

namespace insula::detail {

namespace {

// Each waits for its own lock, and others for their turn.
constexpr std::chrono::milliseconds patience{1'000};
constexpr std::chrono::seconds kept_for{10};
constexpr std::chrono::seconds pause_after_failure{10};

}  // namespace

Aside::Aside(const Settings& settings, std::shared_ptr<Lender> lender)
    : settings_(settings),
      lender_(std::move(lender)),
      link_(settings.conninfo, "insula aside", settings.config.connect_timeout,
            {{},
             [this](const error&, bool was_up) { failed_ = failed_ || !was_up; },
             [this](std::string_view text) { settings_.log(LogLevel::warning, text); }},
            settings.lock_wait(patience)) {}

void Aside::drive(bool wanted, Clock::time_point now) {
  if (failed_) {
    close();
    not_before_ = now + pause_after_failure;
  }
  if (wanted) wanted_at_ = now;
  if (wanted && !is_there() && now >= not_before_ && lender_->reserve()) link_.open();
  if (is_there() && now >= wanted_at_ + kept_for) close();
}

Clock::time_point Aside::wake_at() const noexcept {
  return is_there() ? wanted_at_ + kept_for : Clock::time_point::max();
}

void Aside::close() {
  failed_ = false;
  if (!is_there()) return;
  link_.close();
  lender_->give_back(nullptr);
}

}  // namespace insula::detail
