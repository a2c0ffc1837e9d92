// Attacks on time by locks: a tenant holds a transaction open, or only exists, and calls that serve others beside it go
// on.  What does not wait is shown by an answer that comes while the lock is held.
#include <memory>
#include <vector>

#include "support/session.hpp"

namespace attacks {
namespace {

using namespace insula_test;
using std::to_string;

// Callers that are not the tenants' own logins, with each of the rights that lets a call serve several tenants.
constexpr const char* callers[] = {"locks_runner", "locks_admin", "locks_app", "postgres"};

class LocksTime : public ::testing::Test {
 protected:
  void SetUp() override {
    admin.query("SET client_min_messages = error");
    for (const char* caller : {"locks_runner", "locks_admin", "locks_app"})
      admin.query(std::string("CREATE ROLE ") + caller + " LOGIN");
    admin.query("GRANT insula_runner TO locks_runner");
    admin.query("GRANT insula_admin TO locks_admin");
    for (const char* tenant : {"holder", "bystander"}) {
      admin.query(std::string("SELECT tenant FROM insula.create_tenant('") + tenant + "', password => 'x')");
      admin.query(std::string("GRANT ") + tenant + "_user TO locks_app");
      define(tenant, "single", R"([{"id": "a", "retry": {"max_attempts": 1}}])");
      define(tenant, "chain", R"([{"id": "a", "retry": {"max_attempts": 1}}, {"id": "b", "depends_on": ["a"]}])");
    }
    admin.query("CREATE TABLE mine (tenant text, workflow text, execution_id bigint, task_id bigint, lease bigint)");
    admin.query("GRANT ALL ON mine TO PUBLIC");
  }
  void TearDown() override {
    admin.query("DROP TABLE mine");
    admin.query("SELECT insula.drop_tenant(tenant, '0 s') FROM insula.tenants WHERE tenant !~ '^(victim|mallory)$'");
    admin.query("DROP ROLE locks_runner, locks_admin, locks_app");
  }

  void define(const std::string& tenant, const std::string& name, const std::string& tasks) {
    admin.query("SELECT insula.register_workflow('{\"name\": \"" + name + "\", \"tasks\": " + tasks +
                "}', tenant => '" + tenant + "')");
  }
  // One execution of each workflow for each tenant, whose first tasks are claimed.
  void claim_one_of_each() {
    admin.query("DELETE FROM mine");
    admin.query(
        "SELECT count(insula.submit(w, tenant => t)) FROM unnest('{holder, bystander}'::text[]) t, "
        "unnest('{single, chain}'::text[]) w");
    admin.query(
        "INSERT INTO mine SELECT tenant, workflow, execution_id, task_id, lease FROM insula.claim('w', max_tasks => "
        "4)");
    ASSERT_EQ(admin.query("SELECT count(*) FROM mine"), "4");
  }
  std::string execution(const std::string& workflow) {
    return admin.query("SELECT execution_id FROM mine WHERE tenant = 'holder' AND workflow = '" + workflow + "'");
  }
  // For a call about one task a caller with rights of its own to the tenant may wait, as long as its lock_timeout allows;
  // the client's connections have one.
  static void limit_waits(Session& worker, const std::string& caller) {
    if (caller != "locks_runner") worker.query("SET lock_timeout = '100 ms'");
  }
  // The answer of a call that must not wait for what is locked.
  static std::string prompt(Session& session, const std::string& sql) {
    session.send(sql);
    EXPECT_TRUE(session.finished(10s)) << sql;
    if (!session.finished(0ms)) {
      Session other;
      other.query("SELECT pg_cancel_backend(" + to_string(session.pid()) + ")");
    }
    return session.answer();
  }
  static std::string of(const char* call, const char* more, const std::string& workflow) {
    return std::string("SELECT insula.") + call + "(task_id, lease" + more +
           ") FROM mine WHERE tenant = 'holder' AND workflow = '" + workflow + "'";
  }
  int locks_of(Session& session, const std::string& which) {
    return std::stoi(
        admin.query("SELECT count(*) FROM pg_locks WHERE pid = " + to_string(session.pid()) + " AND " + which));
  }

