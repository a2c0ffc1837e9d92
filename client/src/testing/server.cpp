// Starting and ending a throw-away server.
#include "testing/server.hpp"

#include <insula/error.hpp>

#include <libpq-fe.h>

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <thread>

namespace insula::testing {

namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

[[noreturn]] void fail(const std::string& why) { throw error{errc::unreachable, "test cluster: " + why}; }

struct Owner {
  uid_t uid = geteuid();
  gid_t gid = getegid();
};

// PostgreSQL refuses to run as root.
Owner server_owner() {
  if (geteuid() != 0) return {};
  for (const char* name : {"postgres", "nobody"})
    if (const passwd* entry = getpwnam(name)) return {entry->pw_uid, entry->pw_gid};
  fail("there is no user to run the server as");
}

// Starts a program as the server's owner, with its output in a file.  Between fork and exec only
// what is safe there; if this thread dies, so does the program.
pid_t launch(const std::vector<std::string>& arguments, const fs::path& directory, const std::string& output) {
  const Owner owner = server_owner();
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) fail("fork failed");
  if (pid > 0) return pid;
  const int file = open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  dup2(file, STDOUT_FILENO);
  dup2(file, STDERR_FILENO);
  const bool as_other = owner.uid != geteuid();
  if (as_other && (setgroups(0, nullptr) != 0 || setgid(owner.gid) != 0 || setuid(owner.uid) != 0)) _exit(126);
  prctl(PR_SET_PDEATHSIG, SIGQUIT);
  if (getppid() != parent || chdir(directory.c_str()) != 0) _exit(126);
  execv(argv[0], argv.data());
  _exit(127);
}

int wait_for(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  return status;
}

fs::path make_directory() {
  // Short: a socket's path has 107 characters.
  std::string path = (fs::temp_directory_path() / "insula.XXXXXX").string();
  if (!mkdtemp(path.data())) fail("cannot make a directory");
  const Owner owner = server_owner();
  if (chown(path.c_str(), owner.uid, owner.gid) != 0) fail("cannot give the directory away");
  return path;
}

}  // namespace

fs::path find_bindir(const fs::path& given) {
  if (!given.empty()) return given;
  if (const char* path = std::getenv("INSULA_PGBIN")) return path;
  const char* program = std::getenv("PG_CONFIG");
  const std::string command = "'" + std::string{program ? program : "pg_config"} + "' --bindir 2>/dev/null";
  std::string line(4'096, '\0');
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe{popen(command.c_str(), "r"), pclose};
  if (!pipe || !std::fgets(line.data(), static_cast<int>(line.size()), pipe.get()))
    fail("where are PostgreSQL's programs? set INSULA_PGBIN or PG_CONFIG");
  line.resize(line.find_first_of(std::string{"\n\0", 2}));
  return line;
}

Server::Server(const fs::path& bindir, const std::vector<std::string>& settings)
    : bindir_(bindir), directory_(make_directory()) {
  try {
    make_cluster(settings);
    start();
    wait_until_ready();
  } catch (...) {
    stop();
    throw;
  }
}

Server::~Server() { stop(); }

void Server::make_cluster(const std::vector<std::string>& settings) {
  const std::string data = directory_ / "data";
  const pid_t pid = launch({bindir_ / "initdb", "--pgdata=" + data, "--username=postgres", "--locale=C.UTF-8",
                            "--encoding=UTF8", "--auth=trust", "--no-sync", "--no-instructions"},
                           directory_, directory_ / "log");
  if (wait_for(pid) != 0) fail("initdb failed: " + log_tail());
  std::ofstream conf{directory_ / "data" / "postgresql.conf", std::ios::app};
  conf << "unix_socket_directories = '" << directory_.string() << "'\nlisten_addresses = ''\nport = 5432\n"
       << "fsync = off\nfull_page_writes = off\n";
  for (const std::string& line : settings) conf << line << '\n';
}

void Server::start() {
  pid_ = launch({bindir_ / "postgres", "-D", directory_ / "data"}, directory_, directory_ / "log");
}

void Server::wait_until_ready() {
  const std::string where = "port=5432 user=postgres dbname=postgres host=" + directory_.string();
  const auto deadline = std::chrono::steady_clock::now() + 60s;
  while (PQping(where.c_str()) != PQPING_OK) {
    if (waitpid(pid_, nullptr, WNOHANG) == pid_) {
      pid_ = -1;
      const std::string log = log_tail();
      if (log.find("could not access file \"insula\"") != std::string::npos)
        throw error{errc::extension_missing, missing_extension};
      fail("the server ended: " + log);
    }
    if (std::chrono::steady_clock::now() > deadline) fail("the server does not get ready: " + log_tail());
    std::this_thread::sleep_for(20ms);
  }
}

void Server::stop() noexcept {
  if (pid_ > 0) {
    kill(pid_, SIGQUIT);  // nothing in it is worth a checkpoint
    wait_for(pid_);
    pid_ = -1;
  }
  std::error_code ignored;
  fs::remove_all(directory_, ignored);
}

std::string Server::log_tail() const {
  std::ifstream log{directory_ / "log"};
  std::string text{std::istreambuf_iterator<char>{log}, {}};
  return text.size() > 2'000 ? text.substr(text.size() - 2'000) : text;
}

}  // namespace insula::testing
