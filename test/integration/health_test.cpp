// What insula.health() names beyond the database's own sessions: which of sessions, prepared transactions, slots and
// standbys holds the oldest snapshot, slots that are full or have lost their WAL, and a scheduler that cannot run.
#include "support/session.hpp"

#include <memory>
#include <string>

namespace insula_test {
namespace {

class Health : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    Session sql;
    for (const char* setting : {"max_prepared_transactions = 2", "max_replication_slots = 3", "wal_level = logical",
                                "hot_standby_feedback = on", "wal_receiver_status_interval = '1 s'"})
      sql.query("ALTER SYSTEM SET " + std::string(setting));
    EXPECT_TRUE(pg_ctl("restart"));
  }
  static void TearDownTestSuite() {
    Session().query("ALTER SYSTEM RESET ALL");
    EXPECT_TRUE(pg_ctl("restart"));
  }
  void SetUp() override {
    sql_ = std::make_unique<Session>();
    sql_->query("SET client_min_messages = warning");
    sql_->query("CREATE EXTENSION IF NOT EXISTS insula");
    sql_->query("CREATE TEMPORARY TABLE burnt (n int)");
  }
  void TearDown() override {
    EXPECT_TRUE(
        eventually([&] { return sql_->query("SELECT count(*) FROM pg_replication_slots WHERE active") == "0"; }));
    sql_->query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots");
  }

  // As many transactions as make what is in use worth a word.
  void burn() {
    sql_->query(
        "DO $$ BEGIN FOR n IN 1..100001 LOOP BEGIN INSERT INTO burnt VALUES (n); EXCEPTION WHEN division_by_zero THEN "
        "END; END LOOP; END $$");
  }
  void use_one_transaction() { sql_->query("SELECT pg_current_xact_id()"); }

  std::string finding(const std::string& object) {
    return sql_->query("SELECT finding FROM insula.health() WHERE object = '" + object + "'");
  }
  static std::string holder(const Session& session) {
    return "SELECT object FROM insula.snapshot_holders WHERE object = 'session " + std::to_string(session.pid()) + "'";
  }
  std::string holder_of_the_oldest() {
    return sql_->query("SELECT object FROM insula.health() WHERE finding LIKE '%the oldest snapshot, 10____ %'");
  }

  std::unique_ptr<Session> sql_;
};

TEST_F(Health, MarksTheHolderOfTheOldestSnapshot) {
  auto session = std::make_unique<Session>();
  session->query("BEGIN ISOLATION LEVEL REPEATABLE READ");
  session->query("SELECT 1");
  const std::string pid = std::to_string(session->pid());
  use_one_transaction();
  sql_->query("SELECT pg_create_logical_replication_slot('unread', 'pgoutput')");
  use_one_transaction();
  sql_->query("BEGIN; SELECT pg_current_xact_id(); PREPARE TRANSACTION 'forgotten'");
  EXPECT_EQ(finding("session " + pid), "") << "it may be for a moment";
  EXPECT_EQ(finding("replication slot unread"), "logical, is not used and holds back dead rows or WAL");
  burn();
  EXPECT_EQ(holder_of_the_oldest(), "session " + pid);
  EXPECT_NE(finding("prepared transaction ''forgotten''").find("dead rows stay until it ends"), std::string::npos);
  session = nullptr;
  // The slot, which is older, needs rows of catalogs alone.
  EXPECT_TRUE(eventually([&] { return holder_of_the_oldest() == "prepared transaction 'forgotten'"; }));
  EXPECT_EQ(sql_->query("SELECT age IS NULL AND catalog_age > 100000 FROM insula.snapshot_holders WHERE object = "
                        "'replication slot unread'"),
            "t");
  sql_->query("SELECT pg_drop_replication_slot('unread')");
  EXPECT_EQ(holder_of_the_oldest(), "prepared transaction 'forgotten'");
  sql_->query("ROLLBACK PREPARED 'forgotten'");
  EXPECT_EQ(holder_of_the_oldest(), "");
}

// Its locks may be anything, though it has no snapshot.
TEST_F(Health, NamesATransactionThatIsIdle) {
  Session session;
  session.query("BEGIN");
  EXPECT_EQ(sql_->query(holder(session)), "session " + std::to_string(session.pid()));
  session.query("COMMIT");
  EXPECT_EQ(sql_->query(holder(session)), "");
}

// So may be those of one that waits for a lock, which takes no snapshot for LOCK TABLE.
TEST_F(Health, NamesATransactionThatWaitsForALock) {
  sql_->query("CREATE TABLE locked_first ()");
  sql_->query("CREATE TABLE locked_next ()");
  Session holding;
  Session waiting;
  // It reads the catalogs once, which takes a snapshot.
  waiting.query("BEGIN");
  waiting.query("LOCK TABLE locked_next IN SHARE MODE");
  waiting.query("ROLLBACK");
  holding.query("BEGIN");
  holding.query("LOCK TABLE locked_next");
  waiting.query("BEGIN");
  waiting.query("LOCK TABLE locked_first IN SHARE MODE");
  waiting.send("LOCK TABLE locked_next IN SHARE MODE");
  EXPECT_TRUE(eventually([&] {
    return sql_->query("SELECT wait_event_type || (backend_xmin IS NULL)::text FROM pg_stat_activity WHERE pid = " +
                       std::to_string(waiting.pid())) == "Locktrue";
  }));
  EXPECT_EQ(sql_->query(holder(waiting)), "session " + std::to_string(waiting.pid()));
  holding.query("COMMIT");
  EXPECT_TRUE(waiting.finished());
  waiting.answer();
  waiting.query("COMMIT");
  sql_->query("DROP TABLE locked_first, locked_next");
}