  Session admin;
};

constexpr const char* complete_all =
    "SELECT string_agg(tenant || ' ' || workflow || ' ' || coalesce(done::text, 'later'), ', ' ORDER BY tenant, "
    "workflow) FROM (SELECT array_agg(task_id) ids, array_agg(lease) leases, array_agg(tenant) tenants, "
    "array_agg(workflow) workflows FROM mine) m, unnest(tenants, workflows, insula.complete_many(ids, leases, NULL)) "
    "u(tenant, workflow, done)";
constexpr const char* heartbeat_all =
    "SELECT string_agg(tenant || ' ' || workflow || ' ' || reason, ', ' ORDER BY tenant, workflow) FROM (SELECT "
    "array_agg(task_id) ids, array_agg(lease) leases FROM mine) m, insula.heartbeat(ids, leases) h JOIN mine USING "
    "(task_id)";

TEST_F(LocksTime, NoCallForSeveralTenantsWaitsForATenantsOpenTransaction) {
  for (const char* caller : callers) {
    SCOPED_TRACE(caller);
    for (const char* verb : {"pause(%)", "cancel(%)", "send_event(%, 'e')"}) {
      SCOPED_TRACE(verb);
      claim_one_of_each();
      Session holder("user=holder_user"), worker(std::string("user=") + caller);
      limit_waits(worker, caller);
      holder.query("BEGIN");
      for (const char* workflow : {"single", "chain"}) {
        std::string call = verb;
        holder.query("SELECT insula." + call.replace(call.find('%'), 1, execution(workflow)));
      }
      // An event locks the execution alone, and so no task of a chain.
      const bool tasks = std::string(verb).find("send_event") == std::string::npos;
      EXPECT_EQ(prompt(worker, heartbeat_all), tasks ? "holder chain later, holder single later" : "holder single later");
      for (const char* workflow : {"single", "chain"}) {
        EXPECT_EQ(prompt(worker, of("complete", "", workflow)), "55P03") << workflow;
        EXPECT_EQ(prompt(worker, of("fail", ", 'x'", workflow)), "55P03") << workflow;
        EXPECT_EQ(prompt(worker, of("wait_event", ", 'e'", workflow)), "55P03") << workflow;
        EXPECT_EQ(prompt(worker, of("submit_child", ", 'single'", workflow)), "55P03") << workflow;
      }
      EXPECT_EQ(prompt(worker, of("defer", ", now()", "single")), "55P03");
      if (tasks) {
        EXPECT_EQ(prompt(worker, of("defer", ", now()", "chain")), "55P03");
      }
      EXPECT_EQ(prompt(worker, complete_all),
                "bystander chain true, bystander single true, holder chain later, holder single later");
      // What was to be told later was not applied, and can be.
      holder.query("ROLLBACK");
      EXPECT_EQ(prompt(worker, heartbeat_all), "bystander chain lost, bystander single lost");
      EXPECT_EQ(prompt(worker, complete_all),
                "bystander chain false, bystander single false, holder chain true, holder single true");
      admin.query("SELECT count(insula.cancel(execution_id)) FROM mine WHERE workflow = 'chain'");
    }
  }
}

// Task by task, where the tasks are all of one tenant.
TEST_F(LocksTime, ABatchLeavesTheLockedTasksAndDoesTheOthers) {
  for (const char* caller : callers) {
    claim_one_of_each();
    admin.query("DELETE FROM mine WHERE tenant = 'bystander'");
    Session holder("user=holder_user"), worker(std::string("user=") + caller);
    holder.query("BEGIN");
    holder.query("SELECT insula.cancel(" + execution("single") + ")");
    EXPECT_EQ(prompt(worker,
                     "SELECT string_agg(place || ' ' || reason, ', ' ORDER BY place) FROM (SELECT array_agg(task_id "
                     "ORDER BY workflow) ids, array_agg(lease ORDER BY workflow) leases FROM mine) m, "
                     "insula.complete_batch(ids, leases, NULL)"),
              "2 later")
        << caller;
    // A context that cannot be stored fails its task, but only later.
    EXPECT_EQ(prompt(worker,
                     "SELECT string_agg(place || ' ' || reason, ', ' ORDER BY place) FROM (SELECT array_agg(task_id "
                     "ORDER BY workflow) ids, array_agg(lease ORDER BY workflow) leases FROM mine) m, "
                     "insula.complete_batch(ids, leases, '{\"1\", \"2\"}')"),
              "1 lost, 2 later")
        << caller;
    holder.query("ROLLBACK");
    EXPECT_EQ(prompt(worker, complete_all), "holder chain false, holder single true") << caller;
    admin.query("SELECT count(insula.cancel(execution_id)) FROM mine WHERE workflow = 'chain'");
  }
}

TEST_F(LocksTime, ManyTenantsWithOpenTransactionsDoNotAddUp) {
  const int count = 12;
  std::vector<std::unique_ptr<Session>> holders;
  for (int i = 0; i < count; ++i) {
    const std::string tenant = "hold" + to_string(i) + "_t";
    admin.query("SELECT tenant FROM insula.create_tenant('" + tenant + "', password => 'x')");
    define(tenant, "single", R"([{"id": "a"}])");
    admin.query("SELECT insula.submit('single', tenant => '" + tenant + "')");
    holders.push_back(std::make_unique<Session>("user=" + tenant + "_user"));
  }
  admin.query(
      "INSERT INTO mine SELECT tenant, workflow, execution_id, task_id, lease FROM insula.claim('w', max_tasks => "
      "100)");
  ASSERT_EQ(admin.query("SELECT count(*) FROM mine"), to_string(count));
  for (int i = 0; i < count; ++i) {
    holders[static_cast<std::size_t>(i)]->query("BEGIN");
    holders[static_cast<std::size_t>(i)]->query(
        "SELECT insula.pause(" +
        admin.query("SELECT execution_id FROM mine WHERE tenant = 'hold" + to_string(i) + "_t'") + ")");
  }
  Session worker("user=locks_runner");
  worker.query("SET statement_timeout = '6 s'");  // they waited a second for each
  EXPECT_EQ(worker.query("SELECT count(*) FROM (SELECT array_agg(task_id) ids, array_agg(lease) leases FROM mine) m, "
                         "insula.heartbeat(ids, leases) WHERE reason = 'later'"),
            to_string(count));
  EXPECT_EQ(worker.query("SELECT count(*) FROM (SELECT array_agg(task_id) ids, array_agg(lease) leases FROM mine) m, "
                         "unnest(insula.complete_many(ids, leases, NULL)) done WHERE done IS NULL"),
            to_string(count));
}

// As a superuser's VACUUM FULL holds it.
TEST_F(LocksTime, NoCallForSeveralTenantsWaitsForALockedTable) {
  for (const char* caller : callers) {
    SCOPED_TRACE(caller);
    for (const char* table : {"work", "record"}) {
      SCOPED_TRACE(table);
      claim_one_of_each();
      const std::string waiting = admin.query("SELECT insula.submit('single', tenant => 'bystander')");
      admin.query("BEGIN");
      admin.query(std::string("LOCK TABLE tenant_holder.") + table);
      Session worker(std::string("user=") + caller);
      limit_waits(worker, caller);
      EXPECT_EQ(prompt(worker, heartbeat_all), "holder chain later, holder single later");
      EXPECT_EQ(prompt(worker, of("complete", "", "single")), "55P03");
      EXPECT_EQ(prompt(worker, of("fail", ", 'x'", "single")), "55P03");
      EXPECT_EQ(prompt(worker, of("defer", ", now()", "single")), "55P03");
      EXPECT_EQ(prompt(worker, of("wait_event", ", 'e'", "single")), "55P03");
      EXPECT_EQ(prompt(worker, of("submit_child", ", 'single'", "single")), "55P03");
      EXPECT_EQ(prompt(worker, complete_all),
                "bystander chain true, bystander single true, holder chain later, holder single later");
      if (std::string(caller) != "locks_app") {
        EXPECT_EQ(prompt(worker, "SELECT bool_or(execution_id = " + waiting + ") FROM insula.claim('w', max_tasks => 9)"),
                  "t");
        EXPECT_NE(prompt(worker, "CALL insula.wait_for_work('0 s')"), "57014");
      }
      admin.query("ROLLBACK");
      EXPECT_EQ(prompt(worker, complete_all),
                "bystander chain false, bystander single false, holder chain true, holder single true");
      admin.query("SELECT count(insula.cancel(execution_id)) FROM tenant_bystander.workflow_executions WHERE status IN ('pending', 'running')");
      admin.query("SELECT count(insula.cancel(execution_id)) FROM tenant_holder.workflow_executions WHERE status IN ('pending', 'running')");
    }
  }
}

// It may wait for itself, and its answer is then the last word.
TEST_F(LocksTime, ATenantsOwnCallWaitsForItsOwnLock) {
  claim_one_of_each();
  Session holder("user=holder_user"), worker("user=holder_user");
  holder.query("BEGIN");
  holder.query("SELECT insula.cancel(" + execution("single") + ")");
  worker.send(of("complete", "", "single"));
  EXPECT_FALSE(worker.finished(300ms));
  holder.query("COMMIT");
  ASSERT_TRUE(worker.finished(10s));
  EXPECT_EQ(worker.answer(), "f");
  // Its heartbeat extends what it can.
  admin.query("DELETE FROM mine WHERE workflow = 'single' OR tenant = 'bystander'");
  const std::string other = admin.query("SELECT insula.submit('single', tenant => 'holder')");
  admin.query(
      "INSERT INTO mine SELECT tenant, workflow, execution_id, task_id, lease FROM insula.claim('w', tenant => "
      "'holder')");
  const std::string due = "SELECT due FROM tenant_holder.work WHERE lane = 100001 AND head IS NOT NULL";
  const std::string before = admin.query(due);
  holder.query("BEGIN");
  holder.query("SELECT insula.pause(" + other + ")");
  EXPECT_EQ(prompt(worker, heartbeat_all), "holder single later");
  EXPECT_NE(admin.query(due), before);
}

// ---- locks of those for which nothing is written ----

class ManyTenantsTime : public LocksTime {
 protected:
  void TearDown() override {
    for (int from = 1; from <= many; from += 50)
      admin.query("SELECT count(insula.drop_tenant('many' || g, '0 s')) FROM generate_series(" + to_string(from) +
                  ", " + to_string(std::min(from + 49, many)) + ") g");
    LocksTime::TearDown();
  }
  void make(int count) {
    many = count;
    for (int from = 1; from <= many; from += 50)
      admin.query("SELECT count(insula.create_tenant('many' || g, login => false)) FROM generate_series(" +
                  to_string(from) + ", " + to_string(std::min(from + 49, many)) + ") g");
  }
  // But for those of the extension's own tables, which are as many however many tenants there are.
  int locks(Session& worker) {
    return locks_of(worker,
                    "locktype <> 'virtualxid' AND coalesce(relation, 0) NOT IN (SELECT c.oid FROM pg_class c "
                    "WHERE c.relnamespace = 'insula'::regnamespace)");
  }

