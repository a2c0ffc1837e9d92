// The bench's workers, a process each.
//
//   bench_worker insula <tenant> <handlers> [<connection string>]
//     Insula's client, with a handler that does nothing; without a connection string as the
//     administrator of PGHOST, else as the user that the string names.
//   bench_worker pickup <tenant> [<connection string>]
//     the same with one handler, which says when it began
//   bench_worker loop <database> <connections> <statement>...
//     the hand-written limits: see loop.cpp
#include "loop.hpp"
#include "report.hpp"

#include <insula/insula.hpp>

#include <fmt/format.h>

#include <string>
#include <vector>

namespace bench {
namespace {

void nothing(insula::TaskContext&) {}

void work_for_insula(const std::string& tenant, const std::string& conninfo, int handlers,
                     const std::function<void(Report&, insula::TaskContext&)>& handler) {
  const insula::RunnerConfig config = {.max_concurrent_tasks = handlers};
  Report report;
  auto runner = conninfo.empty() ? insula::Runner::with_schema("", tenant, config)
                                 : insula::Runner::with_config(conninfo, config);
  // Another workflow first: to be connected, and parked, when it is told to go.
  runner.add(insula::Workflow::builder("warm").task("up", nothing).build());
  report.await_go();
  runner.add(insula::Workflow::builder("job").task("run", [&](auto& task) { handler(report, task); }).build());
  report.await_end();
  if (!runner.shutdown().clean()) throw std::runtime_error("the runner left something behind");
}

int run(const std::vector<std::string>& arguments) {
  const std::string& use = arguments.at(0);
  const auto optional = [&](std::size_t at) { return arguments.size() > at ? arguments[at] : std::string{}; };
  if (use == "insula") {
    work_for_insula(arguments.at(1), optional(3), std::stoi(arguments.at(2)),
                    [](Report& report, insula::TaskContext&) { report.count(1); });
  } else if (use == "pickup") {
    work_for_insula(arguments.at(1), optional(2), 1, [](Report& report, insula::TaskContext& task) {
      report.start(task.at<long>("n"));
      report.count(1);
    });
  } else if (use == "loop") {
    run_loops(arguments.at(1), std::stoi(arguments.at(2)), {arguments.begin() + 3, arguments.end()});
  } else {
    throw std::runtime_error(fmt::format("bench_worker cannot \"{}\"", use));
  }
  return 0;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  try {
    return bench::run({argv + 1, argv + argc});
  } catch (const std::exception& failure) {
    fmt::print(stderr, "bench_worker: {}\n", failure.what());
    return 1;
  }
}
