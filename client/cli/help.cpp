// insula completion and insula man: made from the commands themselves.
#include <iostream>
#include <set>

#include "program.hpp"

namespace insula::cli {

namespace {

using Commands = std::vector<const CLI::App*>;

Commands commands_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App* command) { return !command->get_name().empty(); });
}

std::string words_of(const CLI::App& app) {
  std::string words;
  for (const CLI::App* command : commands_of(app)) words += command->get_name() + " ";
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) words += "--" + name + " ";
  return words;
}

void put_cases(const CLI::App& app, const std::string& path) {
  std::cout << "    '" << path << "') words='" << words_of(app) << "' ;;\n";
  for (const CLI::App* command : commands_of(app)) put_cases(*command, path + " " + command->get_name());
}

// The options behind which a word is their value, of all commands.
void collect_valued(const CLI::App& app, std::set<std::string>* names) {
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_items_expected_min() == 0 || option->get_positional()) continue;
    for (const std::string& name : option->get_lnames()) names->insert("--" + name);
    for (const std::string& name : option->get_snames()) names->insert("-" + name);
  }
  for (const CLI::App* command : commands_of(app)) collect_valued(*command, names);
}

// The words that can follow those that have been written, options and their values left out.
void put_bash(const CLI::App& app) {
  std::set<std::string> valued;
  collect_valued(app, &valued);
  std::string pattern = "=";  // bash has --tenant=acme as three words
  for (const std::string& name : valued) pattern += "|" + name;
  std::cout << "_insula() {\n  local word path=insula words= value=\n"
               "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
               "    case $word in\n      "
            << pattern
            << ") value=1 ;;\n      -*) value= ;;\n"
               "      *) [[ $value ]] || path+=\" $word\"; value= ;;\n"
               "    esac\n  done\n  case $path in\n";
  put_cases(app, "insula");
  std::cout << "  esac\n"
               "  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\")\n}\n"
               "complete -F _insula insula\n";
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char character : text)
    out += character == '-' ? "\\-" : character == '\\' ? "\\\\" : std::string(1, character);
  return out;
}

void put_options(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options())
    std::cout << ".TP\n.B " << escaped(option->get_name(false, true)) << "\n"
              << escaped(option->get_description()) << "\n";
}

void put_commands(const CLI::App& app, const std::string& path) {
  for (const CLI::App* command : commands_of(app)) {
    const std::string name = path + " " + command->get_name();
    if (commands_of(*command).empty()) {
      std::cout << ".SS " << escaped(name) << "\n" << escaped(command->get_description()) << ".\n";
      put_options(*command);
    }
    put_commands(*command, name);
  }
}

void put_man(const CLI::App& app) {
  std::cout << ".TH INSULA 1 \"\" \"insula " INSULA_VERSION
               "\"\n.SH NAME\ninsula \\- multi\\-tenant durable workflows in "
               "PostgreSQL\n.SH SYNOPSIS\n.B insula\n[options] command [arguments]\n.SH OPTIONS\n";
  put_options(app);
  std::cout << ".SH COMMANDS\n";
  put_commands(app, "insula");
  std::cout
      << ".SH EXIT STATUS\n0 done, or it was so already; 1 refused, or what was run or looked at has failed; 2 wrong "
         "usage, or a value that is none; 3 no such tenant, workflow, execution, schedule or trigger; 4 no connection; "
         "5 a change was not confirmed; 130 interrupted.\n"
         ".SH FILES\n.B ~/.config/insula/contexts.toml\nholds tables [NAME] with url, tenant and production; before "
         "a change in one with production = true insula asks.\n";
}

}  // namespace

void add_help_commands(CLI::App& app, Program& program) {
  auto shell = std::make_shared<std::string>("bash");
  CLI::App* completion = add_command(
      app, program, "completion", "Print a script that completes commands",
      [=, &app] {
        if (*shell == "zsh") std::cout << "autoload -U +X bashcompinit && bashcompinit\n";
        put_bash(app);
        return 0;
      },
      Needs::nothing);
  completion->add_option("shell", *shell, "bash or zsh")->check(CLI::IsMember({"bash", "zsh"}));
  add_command(
      app, program, "man", "Print the manual page, for man -l -",
      [&app] {
        put_man(app);
        return 0;
      },
      Needs::nothing);
}

}  // namespace insula::cli
