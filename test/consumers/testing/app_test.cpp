// An example of tests of an application's workflows.
#include <insula/insula.hpp>
#include <insula/testing.hpp>

#include <gtest/gtest.h>

#include <string>

namespace {

void greet(insula::TaskContext& ctx) { ctx.set("greeting", "Hello, " + ctx.at<std::string>("name") + "!"); }

insula::Workflow hello() { return insula::Workflow::builder("hello").task("greet", greet).build(); }

TEST(Hello, GreetsByName) {
  const insula::Context input{{"name", "Acme"}};
  const auto run = insula::testing::run_task(hello(), "greet", {.context = input});
  EXPECT_EQ(run.outcome, insula::TaskOutcome::completed);
  EXPECT_EQ(run.changes.at<std::string>("greeting"), "Hello, Acme!");
}

TEST(Hello, RunsOnAServer) {
  insula::testing::Cluster cluster;
  auto runner = insula::Runner::with_schema(cluster.connection_string(), "acme");
  runner.add(hello());
  const auto execution = runner.execute_async("hello", {{"name", "Acme"}});
  cluster.require_enqueued("acme", "hello", {{"name", "Acme"}});
  cluster.drain();
  EXPECT_EQ(execution.result().final_context.at<std::string>("greeting"), "Hello, Acme!");
}

}  // namespace
