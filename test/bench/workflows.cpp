// P6: workflows.  A chain of ten tasks, a fan-out of a hundred with its fan-in, and what the
// largest fan-in, of a workflow of ten thousand tasks, costs beside one of ten.
#include "bench.hpp"

#include <fmt/format.h>

namespace bench {

namespace {

void nothing(insula::TaskContext&) {}

insula::Workflow chain(int length) {
  auto builder = insula::Workflow::builder("chain");
  builder.task("t0", nothing);
  for (int i = 1; i < length; ++i)
    builder.task(fmt::format("t{}", i), nothing, {.depends_on = {fmt::format("t{}", i - 1)}});
  return builder.build();
}

// One task, `width` tasks after it, and one after all of these.
insula::Workflow fan(int width) {
  auto builder = insula::Workflow::builder(fmt::format("fan_{}", width));
  builder.task("first", nothing);
  std::vector<std::string> middle;
  for (int i = 0; i < width; ++i) {
    middle.push_back(fmt::format("m{}", i));
    builder.task(middle.back(), nothing, {.depends_on = {"first"}});
  }
  builder.task("last", nothing, {.depends_on = middle});
  return builder.build();
}

void run_many(insula::Runner& runner, const std::string& workflow, int executions) {
  std::vector<insula::Execution> handles;
  for (int i = 0; i < executions; ++i) handles.push_back(runner.execute_async(workflow, {}));
  for (const insula::Result& result : insula::wait_all(handles))
    if (!result.status.is_success()) give_up(result.error);
}

double step_of_chain(insula::Runner& runner, int times) {
  std::vector<double> steps;
  for (int i = 0; i < times; ++i)
    steps.push_back(seconds_of([&] {
                      if (!runner.execute("chain", {}).status.is_success()) give_up("a chain failed");
                    }) /
                    10);
  return median(steps);
}

struct Round {
  double step;        // seconds a step of a chain that runs alone
  double throughput;  // tasks a second and core, chains and fans together
  double fan_in_10;   // seconds a task
  double fan_in_wide;
};

// A runner of its own for each shape, since a worker names its tasks with each claim.
void with_runner(const std::string& tenant, std::initializer_list<insula::Workflow> workflows,
                 const std::function<void(insula::Runner&)>& work) {
  auto runner = runner_for(tenant, 8);
  for (const auto& workflow : workflows) runner.add(workflow);
  work(runner);
  if (!runner.shutdown().clean()) give_up("the runner left something behind");
}

void measure_chains(const std::string& tenant, Round& round) {
  const int chains = quick() ? 500 : 2000;
  const int fans = chains / 10;
  const int alone = quick() ? 50 : 200;
  with_runner(tenant, {chain(10), fan(100)}, [&](insula::Runner& runner) {
    (void)step_of_chain(runner, 5);
    round.step = step_of_chain(runner, alone);
    const double both = seconds_of([&] {
      run_many(runner, "chain", chains);
      run_many(runner, "fan_100", fans);
    });
    round.throughput = (chains * 10 + fans * 102) / both / cores();
  });
  expect_completed(tenant, 5 + alone + chains + fans, (5 + alone + chains) * 10L + fans * 102L);
}

// Seconds a task of fans of this width.
double fan_in_of(const std::string& tenant, int width, int executions) {
  double seconds = 0;
  with_runner(tenant, {fan(width)}, [&](insula::Runner& runner) {
    seconds = seconds_of([&] { run_many(runner, fmt::format("fan_{}", width), executions); });
  });
  expect_completed(tenant, executions, executions * (width + 2L));
  return seconds / executions / (width + 2);
}

Round measure_round(int number) {
  Round round = {};
  measure_chains(fmt::format("bench_p6_chain_{}", number), round);
  round.fan_in_10 = fan_in_of(fmt::format("bench_p6_narrow_{}", number), 10, 800);
  round.fan_in_wide = fan_in_of(fmt::format("bench_p6_wide_{}", number), 9998, 1);
  return round;
}

}  // namespace

std::vector<Figure> workflow_rates() {
  std::vector<double> step, throughput, fan_in;
  std::vector<double> commit;
  for (int i = 0; i < rounds(); ++i) {
    commit.push_back(commit_seconds());
    const Round round = measure_round(i);
    step.push_back(round.step);
    throughput.push_back(round.throughput);
    fan_in.push_back(round.fan_in_wide / round.fan_in_10);
  }
  const double ms = 1000;
  return {
      {"P6.throughput", "chains of 10, fans of 100", median(throughput), "tasks/s a core", median(throughput), 1000,
       false, "tasks/s a core", lowest(throughput), highest(throughput)},
      {"P6.step", "a step of a chain", median(step) * ms, "ms", median(step) / median(commit), 8, true,
       fmt::format("a bare durable commit, {:.2f} ms", median(commit) * ms), lowest(step) * ms, highest(step) * ms},
      {"P6.fan_in", "a task of a fan-in of 9,998", median(fan_in), "x", median(fan_in), 1, true,
       "a task of a fan-in of 10", lowest(fan_in), highest(fan_in)},
  };
}

}  // namespace bench