  int many = 0;
};

TEST_F(ManyTenantsTime, ACallKeepsNoLockOfTheTenantsForWhichItHasWrittenNothing) {
  make(60);
  Session worker("user=locks_runner");
  // An old snapshot visits all tenants; a fresh one those of the set, which begins with a sweep through all.
  for (const char* isolation : {"REPEATABLE READ", "READ COMMITTED"}) {
    for (const char* call : {"SELECT count(*) FROM insula.claim('w', max_tasks => 100)", "SELECT insula.leave('w')"}) {
      worker.query(std::string("BEGIN ISOLATION LEVEL ") + isolation);
      worker.query(call);
      EXPECT_LE(locks(worker), 10) << call;
      EXPECT_EQ(locks_of(worker, "locktype = 'transactionid'"), 0) << call;
      EXPECT_EQ(worker.query("SELECT pg_current_xact_id_if_assigned()"), "") << call;
      worker.query("COMMIT");
    }
  }
  admin.query("BEGIN");
  admin.query("SELECT count(*) FROM insula.tenant_activity");
  EXPECT_LE(locks(admin), 30) << "tenant_activity";
  admin.query("COMMIT");

  admin.query("SELECT count(insula.submit('single', tenant => t)) FROM unnest('{holder, bystander}'::text[]) t");
  worker.query("BEGIN ISOLATION LEVEL REPEATABLE READ");
  EXPECT_EQ(worker.query("SELECT count(*) FROM insula.claim('w', max_tasks => 100)"), "2");
  EXPECT_EQ(locks_of(worker, "relation IN ('tenant_holder.work'::regclass, 'tenant_bystander.work'::regclass) AND mode "
                             "= 'RowExclusiveLock'"),
            2);
  EXPECT_LE(locks(worker), 30) << "claim";
  worker.query("COMMIT");
}

// Where a claim begins follows the tenants, however many it claims from.
TEST_F(ManyTenantsTime, AClaimTellsWhereTheNextOneMayBeginInEachTenant) {
  if (!preloaded()) GTEST_SKIP() << "needs shared memory";
  const int backlog = 50;
  make(100);
  for (int i = 1; i <= many; ++i) define("many" + to_string(i), "single", R"([{"id": "a"}])");
  const auto submit = [&](int count) {
    admin.query("SELECT count(insula.submit_many('single', array_fill('{}'::jsonb, ARRAY[" + to_string(count) +
                "]), tenant => 'many' || g)) FROM generate_series(1, " + to_string(many) + ") g");
  };
  Session old, worker("user=locks_runner");
  // Dead entries stay while it is open.
  old.query("BEGIN ISOLATION LEVEL REPEATABLE READ");
  old.query("SELECT count(*) FROM insula.tenant");
  submit(backlog);
  worker.query("CREATE TEMP TABLE held AS SELECT * FROM insula.claim('w', max_tasks => 10000)");
  ASSERT_EQ(worker.query("SELECT count(*) FROM held"), to_string(many * backlog));
  worker.query(
      "SELECT count(*) FROM (SELECT array_agg(task_id) ids, array_agg(lease) leases FROM held) m, unnest("
      "insula.complete_many(ids, leases, NULL))");
  submit(1);
  worker.query("SELECT count(*) FROM insula.claim('w', max_tasks => 10000)");
  submit(1);
  const auto read = [&] {
    return std::stoi(
        worker.query("SELECT sum(pg_stat_get_xact_tuples_returned(oid)) FROM pg_class WHERE relname = 'work_queue'"));
  };
  worker.query("BEGIN");
  const int before = read();
  EXPECT_EQ(worker.query("SELECT count(*) FROM insula.claim('w', max_tasks => 10000)"), to_string(many));
  EXPECT_LT(read() - before, many * 10) << "and dead entries of the tenants of which the claim before could not tell";
  worker.query("COMMIT");
  old.query("COMMIT");
}

// ---- drop_tenant ----

TEST_F(LocksTime, ARolledBackPartForgetsNoEarlierDropOfItsTransaction) {
  if (!preloaded()) GTEST_SKIP() << "needs shared memory";
  const auto known = [&] {
    return std::stoi(admin.query("SELECT value FROM insula.status() WHERE item = 'tenants with low-water marks'"));
  };
  claim_one_of_each();
  const int before = known();
  ASSERT_GT(before, 0);
  admin.query("BEGIN");
  admin.query("SELECT insula.drop_tenant('holder', '0 s')");
  admin.query("SAVEPOINT s");
  admin.query("SELECT insula.submit('single', tenant => 'bystander')");
  admin.query("ROLLBACK TO s");
  admin.query("COMMIT");
  EXPECT_EQ(known(), before - 1);
}

TEST_F(LocksTime, DropWaitsForALockNoLongerThanItsCallerWould) {
  Session other;
  other.query("BEGIN");
  other.query("SELECT count(*) FROM tenant_holder.work");
  admin.query("SET lock_timeout = '100 ms'");
  const auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(admin.error("SELECT insula.drop_tenant('holder', '0 s')"), "55006");
  EXPECT_LT(std::chrono::steady_clock::now() - began, 4s) << "it waited five";
  admin.query("RESET lock_timeout");
  other.query("COMMIT");
}

}  // namespace
}  // namespace attacks
