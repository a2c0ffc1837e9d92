// The cost of a claim does not grow with the number of finished tasks, although vacuum cannot
// remove them while another session's snapshot sees them.  Counted in buffers, not in time.
#include "support/session.hpp"

#include <unistd.h>

#include <cstdlib>
#include <string>

namespace {

using insula_test::Session;

// Only shared memory knows where to start.
class PreloadedFlat : public ::testing::Test {
 protected:
  void SetUp() override {
    sql_.query("SET client_min_messages = warning");
    sql_.query("CREATE EXTENSION IF NOT EXISTS insula");
    static int tenants = 0;
    tenant_ = "flat_" + std::to_string(getpid()) + "_" + std::to_string(++tenants);
    sql_.query("SELECT insula.create_tenant('" + tenant_ + "', '" + tenant_ + "', login => false)");
    sql_.query("SET insula.tenant = '" + tenant_ + "'");
    register_workflow("");
    holder_.query("BEGIN ISOLATION LEVEL REPEATABLE READ");
    holder_.query("SELECT count(*) FROM " + tenant_ + ".work");
  }

  void register_workflow(const std::string& limit) {
    sql_.query(R"(SELECT insula.register_workflow('{"name": "w", )" + limit +
               R"("tasks": [{"id": "a", "retry": {"initial_delay": "1 ms"}}]}'))");
  }

  void submit(int jobs, const std::string& options = "") {
    sql_.query("SELECT cardinality(insula.submit_many('w', array_agg(jsonb_build_object('n', i))" + options +
               ")) FROM generate_series(1, " + std::to_string(jobs) + ") i");
  }

  void expect_flat(int thousands);

  // Claims and completes these many jobs.
  void work_off(int jobs) {
    EXPECT_EQ(sql_.query("SELECT count(*) FROM (SELECT array_agg(task_id) ids, array_agg(lease) leases FROM "
                         "insula.claim('w', " +
                         any_ + ", " + std::to_string(jobs) +
                         ")) c, "
                         "unnest(insula.complete_many(ids, leases, array_fill('{}'::jsonb, ARRAY[cardinality(ids)])))"),
              std::to_string(jobs));
  }

  // The buffers that a claim of a hundred touches.
  long buffers_of_claim() {
    const std::string plan =
        sql_.query("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM insula.claim('w', " + any_ + ", 100)");
    long total = 0;
    for (const char* name : {"\"Shared Hit Blocks\": ", "\"Shared Read Blocks\": "})
      total += std::atol(plan.c_str() + plan.find(name) + std::string(name).size());
    sql_.query("SELECT insula.leave('w')");
    return total;
  }

  Session sql_;
  Session holder_;
  std::string tenant_;
  std::string any_ = "ARRAY['w.a']";  // the tasks that are claimed
};

void PreloadedFlat::expect_flat(int thousands) {
  for (int i = 0; i < 3; ++i) {
    submit(1000);
    work_off(1000);
  }
  submit(1000);
  const long first = buffers_of_claim();
  work_off(1000);
  for (int i = 0; i < thousands; ++i) {
    submit(1000);
    work_off(1000);
  }
  submit(1000);
  const long last = buffers_of_claim();
  RecordProperty("first", std::to_string(first));
  RecordProperty("last", std::to_string(last));
  EXPECT_LE(last, first * 3 / 2) << "first " << first;
}

TEST_F(PreloadedFlat, AfterAHundredThousandJobs) { expect_flat(100); }

TEST_F(PreloadedFlat, UnderALimit) {
  register_workflow(R"("limit": {"max": 1000}, )");
  expect_flat(20);
}

TEST_F(PreloadedFlat, UnderALimitForEachKey) {
  register_workflow(R"("limit": {"max": 1, "key": "n"}, )");
  expect_flat(20);
}

// The tasks of a limit that is used up stand at the head of the queue, more than a claim looks at.
TEST_F(PreloadedFlat, BehindALimitThatIsUsedUp) {
  register_workflow(R"("limit": {"max": 1000}, )");
  sql_.query(R"(SELECT insula.register_workflow('{"name": "stuck", "limit": {"max": 1}, "tasks": [{"id": "a"}]}'))");
  sql_.query("SELECT cardinality(insula.submit_many('stuck', array_fill('{}'::jsonb, ARRAY[1000])))");
  EXPECT_EQ(sql_.query("SELECT count(*) FROM insula.claim('x', ARRAY['stuck.a'], 10)"), "1");
  any_ = "NULL";
  expect_flat(20);
}

// A claim of nothing but tasks that may not run does not walk through all other tasks.
TEST_F(PreloadedFlat, ForAClaimOfAUsedUpLimitAlone) {
  register_workflow(R"("limit": {"max": 1000}, )");
  sql_.query(R"(SELECT insula.register_workflow('{"name": "stuck", "limit": {"max": 1}, "tasks": [{"id": "a"}]}'))");
  sql_.query("SELECT cardinality(insula.submit_many('stuck', array_fill('{}'::jsonb, ARRAY[2])))");
  EXPECT_EQ(sql_.query("SELECT count(*) FROM insula.claim('x', ARRAY['stuck.a'], 10)"), "1");
  any_ = "ARRAY['stuck.a']";
  submit(3000);
  const long first = buffers_of_claim();
  submit(10000);
  const long last = buffers_of_claim();
  EXPECT_LE(last, first * 3 / 2) << "first " << first;
}

TEST_F(PreloadedFlat, WithPrioritiesRetriesAndDelays) {
  const auto mixed = [&] {
    submit(300);
    submit(300, ", priority => 5");
    submit(300, ", priority => -5");
    submit(100, ", run_at => now() + interval '1 ms'");
    sql_.query("SELECT count(insula.fail(task_id, lease, 'again')) FROM insula.claim('w', ARRAY['w.a'], 100)");
    // The scheduler sees to what is delayed.
    EXPECT_TRUE(insula_test::eventually(
        [&] { return sql_.query("SELECT count(*) FROM " + tenant_ + ".work WHERE lane = 100000") == "0"; }));
    work_off(1000);
  };
  for (int i = 0; i < 3; ++i) mixed();
  submit(1000);
  const long first = buffers_of_claim();
  work_off(1000);
  for (int i = 0; i < 20; ++i) mixed();
  submit(1000);
  const long last = buffers_of_claim();
  EXPECT_LE(last, first * 3 / 2) << "first " << first;
}

}  // namespace
