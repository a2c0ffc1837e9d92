// The throw-away cluster that scripts/with-cluster.sh has made for a test program: what its
// environment says, its scripts, and waiting for what must happen there.
#pragma once

#include <chrono>
#include <functional>
#include <string>

namespace insula_test {

using namespace std::chrono_literals;

std::string environment(const char* name);  // throws if it is not set
std::string environment(const char* name, const std::string& otherwise);

bool preloaded();  // by shared_preload_libraries
bool soak();       // INSULA_SOAK=1 asks for the long form of a test

// The standard output of a shell command, without its line break; throws if the command fails.
std::string output_of(const std::string& command);
// The server is stopped, started, restarted or crashed; false if that fails.
[[nodiscard]] bool pg_ctl(const std::string& what, const std::string& settings = "");

// How long a test waits for what must happen: longer than a machine that is busy with other things takes.  Only a
// broken build waits to the end.
constexpr std::chrono::milliseconds patience = 60s;

// Waits until the condition holds; false if it does not in time.
bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds within = patience);

// The time that something takes, to be compared with what something else takes in the same run.
std::chrono::duration<double> time_of(const std::function<void()>& work);

}  // namespace insula_test
