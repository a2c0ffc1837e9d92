// The register of waits: what it asks of the server, and when.
#include "runtime/waits.hpp"

#include <insula/error.hpp>

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace {

using namespace insula;
using namespace insula::detail;
using namespace std::chrono_literals;

bool wants_to_ask(const Waits& waits) { return waits.ask_at() != Clock::time_point::max(); }

TEST(Waits, AskInBatchesAndForgetDroppedHandles) {
  Waits waits;
  std::vector<std::shared_ptr<WaitState>> states;
  for (std::int64_t id = 1; id <= 1'500; ++id) waits.add(id, states.emplace_back(std::make_shared<WaitState>()));
  states.resize(1'200);
  std::size_t asked = 0;
  while (wants_to_ask(waits)) {
    const std::size_t batch = waits.take_batch().size();
    EXPECT_LE(batch, 100U);
    asked += batch;
  }
  EXPECT_EQ(asked, 1'200U);
  EXPECT_FALSE(wants_to_ask(waits));
  wire::ResultRow ended;
  ended.execution_id = 7;
  ended.status = Status::completed;
  wire::ResultRow not_yet = ended;
  not_yet.execution_id = 8;
  not_yet.status = Status::running;
  waits.on_answer({ended, not_yet});
  EXPECT_TRUE(states[6]->result);
  EXPECT_FALSE(states[7]->result);
  EXPECT_EQ(waits.take_batch(), (wire::Ids{8}));
  waits.suspect(7);
  EXPECT_FALSE(wants_to_ask(waits));
}

TEST(Waits, AskForFewerWhereResultsAreLarge) {
  Waits waits;
  std::vector<std::shared_ptr<WaitState>> states;
  for (std::int64_t id = 1; id <= 400; ++id) waits.add(id, states.emplace_back(std::make_shared<WaitState>()));
  const auto answer = [&](std::size_t bytes) {
    std::vector<wire::ResultRow> results;
    for (const std::int64_t id : waits.take_batch()) {
      wire::ResultRow& ended = results.emplace_back();
      ended.execution_id = id;
      ended.status = Status::completed;
      ended.final_context.assign(bytes, ' ');
    }
    const std::size_t count = results.size();
    waits.on_answer(std::move(results));
    return count;
  };
  EXPECT_EQ(answer(100'000), 100U);
  EXPECT_LE(answer(1'000), 42U) << "4 MB, had they been as large";
  EXPECT_GT(answer(1'000), 42U);
}

TEST(Waits, WhatTheServerCannotAnswerNowIsAskedLaterAndInSmallerBatches) {
  Waits waits;
  std::vector<std::shared_ptr<WaitState>> states;
  for (std::int64_t id = 1; id <= 200; ++id) waits.add(id, states.emplace_back(std::make_shared<WaitState>()));
  EXPECT_LE(waits.ask_at(), Clock::now());
  const auto before = Clock::now();
  waits.on_refused(waits.take_batch(), {errc::server, "canceling statement", "57014", true});
  EXPECT_GE(waits.ask_at(), before + 100ms);
  const auto batch = waits.take_batch();
  EXPECT_EQ(batch.size(), 50U);
  waits.on_lost(batch);
  EXPECT_EQ(waits.take_batch().size(), 25U);
  waits.on_lost({1});
  EXPECT_EQ(waits.take_batch().size(), 25U) << "of one there is no smaller batch";
}

TEST(Waits, AnExecutionThatRunsAgainIsWaitedForByAllHandles) {
  Waits waits;
  const auto first = std::make_shared<WaitState>();
  const auto second = std::make_shared<WaitState>();
  for (const auto& state : {first, second}) {
    state->registered = true;
    waits.add(7, state);
  }
  waits.take_batch();
  wire::ResultRow ended;
  ended.execution_id = 7;
  ended.status = Status::failed;
  waits.on_answer({ended});
  EXPECT_TRUE(first->result && second->result);
  waits.reopen(7);
  for (const auto& state : {first, second}) EXPECT_TRUE(!state->result && !state->registered);
}

TEST(Waits, ARefusedBatchIsAskedOneByOne) {
  Waits waits;
  const auto good = std::make_shared<WaitState>();
  const auto bad = std::make_shared<WaitState>();
  waits.add(1, good);
  waits.add(2, bad);
  const error why{errc::not_found, "gone"};
  waits.on_refused(waits.take_batch(), why);
  for (int i = 0; i < 2; ++i) {
    const auto alone = waits.take_batch();
    ASSERT_EQ(alone.size(), 1U);
    if (alone.front() == 2) waits.on_refused(alone, why);
  }
  EXPECT_TRUE(bad->failure);
  EXPECT_FALSE(good->failure);
  waits.fail_all({errc::shut_down, "over"});
  EXPECT_EQ(good->failure->code(), errc::shut_down);
  EXPECT_TRUE(waits.empty());
}

}  // namespace
