// A worker of all tenants, as a member of insula_runner: one tenant that locks its rows, or
// whose tables have been tampered with, does not hold up the others.
#include "support/session.hpp"

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

namespace insula_test {
namespace {

class ManyTenants : public ::testing::Test {
 protected:
  void SetUp() override {
    admin.query("SET client_min_messages = warning");
    admin.query("CREATE EXTENSION IF NOT EXISTS insula");
    // Other tests' tasks would be claimed, too.
    admin.query("SELECT insula.drop_tenant(tenant, '0 s') FROM insula.tenants");
    admin.query("CREATE ROLE test_runner LOGIN");
    admin.query("GRANT insula_runner TO test_runner");
    for (const char* tenant : {"first", "second"}) {
      const std::string name = tenant;
      admin.query("SELECT tenant FROM insula.create_tenant('" + name + "')");
      admin.query("SELECT insula.register_workflow('{\"name\": \"w\", \"tasks\": [{\"id\": \"a\"}]}', tenant => '" +
                  name + "')");
    }
  }
  void TearDown() override {
    admin.query("SELECT insula.drop_tenant(tenant, '0 s') FROM insula.tenants");
    // A worker's temporary tables go with its sessions.
    EXPECT_TRUE(eventually(
        [&] { return admin.query("SELECT count(*) FROM pg_stat_activity WHERE usename = 'test_runner'") == "0"; }));
    admin.query("DROP ROLE test_runner");
  }
  std::string submit(const std::string& tenant) {
    return admin.query("SELECT insula.submit('w', tenant => '" + tenant + "')");
  }

