// Which requests are served: of the right host, from this page and no other, with the token where one is asked for.
// And the headers that tell a browser to take no script, style or frame from elsewhere.
#pragma once

#include <httplib.h>

#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <string>

#include "dashboard/dashboard.hpp"

namespace insula::cli::dashboard {

class Gate {
 public:
  explicit Gate(const Options& options);

  // Before the body is read. Throws Refusal.
  void check_request(const httplib::Request& request) const;
  // Before anything of the database is shown. Throws Refusal: login.
  void check_token(const httplib::Request& request);
  // A change comes from this page: its Origin is this host, and it has a header that no form of another page can send.
  void check_change(const httplib::Request& request) const;
  // The cookie of a browser that knows the token, for as long as a log-in lasts. Throws Refusal.
  std::string log_in(const std::string& token, const httplib::Request& request);

  bool asks_for_token() const { return !options_.token.empty(); }
  static void add_headers(httplib::Response& response);

 private:
  using Clock = std::chrono::steady_clock;

  bool is_served_host(const std::string& host) const;
  bool is_logged_in(const std::string& cookie);
  void check_guess(const std::string& token) const;

  const Options& options_;
  std::mutex mutex_;
  // By the browser's cookie, until when it is good; none outlives the process.
  std::map<std::string, Clock::time_point> sessions_;
};

// Throws Failure if the options are not safe together, as an address of the network without a token.
void check_options(const Options& options);

}  // namespace insula::cli::dashboard
