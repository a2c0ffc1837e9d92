// Worker processes; see workers.hpp.
#include "workers.hpp"

#include "bench.hpp"
#include "support/cluster.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <sstream>

namespace bench {

namespace {

// A worker that says nothing for so long will not say anything any more.
constexpr std::chrono::seconds patience{120};

pid_t spawn(const Command& command, const posix_spawn_file_actions_t* actions) {
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  pid_t pid = 0;
  if (posix_spawnp(&pid, argv[0], actions, nullptr, argv.data(), environ) != 0)
    give_up(fmt::format("cannot start {}", command.front()));
  return pid;
}

void expect_good_end(pid_t pid, const Command& command) {
  int status = 0;
  if (waitpid(pid, &status, 0) != pid || status != 0)
    give_up(fmt::format("{} ended with status {}", fmt::join(command, " "), status));
}

}  // namespace

Command worker_command(std::vector<std::string> arguments) {
  const auto self = std::filesystem::read_symlink("/proc/self/exe");
  arguments.insert(arguments.begin(), (self.parent_path() / "bench_worker").string());
  return arguments;
}

Command peer_command(const std::string& script, std::vector<std::string> arguments) {
  const std::string directory = insula_test::environment("BENCH_PEERS", "");
  if (directory.empty() || !std::filesystem::exists(std::filesystem::path{directory} / "node_modules"))
    give_up("the peers from npm could not be installed (scripts/bench.sh says why)");
  arguments.insert(arguments.begin(), {"node", fmt::format("{}/{}.mjs", directory, script)});
  return arguments;
}

void run_to_end(const Command& command) { expect_good_end(spawn(command, nullptr), command); }

Workers::Workers(const std::vector<Command>& commands) {
  for (const Command& command : commands) start(command);
  const auto until = Clock::now() + patience;
  while (!std::all_of(workers_.begin(), workers_.end(), [](const Worker& worker) { return worker.ready; }))
    if (!poll_once(until)) give_up("a worker does not become ready");
}

Workers::~Workers() {
  for (Worker& worker : workers_) {
    close(worker.input);
    close(worker.output);
    if (worker.ended) continue;
    kill(worker.pid, SIGKILL);
    waitpid(worker.pid, nullptr, 0);
  }
}

void Workers::start(const Command& command) {
  std::array<int, 2> in{}, out{};
  if (pipe2(in.data(), O_CLOEXEC) != 0 || pipe2(out.data(), O_CLOEXEC) != 0) give_up("no pipe");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  workers_.push_back({spawn(command, &actions), in[1], out[0], {}, 0, false, false});
  posix_spawn_file_actions_destroy(&actions);
  close(in[0]);
  close(out[1]);
}

void Workers::go() {
  began_ = Clock::now();
  marks_ = {{began_, 0}};
  for (const Worker& worker : workers_)
    if (write(worker.input, "go\n", 3) != 3) give_up("a worker does not listen");
}

bool Workers::poll_once(Clock::time_point until) {
  std::vector<pollfd> entries;
  for (const Worker& worker : workers_) entries.push_back({worker.output, POLLIN, 0});
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
  if (left <= 0 || poll(entries.data(), entries.size(), static_cast<int>(left)) == 0) return false;
  for (std::size_t i = 0; i < entries.size(); ++i)
    if (entries[i].revents != 0) read_some(workers_[i]);
  return true;
}

void Workers::read_some(Worker& worker) {
  std::array<char, 65536> buffer{};
  const auto n = read(worker.output, buffer.data(), buffer.size());
  if (n <= 0) give_up("a worker died");
  worker.unread.append(buffer.data(), static_cast<std::size_t>(n));
  std::size_t first = 0;
  for (std::size_t end; (end = worker.unread.find('\n', first)) != std::string::npos; first = end + 1)
    take_line(worker, worker.unread.substr(first, end - first));
  worker.unread.erase(0, first);
}

void Workers::take_line(Worker& worker, const std::string& line) {
  std::istringstream words(line);
  std::string word;
  words >> word;
  if (word == "ready") {
    worker.ready = true;
  } else if (word == "done") {
    long handled = 0;
    words >> handled;
    handled_ += handled - worker.handled;
    worker.handled = handled;
    marks_.push_back({Clock::now(), handled_});
  } else if (word == "at") {
    long job = 0;
    long long nanoseconds = 0;
    words >> job >> nanoseconds;
    starts_.emplace(job, Clock::time_point{std::chrono::nanoseconds{nanoseconds}});
  }
}

void Workers::listen(long jobs, Clock::time_point until) {
  while (handled_ < jobs) {
    const auto latest = Clock::now() + patience;
    if (poll_once(std::min(until, latest))) continue;
    if (Clock::now() >= until) return;
    give_up(fmt::format("the workers have handled {} jobs of {}, and no more", handled_, jobs));
  }
}

Clock::time_point Workers::when(long jobs) const {
  const auto after = std::find_if(marks_.begin(), marks_.end(), [&](const Mark& mark) { return mark.handled >= jobs; });
  if (after == marks_.end()) return marks_.back().at;
  if (after == marks_.begin()) return after->at;
  const auto before = std::prev(after);
  const double share =
      static_cast<double>(jobs - before->handled) / static_cast<double>(after->handled - before->handled);
  return before->at + std::chrono::duration_cast<Clock::duration>((after->at - before->at) * share);
}

void Workers::stop() {
  for (Worker& worker : workers_) {
    close(worker.input);
    worker.input = -1;
  }
  for (Worker& worker : workers_) {
    // The rest of its output must not fill the pipe.
    std::array<char, 65536> buffer{};
    ssize_t n = 0;
    while ((n = read(worker.output, buffer.data(), buffer.size())) > 0)
      worker.unread.append(buffer.data(), static_cast<std::size_t>(n));
    worker.ended = true;
    expect_good_end(worker.pid, {"a worker"});
  }
}

}  // namespace bench
