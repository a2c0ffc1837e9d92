// Which requests are served: of the right host, from this page and no other, with the token where one is asked for.
// And the headers that tell a browser to take no script, style or frame from elsewhere.
#pragma once

#include <httplib.h>

#include <array>
#include <atomic>
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
  void check_token(const httplib::Request& request) const;
  // A change comes from this page: its Origin is this host, and it has a header that no form of another page can send.
  void check_change(const httplib::Request& request) const;
  // The cookie of a browser that knows the token. Throws Refusal.
  std::string log_in(const std::string& token, const httplib::Request& request);

  bool asks_for_token() const { return !options_.token.empty(); }
  static void add_headers(httplib::Response& response);

 private:
  bool is_served_host(const std::string& host) const;

  const Options& options_;
  std::string session_;  // of all browsers that are logged in, made anew by each process
  std::mutex mutex_;
  std::chrono::steady_clock::time_point tries_since_{};
  int tries_ = 0;
};

// Throws Failure if the options are not safe together, as an address of the network without a token.
void check_options(const Options& options);

}  // namespace insula::cli::dashboard
