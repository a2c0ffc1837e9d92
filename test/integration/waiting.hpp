// The parts that the tests of waiting and claiming share: a tenant with two workflows, and a look
// at the sessions that sleep.  The waits last an hour, so that nothing but what is tested ends them
// within a test's patience.  Suites named Preloaded need shared memory; the others hold in both modes.
#pragma once

#include <string>

#include "support/session.hpp"

namespace insula_test {

class Waiting : public ::testing::Test {
 protected:
  void SetUp() override {
    admin.query("SET client_min_messages = warning");
    admin.query("CREATE EXTENSION IF NOT EXISTS insula");
    admin.query("SELECT tenant FROM insula.create_tenant('waiting', login => false)");
    admin.query("SET insula.tenant = 'waiting'");
    for (const char* workflow : {"one", "two"})
      admin.query(std::string("SELECT insula.register_workflow('{\"name\": \"") + workflow +
                  "\", \"tasks\": [{\"id\": \"a\"}]}')");
  }
  void TearDown() override { admin.query("SELECT insula.drop_tenant('waiting', '0 s')"); }

  static void prepare(Session& session) {
    session.query("SET client_min_messages = error");
    session.query("SET insula.tenant = 'waiting'");
  }

  // True once the session sleeps in its call.
  bool parked(const Session& session) {
    return eventually([&] { return activity(session, "wait_event_type") == "Extension"; });
  }

  std::string activity(const Session& session, const std::string& column) {
    return admin.query("SELECT " + column + " FROM pg_stat_activity WHERE pid = " + std::to_string(session.pid()));
  }

  // The statement wakes the waiter, but not before its transaction commits.
  void wakes_at_commit(const std::string& statement, Session& waiter) {
    ASSERT_TRUE(parked(waiter));
    admin.query("BEGIN");
    admin.query(statement);
    EXPECT_FALSE(waiter.finished(100ms));
    admin.query("COMMIT");
    ASSERT_TRUE(waiter.finished());
  }

  Session admin;
};
using PreloadedWaiting = Waiting;

}  // namespace insula_test