  Session admin;
};

TEST_F(ManyTenants, ATenantThatLocksItsRowsBlocksNoOther) {
  Session runner("user=test_runner"), tenant("user=first_user");
  const std::string held = submit("first");
  submit("second");
  runner.query("CREATE TEMP TABLE mine AS SELECT * FROM insula.claim('r', max_tasks => 10)");
  EXPECT_EQ(runner.query("SELECT count(*) FROM mine"), "2");
  tenant.query("BEGIN");
  EXPECT_EQ(tenant.query("SELECT insula.cancel(" + held + ")"), "t");

  const std::string batch =
      "SELECT insula.complete_many(array_agg(task_id ORDER BY tenant), "
      "array_agg(lease ORDER BY tenant), NULL) FROM mine";
  runner.send(batch);
  ASSERT_TRUE(runner.finished());
  EXPECT_EQ(runner.answer(), "{NULL,t}");
  runner.send(
      "SELECT reason FROM (SELECT array_agg(task_id) ids, array_agg(lease) leases FROM mine WHERE tenant = 'first') m, "
      "insula.heartbeat(ids, leases)");
  ASSERT_TRUE(runner.finished());
  EXPECT_EQ(runner.answer(), "later");
  submit("second");
  EXPECT_EQ(runner.query("SELECT count(*) FROM insula.claim('r', max_tasks => 10)"), "1");

  tenant.query("ROLLBACK");
  EXPECT_EQ(runner.query(batch), "{t,f}");
}

// A tenant's open transaction has an idempotency key that a handler's transaction wants.
TEST_F(ManyTenants, ATenantThatHoldsAKeyHoldsUpNoHandler) {
  Session runner("user=test_runner"), tenant("user=first_user");
  submit("first");
  tenant.query("BEGIN");
  tenant.query("SELECT insula.submit('w', idempotency_key => 'k')");
  runner.query("BEGIN");
  EXPECT_EQ(runner.query("SELECT insula.join_task(task_id, lease) FROM insula.claim('r', tenant => 'first')"), "t");
  runner.send("SELECT insula.submit('w', idempotency_key => 'k', tenant => 'first')");
  ASSERT_TRUE(runner.finished(60s));
  EXPECT_EQ(runner.answer(), "55P03");
  runner.query("ROLLBACK");
  tenant.query("ROLLBACK");
}

TEST_F(ManyTenants, OneThatWasTamperedWithIsPassedOver) {
  Session runner("user=test_runner");
  submit("first");
  submit("second");
  admin.query(
      "CREATE TRIGGER t BEFORE UPDATE ON tenant_first.work FOR EACH ROW "
      "EXECUTE FUNCTION suppress_redundant_updates_trigger()");
  EXPECT_EQ(runner.query("SELECT string_agg(tenant, ',') FROM insula.claim('r', max_tasks => 10)"), "second");
  admin.query("DROP TRIGGER t ON tenant_first.work");
  EXPECT_EQ(runner.query("SELECT string_agg(tenant, ',') FROM insula.claim('r', max_tasks => 10)"), "first");
}

// A tenant may alter its own role, in a loop: that is no reason to read the rows of the others.
TEST_F(ManyTenants, ATenantThatAltersItsRoleHasNoOtherReadAnew) {
  for (int i = 0; i < 30; ++i) {
    const std::string name = "'tenant" + std::to_string(i) + "'";
    admin.query("SELECT tenant FROM insula.create_tenant(" + name + ", login => false)");
    admin.query(R"(SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => )" + name + ")");
  }
  Session visitor, tenant("user=first_user");
  const auto rows_read = [&] {
    return std::stol(
        visitor.query("SELECT pg_stat_get_xact_tuples_returned('insula.tenant'::regclass) + (SELECT "
                      "sum(pg_stat_get_xact_tuples_returned(indexrelid)) FROM pg_index WHERE indrelid = "
                      "'insula.tenant'::regclass)"));
  };
  const auto read_by_a_visit = [&] {
    visitor.query("BEGIN");
    const long before = rows_read();
    visitor.query(
        "SELECT count(insula.submit('w', tenant => n)) FROM (SELECT 'tenant' || i FROM generate_series(0, 29) i "
        "UNION ALL SELECT 'first') t (n)");
    const long read = rows_read() - before;
    visitor.query("COMMIT");
    return read;
  };
  // Autovacuum, or the end of a lock, may have a session read it all again at any moment.
  const auto least_read = [&](const std::function<void()>& before) {
    long least = 1000;
    for (int i = 0; i < 5 && least > 0; ++i) {
      before();
      least = std::min(least, read_by_a_visit());
    }
    return least;
  };
  const long usual = least_read([] {});
  EXPECT_LE(least_read([&] { tenant.query("ALTER ROLE first_user PASSWORD NULL"); }), usual + 1);
  EXPECT_LE(least_read([&] { admin.query("ALTER ROLE second_user CONNECTION LIMIT 7"); }), usual + 1);
}

// Sessions that know of the tenant already see it at once.
TEST_F(ManyTenants, ARoleIsTheTenantsWhileItIsAsItWasGiven) {
  Session tenant("user=first_user");
  const std::string own = "SELECT insula.submit('w')";
  const auto is_the_tenants = [&](bool is) {
    EXPECT_EQ(tenant.error(own), is ? "none" : "IS001");
    submit("first");  // an administrator goes on
  };
  is_the_tenants(true);
  for (const auto& [spoil, mend] :
       {std::pair("ALTER ROLE first_user RENAME TO elsewhere", "ALTER ROLE elsewhere RENAME TO first_user"),
        std::pair("ALTER ROLE first_user SUPERUSER", "ALTER ROLE first_user NOSUPERUSER")}) {
    admin.query(spoil);
    is_the_tenants(false);
    admin.query(mend);
    is_the_tenants(true);
  }
}

// A check that a superuser has added runs its function, until it is one no more.
TEST_F(ManyTenants, ACheckReliesOnRolesOfOthers) {
  admin.query("CREATE ROLE test_trusted SUPERUSER");
  admin.query("CREATE FUNCTION test_is_fine(bigint) RETURNS boolean IMMUTABLE LANGUAGE sql RETURN true");
  admin.query("ALTER FUNCTION test_is_fine OWNER TO test_trusted");
  admin.query("ALTER TABLE tenant_first.work ADD CHECK (test_is_fine(id))");
  const std::string call = "SELECT insula.submit('w', tenant => 'first')";
  Session visitor;
  EXPECT_EQ(visitor.error(call), "none");
  admin.query("ALTER ROLE test_trusted NOSUPERUSER");
  EXPECT_EQ(visitor.error(call), "55000");
  admin.query("ALTER ROLE test_trusted SUPERUSER");
  EXPECT_EQ(visitor.error(call), "none");
  admin.query("DROP FUNCTION test_is_fine CASCADE");
  admin.query("DROP ROLE test_trusted");
}

// A session that goes through thousands of tenants does not keep what the catalogs say of each.
TEST_F(ManyTenants, ASessionKeepsTheCatalogsOfSome) {
  Session visitor;
  const auto kept = [&] {
    return visitor.query(
        "SELECT count(*) FROM pg_backend_memory_contexts WHERE name = 'index info' AND ident = 'work_queue'");
  };
  ASSERT_TRUE(eventually([&] {
    visitor.query("SELECT insula.submit('w', tenant => t) FROM unnest('{first, second}'::text[]) t");
    return kept() == "2";
  }));
  // Each of these reads what the catalogs say of the tenant anew, as another tenant's visit would.
  const std::string visits =
      "DO $$ BEGIN FOR i IN 1..140 LOOP PERFORM insula.pause_workflow('w', tenant => 'second'); "
      "PERFORM insula.resume_workflow('w', tenant => 'second'); END LOOP; END $$";
  visitor.query(visits);
  EXPECT_EQ(kept(), "2") << "little is kept, however often it was read";
  visitor.query("SET insula.max_kept_catalogs = '64 kB'");
  visitor.query(visits);
  EXPECT_EQ(kept(), "1");
}

// A session reads a tenant's role last.
TEST_F(ManyTenants, ATenantThatWasHalfReadIsReadAgain) {
  Session runner("user=test_runner");
  runner.query("SET lock_timeout = '100 ms'");
  submit("second");
  EXPECT_EQ(runner.query("SELECT count(*) FROM insula.claim('r')"), "1");
  submit("first");
  admin.query("ALTER ROLE first_user CONNECTION LIMIT 5");
  admin.query("SELECT insula.set_tenant_limits('first', weight => 2)");
  admin.query("BEGIN");
  admin.query("LOCK TABLE pg_authid IN ACCESS EXCLUSIVE MODE");
  runner.send("SELECT count(*) FROM insula.claim('r')");
  EXPECT_NE(runner.answer(), "1");
  admin.query("COMMIT");
  EXPECT_EQ(runner.query("SELECT count(*) FROM insula.claim('r')"), "1");
}

TEST_F(ManyTenants, ADeadWorkerThatHeldNothingIsForgotten) {
  if (!preloaded()) GTEST_SKIP() << "needs shared memory";
  admin.query("SELECT insula.stop_scheduler()");
  const auto dead = [&] { return admin.query("SELECT count(*) FROM insula.workers() WHERE status = 'dead'"); };
  {
    Session idle;
    idle.query("CALL insula.wait_for_work('0 s', worker => 'idle', tenant => 'first')");
  }
  ASSERT_TRUE(eventually([&] { return dead() == "1"; }));
  Session runner("user=test_runner");
  runner.query("SELECT count(*) FROM insula.claim('r')");
  EXPECT_EQ(dead(), "0");
  admin.query("SELECT insula.start_scheduler()");
}

TEST_F(ManyTenants, OneDeadWorkerOfAllGivesEverythingBack) {
  if (!preloaded()) GTEST_SKIP() << "needs shared memory";
  submit("first");
  submit("second");
  {
    Session dying("user=test_runner");
    dying.query("CALL insula.wait_for_work('0 s', worker => 'fleet')");
    EXPECT_EQ(dying.query("SELECT count(*) FROM insula.claim('fleet', max_tasks => 10)"), "2");
  }
  Session runner("user=test_runner");
  runner.send("CALL insula.wait_for_work('1 h', worker => 'heir')");
  ASSERT_TRUE(runner.finished());
  EXPECT_EQ(runner.answer(), "t");
  // The scheduler may be at the same rows.
  std::string attempts;
  EXPECT_TRUE(eventually([&] {
    attempts += runner.query("SELECT string_agg(attempt::text, '') FROM insula.claim('heir', max_tasks => 10)");
    return attempts == "11";
  })) << attempts;
  EXPECT_TRUE(
      eventually([&] { return admin.query("SELECT value FROM insula.status() WHERE item = 'workers'") == "1"; }));
  // And no worker goes on looking.
  EXPECT_TRUE(eventually([&] {
    return admin.query(
               "SELECT bool_and(state = 'idle') IS NOT FALSE FROM pg_stat_activity "
               "WHERE backend_type = 'insula scheduler' AND datname = current_database()") == "t";
  }));
  runner.query("SELECT insula.leave('heir')");
}

}  // namespace
}  // namespace insula_test
