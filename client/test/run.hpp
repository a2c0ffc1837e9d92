// A handler run once, without a server: what it handed over.
#pragma once

#include <insula/testing.hpp>

#include <utility>

template <class Handler>
insula::testing::TaskRun run(Handler handler, insula::testing::TaskInput input = {}) {
  const auto workflow = insula::Workflow::builder("w").task("t", std::move(handler)).build();
  return insula::testing::run_task(workflow, "t", std::move(input));
}
