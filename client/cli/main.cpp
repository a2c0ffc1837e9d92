// insula: looks at and steers tenants, workflows, executions, schedules and workers from a shell.
#include <fcntl.h>
#include <insula/error.hpp>

#include <cerrno>
#include <clocale>
#include <cstring>
#include <iostream>

#include "program.hpp"

using namespace insula::cli;

namespace {

// A descriptor that is closed would be that of the connection to the server.
void keep_descriptors() {
  for (int descriptor = 0; descriptor <= 2; ++descriptor)
    if (fcntl(descriptor, F_GETFD) < 0 && errno == EBADF) (void)open("/dev/null", descriptor ? O_RDONLY : O_WRONLY);
}

Format format_of(const std::string& word) {
  for (const auto& [name, format] : {std::pair{"table", Format::table}, {"json", Format::json}, {"csv", Format::csv}})
    if (CLI::detail::to_lower(word) == name) return format;
  throw CLI::ValidationError("--output", word + " is none of table, json and csv");
}

void add_options(CLI::App& app, Program& program) {
  app.add_option("-d,--url", program.url, "Connection string of libpq; else DATABASE_URL, or PG* and ~/.pgpass");
  app.add_option("-c,--context", program.context, "A context of ~/.config/insula/contexts.toml; else INSULA_CONTEXT");
  app.add_option("-t,--tenant", program.tenant, "The tenant to act for; else that of the login, or all");
  app.add_option_function<std::string>(
      "-o,--output", [&program](const std::string& word) { program.format = format_of(word); }, "table, json or csv");
  app.add_flag("-y,--yes", program.yes, "Do not ask before a change");
  app.set_version_flag("--version", "insula " INSULA_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
}

void add_commands(CLI::App& app, Program& program) {
  add_server_commands(app, program);
  add_tenant_commands(app, program);
  add_workflow_commands(app, program);
  add_run_command(app, program);
  add_execution_commands(app, program);
  add_schedule_commands(app, program);
  add_trigger_commands(app, program);
  add_top_command(app, program);
  add_dashboard_command(app, program);
  add_dev_command(app, program);
  add_help_commands(app, program);
}

// Errors of the library, by which tenants are made, as those of the command line's own statements.
Exit exit_for(const insula::error& error) {
  switch (error.code()) {
    case insula::errc::invalid:
      return Exit::usage;
    case insula::errc::not_found:
      return Exit::not_found;
    case insula::errc::unreachable:
    case insula::errc::authentication:
      return Exit::no_connection;
    default:
      return Exit::failed;
  }
}

int tell(const Failure& failure) {
  std::cout.flush();
  std::cerr << "insula: " << inert(failure.what()) << '\n' << inert(failure.details);
  return static_cast<int>(failure.exit);
}

// The last command that was given tells what it has; a word that it does not know is told before all else.
std::string usage_error(const CLI::App* app, const CLI::Error& error) {
  std::string path = "insula";
  const CLI::App* last = app;
  while (!last->get_subcommands().empty()) {
    last = last->get_subcommands().front();
    path += " " + last->get_name();
  }
  std::string commands;
  for (const CLI::App* command : last->get_subcommands([](const CLI::App*) { return true; }))
    commands += (commands.empty() ? "" : ", ") + command->get_name();
  const std::vector<std::string> unknown = app->remaining(true);
  const bool is_no_command = !commands.empty() && !unknown.empty() && unknown.front().front() != '-';
  const std::string what = is_no_command      ? path + " has no command " + unknown.front()
                           : commands.empty() ? error.what()
                                              : path + " needs a command";
  return "insula: " + inert(what) + "\nHINT:  " + (commands.empty() ? path + " --help" : "It has " + commands + ".") +
         "\n";
}

// A password is shown once: that it could not be printed is an error.
void check_output() {
  errno = 0;
  std::cout.flush();
  if (std::cout) return;
  const std::string why = errno ? std::string(": ") + std::strerror(errno) : "";
  throw Failure(Exit::failed, "cannot write to standard output" + why,
                "HINT:  What the command does is done; what it tells is lost.\n");
}

}  // namespace

int main(int argc, char** argv) {
  keep_descriptors();
  std::setlocale(LC_ALL, "");
  Program program;
  CLI::App app{"Multi-tenant durable workflows in PostgreSQL", "insula"};
  app.get_formatter()->column_width(34);
  app.failure_message(usage_error);
  add_options(app, program);
  add_commands(app, program);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(Exit::usage);
  }
  try {
    watch_for_interrupt();
    const int code = program.work ? program.work() : 0;
    check_output();
    return code;
  } catch (const Failure& failure) {
    return tell(failure);
  } catch (const insula::error& error) {
    return tell(Failure(exit_for(error), error.what()));
  } catch (const std::exception& error) {
    return tell(Failure(Exit::failed, error.what()));
  }
}
