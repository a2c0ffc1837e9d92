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

class Program {
 public:
  Program();

  std::string url;
  std::string context;  // of contexts.toml
  std::optional<std::string> tenant;
  Format format = Format::table;
  bool yes = false;

  Session& session();
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
  // Before a change: asks if the context is one of production, or if `always`; throws not_confirmed.
  void confirm(const std::string& question, bool always = false);

  const Terminal& screen() const { return screen_; }

  // The work of the command that was given; CLI11 checks all arguments before it is done.
  std::function<int()> work;

 private:
  void read_context();

  bool context_read_ = false;
  bool production_ = false;
  std::string conninfo_;
  std::unique_ptr<Session> session_;
  Terminal screen_;
};

// Adds a command; `run` does its work.
CLI::App* add_command(CLI::App& group, Program& program, const std::string& name, const std::string& help,
                      std::function<int()> run);

void add_tenant_commands(CLI::App& app, Program& program);
void add_transfer_commands(CLI::App& group, Program& program);  // tenant export, verify, import
void add_workflow_commands(CLI::App& app, Program& program);
void add_execution_commands(CLI::App& app, Program& program);
void add_schedule_commands(CLI::App& app, Program& program);
void add_server_commands(CLI::App& app, Program& program);  // init, doctor, worker, lease, metrics
void add_run_command(CLI::App& app, Program& program);
void add_top_command(CLI::App& app, Program& program);
void add_dashboard_command(CLI::App& app, Program& program);
void add_dev_command(CLI::App& app, Program& program);
void add_help_commands(CLI::App& app, Program& program);  // completion, man

}  // namespace insula::cli
