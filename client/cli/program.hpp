// What all commands share: the options before the command, the connection, and how they print and ask.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "failure.hpp"
#include "output.hpp"
#include "session.hpp"

namespace insula::cli {

// A name and a value of what a verb has done.
struct Field {
  std::string name;
  Cell value;
  Oid type = 25;
};
Field number(const std::string& name, const std::string& value);
Field truth(const std::string& name, bool value);

class Program {
 public:
  Program();

  std::string url;
  std::string context;  // of contexts.toml
  std::optional<std::string> tenant;
  Format format = Format::table;
  bool yes = false;

  // Finds the database and the tenant: from here on `tenant` is that of the context, too.
  void read_context();
  Session& session();
  bool has_session() const { return session_ != nullptr; }
  const std::string& conninfo();
  Table query(const std::string& sql, const std::vector<Cell>& parameters = {}) {
    return session().query(sql, parameters);
  }
  // Runs the statement and prints its rows, or "nothing" if there are none.
  void show(const std::string& sql, const std::vector<Cell>& parameters = {});
  void show(const Table& table);
  void show_record(const Table& table);
  // A line for people; programs read the exit code.
  void say(const std::string& line) const;
  // Tells what a verb has done: the line for people, the fields for programs.
  void done(const std::string& line, const std::vector<Field>& fields) const;
  // A verb that had nothing to do; the line goes to standard error.
  void done_already(const std::string& line, const std::vector<Field>& fields) const;
  // Before a change: asks if the context is one of production, or if `always`; throws not_confirmed.
  void confirm(const std::string& question, bool always = false);
  // Refuses an execution of another tenant than the one to act for as one that does not exist.
  void require_own(const std::string& execution);

  const Terminal& screen() const { return screen_; }

  // The work of the command that was given; CLI11 checks all arguments before it is done.
  std::function<int()> work;

 private:
  void read_file_of_contexts();

  bool context_read_ = false;
  bool production_ = false;
  std::string conninfo_;
  std::unique_ptr<Session> session_;
  Terminal screen_;
};

// Adds a command; `run` does its work.  A bad context is an error before that, but for one that needs no server.
enum class Needs { server, nothing };
CLI::App* add_command(CLI::App& group, Program& program, const std::string& name, const std::string& help,
                      std::function<int()> run, Needs needs = Needs::server);

// Refuses a name that no workflow has, of the tenant to act for or, where none is named, of all.
void require_workflow(Program& program, const std::string& name);

void add_tenant_commands(CLI::App& app, Program& program);
void add_transfer_commands(CLI::App& group, Program& program);  // tenant export, verify, import
void add_workflow_commands(CLI::App& app, Program& program);
void add_execution_commands(CLI::App& app, Program& program);
void add_schedule_commands(CLI::App& app, Program& program);
void add_trigger_commands(CLI::App& app, Program& program);
void add_server_commands(CLI::App& app, Program& program);  // init, doctor, worker, lease, metrics
void add_run_command(CLI::App& app, Program& program);
void add_top_command(CLI::App& app, Program& program);
void add_dashboard_command(CLI::App& app, Program& program);
void add_dev_command(CLI::App& app, Program& program);
void add_help_commands(CLI::App& app, Program& program);  // completion, man

}  // namespace insula::cli
