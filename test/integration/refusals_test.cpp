// Outcomes of handlers that the server refuses: the task fails for the reason that the server
// gives, and no other task waits for that.
#include "client_test.hpp"

#include <atomic>

namespace {

using namespace insula_test;
using namespace insula;

class Refusals : public ClientTest {
 protected:
  // The task fails twice, each time for what the server says; long before its lease is over.
  void expect_refused(Runner& runner, const std::string& name, std::function<void(TaskContext&)> handler,
                      const std::string& why) {
    runner.add(Workflow::builder(name)
                   .task("only", std::move(handler), {.retry = {.max_attempts = 2, .initial_delay = 1ms}})
                   .build());
    const auto result = runner.execute_async(name).wait_for(patience);
    ASSERT_TRUE(result) << name << log_.text();
    EXPECT_EQ(result->status, Status::failed) << name;
    EXPECT_NE(result->error.find(why), std::string::npos) << name << ": " << result->error;
    EXPECT_EQ(result->tasks.at(0).attempt, 2) << name;
  }
};

const std::string too_large(5U << 20U, 'x');  // for insula.max_context

TEST_F(Refusals, APatchThatIsTooLargeFailsItsTaskAlone) {
  Runner runner = make_runner({.max_concurrent_tasks = 16});
  runner.add(Workflow::builder("some")
                 .task("only", [](TaskContext& ctx) { ctx.set("set", ctx.at<int>("n") == 7 ? too_large : "little"); },
                       {.retry = {.max_attempts = 2, .initial_delay = 1ms}})
                 .build());
  std::vector<Context> inputs;
  for (int n = 0; n < 20; ++n) inputs.push_back({{"n", n}});
  const std::vector<Execution> executions = runner.submit_many("some", inputs);
  for (std::size_t n = 0; n < 20; ++n) {
    const auto result = executions[n].wait_for(patience);
    ASSERT_TRUE(result) << n << log_.text();
    EXPECT_EQ(result->status.is_success(), n != 7) << result->error;
  }
  const Result refused = executions[7].wait();
  EXPECT_NE(refused.error.find("larger than insula.max_context"), std::string::npos) << refused.error;
  EXPECT_EQ(refused.tasks.at(0).attempt, 2);
  EXPECT_TRUE(log_.holds("the server refused its outcome: context is larger than insula.max_context (SQLSTATE 54000)"))
      << log_.text();
  EXPECT_FALSE(log_.holds("the lease was lost")) << log_.text();
}

TEST_F(Refusals, ALargePatchFailsAnyOtherRequestToo) {
  Runner runner = make_runner();
  expect_refused(
      runner, "commits",
      [](TaskContext& ctx) {
        ctx.transaction();
        ctx.set("set", too_large);
      },
      "too large");
  expect_refused(
      runner, "defers",
      [](TaskContext& ctx) {
        ctx.set("set", too_large);
        ctx.defer_until(1ms);
      },
      "too large");
  expect_refused(
      runner, "waits",
      [](TaskContext& ctx) {
        ctx.set("set", too_large);
        ctx.wait_event("go");
      },
      "too large");
  expect_refused(
      runner, "begets",
      [](TaskContext& ctx) {
        ctx.submit_child("defers", {{"input", too_large}});
      },
      "too large");
  expect_refused(
      runner, "strays", [](TaskContext& ctx) { ctx.submit_child("unknown"); }, "unknown");
  expect_refused(
      runner, "lies",
      [](TaskContext& ctx) {
        ctx.submit_child({"defers\0x", 8});
      },
      "no name of a workflow");
  EXPECT_FALSE(log_.holds("the lease was lost")) << log_.text();
}

// A statement_timeout ends a batch that waits for a row; what is in it besides goes on.
TEST_F(Refusals, ATaskWhoseRowIsLockedHoldsUpNoOther) {
  make_runner();
  Sql owner;
  owner.rows("ALTER ROLE CURRENT_USER SET statement_timeout = '1 s'");
  Runner runner = make_runner({.max_concurrent_tasks = 8});
  owner.rows("ALTER ROLE CURRENT_USER RESET statement_timeout");
  const Gate gate;
  runner.add(one_task("w", [&](TaskContext&) { gate.wait(); }));
  const std::vector<Context> inputs(8);
  const std::vector<Execution> executions = runner.submit_many("w", inputs);
  gate.wait_for_arrivals(8);
  Sql other;
  other.rows("BEGIN");
  other.rows("SELECT FROM " + tenant_ + ".work WHERE id = $1::bigint & ((1::bigint << 36) - 1) FOR UPDATE",
             {std::to_string(executions[3].id())});
  gate.open();
  for (std::size_t n = 0; n < 8; ++n) {
    if (n == 3) continue;
    ASSERT_TRUE(executions[n].wait_for(patience)) << n << log_.text();
  }
  other.rows("ROLLBACK");
  EXPECT_TRUE(executions[3].wait().status.is_success());
}

TEST_F(Refusals, ATextWithANulCharacterIsNotCutOff) {
  Runner runner = make_runner();
  runner.add(one_task("w", [](TaskContext&) {}));
  EXPECT_EQ(error_of([&] { runner.execute("w", {}, {.idempotency_key = {"a\0b", 3}}); }).code(), errc::invalid);
  EXPECT_EQ(error_of([&] { runner.execute({"w\0x", 3}); }).code(), errc::invalid);
}

}  // namespace
