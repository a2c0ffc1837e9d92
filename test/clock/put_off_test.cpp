// Work that waits because shared processes have spent too much on its tenant is done as soon as the clock says so, by
// nothing but the clock.
#include "clock.hpp"

namespace clock_test {
namespace {

class PreloadedPutOff : public ::testing::Test {
 protected:
  void SetUp() override {
    clock_.advance("'" + now_ + "'");
    allow("1e-06");
  }
  void TearDown() override {
    clock_.query("ALTER SYSTEM RESET insula.max_overhead");
    clock_.query("SELECT pg_reload_conf()");
    clock_.disconnect();
    Session().query("DROP DATABASE put_off");
  }
  // By 1e-06 one visit is too much, and so is one claim that takes longer than claims do.  None after it is, once more
  // is allowed; what has been put off stays so.
  void allow(const std::string& overhead) {
    clock_.query("ALTER SYSTEM SET insula.max_overhead = '" + overhead + "'");
    clock_.query("SELECT pg_reload_conf()");
    EXPECT_TRUE(eventually([&] { return Session().query("SHOW insula.max_overhead") == overhead; }));
  }
  void advance(const std::string& by) {
    now_ = clock_.query("SELECT timestamptz '" + now_ + "' + interval '" + by + "'");
    clock_.advance("'" + now_ + "'");
  }
  // Registers a workflow whose `last` tasks take long to claim, since each merges 30 MB; they follow 30 others.
  void register_great(int last) {
    tenant_.query(
        "SELECT insula.register_workflow(jsonb_build_object('name', 'big', 'tasks', (SELECT jsonb_agg("
        "jsonb_build_object('id', 'a' || g)) FROM generate_series(1, 30) g) || (SELECT jsonb_agg(jsonb_build_object("
        "'id', 'b' || g, 'depends_on', (SELECT jsonb_agg('a' || g) FROM generate_series(1, 30) g))) FROM "
        "generate_series(1, " +
        std::to_string(last) + ") g)), tenant => '{t}')");
  }
  // Until when it is put off, half a minute at most; empty: it is not.
  std::string until(const std::string& item) {
    return tenant_.query("SELECT says FROM insula.explain_tenant('{t}') WHERE item = 'put off by " + item +
                         "' AND says LIKE '%is put off until%'");
  }
  // The same as a moment.
  std::string end(const std::string& item) {
    return tenant_.query("SELECT substring('" + until(item) + "' FROM 'until (.*), since')::timestamptz");
  }
  // For how many seconds more; 0: it is not.
  double left(const std::string& item) {
    const std::string value =
        tenant_.query("SELECT value FROM insula.explain_tenant('{t}') WHERE item = 'put off by " + item + "'");
    return value.empty() ? 0 : std::stod(value);
  }
  bool is_over(const std::string& item, const std::string& end) {
    return until(item).empty() || this->end(item) != end;
  }
  // When it last looked, since a transaction begins with each look; empty: it does not wait.
  std::string parked_since(Session& session) {
    return clock_.query("SELECT xact_start FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND pid = " +
                        std::to_string(session.pid()));
  }
  std::string explained(const std::string& item) {
    return tenant_.query("SELECT count(*) FROM insula.explain_tenant('{t}') WHERE item = 'put off by " + item +
                         "' AND value > 0 AND says LIKE '%is put off until%'");
  }

