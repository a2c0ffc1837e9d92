#include "dashboard/connections.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>

namespace insula::cli::dashboard {

namespace {

constexpr std::size_t most_waiting = 64;
constexpr std::chrono::seconds longest{45};

int port_of(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  return -1;
}

// The bytes of the peer's address, where the descriptor is a connection to the port; "" otherwise.
std::string peer_of(int descriptor, int port) {
  sockaddr_storage address = {};
  socklen_t size = sizeof address;
  if (getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size) != 0 || port_of(address) != port) return {};
  size = sizeof address;
  if (getpeername(descriptor, reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
  return {reinterpret_cast<const char*>(&address), std::min<std::size_t>(size, sizeof address)};
}

std::vector<int> descriptors() {
  std::vector<int> all;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
    const std::string name = entry.path().filename();
    int descriptor = -1;
    if (std::from_chars(name.data(), name.data() + name.size(), descriptor).ec == std::errc{})
      all.push_back(descriptor);
  }
  return all;
}

}  // namespace

Workers::Workers(std::size_t threads) {
  for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
}

void Workers::put(std::function<void()> work) {
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return waiting_.size() < most_waiting || is_stopping_; });
    waiting_.push_back(std::move(work));
  }
  changed_.notify_all();
}

Workers::Enqueued Workers::enqueue(std::function<void()> work) {
  put(std::move(work));
  return static_cast<Enqueued>(true);  // of later versions: whether there was room
}

void Workers::run() {
  for (;;) {
    std::function<void()> work;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return !waiting_.empty() || is_stopping_; });
      if (waiting_.empty()) return;
      work = std::move(waiting_.front());
      waiting_.pop_front();
    }
    changed_.notify_all();
    work();
  }
}

void Workers::shutdown() {
  {
    const std::scoped_lock lock(mutex_);
    is_stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

// The library limits each read of a connection, and not how many there are: a client that sends a byte now and then
// would keep its thread. It does not tell of its sockets either, so they are found among the open ones.
void Deadline::look(bool ends_all) {
  std::map<std::string, Clock::time_point> still;
  const auto now = Clock::now();
  for (const int descriptor : descriptors()) {
    const std::string peer = peer_of(descriptor, port_);
    if (peer.empty()) continue;
    const std::string key = std::to_string(descriptor) + " " + peer;
    const auto known = since_.find(key);
    const auto since = known == since_.end() ? now : known->second;
    still[key] = since;
    if (ends_all || now - since > longest) shutdown(descriptor, SHUT_RDWR);
  }
  since_ = std::move(still);
}

Deadline::Deadline(int port) : port_(port) {
  thread_ = std::thread([this] {
    std::unique_lock lock(mutex_);
    while (!stopping_.wait_for(lock, std::chrono::seconds(1), [this] { return is_stopping_; })) look(false);
    look(true);
  });
}

Deadline::~Deadline() {
  {
    const std::scoped_lock lock(mutex_);
    is_stopping_ = true;
  }
  stopping_.notify_all();
  thread_.join();
}

}  // namespace insula::cli::dashboard
