// Limits under concurrency: never one task too many, and no waiter sleeps over a free permit.
#include <atomic>
#include <thread>

#include "support/session.hpp"

namespace insula_test {
namespace {

class Limits : public ::testing::Test {
 protected:
  void SetUp() override {
    admin.query("SET client_min_messages = error");
    admin.query("CREATE EXTENSION IF NOT EXISTS insula");
  }
  void TearDown() override { admin.query("SELECT insula.drop_tenant(tenant, '0 s') FROM insula.tenants"); }
  void create(const std::string& name, const std::string& limits, const std::string& workflow_limit = "") {
    admin.query("SELECT tenant FROM insula.create_tenant('" + name + "')");
    if (!limits.empty()) admin.query("SELECT insula.set_tenant_limits('" + name + "', " + limits + ")");
    admin.query("SELECT insula.register_workflow('{\"name\": \"w\", " + workflow_limit +
                "\"tasks\": [{\"id\": \"a\"}]}', tenant => '" + name + "')");
  }
  void submit(const std::string& name, int count) {
    admin.query("SELECT insula.submit_many('w', array_fill('{}'::jsonb, ARRAY[" + std::to_string(count) +
                "]), tenant => '" + name + "')");
  }

  void expect_wake_by_freed_permit();
  void expect_open_claim_holds_permit();
  void expect_never_more_than(int limit, int tasks);