  Clock clock_{"put_off"};
  Tenant tenant_{clock_};
  std::string now_ = clock_.query("SELECT date_trunc('hour', now()) + interval '1 hour'");
  std::size_t log_start_ = server_log().size();
};

TEST_F(PreloadedPutOff, WhatTimeMakesDueIsDoneAfterwards) {
  tenant_.schedule("s", every_second, "starts_at => '" + now_ + "'");
  EXPECT_TRUE(eventually([&] { return explained("schedulers") == "1"; }));
  EXPECT_EQ(clock_.query("SELECT value LIKE '" + tenant_.name() +
                         " (schedulers until %' FROM insula.status() WHERE item = 'tenants put off'"),
            "t");
  EXPECT_EQ(clock_.query("SELECT finding LIKE '" + tenant_.name() +
                         " (schedulers until %' FROM insula.health() WHERE object = 'tenants put off'"),
            "t");
  Tenant other(clock_);
  other.schedule("s", every_second);
  for (bool in_time = false; !in_time;) {
    allow("1e-06");
    EXPECT_TRUE(eventually([&] { return explained("schedulers") == "1"; }));
    allow("0.5");
    const std::string said = until("schedulers");
    const int before = tenant_.executions();
    // Neither a commit nor a look at all tenants ends it.
    tenant_.query("SELECT insula.submit('w', tenant => '{t}')");
    clock_.query("SELECT insula.start_scheduler()");
    // Another tenant has its turns.
    EXPECT_TRUE(other.soon_at_least(other.executions() + 3));
    const int after = tenant_.executions();
    in_time = !said.empty() && until("schedulers") == said;
    EXPECT_TRUE(!in_time || after == before + 1) << after << " after " << before;
  }
  // Its ready task can be claimed.
  EXPECT_EQ(clock_.query("SELECT count(*) > 0 FROM insula.claim('x')"), "t");
  advance("2 min");
  EXPECT_EQ(tenant_.query("SELECT count(*) > 100 AND count(*) = extract(epoch FROM max(at) - min(at)) + 1 AND count(*) "
                          "= count(DISTINCT at) FROM (SELECT (context ->> 'scheduled_time')::timestamptz FROM "
                          "{s}.workflow_executions WHERE context ? 'schedule_id') f(at)"),
            "t")
      << "every fire once";
  EXPECT_EQ(count_in(server_log().substr(log_start_), "tenant \"" + tenant_.name() + "\" is put off until "), 1);
}

TEST_F(PreloadedPutOff, ClaimsOfOthersComeBack) {
  register_great(9);
  tenant_.query("SELECT insula.submit('big', tenant => '{t}')");
  EXPECT_EQ(
      tenant_.query("SELECT count(insula.complete(task_id, lease, jsonb_build_object('x', repeat('x', 1000000)))) "
                    "FROM insula.claim('x', max_tasks => 30, tenant => '{t}')"),
      "30");
  // A claim of the tenant's own is nothing to others.
  EXPECT_EQ(tenant_.query("SELECT count(*) FROM insula.claim('x', tenant => '{t}')"), "1");
  EXPECT_EQ(explained("calls for all tenants"), "0");
  EXPECT_EQ(clock_.query("SELECT count(*) FROM insula.claim('x')"), "1");
  EXPECT_EQ(explained("calls for all tenants"), "1");
  allow("0.5");
  const std::string said = until("calls for all tenants");
  const auto is_over = [&] { return said.empty() || until("calls for all tenants") != said; };
  EXPECT_TRUE(clock_.query("SELECT count(*) FROM insula.claim('x')") == "0" || is_over());
  EXPECT_TRUE(clock_.query("CALL insula.wait_for_work('0 s')") == "f" || is_over());
  EXPECT_EQ(tenant_.query("SELECT count(*) FROM insula.claim('x', tenant => '{t}')"), "1");
  // A commit ends it as little.
  tenant_.query("SELECT insula.submit('w', tenant => '{t}')");
  EXPECT_TRUE(clock_.query("SELECT count(*) FROM insula.claim('x')") == "0" || is_over());
  Session worker("dbname=put_off");
  worker.send("CALL insula.wait_for_work('7 days')");
  EXPECT_TRUE(!worker.finished(100ms) || is_over());
  advance("2 min");
  EXPECT_TRUE(worker.finished());
  EXPECT_EQ(worker.answer(), "t");
  EXPECT_EQ(clock_.query("SELECT count(*) FROM insula.claim('x')"), "1");
}

// One has taken the wake-up for the tenant's task, finds the tenant put off when it comes to claim, and has another's
// task: no other waiter has been told by then.
TEST_F(PreloadedPutOff, EachWaiterLooksAgainAtItsEnd) {
  register_great(1);
  Tenant other(clock_);
  other.query(R"(SELECT insula.register_workflow('{"name": "v", "tasks": [{"id": "a"}]}', tenant => '{t}'))");
  // By this one great claim is too much, and any number of looks is not.  A change would wake all sessions.
  allow("0.002");
  for (bool in_time = false; !in_time;) {
    tenant_.query("SELECT insula.submit('big', tenant => '{t}')");
    EXPECT_EQ(
        tenant_.query("SELECT count(insula.complete(task_id, lease, jsonb_build_object('x', repeat('x', 1000000)))) "
                      "FROM insula.claim('x', max_tasks => 30, tenant => '{t}')"),
        "30");
    other.query("SELECT insula.submit('v', tenant => '{t}')");
    Session sessions[2] = {Session("dbname=put_off"), Session("dbname=put_off")};
    for (Session& session : sessions) {
      session.query("SET client_min_messages = error");
      session.send("CALL insula.wait_for_work('7 days', tasks => '{w.a}')");
      EXPECT_TRUE(eventually([&] { return !parked_since(session).empty(); }));
    }
    tenant_.query("SELECT insula.submit('w', tenant => '{t}')");
    EXPECT_TRUE(eventually([&] { return sessions[0].finished(0ms) || sessions[1].finished(0ms); }));
    const int first = sessions[0].finished(0ms) ? 0 : 1;
    Session& woken = sessions[first];
    Session& waiting = sessions[1 - first];
    EXPECT_EQ(woken.answer(), "t");
    // A claim that is full, or cut short by its budget, would wake another waiter.
    clock_.query("SET insula.visit_time = '1h'; SET insula.visit_bytes = '1GB'");
    EXPECT_EQ(clock_.query("SELECT count(*) FROM insula.claim('x', '{big.b1}', max_tasks => 100)"), "1");
    clock_.query("RESET insula.visit_time; RESET insula.visit_bytes");
    const std::string end = this->end("calls for all tenants");
    const std::string before = parked_since(waiting);
    in_time = woken.query("SELECT string_agg(tenant, ' ') FROM insula.claim('y', max_tasks => 10)") == other.name() &&
              !before.empty();
    if (in_time) {
      EXPECT_TRUE(eventually([&] {
        const std::string since = parked_since(waiting);
        return !since.empty() && since != before;
      })) << "told of the putting off";
      clock_.advance("'" + end + "'::timestamptz + interval '1 s'");
    } else {
      // On a busy machine the putting off, or the other's sleep, was over.
      EXPECT_TRUE(eventually([&] { return is_over("calls for all tenants", end); }));
      tenant_.query("SELECT insula.submit('w', tenant => '{t}')");
    }
    EXPECT_TRUE(waiting.finished());
    EXPECT_EQ(waiting.answer(), "t");
    const std::string left = clock_.query("SELECT string_agg(workflow, ' ') FROM insula.claim('x', max_tasks => 9)");
    EXPECT_TRUE(!in_time || left == "w") << left;
  }
}

// Not even where the due queue does not know when it will be due, since its schedules have changed.
TEST_F(PreloadedPutOff, CallsLeaveItToSchedulers) {
  tenant_.query(R"(SELECT insula.register_workflow('{"name": "late", "tasks": [{"id": "a"}]}', tenant => '{t}'))");
  tenant_.schedule("s", every_second, "starts_at => '" + now_ + "'");
  EXPECT_TRUE(eventually([&] { return explained("schedulers") == "1"; }));
  tenant_.query("SELECT insula.unschedule('s', '{t}')");
  for (bool in_time = false; !in_time;) {
    allow("1e-06");
    tenant_.schedule("far", "0 0 1 1 *");
    EXPECT_TRUE(eventually([&] { return explained("schedulers") == "1"; }));
    allow("0.5");
    const std::string end = this->end("schedulers");
    const double left_before = left("schedulers");
    tenant_.query("SELECT insula.submit('late', run_at => '" + end + "'::timestamptz - interval '" +
                  std::to_string(left_before - 1) + " s', tenant => '{t}')");
    tenant_.schedule("far", "0 0 2 1 *");
    EXPECT_TRUE(eventually([&] { return left("schedulers") < left_before - 1; }));
    const std::string claims = tenant_.query("SELECT count(*) FROM insula.claim('x', '{late.a}', tenant => '{t}')") +
                               clock_.query("SELECT count(*) FROM insula.claim('x', '{late.a}')");
    in_time = !is_over("schedulers", end);
    EXPECT_TRUE(!in_time || claims == "00") << claims;
    if (in_time) clock_.advance("'" + end + "'::timestamptz + interval '1 s'");
    EXPECT_TRUE(!in_time || clock_.query("SELECT count(*) FROM insula.claim('x', '{late.a}')") == "1");
  }
}

}  // namespace
}  // namespace clock_test
