// P5: execute() of a workflow of one task, from the call to its result, over and over.
#include "bench.hpp"

#include <fmt/format.h>

namespace bench {

std::vector<Figure> execute_time() {
  const int times = quick() ? 200 : 500;
  std::vector<double> commits, rounds_of;
  for (int i = 0; i < rounds(); ++i) {
    const std::string tenant = fmt::format("bench_p5_{}", i);
    commits.push_back(commit_seconds());
    auto runner = runner_for(tenant, 8);
    runner.add(insula::Workflow::builder("one").task("task", [](insula::TaskContext&) {}).build());
    std::vector<double> seconds;
    for (int n = 0; n < times + 20; ++n) {
      const double one = seconds_of([&] {
        if (!runner.execute("one", {{"n", n}}).status.is_success()) give_up("an execution failed");
      });
      if (n >= 20) seconds.push_back(one);  // what comes first is not the steady state
    }
    if (!runner.shutdown().clean()) give_up("the runner left something behind");
    expect_completed(tenant, times + 20, times + 20);
    rounds_of.push_back(median(seconds));
    tell(fmt::format("execute() {:.2f} ms, a commit {:.2f} ms", rounds_of.back() * ms, commits.back() * ms));
  }
  return {{"P5", "execute() of one task", median(rounds_of) * ms, "ms", median(rounds_of) / median(commits), 12, true,
           fmt::format("a bare durable commit, {:.2f} ms", median(commits) * ms), lowest(rounds_of) * ms,
           highest(rounds_of) * ms}};
}

}  // namespace bench