  Session admin;
};

// By the tenant's limit, and by the workflow's.
constexpr const char* one_at_a_time = "\"limit\": {\"max\": 1}, ";
constexpr const char* three_at_a_time = "\"limit\": {\"max\": 3, \"key\": \"who\"}, ";

void Limits::expect_wake_by_freed_permit() {
  submit("narrow", 2);
  Session worker("user=narrow_user"), waiter("user=narrow_user");
  waiter.query("SET client_min_messages = error");
  worker.query("CREATE TEMP TABLE mine AS SELECT * FROM insula.claim('w', lease_for => '1 h')");
  waiter.send("CALL insula.wait_for_work('1 h')");
  EXPECT_FALSE(waiter.finished(200ms));
  EXPECT_EQ(worker.query("SELECT insula.complete(task_id, lease) FROM mine"), "t");
  ASSERT_TRUE(waiter.finished());
  EXPECT_EQ(waiter.answer(), "t");
}

TEST_F(Limits, AFreedPermitWakesAWaiter) {
  create("narrow", "max_running => 1");
  expect_wake_by_freed_permit();
}

TEST_F(Limits, AFreedPermitOfAWorkflowWakesAWaiter) {
  create("narrow", "", one_at_a_time);
  expect_wake_by_freed_permit();
}

void Limits::expect_open_claim_holds_permit() {
  submit("narrow", 2);
  Session worker("user=narrow_user"), other("user=narrow_user");
  other.query("SET client_min_messages = error");
  worker.query("BEGIN");
  EXPECT_EQ(worker.query("SELECT count(*) FROM insula.claim('w', lease_for => '1 h')"), "1");
  EXPECT_EQ(other.query("SELECT count(*) FROM insula.claim('o')"), "0");
  other.send("CALL insula.wait_for_work('1 h')");
  EXPECT_FALSE(other.finished(200ms));
  worker.query("ROLLBACK");
  ASSERT_TRUE(other.finished());
  EXPECT_EQ(other.answer(), "t");
  EXPECT_EQ(other.query("SELECT count(*) FROM insula.claim('o')"), "1");
}

TEST_F(Limits, AClaimThatIsNotCommittedHoldsItsPermits) {
  create("narrow", "max_running => 1");
  expect_open_claim_holds_permit();
}

TEST_F(Limits, AClaimThatIsNotCommittedHoldsTheWorkflowsPermits) {
  create("narrow", "", one_at_a_time);
  expect_open_claim_holds_permit();
}

TEST_F(Limits, ARateEndsAWaitByItself) {
  create("slow", "rate_per_second => 2");
  submit("slow", 10);
  Session worker("user=slow_user");
  worker.query("SET client_min_messages = error");
  EXPECT_EQ(worker.query("SELECT count(*) <= 2 FROM insula.claim('w', max_tasks => 10)"), "t");
  worker.send("CALL insula.wait_for_work('1 h')");
  ASSERT_TRUE(worker.finished());
  EXPECT_EQ(worker.answer(), "t");
}

void Limits::expect_never_more_than(int limit, int tasks) {
  submit("narrow", tasks);
  std::atomic<int> running{0}, most{0}, done{0};
  std::vector<std::thread> workers;
  for (int i = 0; i < 4; ++i)
    workers.emplace_back([&] {
      Session session("user=narrow_user");
      session.query("SET client_min_messages = error");
      session.query("CREATE TEMP TABLE mine (task_id bigint, lease bigint)");
      while (done < tasks) {
        const int claimed = std::stoi(
            session.query("WITH c AS (INSERT INTO mine SELECT task_id, lease FROM insula.claim('w', max_tasks => 2) "
                          "RETURNING 1) SELECT count(*) FROM c"));
        const int now = running += claimed;
        for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
        }
        if (claimed == 0) {
          session.query("CALL insula.wait_for_work('100 ms')");
          continue;
        }
        running -= claimed;
        session.query("SELECT insula.complete_many(array_agg(task_id), array_agg(lease), NULL) FROM mine");
        session.query("TRUNCATE mine");
        done += claimed;
      }
    });
  for (std::thread& worker : workers) worker.join();
  EXPECT_LE(most, limit);
  EXPECT_EQ(done, tasks);
}

TEST_F(Limits, NeverOneTooMany) {
  create("narrow", "max_running => 3");
  expect_never_more_than(3, 300);
}

TEST_F(Limits, NeverOneTooManyOfAWorkflow) {
  create("narrow", "", three_at_a_time);
  expect_never_more_than(3, 300);
}

// Under contention the tenants' shares are as their weights, within one part in twenty, however many tasks a claim
// takes.
TEST_F(Limits, WeightsDecideTheShares) {
  create("light", "weight => 1");
  create("middle", "weight => 2");
  create("heavy", "weight => 4");
  for (const char* name : {"light", "middle", "heavy"}) submit(name, 3000);
  admin.query("CREATE TEMP TABLE served (tenant text)");
  for (const int tasks : {1, 10, 100}) {
    // The set of ready tenants is read first.
    admin.query("SELECT count(*) FROM insula.claim('w', max_tasks => 7)");
    admin.query("TRUNCATE served");
    for (int i = 0; i < 1400; i += tasks)
      admin.query("INSERT INTO served SELECT tenant FROM insula.claim('w', max_tasks => " + std::to_string(tasks) +
                  ")");
    const auto share = [this](const char* name) {
      return std::stoi(admin.query("SELECT count(*) FROM served WHERE tenant = '" + std::string(name) + "'"));
    };
    EXPECT_NEAR(share("light"), 200, 10) << tasks;
    EXPECT_NEAR(share("middle"), 400, 20) << tasks;
    EXPECT_NEAR(share("heavy"), 800, 40) << tasks;
  }
}

// A tenant's unused share goes to the others, and it is given nothing of it later.
TEST_F(Limits, NoShareIsLostOrSavedUp) {
  create("light", "weight => 1");
  create("heavy", "weight => 9");
  submit("light", 2000);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(admin.query("SELECT count(*) FROM insula.claim('w', max_tasks => 100)"), "100");
  submit("heavy", 500);
  admin.query("CREATE TEMP TABLE served AS SELECT tenant FROM insula.claim('w', max_tasks => 100)");
  for (int i = 0; i < 4; ++i) admin.query("INSERT INTO served SELECT tenant FROM insula.claim('w', max_tasks => 100)");
  EXPECT_NEAR(std::stoi(admin.query("SELECT count(*) FROM served WHERE tenant = 'light'")), 50, 25);
  EXPECT_EQ(admin.query("SELECT count(*) FROM insula.claim('w', max_tasks => 10000)"), "1500");
}

}  // namespace
}  // namespace insula_test
