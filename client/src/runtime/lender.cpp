// Lending connections.
#include "runtime/lender.hpp"

#include <insula/error.hpp>

#include <utility>

namespace insula::detail {

Lender::Lender(const Settings& settings)
    : conninfo_(settings.conninfo),
      connect_timeout_(settings.config.connect_timeout),
      call_timeout_(settings.config.call_timeout),
      most_(static_cast<std::size_t>(settings.config.max_connections) - 2) {}

void Lender::take(std::size_t count, std::stop_token stop) {
  std::unique_lock lock{mutex_};
  if (most_ == 0)
    throw error{errc::invalid, "a transaction needs a third connection: raise RunnerConfig::max_connections"};
  const auto place = asked_.insert(asked_.end(), count);
  wait_for(place, lock, std::move(stop));
}

void Lender::take_again(std::stop_token stop) {
  std::unique_lock lock{mutex_};
  const auto place = asked_.insert(asked_.begin(), 1);
  ++asked_again_;
  try {
    wait_for(place, lock, std::move(stop));
  } catch (...) {
    --asked_again_;
    throw;
  }
  --asked_again_;
}

void Lender::wait_for(Asked::iterator place, std::unique_lock<std::mutex>& lock, std::stop_token stop) {
  const std::size_t count = *place;
  const bool in_time = changed_.wait_for(
      lock, stop, call_timeout_, [&] { return closed_ || (place == asked_.begin() && lent_ + count <= most_); });
  asked_.erase(place);
  changed_.notify_all();
  if (closed_) throw error{errc::shut_down, "the runner is shut down"};
  if (!in_time && stop.stop_requested()) throw stopped{"stopped while it waited for a connection"};
  if (!in_time)
    throw error{errc::limit, "all connections for transactions are taken: see RunnerConfig::max_connections", {}, true};
  lent_ += count;
}

std::unique_ptr<wire::Session> Lender::connect() {
  std::unique_ptr<wire::Session> session;
  {
    const std::lock_guard lock{mutex_};
    if (!free_.empty()) {
      session = std::move(free_.back());
      free_.pop_back();
    }
  }
  if (!session)
    session = std::make_unique<wire::Session>(conninfo_, "insula transaction", connect_timeout_, call_timeout_);
  session->connection();
  return session;
}

bool Lender::reserve() noexcept {
  std::unique_ptr<wire::Session> in_place_of;  // closed without the lock
  const std::lock_guard lock{mutex_};
  if (closed_ || most_ < 2 || lent_ >= most_ || asked_again_ > 0) return false;
  ++lent_;
  if (lent_ + free_.size() > most_) {
    in_place_of = std::move(free_.back());
    free_.pop_back();
  }
  return true;
}

void Lender::give_back(std::unique_ptr<wire::Session> session) noexcept {
  {
    const std::lock_guard lock{mutex_};
    --lent_;
    if (session && !closed_) free_.push_back(std::move(session));
  }
  changed_.notify_all();
}

void Lender::close() noexcept {
  std::vector<std::unique_ptr<wire::Session>> ended;
  {
    const std::lock_guard lock{mutex_};
    closed_ = true;
    ended.swap(free_);
  }
  changed_.notify_all();
}

}  // namespace insula::detail
