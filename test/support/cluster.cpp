// The cluster's environment; see cluster.hpp.
#include "support/cluster.hpp"

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <thread>

namespace insula_test {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  if (!value) throw std::runtime_error(std::string(name) + " is not set: run this by scripts/with-cluster.sh");
  return value;
}

std::string environment(const char* name, const std::string& otherwise) {
  const char* value = std::getenv(name);
  return value ? value : otherwise;
}

bool preloaded() { return environment("INSULA_PRELOADED") == "1"; }
bool soak() { return environment("INSULA_SOAK", "") == "1"; }

std::string output_of(const std::string& command) {
  std::string text;
  FILE* pipe = popen(command.c_str(), "r");
  if (!pipe) throw std::runtime_error("cannot run " + command);
  for (int c; (c = fgetc(pipe)) != EOF;) text += static_cast<char>(c);
  if (pclose(pipe) != 0) throw std::runtime_error(command + " fails: " + text);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

bool pg_ctl(const std::string& what, const std::string& settings) {
  const std::string command = settings + " \"" + environment("INSULA_PG_CTL") + "\" " + what + " >/dev/null 2>&1";
  return std::system(command.c_str()) == 0;
}

bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds within) {
  const auto deadline = std::chrono::steady_clock::now() + within;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(5ms);
  }
  return true;
}

std::chrono::duration<double> time_of(const std::function<void()>& work) {
  const auto begun = std::chrono::steady_clock::now();
  work();
  return std::chrono::steady_clock::now() - begun;
}

}  // namespace insula_test
