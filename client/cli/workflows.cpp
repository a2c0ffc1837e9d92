// insula workflow ...
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "program.hpp"

namespace insula::cli {

namespace {

std::string read_file(const std::string& name) {
  if (name == "-") return {std::istreambuf_iterator<char>(std::cin), {}};
  std::ifstream file(name);
  if (!file) throw Failure(Exit::usage, "cannot read " + name);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> dependencies_of(const nlohmann::json& task) {
  std::vector<std::string> ids;
  if (const auto found = task.find("depends_on"); found != task.end())
    for (const auto& id : *found) ids.push_back(id.get<std::string>());
  return ids;
}

// Each task on a line, below what it waits for.
void print_text(const nlohmann::json& definition) {
  for (const auto& task : definition.at("tasks")) {
    std::cout << "  " << plain(task.at("id").get<std::string>());
    if (task.contains("for_each")) std::cout << " (for each of " << plain(task["for_each"].value("items", "")) << ")";
    const auto dependencies = dependencies_of(task);
    for (std::size_t i = 0; i < dependencies.size(); ++i) std::cout << (i ? ", " : "  <- ") << plain(dependencies[i]);
    if (task.contains("trigger_rule")) std::cout << "  when " << plain(task["trigger_rule"].dump());
    std::cout << '\n';
  }
}

void print_dot(const nlohmann::json& definition) {
  std::cout << "digraph " << nlohmann::json(definition.at("name")).dump()
            << " {\n  rankdir = LR;\n  node [shape = box];\n";
  for (const auto& task : definition.at("tasks")) {
    const std::string id = task.at("id").dump();
    std::cout << "  " << id << (task.contains("for_each") ? " [peripheries = 2]" : "") << ";\n";
    for (const std::string& before : dependencies_of(task))
      std::cout << "  " << nlohmann::json(before).dump() << " -> " << id << ";\n";
  }
  std::cout << "}\n";
}

int show(Program& program, const std::string& name, bool dot) {
  const Table table = program.query(
      "SELECT tenant_name AS tenant, workflow, version, status, registered_at, definition FROM insula.workflows($1) "
      "WHERE workflow = $2 ORDER BY tenant_name",
      {program.tenant, name});
  if (table.rows.empty()) throw Failure(Exit::not_found, "workflow \"" + name + "\" does not exist");
  if (program.format != Format::table && !dot) {
    program.show(table);
    return 0;
  }
  for (const auto& row : table.rows) {
    const auto definition = nlohmann::json::parse(row[5].value_or("{}"));
    if (dot) {
      print_dot(definition);
      continue;
    }
    std::cout << row[0].value_or("") << "  " << name << "  version " << row[2].value_or("") << "  "
              << row[3].value_or("") << "\n";
    print_text(definition);
  }
  return 0;
}

void add_pause(CLI::App& group, Program& program, const char* verb, const char* help) {
  auto name = std::make_shared<std::string>();
  CLI::App* command = add_command(group, program, verb, help, [=, &program] {
    program.confirm(std::string(verb) + " workflow " + *name + "?");
    const Table done =
        program.query(std::string("SELECT insula.") + verb + "_workflow($1, $2)", {*name, program.tenant});
    const bool changed = done.value() == "t";
    const std::vector<Field> fields{{"workflow", *name}, truth("changed", changed)};
    if (changed)
      program.done("done", fields);
    else
      program.done_already("workflow \"" + *name + "\" was so already", fields);
    return 0;
  });
  command->add_option("name", *name, "The workflow")->required();
}

}  // namespace

void require_workflow(Program& program, const std::string& name) {
  if (program.query("SELECT FROM insula.workflows($1) WHERE workflow = $2 LIMIT 1", {program.tenant, name})
          .rows.empty())
    throw Failure(Exit::not_found, "workflow \"" + name + "\" does not exist",
                  "HINT:  insula workflow list names those that do.\n");
}

void add_workflow_commands(CLI::App& app, Program& program) {
  CLI::App* group = app.add_subcommand("workflow", "Register, look at, pause and resume workflows");
  group->require_subcommand(1);
  add_command(*group, program, "list", "The current version of each", [&program] {
    program.show(
        "SELECT tenant_name AS tenant, workflow, version, status, jsonb_array_length(definition -> 'tasks') AS tasks, "
        "registered_at FROM insula.workflows($1) ORDER BY tenant_name, workflow",
        {program.tenant});
    return 0;
  });
  auto name = std::make_shared<std::string>();
  auto dot = std::make_shared<bool>(false);
  CLI::App* shown = add_command(*group, program, "show", "The graph of its tasks",
                                [=, &program] { return show(program, *name, *dot); });
  shown->add_option("name", *name, "The workflow")->required();
  shown->add_flag("--dot", *dot, "For graphviz: insula workflow show NAME --dot | dot -Tsvg");
  auto file = std::make_shared<std::string>();
  auto activate = std::make_shared<bool>(false);
  CLI::App* registered = add_command(*group, program, "register", "Register a definition", [=, &program] {
    const std::string definition = read_file(*file);
    program.confirm("Register the workflow?");
    const Table known =
        program.query("SELECT $1::jsonb ->> 'name', insula.register_workflow($1::jsonb, $2::boolean, $3)",
                      {definition, *activate ? "true" : "false", program.tenant});
    program.done("version " + known.value(1), {{"workflow", known.value()}, number("version", known.value(1))});
    return 0;
  });
  registered->add_option("file", *file, "JSON; - for standard input")->required();
  registered->add_flag("--activate", *activate, "Make it current, if it was registered before");
  add_pause(*group, program, "pause", "No task of it is claimed any more");
  add_pause(*group, program, "resume", "Undo pause");
}

}  // namespace insula::cli
