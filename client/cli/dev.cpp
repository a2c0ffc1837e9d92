// insula dev: a private PostgreSQL with the extension, for as long as the command lasts.
#include <insula/testing.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <string_view>
#include <utility>

#include "program.hpp"

namespace insula::cli {

namespace {

// Neither another server nor settings for one may come from the caller's environment.
void forget_environment() {
  for (const char* name : {"PGHOSTADDR", "PGSERVICE", "PGSERVICEFILE", "PGPASSWORD", "PGOPTIONS", "PGSSLMODE",
                           "PGREQUIRESSL", "PGSSLNEGOTIATION", "PGGSSENCMODE", "PGCHANNELBINDING", "PGREQUIREAUTH",
                           "PGREQUIREPEER", "PGTARGETSESSIONATTRS", "PGLOADBALANCEHOSTS", "INSULA_CONTEXT"})
    unsetenv(name);
}

void point_environment(const std::string& url) {
  setenv("DATABASE_URL", url.c_str(), 1);
  setenv("ADMIN_DATABASE_URL", url.c_str(), 1);
  PQconninfoOption* const options = PQconninfoParse(url.c_str(), nullptr);
  for (const PQconninfoOption* option = options; option && option->keyword; ++option)
    for (const auto& [keyword, name] :
         {std::pair{"host", "PGHOST"}, {"port", "PGPORT"}, {"user", "PGUSER"}, {"dbname", "PGDATABASE"}})
      if (std::string_view(option->keyword) == keyword && option->val) setenv(name, option->val, 1);
  PQconninfoFree(options);
}

// Runs the command with the server's address in its environment.
int run_command(const std::vector<std::string>& words, const std::string& url) {
  const pid_t child = fork();
  if (child < 0) throw Failure(Exit::failed, "cannot start " + words.front());
  if (child == 0) {
    point_environment(url);
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    execvp(arguments[0], arguments.data());
    std::cerr << "insula: cannot run " << words.front() << '\n';
    _exit(127);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

void add_dev_command(CLI::App& app, Program& program) {
  auto words = std::make_shared<std::vector<std::string>>();
  CLI::App* command = add_command(
      app, program, "dev", "A private server: dev, or dev -- COMMAND",
      [words] {
        forget_environment();
        testing::Cluster cluster;
        const std::string& url = cluster.connection_string();
        if (!words->empty()) return run_command(*words, url);
        std::cout << url << std::endl;
        std::cerr << "Ctrl-C ends the server; its data goes with it.\n";
        while (!interrupted()) (void)wait_for_input(-1, -1);
        return 0;
      },
      Needs::nothing);
  command->add_option("command", *words,
                      "Run with DATABASE_URL, PGHOST, PGPORT, PGUSER and PGDATABASE set to the server's");
  command->positionals_at_end();
}

}  // namespace insula::cli
