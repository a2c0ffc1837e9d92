// The dispatch connection is the worker's life line: it is not given up without need, and where it ends,
// the handlers learn what became of their tasks.
#include "client_test.hpp"

#include <atomic>
#include <thread>

namespace {

using namespace insula_test;
using namespace insula;

// A fleet whose user can be kept from connecting.
class PreloadedLifeLine : public ClientTest {
 protected:
  void SetUp() override {
    ClientTest::SetUp();
    user_ = "lives_" + tenant_;
    sql_.rows("CREATE ROLE " + user_ + " LOGIN");
    sql_.rows("GRANT insula_runner TO " + user_);
    sql_.rows("SELECT insula.create_tenant($1)", {tenant_});
    sql_.rows("SELECT insula.register_workflow($1::jsonb, tenant => $2)",
              {one_task("w", [](TaskContext&) {}).definition_json(), tenant_});
  }
  void TearDown() override {
    sql_.rows("SELECT insula.drop_tenant($1, '0 s')", {tenant_});
    sql_.rows("DROP ROLE " + user_);
  }

  std::int64_t submit() { return std::stoll(sql_.value("SELECT insula.submit('w', tenant => $1)", {tenant_})); }
  void allow_connections(int most) { sql_.rows("ALTER ROLE " + user_ + " CONNECTION LIMIT " + std::to_string(most)); }
  std::string pid_of(const std::string& connection) {
    return sql_.value("SELECT pid FROM pg_stat_activity WHERE usename = $1 AND application_name = 'insula ' || $2",
                      {user_, connection});
  }
  // It does not come back unless more connections are allowed.
  void end(const std::string& connection) {
    allow_connections(1);
    sql_.rows("SELECT pg_terminate_backend($1)", {pid_of(connection)});
    EXPECT_TRUE(eventually([&] { return pid_of(connection).empty(); }));
  }
  bool is_parked() {
    return !sql_.value(
                    "SELECT 1 FROM pg_stat_activity WHERE usename = $1 AND application_name = 'insula dispatch' "
                    "AND wait_event_type = 'Extension'",
                    {user_})
                .empty();
  }

  std::string user_;
};

// Its call must end, since a handler has made room; but the connection that would say so is down.
TEST_F(PreloadedLifeLine, IsKeptWhereTheServerCannotBeNudged) {
  auto fleet = Fleet{"user=" + user_, {.max_concurrent_per_tenant = 1, .lease = 1s, .log = log_.hook()}};
  const Gate gate;
  fleet.add(one_task("w", [gate](TaskContext&) { gate.wait(); }));
  submit();
  gate.wait_for_arrivals(1);
  ASSERT_TRUE(eventually([&] { return is_parked(); }));
  const std::string life_line = pid_of("dispatch");
  end("control");
  gate.open();
  std::this_thread::sleep_for(3s);  // patience ends after half a second
  EXPECT_EQ(pid_of("dispatch"), life_line);
  EXPECT_FALSE(log_.holds("lost the dispatch connection")) << log_.text();
  allow_connections(-1);
  const std::int64_t next = submit();
  EXPECT_TRUE(eventually([&] { return status_of(next) == "completed"; })) << log_.text();
  EXPECT_EQ(pid_of("dispatch"), life_line);
  fleet.shutdown();
}

TEST_F(PreloadedLifeLine, HandlersLearnSoonThatTheirTasksWentWithIt) {
  auto fleet = Fleet{"user=" + user_, {.lease = 10min, .log = log_.hook()}};
  const Gate gate;
  std::atomic<StopReason> reason{StopReason::none};
  fleet.add(one_task("w", [&, gate](TaskContext& ctx) {
    gate.wait(ctx.stop_token());
    reason = ctx.stop_reason();
    ctx.throw_if_stopped();
  }));
  submit();
  gate.wait_for_arrivals(1);
  end("dispatch");
  EXPECT_TRUE(eventually([&] { return !sql_.rows("SELECT insula.claim('thief', tenant => $1)", {tenant_}).empty(); }));
  allow_connections(-1);
  EXPECT_TRUE(eventually([&] { return reason == StopReason::lease_lost; })) << log_.text();
  gate.open();
  fleet.shutdown();
}

}  // namespace
