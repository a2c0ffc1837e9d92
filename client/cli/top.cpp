// insula top: the queues, rates and failures, drawn anew every two seconds.
#include <termios.h>
#include <unistd.h>

#include <iostream>
#include <map>
#include <sstream>

#include "program.hpp"

namespace insula::cli {

namespace {

// Keys come one by one and unseen, on a screen of its own, until it goes.
class Screen {
 public:
  Screen() {
    is_raw_ = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &before_) == 0;
    if (is_raw_) {
      termios raw = before_;
      raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
      tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    std::cout << "\033[?1049h\033[?25l" << std::flush;
  }
  ~Screen() {
    std::cout << "\033[?25h\033[?1049l" << std::flush;
    if (is_raw_) tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  // Waits; false: the user wants to go.
  bool wait(int milliseconds) const {
    if (!wait_for_input(is_raw_ ? STDIN_FILENO : -1, milliseconds)) return !interrupted();
    char key = 0;
    return read(STDIN_FILENO, &key, 1) == 1 && key != 'q' && key != 'Q' && !interrupted();
  }

 private:
  termios before_ = {};
  bool is_raw_ = false;
};

// Columns for which there is no room are left out, the last first.
void put_table(std::ostream& out, const char* title, Table table, const Terminal& screen, int* room) {
  while (!fits(table, screen) && table.columns.size() > 1) {
    table.columns.pop_back();
    for (auto& row : table.rows) row.pop_back();
  }
  std::ostringstream text;
  print(text, table, Format::table, screen);
  std::istringstream lines(text.str());
  if (*room < 3) return;
  out << '\n' << (screen.colours ? bold(title) : title) << '\n';
  *room -= 2;
  for (std::string line; *room > 0 && std::getline(lines, line); --*room) out << line << '\n';
}

void draw(Program& program, std::ostream& out, const Terminal& screen) {
  int room = screen.height - 2;
  const Table head = program.query(
      "SELECT to_char(now(), 'HH24:MI:SS') || '  ' || current_database() || '  ' || count(*) || ' tenants, ' || "
      "coalesce(sum(ready), 0) || ' ready, ' || coalesce(sum(running), 0) || ' running' FROM insula.tenant_activity");
  out << cut(plain(head.value()), screen.width > 0 ? static_cast<std::size_t>(screen.width) : 200) << '\n';
  put_table(
      out, "tenants",
      program.query(
          "SELECT a.tenant, a.status, a.ready, a.running, a.delayed, a.waiting, to_char(now() - a.oldest_ready_at, "
          "'HH24:MI:SS') AS oldest, s.completed, s.failed, round(extract(epoch FROM s.wait_p99), 3) || ' s' AS p99 "
          "FROM insula.tenant_activity a LEFT JOIN insula.tenant_counters s USING (tenant) "
          "ORDER BY a.ready + a.running DESC, a.tenant LIMIT 20"),
      screen, &room);
  put_table(out, "failures of the last hour",
            program.query("SELECT failed, retrying, tenant_name AS tenant, workflow, task, error FROM "
                          "insula.failures('1 hour') LIMIT 8"),
            screen, &room);
  put_table(out, "workers",
            program.query("SELECT worker, CASE WHEN status = 'unknown' THEN tenant_name ELSE coalesce(tenant_name, "
                          "'(all)') END AS tenant, status, tasks FROM "
                          "insula.workers() ORDER BY tasks DESC "
                          "LIMIT 8"),
            screen, &room);
}

int top(Program& program, double seconds, bool once) {
  if (once || !program.screen().is_terminal) {
    draw(program, std::cout, program.screen());
    return 0;
  }
  const Screen screen;
  try {
    do {
      std::ostringstream picture;
      draw(program, picture, terminal());
      std::cout << "\033[H\033[J" << picture.str() << std::flush;
    } while (screen.wait(static_cast<int>(seconds * 1000)));
  } catch (const Failure& failure) {
    if (failure.exit != Exit::interrupted) throw;
  }
  return 0;
}

}  // namespace

void add_top_command(CLI::App& app, Program& program) {
  auto seconds = std::make_shared<double>(2);
  auto once = std::make_shared<bool>(false);
  CLI::App* command = add_command(app, program, "top", "Queues, failures and workers, live; q ends it",
                                  [=, &program] { return top(program, *seconds, *once); });
  command->add_option("--every", *seconds, "Seconds between two pictures; 2")->check(CLI::Range(0.2, 3600.0));
  command->add_flag("--once", *once, "One picture, as where standard output is no terminal");
}

}  // namespace insula::cli
