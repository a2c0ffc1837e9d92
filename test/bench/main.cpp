// make bench: runs the bars that ONLY names (all without it), prints each figure beside its
// bar, and writes them to the file that is the program's argument.  Fails where a bar could
// not be measured; a bar that does not hold is a figure like any other.
#include "bench.hpp"
#include "support/cluster.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>
#include <sstream>

namespace bench {
namespace {

constexpr Bar bars[] = {{"P1", bulk_submit},     {"P2", drain_rate},           {"P3", single_pairs},
                        {"P4", pick_up_time},    {"P5", execute_time},         {"P6", workflow_rates},
                        {"P7", drain_wal},       {"P8", drain_under_snapshot}, {"P9", statements_per_task},
                        {"P10", cost_of_limits}, {"P11", first_claims},        {"T1", provisioning},
                        {"T3", claims_of_many},  {"T4", noisy_neighbour},      {"T5", shares_by_weight},
                        {"T6", memory_of_many},  {"T7", fire_lateness},        {"T8", buffers_of_many}};

std::vector<Bar> chosen(const std::string& only) {
  std::vector<Bar> list;
  if (only.empty()) return {std::begin(bars), std::end(bars)};
  std::istringstream names(only);
  for (std::string name; std::getline(names, name, ',');) {
    const auto bar = std::find_if(std::begin(bars), std::end(bars), [&](const Bar& b) { return b.name == name; });
    if (bar == std::end(bars)) give_up(fmt::format("there is no bar \"{}\"", name));
    list.push_back(*bar);
  }
  return list;
}

std::string machine() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name")) return fmt::format("{} x{}", line.substr(line.find(':') + 2), cores());
  return fmt::format("{} cores", cores());
}

nlohmann::json settings() {
  Sql sql;
  nlohmann::json json = nlohmann::json::object();
  for (const char* name : {"server_version", "shared_buffers", "fsync", "synchronous_commit", "full_page_writes",
                           "shared_preload_libraries", "max_wal_size", "checkpoint_timeout"})
    json[name] = sql.value(fmt::format("SHOW {}", name));
  return json;
}

void print(const Figure& figure) {
  fmt::print("{:<14} {:<32} {:>10.2f} {:<15} ({:.2f} to {:.2f})\n", figure.id, figure.what, figure.value, figure.unit,
             figure.low, figure.high);
  fmt::print("{:<14} {} {:.2f} of {}; the bar is {} {:g}\n", "",
             figure.holds() ? "holds:" : "DOES NOT HOLD:", figure.ratio, figure.against,
             figure.at_most ? "<=" : ">=", figure.bar);
  for (const Scale& other : figure.scale)
    fmt::print("{:<14}   {:<30} {:>10.2f} {:<15} ({:.2f} to {:.2f})\n", "", other.who, other.value, figure.unit,
               other.low, other.high);
  std::fflush(stdout);
}

nlohmann::json as_json(const Figure& figure) {
  nlohmann::json scale = nlohmann::json::array();
  for (const Scale& other : figure.scale)
    scale.push_back({{"who", other.who}, {"value", other.value}, {"low", other.low}, {"high", other.high}});
  return {{"id", figure.id},   {"value", figure.value},     {"unit", figure.unit},     {"ratio", figure.ratio},
          {"bar", figure.bar}, {"at_most", figure.at_most}, {"holds", figure.holds()}, {"against", figure.against},
          {"low", figure.low}, {"high", figure.high},       {"scale", scale}};
}

// Whether the bar could be measured.
bool run(const Bar& bar, nlohmann::json& list) {
  fmt::print(stderr, "== {}\n", bar.name);
  try {
    for (const Figure& figure : bar.measure()) {
      print(figure);
      list.push_back(as_json(figure));
    }
    return true;
  } catch (const std::exception& failure) {
    fmt::print("{:<14} not measured: {}\n", bar.name, failure.what());
    list.push_back({{"id", bar.name}, {"holds", false}, {"why", failure.what()}});
    return false;
  }
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  using namespace bench;
  try {
    const auto list = chosen(insula_test::environment("ONLY", ""));
    Sql().value("CREATE EXTENSION IF NOT EXISTS insula");
    nlohmann::json report = {{"bars", nlohmann::json::array()}, {"machine", machine()}, {"settings", settings()}};
    int missing = 0;
    for (const Bar& bar : list) missing += run(bar, report["bars"]) ? 0 : 1;
    const auto& figures = report["bars"];
    if (!std::all_of(figures.begin(), figures.end(), [](const auto& figure) { return figure["holds"]; }))
      fmt::print("What the time goes to, and what would have to change: test/bench/README.md\n");
    if (argc > 1) std::ofstream(argv[1]) << report.dump(2) << "\n";
    return missing ? 1 : 0;
  } catch (const std::exception& failure) {
    fmt::print(stderr, "bench: {}\n", failure.what());
    return 2;
  }
}
