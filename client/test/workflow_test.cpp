// The builder: what it accepts, and that it lists every problem of what it does not.
#include <insula/error.hpp>
#include <insula/result.hpp>
#include <insula/workflow.hpp>

#include <gtest/gtest.h>

#include <memory>
#include <sstream>
#include <string>

namespace {

using namespace insula;
using namespace std::chrono_literals;

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

TEST(Workflow, WritesEveryOption) {
  const Workflow workflow =
      Workflow::builder("all")
          .timeout(1h)
          .limit(2, "$.customer")
          .param("n", ParamType::integer, {.required = true})
          .param("mode", ParamType::string, {.default_value = "fast"})
          .task("a", nothing)
          .task("b", nothing,
                {.depends_on = {"a"},
                 .trigger_rule = TriggerRule::any(
                     {TriggerRule::task_failed("a"), TriggerRule::context_value("$.n", Comparison::greater_than, 1)}),
                 .retry = {.max_attempts = 5,
                           .backoff = Backoff::fixed,
                           .initial_delay = 250ms,
                           .max_delay = 10s,
                           .jitter = false,
                           .condition = RetryCondition::matching({"deadlock", "gone away"})},
                 .timeout = 30s,
                 .priority = -3,
                 .for_each = ForEach{.items = "$.list", .as = "line", .allow_failures = true}})
          .build();
  const auto definition = Context::from_json(workflow.definition_json());
  EXPECT_EQ(definition, Context::from_json(R"({"name": "all", "timeout": "3600000 ms",
    "limit": {"max": 2, "key": "$.customer"},
    "params": {"n": {"type": "integer", "required": true}, "mode": {"type": "string", "default": "fast"}},
    "tasks": [{"id": "a"}, {"id": "b", "depends_on": ["a"],
      "trigger_rule": {"any": [{"task_failed": "a"},
                               {"context_value": {"key": "$.n", "op": "greater_than", "value": 1}}]},
      "retry": {"max_attempts": 5, "backoff": "fixed", "initial_delay": "250 ms", "max_delay": "10000 ms",
                "jitter": false, "condition": ["deadlock", "gone away"]},
      "timeout": "30000 ms", "priority": -3,
      "for_each": {"items": "$.list", "as": "line", "allow_failures": true}}]})"));
}

TEST(Workflow, EveryRuleHasItsWords) {
  const auto json = [](const TriggerRule& rule) { return rule.json().to_json(); };
  EXPECT_EQ(json(TriggerRule::always()), R"("always")");
  EXPECT_EQ(json(TriggerRule::all({TriggerRule::task_success("a"), TriggerRule::task_skipped("b")})),
            R"({"all":[{"task_success":"a"},{"task_skipped":"b"}]})");
  EXPECT_EQ(
      json(TriggerRule::none({TriggerRule::context_exists("k"), TriggerRule::context_not_exists("l")})),
      R"({"none":[{"context_value":{"key":"k","op":"exists"}},{"context_value":{"key":"l","op":"not_exists"}}]})");
  EXPECT_EQ(json(TriggerRule::context_value("k", Comparison::not_contains, nullptr)),
            R"({"context_value":{"key":"k","op":"not_contains","value":null}})");
  EXPECT_THROW(TriggerRule::any({}), insula::error);
  EXPECT_EQ(RetryCondition{RetryCondition::transient}.json(), Value{"transient"});
}

TEST(Workflow, ListsEveryProblemOfItsOptions) {
  TriggerRule deep = TriggerRule::task_success("a");
  for (int i = 0; i < 40; ++i) deep = TriggerRule::all({deep});
  const std::string text = problems_of(
      Workflow::builder("w")
          .timeout(-1s)
          .limit(0)
          .param("p", ParamType::array)
          .param("p", ParamType::boolean, {.default_value = 1})
          .task("a", nothing, {.trigger_rule = TriggerRule::always()})
          .task("b", nothing, {.depends_on = {"a"}, .trigger_rule = TriggerRule::task_failed("c")})
          .task("c", nothing, {.depends_on = {"a"}, .trigger_rule = deep})
          .task(
              "d", nothing,
              {.retry = {.max_attempts = 0, .max_delay = -1ms, .max_lapses = 101}, .timeout = -1ms, .priority = 40'000})
          .task("e", nothing, {.for_each = ForEach{}}));
  for (const char* part :
       {"its timeout", "its limit", "\"p\" is there twice", "\"p\" has a default", "\"a\" has a trigger rule but",
        "\"b\": its trigger rule asks for \"c\"", "\"c\": its trigger rule is nested", "\"d\": retry.max_attempts",
        "\"d\": retry.max_lapses", "\"d\": a delay", "\"d\": timeout", "\"d\": priority", "\"e\": for_each needs"})
    EXPECT_TRUE(holds(text, part)) << part << "\nin\n" << text;
}

TEST(Workflow, ForEverIsAHundredYears) {
  const auto ever = std::chrono::milliseconds::max();
  const std::string definition = Workflow::builder("w")
                                     .timeout(ever)
                                     .task("a", nothing, {.retry = {.max_delay = ever}, .timeout = ever})
                                     .build()
                                     .definition_json();
  EXPECT_EQ(definition.find("9223372036854775807"), std::string::npos) << definition;
  EXPECT_TRUE(holds(definition, "\"timeout\":\"3153600000000 ms\"")) << definition;
  EXPECT_TRUE(holds(problems_of(Workflow::builder("w").timeout(ever - 1ms).task("a", nothing)), "its timeout"));
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
                                           .task("a", nothing, {.depends_on = {"missing", "b", "b"}})
                                           .task("a", nothing)
                                           .task("b b", nothing)
                                           .task("c", std::function<void(TaskContext&)>{}));
  for (const char* part :
       {"no dots.here", "\"missing\"", "\"b\" twice", "\"a\" is there twice", "\"b b\" is not", "\"c\" has no handler"})
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

TEST(Workflow, AHandlerMustBeThere) {
  const auto refused = [](auto handler) {
    return holds(problems_of(Workflow::builder("w").task("t", handler)), "has no handler");
  };
  EXPECT_TRUE(refused(std::function<void(TaskContext&)>{}));
  EXPECT_TRUE(refused(std::function<int(TaskContext&)>{}));
  EXPECT_TRUE(refused(static_cast<void (*)(TaskContext&)>(nullptr)));
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

TEST(Workflow, ATaskThatRunsOnFailureStandsAlone) {
  const auto builder = Workflow::builder("w").task("a", nothing).task("undo", nothing, {.on_failure = true});
  EXPECT_TRUE(holds(builder.build().definition_json(), R"({"id":"undo","on_failure":true})"));
  const std::string problems = problems_of(Workflow::Builder{builder}
                                               .task("b", nothing, {.depends_on = {"undo"}})
                                               .task("c", nothing, {.depends_on = {"a"}, .on_failure = true}));
  for (const char* part : {"\"b\" depends on \"undo\", which runs on failure", "\"c\" is not the only one",
                           "\"c\": on_failure goes with no depends_on"})
    EXPECT_TRUE(holds(problems, part)) << part << problems;
  EXPECT_TRUE(holds(problems_of(Workflow::builder("w").task("a", nothing, {.on_failure = true})), "no other task"));
}

}  // namespace
