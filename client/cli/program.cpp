#include "program.hpp"

#include <unistd.h>

#include <toml++/toml.h>
#include <cstdlib>
#include <filesystem>
#include <iostream>

namespace insula::cli {

namespace {

std::filesystem::path contexts_file() {
  if (const char* file = std::getenv("INSULA_CONTEXTS")) return file;
  if (const char* directory = std::getenv("XDG_CONFIG_HOME"); directory && *directory)
    return std::filesystem::path(directory) / "insula" / "contexts.toml";
  const char* home = std::getenv("HOME");
  return std::filesystem::path(home ? home : "") / ".config" / "insula" / "contexts.toml";
}

// Other users can read the command line.
void refuse_password(const std::string& conninfo) {
  char* error = nullptr;
  PQconninfoOption* options = PQconninfoParse(conninfo.c_str(), &error);
  if (!options) {
    const std::string message = error ? error : "bad connection string";
    PQfreemem(error);
    throw Failure(Exit::usage, "--url: " + message.substr(0, message.find('\n')));
  }
  bool has_password = false;
  for (const PQconninfoOption* option = options; option->keyword; ++option)
    has_password = has_password || (std::string_view(option->keyword) == "password" && option->val && *option->val);
  PQconninfoFree(options);
  if (has_password)
    throw Failure(Exit::usage, "a password on the command line can be read by other users",
                  "HINT:  Use ~/.pgpass, PGPASSWORD, DATABASE_URL or a context.\n");
}

}  // namespace

Field number(const std::string& name, const std::string& value) { return {name, value, 20}; }
Field truth(const std::string& name, bool value) { return {name, value ? "t" : "f", 16}; }

Program::Program() : screen_(terminal()) {}

void Program::read_context() {
  if (context_read_) return;
  if (context.empty() && url.empty()) {
    if (const char* name = std::getenv("INSULA_CONTEXT")) context = name;
  }
  if (!url.empty()) {
    refuse_password(url);
    conninfo_ = url;
  } else if (!context.empty()) {
    read_file_of_contexts();
  } else if (const char* from_environment = std::getenv("DATABASE_URL")) {
    conninfo_ = from_environment;
  }
  context_read_ = true;
}

void Program::read_file_of_contexts() {
  // SQL has a parameter context, the input of executions.
  if (context.front() == '{' || context.front() == '[')
    throw Failure(Exit::usage, "--context names a context of contexts.toml, and is no JSON",
                  "HINT:  What is submitted is --input, of run the word behind the workflow.\n");
  const std::filesystem::path file = contexts_file();
  if (!std::filesystem::exists(file))
    throw Failure(Exit::usage, "there is no file " + file.string() + ", and so no context [" + context + "]");
  try {
    const toml::table contexts = toml::parse_file(file.string());
    const toml::table* found = contexts[context].as_table();
    if (!found) throw Failure(Exit::usage, file.string() + " has no context [" + context + "]");
    conninfo_ = (*found)["url"].value_or(std::string{});
    production_ = (*found)["production"].value_or(false);
    if (!tenant) tenant = (*found)["tenant"].value<std::string>();
  } catch (const toml::parse_error& error) {
    throw Failure(Exit::usage, file.string() + ": " + std::string(error.description()));
  }
}

const std::string& Program::conninfo() {
  read_context();
  return conninfo_;
}

Session& Program::session() {
  if (!session_) session_ = std::make_unique<Session>(conninfo());
  return *session_;
}

void Program::show(const Table& table) {
  if (format == Format::table && table.rows.empty())
    say("nothing");
  else
    print(std::cout, table, format, screen_);
}

void Program::show(const std::string& sql, const std::vector<Cell>& parameters) { show(query(sql, parameters)); }

void Program::show_record(const Table& table) { print_record(std::cout, table, format, screen_); }

void Program::say(const std::string& line) const {
  if (format == Format::table) std::cout << line << '\n';
}

void Program::done(const std::string& line, const std::vector<Field>& fields) const {
  if (format == Format::table) {
    std::cout << line << '\n';
    return;
  }
  Table table;
  auto& row = table.rows.emplace_back();
  for (const Field& field : fields) {
    table.columns.push_back({field.name, field.type});
    row.push_back(field.value);
  }
  print_record(std::cout, table, format, screen_);
}

void Program::done_already(const std::string& line, const std::vector<Field>& fields) const {
  std::cerr << "insula: " << inert(line) << '\n';
  if (format != Format::table) done(line, fields);
}

void Program::require_own(const std::string& execution) {
  read_context();
  if (!tenant) return;
  const Table source = query("SELECT tenant_name FROM insula.execution_source($1::bigint)", {execution});
  if (source.value() != *tenant) throw Failure(Exit::not_found, "execution " + execution + " does not exist");
}

void Program::confirm(const std::string& question, bool always) {
  read_context();
  if (yes || (!always && !production_)) return;
  if (!isatty(STDIN_FILENO))
    throw Failure(Exit::not_confirmed, "not done: " + question, "HINT:  --yes says yes where nothing can be asked.\n");
  std::cerr << inert(question) << (production_ ? " [" + context + ", production]" : "") << " Type yes: " << std::flush;
  std::string answer;
  (void)wait_for_input(STDIN_FILENO, -1);
  if (interrupted()) {
    std::cerr << '\n';
    throw Failure(Exit::interrupted, "not done");
  }
  if (!std::getline(std::cin, answer) || answer != "yes") throw Failure(Exit::not_confirmed, "not done");
}

CLI::App* add_command(CLI::App& group, Program& program, const std::string& name, const std::string& help,
                      std::function<int()> run, Needs needs) {
  CLI::App* command = group.add_subcommand(name, help);
  command->callback([&program, needs, run = std::move(run)] {
    program.work = [&program, needs, run] {
      if (needs == Needs::server) program.read_context();
      return run();
    };
  });
  return command;
}

}  // namespace insula::cli
