// insula dashboard: its options.
#include <cstdint>
#include <cstdlib>
#include <fstream>

#include "dashboard/dashboard.hpp"
#include "program.hpp"

namespace insula::cli {

namespace {

// Not an option itself: other users can read the command line.
std::string read_token(const std::string& file) {
  if (file.empty()) {
    const char* token = std::getenv("INSULA_DASHBOARD_TOKEN");
    return token ? token : "";
  }
  std::ifstream in(file);
  std::string token;
  if (!std::getline(in, token) || token.empty()) throw Failure(Exit::usage, "no token in " + file);
  return token;
}

}  // namespace

void add_dashboard_command(CLI::App& app, Program& program) {
  auto options = std::make_shared<dashboard::Options>();
  auto token_file = std::make_shared<std::string>();
  auto seconds = std::make_shared<double>(5);
  auto hours = std::make_shared<double>(12);
  auto megabytes = std::make_shared<double>(16);
  CLI::App* command =
      add_command(app, program, "dashboard", "Serve a page that shows it all, until Ctrl-C", [=, &program] {
        options->conninfo = program.conninfo();
        options->tenant = program.tenant;
        options->context = program.context;
        options->token = read_token(*token_file);
        options->log_in_lasts = std::chrono::milliseconds(static_cast<std::int64_t>(*hours * 3600 * 1000));
        options->most_bytes = static_cast<std::size_t>(*megabytes * 1024 * 1024);
        options->statement_timeout = std::chrono::milliseconds(static_cast<int>(*seconds * 1000));
        return dashboard::serve(*options);
      });
  command->add_option("--listen", options->address, "An IP address of this machine; 127.0.0.1. Others need a token");
  command->add_option("--port", options->port, "8484; 0 takes any")->check(CLI::Range(0, 65535));
  command->add_option("--host", options->hosts, "A name by which browsers call it, as behind a proxy; may be repeated");
  command->add_option("--token-file", *token_file,
                      "Ask for the token in this file, of 32 characters at least; else INSULA_DASHBOARD_TOKEN");
  command->add_option("--log-in-hours", *hours, "How long a browser that gave the token stays logged in; 12")
      ->check(CLI::Range(0.0001, 720.0));
  command->add_option("--user-header", options->user_header,
                      "The header in which a proxy names the user, for the history");
  command->add_flag("--allow-actions", options->allow_actions, "Retry, cancel, pause, run; else it only shows");
  command->add_option("--timeout", *seconds, "Seconds that a query may take; 5")->check(CLI::Range(0.1, 30.0));
  command->add_option("--megabytes", *megabytes, "That one query may send, the rest is left out; 16")
      ->check(CLI::Range(0.01, 512.0));
  command->add_option("--connections", options->connections, "To the database, at most; 4")->check(CLI::Range(1, 50));
}

}  // namespace insula::cli
