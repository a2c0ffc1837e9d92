// insula dashboard: one page over the database, served by this process. What the parts share: the options, and how an
// answer that is not the wanted one is told to the page.
//
// Rooms, from the top: command (options) -> web (listens, routes) -> safety (which requests are served) -> views and
// actions (the SQL) -> database (connections, time limits) -> json. files holds the page, which is linked in.
#pragma once

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace insula::cli::dashboard {

struct Options {
  std::string address = "127.0.0.1";
  int port = 8484;
  std::vector<std::string> hosts;  // names by which a proxy or a browser may call it, besides localhost
  std::string token;               // empty: none is asked for
  std::chrono::milliseconds log_in_lasts{std::chrono::hours{12}};
  std::string user_header;         // of a proxy that has checked the user; empty: none
  bool allow_actions = false;
  std::string conninfo;
  std::optional<std::string> tenant;  // the only one that is shown, by the rights of its own role
  std::string context;                // of contexts.toml, for the page's head
  int connections = 4;
  std::chrono::milliseconds statement_timeout{5000};
  std::size_t most_bytes = 16 * 1024 * 1024;  // of the result of a statement
};

// An answer that is no success; the page shows the message, the detail and the hint.
struct Refusal : std::runtime_error {
  Refusal(int http_status, std::string kind_of_error, const std::string& message, std::string more = {},
          std::string advice = {})
      : std::runtime_error(message),
        status(http_status),
        kind(std::move(kind_of_error)),
        detail(std::move(more)),
        hint(std::move(advice)) {}

  int status;
  std::string kind;  // timeout, busy, away, refused, missing, usage, login
  std::string detail;
  std::string hint;
};

// Serves until Ctrl-C; the exit code.
int serve(const Options& options);

}  // namespace insula::cli::dashboard
