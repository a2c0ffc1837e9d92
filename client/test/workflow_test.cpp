// The builder: what it accepts, and that it lists every problem of what it does not.
#include <insula/error.hpp>
#include <insula/result.hpp>
#include <insula/workflow.hpp>

#include <gtest/gtest.h>

#include <memory>
#include <sstream>
#include <string>

namespace {

using insula::TaskContext;
using insula::Workflow;

void nothing(TaskContext&) {}

std::string problems_of(const Workflow::Builder& builder) {
  try {
    builder.build();
  } catch (const insula::error& e) {
    EXPECT_EQ(e.code(), insula::errc::invalid);
    return e.what();
  }
  return "";
}

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Workflow, WritesItsDefinition) {
  const Workflow workflow = Workflow::builder("etl")
                                .description("three steps")
                                .task("extract", nothing)
                                .task("load", nothing, {.depends_on = {"extract"}})
                                .build();
  EXPECT_EQ(workflow.name(), "etl");
  EXPECT_EQ(
      workflow.definition_json(),
      R"({"description":"three steps","name":"etl","tasks":[{"id":"extract"},{"depends_on":["extract"],"id":"load"}]})");
}

TEST(Workflow, TasksMayBeDeclaredInAnyOrder) {
  EXPECT_NO_THROW(
      Workflow::builder("w").task("last", nothing, {.depends_on = {"first"}}).task("first", nothing).build());
}

TEST(Workflow, ACircleDoesNotHideWhatElseIsWrong) {
  const std::string problems = problems_of(Workflow::builder("w")
                                               .task("a", nothing, {.depends_on = {"b", "nowhere"}})
                                               .task("b", nothing, {.depends_on = {"a"}}));
  EXPECT_TRUE(holds(problems, "a -> b -> a")) << problems;
  EXPECT_TRUE(holds(problems, "\"nowhere\", which is not there")) << problems;
}

TEST(Workflow, NeedsATask) { EXPECT_TRUE(holds(problems_of(Workflow::builder("w")), "no tasks")); }

TEST(Workflow, ListsEveryProblem) {
  const std::string text = problems_of(Workflow::builder("no dots.here")
                                           .task("a", nothing, {.depends_on = {"nobody", "b", "b"}})
                                           .task("a", nothing)
                                           .task("b b", nothing)
                                           .task("c", std::function<void(TaskContext&)>{}));
  for (const char* part :
       {"no dots.here", "\"nobody\"", "\"b\" twice", "\"a\" is there twice", "\"b b\" is not", "\"c\" has no handler"})
    EXPECT_TRUE(holds(text, part)) << part << "\nin\n" << text;
}

TEST(Workflow, ShowsTheWayRoundACycle) {
  EXPECT_TRUE(
      holds(problems_of(Workflow::builder("w").task("self", nothing, {.depends_on = {"self"}})), "self -> self"));
  const std::string text = problems_of(Workflow::builder("w")
                                           .task("a", nothing, {.depends_on = {"c"}})
                                           .task("b", nothing, {.depends_on = {"a"}})
                                           .task("c", nothing, {.depends_on = {"b"}}));
  EXPECT_TRUE(holds(text, "a -> c -> b -> a")) << text;
}

TEST(Workflow, AHandlerNeedNotBeCopyable) {
  auto owned = std::make_unique<int>(3);
  EXPECT_NO_THROW(Workflow::builder("w").task("t", [owned = std::move(owned)](TaskContext&) {}).build());
}

TEST(Workflow, ABuilderMayBeCopiedAndUsedAgain) {
  auto builder = Workflow::builder("w").task("a", nothing);
  auto other = builder;
  other.task("b", nothing);
  EXPECT_EQ(builder.build().definition_json(), R"({"name":"w","tasks":[{"id":"a"}]})");
  EXPECT_EQ(other.build().definition_json(), R"({"name":"w","tasks":[{"id":"a"},{"id":"b"}]})");
}

TEST(Status, KnowsTheServersWords) {
  for (const char* word :
       {"pending", "ready", "running", "waiting", "paused", "completed", "failed", "skipped", "cancelled"}) {
    const auto status = insula::Status::from_name(word);
    std::ostringstream out;
    out << status;
    EXPECT_EQ(out.str(), word);
    EXPECT_EQ(to_string(status), word);
    EXPECT_EQ(status.is_success(), std::string{"completed"} == word);
  }
  EXPECT_EQ(insula::Status::from_name("levitating"), insula::Status::unknown);
  EXPECT_FALSE(insula::Status::from_name("levitating").is_final());
}

}  // namespace