// A worker that waits is parked in a transaction without a snapshot, for as long as there is nothing to do.
TEST_F(Health, NamesNoCallThatWaits) {
  sql_->query("SELECT tenant FROM insula.create_tenant('parked', login => false)");
  sql_->query(R"(SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => 'parked'))");
  const std::string later = sql_->query("SELECT insula.submit('w', run_at => 'tomorrow', tenant => 'parked')");
  const std::string calls[] = {"CALL insula.claim_when_ready('1 h', 'claiming', tenant => 'parked')",
                               "CALL insula.wait_for_work('1 h', worker => 'waiting', tenant => 'parked')",
                               "CALL insula.await(" + later + ", '1 h')"};
  for (const std::string& call : calls) {
    Session session;
    session.send(call);
    EXPECT_TRUE(eventually([&] {
      return sql_->query(
                 "SELECT wait_event FROM pg_stat_activity WHERE state = 'active' AND xact_start IS NOT NULL AND "
                 "backend_xmin IS NULL AND wait_event_type = 'Extension' AND pid = " +
                 std::to_string(session.pid())) != "";
    })) << call;
    // It may look for work just then.
    EXPECT_TRUE(eventually([&] { return sql_->query(holder(session)).empty(); })) << call;
    EXPECT_EQ(sql_->query("SELECT pg_terminate_backend(" + std::to_string(session.pid()) + ", 60000)"), "t");
  }
  sql_->query("SELECT insula.drop_tenant('parked', '0 s')");
}

// Each snapshot of this database begins at it while it runs.
TEST_F(Health, MarksATransactionOfAnotherDatabase) {
  Session writing("dbname=template1");
  writing.query("BEGIN; SELECT pg_current_xact_id()");
  Session reading;
  reading.query("BEGIN ISOLATION LEVEL REPEATABLE READ");
  reading.query("SELECT 1");
  burn();
  EXPECT_EQ(holder_of_the_oldest(), "session " + std::to_string(writing.pid()));
}

TEST_F(Health, NamesTheStandbyWhoseQueryHoldsRowsBack) {
  const auto standby = [](const std::string& what) { return output_of("\"$INSULA_STANDBY_CTL\" " + what); };
  const std::string host = standby("start");
  {
    Session reading("host=" + host);
    reading.query("BEGIN ISOLATION LEVEL REPEATABLE READ");
    reading.query("SELECT 1");
    EXPECT_TRUE(eventually([&] {
      use_one_transaction();
      return sql_->query("SELECT backend_xmin IS NOT NULL FROM pg_stat_replication") == "t";
    }));
    burn();
    EXPECT_EQ(holder_of_the_oldest(), "standby 'walreceiver'");
    EXPECT_NE(finding("standby ''walreceiver''").find("hot_standby_feedback"), std::string::npos);
    // The same by a slot.
    sql_->query("SELECT pg_create_physical_replication_slot('of_standby')");
    Session changing("host=" + host);
    changing.query("ALTER SYSTEM SET primary_slot_name = 'of_standby'");
    changing.query("SELECT pg_reload_conf()");
    EXPECT_TRUE(eventually([&] { return holder_of_the_oldest() == "replication slot of_standby"; }));
    EXPECT_EQ(finding("replication slot of_standby").find("used by standby 'walreceiver'"), 0U);
  }
  EXPECT_TRUE(eventually([&] {
    use_one_transaction();
    return holder_of_the_oldest().empty();
  }));
  standby("stop");
}

TEST_F(Health, NamesSlotsThatAreFull) {
  EXPECT_EQ(finding("replication slots"), "");
  sql_->query("SELECT pg_create_physical_replication_slot('slot_' || n) FROM generate_series(1, 3) n");
  EXPECT_EQ(finding("replication slots"), "3 of 3 are in use: raise max_replication_slots");
}

TEST_F(Health, NamesASlotThatHasLostItsWal) {
  sql_->query("SELECT pg_create_physical_replication_slot('late', true)");
  sql_->query("ALTER SYSTEM SET max_slot_wal_keep_size = '1 MB'");
  sql_->query("SELECT pg_reload_conf()");
  EXPECT_TRUE(eventually([&] {
    sql_->query("INSERT INTO burnt VALUES (1); CREATE TABLE wal (); DROP TABLE wal; SELECT pg_switch_wal()");
    sql_->query("CHECKPOINT");
    return sql_->query("SELECT finding FROM insula.health() WHERE level = 'error'").find("WAL that it needs is gone") ==
           0;
  }));
  sql_->query("ALTER SYSTEM RESET max_slot_wal_keep_size");
  sql_->query("SELECT pg_reload_conf()");
}

