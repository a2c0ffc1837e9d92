// Listens, reads requests and answers them. One request a connection; sixteen at the same time, others wait to be
// taken; a connection that lasts longer than 45 seconds is ended, however slowly its client sends or reads.
#pragma once

#include <httplib.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "dashboard/connections.hpp"
#include "dashboard/database.hpp"
#include "dashboard/safety.hpp"
#include "dashboard/samples.hpp"

namespace insula::cli::dashboard {

class Web {
 public:
  Web(const Options& options, Database& database);
  ~Web();

  // Throws Failure if the address is taken.
  void listen();
  int port() const { return port_; }
  // No connection can be taken any more.
  bool is_broken() const { return is_broken_; }
  void stop();

 private:
  struct Answer {
    std::string body;
    std::string etag;
    std::chrono::steady_clock::time_point until;  // it is used again
  };

  void set_up(BoundedServer& server);
  void answer(const httplib::Request& request, httplib::Response& response);
  void answer_file(const httplib::Request& request, httplib::Response& response) const;
  void answer_view(const std::string& name, const httplib::Request& request, httplib::Response& response);
  void answer_change(const httplib::Request& request, httplib::Response& response);
  void answer_log_in(const httplib::Request& request, httplib::Response& response);
  void forget_answers();
  bool ask_health();
  std::string hello() const;
  std::string view(const std::string& name, const httplib::Request& request);
  std::string actor_of(const httplib::Request& request) const;

  const Options& options_;
  Database& database_;
  Gate gate_;
  Samples samples_;
  BoundedServer server_;
  int port_ = 0;
  std::thread listener_;
  std::atomic<bool> is_broken_ = false;
  std::mutex mutex_;
  // Many pages cost as much as one, and a view that is slow to make is made seldom.
  std::map<std::string, Answer> answers_;
  std::uint64_t generation_ = 0;  // of answers: a change begins the next
  bool is_healthy_ = true, is_asking_health_ = false;
  std::chrono::steady_clock::time_point healthy_until_{};
};

}  // namespace insula::cli::dashboard
