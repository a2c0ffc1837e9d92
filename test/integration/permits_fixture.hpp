// A tenant with a limit of 25, by max_running, of a workflow or of a key, and workers that use its permits.
#pragma once

#include <memory>

#include "client_test.hpp"
#include "support/session.hpp"

namespace insula_test {

inline constexpr int limit = 25;

// A session for the tenant, with a place of its own for what it holds.
inline std::unique_ptr<Session> new_worker() {
  auto session = std::make_unique<Session>();
  session->query("SET client_min_messages = error");
  session->query("SET insula.tenant = 'narrow'");
  session->query("CREATE TEMP TABLE mine (task_id bigint, lease bigint)");
  return session;
}

inline int claim(Session& session, int most) {
  return std::stoi(session.query(
      "WITH c AS (INSERT INTO mine SELECT task_id, lease FROM insula.claim('w', lease_for => '1 h', max_tasks => " +
      std::to_string(most) + ") RETURNING 1) SELECT count(*) FROM c"));
}

inline void complete(Session& session) {
  session.query(
      "SELECT insula.complete_many(array_agg(task_id), array_agg(lease), NULL) FROM mine HAVING count(*) > 0");
  session.query("DELETE FROM mine");
}

// The kind of the limit.
enum class Of { tenant, workflow, key };

class Permits : public ::testing::Test {
 protected:
  void SetUp() override {
    admin = new_admin();
    admin->query("CREATE EXTENSION IF NOT EXISTS insula");
    admin->query("SELECT tenant FROM insula.create_tenant('narrow', login => false)");
    set_limit(limit);
  }
  void TearDown() override { admin->query("SELECT insula.drop_tenant('narrow', '0 s')"); }

  static std::unique_ptr<Session> new_admin() {
    auto session = std::make_unique<Session>();
    session->query("SET client_min_messages = error");
    return session;
  }

  virtual Of of() const { return Of::tenant; }

  void set_limit(int most) {
    const std::string number = std::to_string(most);
    if (of() == Of::tenant) admin->query("SELECT insula.set_tenant_limits('narrow', max_running => " + number + ")");
    const std::string of_workflow = of() == Of::tenant ? ""
                                    : of() == Of::key  ? R"("limit": {"max": )" + number + R"(, "key": "who"}, )"
                                                       : R"("limit": {"max": )" + number + "}, ";
    admin->query(R"(SELECT insula.register_workflow('{"name": "w", )" + of_workflow +
                 R"("tasks": [{"id": "a"}]}', tenant => 'narrow'))");
  }

  void submit(int count, const std::string& context = "{}") {
    admin->query("SELECT insula.submit_many('w', array_fill('" + context + "'::jsonb, ARRAY[" + std::to_string(count) +
                 "]), tenant => 'narrow')");
  }

  // The running tasks under one limit.
  static int running(Session& session) {
    return std::stoi(
        session.query("SELECT coalesce(max(n), 0) FROM (SELECT count(*) n FROM tenant_narrow.work "
                      "WHERE lane = 100001 GROUP BY limit_key) q"));
  }

  // All permits are there, and no more.
  void expect_all_free() {
    submit(limit + 5);
    const auto worker = new_worker();
    EXPECT_EQ(claim(*worker, limit + 5), limit);
    EXPECT_EQ(claim(*worker, 1), 0);
    complete(*worker);
  }

  std::unique_ptr<Session> admin;
};

class PreloadedPermits : public Permits {};

inline bool waits(Session& watcher, const Session& waiter) {
  return watcher.query("SELECT wait_event_type FROM pg_stat_activity WHERE pid = " + std::to_string(waiter.pid())) ==
         "Extension";
}

}  // namespace insula_test
