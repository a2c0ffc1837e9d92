#include "dashboard/connections.hpp"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>
#include <utility>

namespace insula::cli::dashboard {

namespace {

constexpr std::size_t most_waiting = 64;
constexpr std::size_t longest_head = 16384;
constexpr std::chrono::seconds longest{45}, longest_silence{5}, longest_for_head{10};
constexpr std::chrono::milliseconds longest_in_crowd{500};  // for a head, where other connections wait for a thread
constexpr std::chrono::milliseconds look_around{100};       // whether the program ends, or others wait

using Clock = std::chrono::steady_clock;

// A connection as the library reads and writes it, once the head of its request is here.
class Client : public httplib::Stream {
 public:
  Client(socket_t socket, const std::atomic<bool>& is_ending)
      : socket_(socket), is_ending_(is_ending), until_(Clock::now() + longest) {}

  enum class Head { whole, none, too_long };
  Head read_head(const std::atomic<bool>& is_crowded);
  bool asks_for_ranges() const;
  // And takes what the client still sends, for a while: an end with bytes unread would take the answer back.
  void refuse(const char* status, const char* message);

  bool is_readable() const override { return at_ < head_.size() || wait(POLLIN, Clock::now()); }
  bool is_writable() const override { return wait(POLLOUT, Clock::now() + longest_silence); }
  ssize_t read(char* to, std::size_t size) override;
  ssize_t write(const char* from, std::size_t size) override;
  void get_remote_ip_and_port(std::string& ip, int& port) const override { tell(getpeername, ip, port); }
  void get_local_ip_and_port(std::string& ip, int& port) const override { tell(getsockname, ip, port); }
  socket_t socket() const override { return socket_; }

 private:
  bool wait(short what, Clock::time_point until) const;
  template <typename Name>
  void tell(Name name, std::string& ip, int& port) const;

  const socket_t socket_;
  const std::atomic<bool>& is_ending_;
  const Clock::time_point until_;
  std::string head_;  // and what came with it
  std::size_t at_ = 0, end_ = 0;
};

bool Client::wait(short what, Clock::time_point until) const {
  until = std::min(until, until_);
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
    pollfd wanted{socket_, what, 0};
    const int found =
        poll(&wanted, 1, static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, look_around.count())));
    if (found > 0) return true;
    if ((found < 0 && errno != EINTR) || left.count() <= 0 || is_ending_) return false;
  }
}

// The head ends by an empty line, as the library sees it.
Client::Head Client::read_head(const std::atomic<bool>& is_crowded) {
  const auto began = Clock::now();
  auto heard = began;
  std::size_t looked = 0;
  for (;;) {
    if (const auto end = head_.find("\n\r\n", looked); end != std::string::npos) {
      end_ = end + 3;
      return Head::whole;
    }
    if (head_.size() >= longest_head) return Head::too_long;
    looked = head_.size() < 2 ? 0 : head_.size() - 2;
    const auto now = Clock::now();
    if (is_ending_ || now - heard >= longest_silence || now - began >= longest_for_head ||
        (is_crowded && now - began >= longest_in_crowd))
      return Head::none;
    if (!wait(POLLIN, now + look_around)) continue;
    char bytes[4096];
    const ssize_t got = recv(socket_, bytes, std::min(sizeof bytes, longest_head - head_.size()), MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return Head::none;
    if (got <= 0) continue;
    head_.append(bytes, static_cast<std::size_t>(got));
    heard = Clock::now();
  }
}

bool Client::asks_for_ranges() const {
  const std::string_view head(head_.data(), end_);
  for (std::size_t line = head.find('\n'); line != std::string_view::npos; line = head.find('\n', line + 1)) {
    std::string name(head.substr(line + 1, head.find_first_of(":\n", line + 1) - line - 1));
    std::erase_if(name, [](unsigned char c) { return c <= ' '; });
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    if (name == "range" || name == "if-range") return true;
  }
  return false;
}

void Client::refuse(const char* status, const char* message) {
  constexpr std::size_t most_taken = 1024 * 1024;
  constexpr std::chrono::seconds patience{1};
  const std::string body =
      std::string("{\"error\":{\"kind\":\"usage\",\"message\":\"") + message + "\",\"detail\":\"\",\"hint\":\"\"}}";
  const std::string answer = std::string("HTTP/1.1 ") + status +
                             "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
                             "\r\nX-Content-Type-Options: nosniff\r\nContent-Security-Policy: default-src 'none'\r\n"
                             "Connection: close\r\n\r\n" +
                             body;
  if (write(answer.data(), answer.size()) < 0) return;
  ::shutdown(socket_, SHUT_WR);
  const auto until = Clock::now() + patience;
  char bytes[4096];
  for (std::size_t taken = 0; taken < most_taken && wait(POLLIN, until);) {
    const ssize_t got = recv(socket_, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got <= 0) return;
    taken += static_cast<std::size_t>(got);
  }
}

ssize_t Client::read(char* to, std::size_t size) {
  if (at_ < head_.size()) {
    const std::size_t some = std::min(size, head_.size() - at_);
    std::memcpy(to, head_.data() + at_, some);
    at_ += some;
    return static_cast<ssize_t>(some);
  }
  for (;;) {
    if (!wait(POLLIN, Clock::now() + longest_silence)) return -1;
    const ssize_t got = recv(socket_, to, size, MSG_DONTWAIT);
    if (got >= 0 || (errno != EAGAIN && errno != EINTR)) return got;
  }
}

ssize_t Client::write(const char* from, std::size_t size) {
  for (;;) {
    if (!is_writable()) return -1;
    const ssize_t sent = send(socket_, from, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0 || (errno != EAGAIN && errno != EINTR)) return sent;
  }
}

template <typename Name>
void Client::tell(Name name, std::string& ip, int& port) const {
  sockaddr_storage address = {};
  socklen_t size = sizeof address;
  char host[NI_MAXHOST] = "", service[NI_MAXSERV] = "";
  if (name(socket_, reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
      getnameinfo(reinterpret_cast<sockaddr*>(&address), size, host, sizeof host, service, sizeof service,
                  NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return;
  ip = host;
  port = std::atoi(service);
}

}  // namespace

Workers::Workers(std::size_t threads, std::atomic<bool>& is_crowded) : is_crowded_(is_crowded) {
  try {
    while (threads_.size() < threads) threads_.emplace_back([this] { run(); });
  } catch (...) {
    end();
    throw;
  }
}

Workers::~Workers() { end(); }

void Workers::put(std::function<void()> work) {
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return waiting_.size() < most_waiting; });
    waiting_.push_back(std::move(work));
    note_crowd();
  }
  changed_.notify_all();
}

