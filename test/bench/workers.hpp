// Worker processes: started, told to go, listened to, told to stop.  What they say is in
// worker/report.hpp.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <string>
#include <vector>

namespace bench {

using Clock = std::chrono::steady_clock;
using Command = std::vector<std::string>;  // a program and its arguments

// The bench's own worker program.
Command worker_command(std::vector<std::string> arguments);
// A program of a peer, if they could be installed.
Command peer_command(const std::string& script, std::vector<std::string> arguments);

// Runs a program to its end; throws unless it ends well.
void run_to_end(const Command& command);

class Workers {
 public:
  // Starts them, and waits until all are ready.
  explicit Workers(const std::vector<Command>& commands);
  ~Workers();  // kills those that are left
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  void go();
  // Listens until `jobs` have been handled in all, or the time is up.
  void listen(long jobs, Clock::time_point until = Clock::time_point::max());
  void stop();  // as they would end by themselves; throws if one does not

  long handled() const { return handled_; }
  Clock::time_point began() const { return began_; }
  // When `jobs` had been handled, interpolated between the workers' reports.
  Clock::time_point when(long jobs) const;
  // When each job began, if they say so.
  const std::map<long, Clock::time_point>& starts() const { return starts_; }

 private:
  struct Worker {
    pid_t pid;
    int input, output;
    std::string unread;
    long handled;
    bool ready, ended;
  };

  void start(const Command& command);
  void read_some(Worker& worker);
  void take_line(Worker& worker, const std::string& line);
  bool poll_once(Clock::time_point until);

  struct Mark {
    Clock::time_point at;
    long handled;
  };

  std::vector<Worker> workers_;
  long handled_ = 0;
  Clock::time_point began_{};
  std::vector<Mark> marks_;
  std::map<long, Clock::time_point> starts_;
};

}  // namespace bench