TEST_F(Health, SaysThatTheSchedulerCannotRun) {
  sql_->query("ALTER SYSTEM SET max_worker_processes = 0");
  EXPECT_TRUE(pg_ctl("restart"));
  SetUp();
  EXPECT_EQ(finding("scheduler").find("not running: "), 0U);
  sql_->query("ALTER SYSTEM RESET max_worker_processes");
  EXPECT_TRUE(pg_ctl("restart"));
  SetUp();
}

class Queues : public ::testing::Test {
 protected:
  void SetUp() override {
    connect();
    // Other tests may have left some.
    sql_->query("SELECT insula.drop_tenant(tenant, '0 s') FROM insula.tenants");
  }
  void TearDown() override { sql_->query("SELECT insula.drop_tenant('queued', '0 s')"); }

  void connect() {
    sql_ = std::make_unique<Session>();
    sql_->query("SET client_min_messages = warning");
    sql_->query("CREATE EXTENSION IF NOT EXISTS insula");
  }

  void claim_one(const std::string& lease_for) {
    sql_->query("SELECT tenant FROM insula.create_tenant('queued', login => false)");
    sql_->query(R"(SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => 'queued'))");
    sql_->query("SELECT insula.submit('w', tenant => 'queued')");
    EXPECT_EQ(sql_->query("SELECT count(*) FROM insula.claim('worker', lease_for => '" + lease_for +
                          "', tenant => 'queued')"),
              "1");
  }

  std::unique_ptr<Session> sql_;
};

class PreloadedQueues : public Queues {};

// After a restart the scheduler enters the active tenants in the due queue, and no counters are known.
TEST_F(PreloadedQueues, ASuspendedTenantsLeasesAreSeenAfterARestart) {
  claim_one("1 day");
  sql_->query("SELECT insula.suspend_tenant('queued')");
  EXPECT_TRUE(pg_ctl("restart"));
  connect();
  EXPECT_TRUE(eventually([this] {
    return sql_->query("SELECT value FROM insula.status() WHERE item = 'scheduler'").find("asleep") == 0;
  }));
  EXPECT_EQ(sql_->query("SELECT count(*) FROM insula.leases()"), "1");
  EXPECT_EQ(sql_->query("SELECT tasks FROM insula.workers() WHERE worker = 'worker'"), "1");
}

// It is not among the tenants with claimable tasks, and its queue has not been counted.
TEST_F(PreloadedQueues, ReadyTasksAreSeenThatALimitHoldsBack) {
  claim_one("1 day");
  sql_->query("SELECT insula.set_tenant_limits('queued', max_running => 1)");
  sql_->query("SELECT insula.submit('w', tenant => 'queued')");
  sql_->query("SELECT insula.stat_reset()");
  EXPECT_TRUE(eventually([this] {
    EXPECT_EQ(sql_->query("SELECT count(*) FROM insula.claim('worker')"), "0");
    return sql_->query("SELECT value FROM insula.status() WHERE item = 'ready tenants'") == "0";
  }));
  EXPECT_EQ(sql_->query("SELECT kind FROM insula.read_overdue('0 s', '1 day') WHERE tenant_name = 'queued'"),
            "ready task");
}

TEST_F(Queues, TheOldestTaskIsSeenBehindManyPriorities) {
  claim_one("1 day");
  const std::string oldest = sql_->query("SELECT insula.submit('w', priority => -7, tenant => 'queued')");
  sql_->query("SELECT count(insula.submit('w', priority => g, tenant => 'queued')) FROM generate_series(-6, 150) g");
  EXPECT_EQ(sql_->query("SELECT execution_id FROM insula.read_overdue('0 s', '1 day') WHERE tenant_name = 'queued'"),
            oldest);
}

// The scheduler puts the tenant off for a second, again and again.
TEST_F(PreloadedQueues, ALapsedLeaseIsSeenWhoseRowAnotherTransactionHolds) {
  Session holding;
  claim_one("1 s");
  // A scheduler may take back what has lapsed before it is locked.
  ASSERT_TRUE(eventually([&] {
    holding.query("BEGIN");
    if (holding.query("SELECT 1 FROM tenant_queued.work WHERE lane = 100001 FOR UPDATE") == "1") return true;
    holding.query("COMMIT");
    sql_->query("SELECT count(*) FROM insula.claim('worker', lease_for => '1 s', tenant => 'queued')");
    return false;
  }));
  const auto sees_it = [this] {
    return sql_->query(
               "SELECT kind || ' ' || worker FROM insula.read_overdue('1 day', '1 s') WHERE tenant_name = "
               "'queued'") == "lease worker";
  };
  EXPECT_TRUE(eventually(sees_it));
  sql_->query("SELECT insula.stat_reset()");
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(sees_it()) << "where no counters are known";
  holding.query("ROLLBACK");
  EXPECT_TRUE(eventually([&] { return !sees_it(); }));
}

}  // namespace
}  // namespace insula_test