void Workers::note_crowd() { is_crowded_ = waiting_.size() + busy_ > threads_.size(); }

void Workers::run() {
  for (;;) {
    std::function<void()> work;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return !waiting_.empty() || is_stopping_; });
      if (waiting_.empty()) return;
      work = std::move(waiting_.front());
      waiting_.pop_front();
      ++busy_;
      note_crowd();
    }
    changed_.notify_all();
    work();
    const std::scoped_lock lock(mutex_);
    --busy_;
    note_crowd();
  }
}

void Workers::end() {
  {
    const std::scoped_lock lock(mutex_);
    is_stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

// Errors of the listening socket itself do not pass. All others are of one connection, or of the moment: as many open
// files, or no memory.
bool BoundedServer::serve(std::size_t threads) {
  constexpr std::chrono::milliseconds pause{100};
  constexpr std::array lasting = {EBADF, EINVAL, ENOTSOCK, EFAULT};
  bool is_told = false;
  Workers workers(threads, is_crowded_);
  while (!is_ending_) {
    const socket_t socket = ::accept4(svr_sock_, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket >= 0) {
      is_told = false;
      try {
        workers.put([this, socket] { serve_connection(socket); });
      } catch (const std::exception&) {
        ::close(socket);
      }
      continue;
    }
    const int error = errno;
    if (is_ending_ || error == EINTR) continue;
    if (std::find(lasting.begin(), lasting.end(), error) != lasting.end()) {
      is_ending_ = true;  // connections that are open go, too
      return false;
    }
    if (!std::exchange(is_told, true))
      std::cerr << "a connection could not be accepted: " << std::strerror(error) << "\n" << std::flush;
    if (error != ECONNABORTED) std::this_thread::sleep_for(pause);
  }
  return true;
}

// Wakes accept(). The socket stays open until the process ends, so that no other file takes its number.
void BoundedServer::end() {
  is_ending_ = true;
  ::shutdown(svr_sock_, SHUT_RDWR);
}

// Later versions of the library are told the addresses.
template <typename Self>
void BoundedServer::process(Self& self, httplib::Stream& stream) {
  bool is_closed = false;
  if constexpr (requires { self.process_request(stream, true, is_closed, nullptr); }) {
    (void)self.process_request(stream, true, is_closed, nullptr);
  } else {
    std::string remote, local;
    int remote_port = 0, local_port = 0;
    stream.get_remote_ip_and_port(remote, remote_port);
    stream.get_local_ip_and_port(local, local_port);
    (void)self.process_request(stream, remote, remote_port, local, local_port, true, is_closed, nullptr);
  }
}

void BoundedServer::serve_connection(socket_t socket) {
  try {
    Client client(socket, is_ending_);
    const Client::Head head = client.read_head(is_crowded_);
    if (head == Client::Head::too_long)
      client.refuse("431 Request Header Fields Too Large", "the head of the request is too long");
    else if (head == Client::Head::whole && client.asks_for_ranges())
      client.refuse("400 Bad Request", "parts of an answer are not served");
    else if (head == Client::Head::whole)
      process(*this, client);
  } catch (const std::exception&) {  // as no memory: it ends this connection alone
  }
  ::shutdown(socket, SHUT_RDWR);
  ::close(socket);
}

}  // namespace insula::cli::dashboard
