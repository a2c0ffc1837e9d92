// Runs the suite of attack.hpp, and the attacks that need more than one session.
#include <fstream>
#include <map>
#include <memory>

#include "attack.hpp"
#include "support/session.hpp"

namespace attacks {
namespace {

using namespace insula_test;

class World : public ::testing::Environment {
 public:
  void SetUp() override {
    Session admin;
    admin.query("SET client_min_messages = error");
    admin.query("CREATE EXTENSION IF NOT EXISTS insula");
    admin.query("CREATE ROLE runner LOGIN PASSWORD 'runner'");
    admin.query("GRANT insula_runner TO runner");
    admin.query("CREATE ROLE stranger LOGIN PASSWORD 'stranger'");
    admin.query("SELECT lo_create(4711)");
    for (const char* name : {"victim", "mallory"}) {
      const std::string tenant = name;
      passwords[tenant + "_user"] = admin.query("SELECT password FROM insula.create_tenant('" + tenant + "')");
      admin.query("SELECT insula.register_workflow('{\"name\": \"w\", \"tasks\": [{\"id\": \"a\"}]}', tenant => '" +
                  tenant + "')");
    }
    admin.query(
        "SELECT insula.set_tenant_limits('mallory', max_running => 100, max_queued => 1000, max_connections => 10)");
    pooler_port = output_of("\"$INSULA_POOLER_CTL\" start");
    prepare_audit();
  }
  void TearDown() override {
    Session admin;
    admin.query("SELECT insula.drop_tenant(tenant, '0 s') FROM insula.tenants");
    EXPECT_EQ(admin.query("SELECT count(*) FROM pg_roles WHERE rolname ~ '^(mallory|victim|insula_dropped)'"), "0");
    (void)output_of("\"$INSULA_POOLER_CTL\" stop");
    // No statement was an internal error, and no process crashed.
    std::ifstream log(environment("INSULA_SERVER_LOG"));
    for (std::string line; std::getline(log, line);)
      EXPECT_TRUE(line.find("XX000") == std::string::npos && line.find("PANIC") == std::string::npos &&
                  line.find("was terminated by signal") == std::string::npos)
          << line;
  }
  // One for all tests: what a session's first audit() reads of the catalogs takes longer than most attacks.
  static Session& admin() {
    static Session session;
    return session;
  }
  // Its query as a prepared statement: each call of the function plans it anew, which takes as long as most attacks.
  static void prepare_audit() {
    const std::string query = admin().query(
        "SELECT substring(pg_get_function_sqlbody('insula.audit()'::regprocedure) FROM 'BEGIN ATOMIC(.*);\\s*END')");
    ASSERT_NE(query, "");
    admin().query("PREPARE audit AS SELECT string_agg(a::text, ' ') FROM (" + query +
                  ") a(level, tenant, object, finding) WHERE level <> 'advice'");
  }
  static std::string pooler_port;
  static std::map<std::string, std::string> passwords;
};
std::string World::pooler_port;
std::map<std::string, std::string> World::passwords = {{"runner", "runner"}, {"stranger", "stranger"}};

const auto* const world = ::testing::AddGlobalTestEnvironment(new World);

class Attacked : public ::testing::Test {
 protected:
  void SetUp() override {
    admin.query("RESET ALL");
    admin.query("SET jit = off");
    admin.query("SET client_min_messages = error");
    execution = admin.query("SELECT insula.submit('w', '{\"secret\": 1}', tenant => 'victim')");
    Session victim("user=victim_user");
    task = victim.query(
        "CREATE TEMP TABLE mine AS SELECT * FROM insula.claim('victims-worker'); SELECT task_id FROM mine");
    lease = victim.query("SELECT lease FROM mine");
    unknown = std::to_string(std::stoll(task) + 1000);
    fingerprint_before = fingerprint();
  }
  void TearDown() override {
    // The attacker's session has ended, and its locks with it.
    admin.query(
        "DELETE FROM tenant_mallory.work; DELETE FROM tenant_mallory.record WHERE kind IN ('k', 'h', 'd', 'i', 'f')");
    admin.query("DELETE FROM tenant_victim.work");
    admin.query("SELECT insula.stat_reset()");  // it has not seen that
  }

  std::string fingerprint() {
    return admin.query("SELECT md5(string_agg(w::text, '' ORDER BY id)) FROM tenant_victim.work w") +
           admin.query("SELECT md5(string_agg(r::text, '' ORDER BY r::text)) FROM tenant_victim.record r");
  }

  std::string conninfo(const std::string& user, bool pooled) {
    return "host=127.0.0.1 port=" + (pooled ? World::pooler_port : environment("INSULA_TCP_PORT")) + " user=" + user +
           " dbname=postgres password=" + World::passwords[user];
  }

  std::string filled(std::string text, int failed = 0) {
    const std::pair<const char*, std::string> words[] = {{"{execution}", execution},
                                                         {"{task}", task},
                                                         {"{lease}", lease},
                                                         {"{unknown}", unknown},
                                                         {"{failed}", std::to_string(failed)}};
    for (const auto& [word, value] : words)
      for (std::size_t at; (at = text.find(word)) != std::string::npos;)
        text.replace(at, std::string(word).size(), value);
    return text;
  }

  // Holds after every attack.
  void expect_unharmed() {
    EXPECT_EQ(fingerprint(), fingerprint_before) << "the victim's rows have changed";
    EXPECT_EQ(admin.query("EXECUTE audit"), "");
    admin.query("SET statement_timeout = '1 min'");
    EXPECT_EQ(admin.query("SELECT insula.complete(" + task + ", " + lease + ")"), "t");
    EXPECT_NE(admin.query("SELECT insula.submit('w', tenant => 'victim')"), "");
    EXPECT_EQ(admin.query("SELECT count(insula.complete(task_id, lease)) FROM insula.claim('v', tenant => 'victim')"),
              "1");
    admin.query("RESET statement_timeout");
  }

  Session& admin = World::admin();
  std::string execution, task, lease, unknown, fingerprint_before;
};

// ---- the suite ----

struct Case {
  Attack attack;
  bool pooled;
};

void PrintTo(const Case& value, std::ostream* out) { *out << value.attack.name; }

class Attacks : public Attacked, public ::testing::WithParamInterface<Case> {};

const char* login_of(Who who) {
  return who == Who::tenant ? "mallory_user" : who == Who::runner ? "runner" : "stranger";
}

TEST_P(Attacks, AreHeld) {
  const Attack& attack = GetParam().attack;
  Session attacker(conninfo(login_of(attack.who), GetParam().pooled));
  int failed = 0;
  for (std::size_t i = 0; i < attack.statements.size(); ++i) {
    const std::string state = attacker.error(filled(attack.statements[i]));
    if (state != "none") ++failed;
    if (attack.sqlstate.empty()) continue;
    const bool last = i + 1 == attack.statements.size();
    EXPECT_EQ(state, last ? attack.sqlstate : "none") << attack.statements[i];
  }
  // The attacker may still hold a transaction open; the others go on all the same.
  if (attack.sqlstate.empty()) {
    EXPECT_EQ(admin.query(filled(attack.proof, failed)), "t") << "bounded by " << attack.bound;
  }
  expect_unharmed();
}

std::vector<Case> cases() {
  std::vector<Case> list;
  for (const auto& part : {attacks_on_data(), attacks_on_calls(), attacks_on_rights(), attacks_on_objects(),
                           attacks_on_resources(), attacks_on_clock(), attacks_on_erasure()})
    for (const Attack& attack : part)
      for (bool pooled : {false, true}) list.push_back({attack, pooled});
  return list;
}

INSTANTIATE_TEST_SUITE_P(All, Attacks, ::testing::ValuesIn(cases()), [](const auto& info) {
  return std::string(info.param.attack.name) + (info.param.pooled ? "Pooled" : "");
});

// ---- what takes more than one session ----

class ManySessions : public Attacked, public ::testing::WithParamInterface<bool> {
 protected:
  std::string make(const std::string& tenant) {
    World::passwords[tenant + "_user"] = admin.query("SELECT password FROM insula.create_tenant('" + tenant + "')");
    return conninfo(tenant + "_user", GetParam());
  }
  static bool logs_in(const std::string& conninfo) { return succeeded(Connection(conninfo).ask("SELECT 1")); }
};

INSTANTIATE_TEST_SUITE_P(All, ManySessions, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Pooled" : "Direct"; });

TEST_P(ManySessions, NoLoginAfterTheDrop) {
  const std::string login = make("goner");
  Session session(login);
  EXPECT_EQ(session.query("SELECT insula.current_tenant()"), "goner");
  admin.query("SELECT insula.drop_tenant('goner')");
  EXPECT_NE(session.error("SELECT insula.submit('w')"), "none") << "the session has ended";
  EXPECT_FALSE(logs_in(login));
  // One of the same name is another tenant: the old password is worth nothing, and nothing is left to see.
  make("goner");
  EXPECT_FALSE(logs_in(login));
  // PgBouncer has to notice that the user is there again.
  ASSERT_TRUE(eventually([&] { return logs_in(conninfo("goner_user", GetParam())); }));
  Session again(conninfo("goner_user", GetParam()));
  EXPECT_EQ(again.query("SELECT count(*) FROM tenant_goner.workflow_executions"), "0");
  admin.query("SELECT insula.drop_tenant('goner')");
  expect_unharmed();
}

TEST_P(ManySessions, NoWorkWhileSuspended) {
  const std::string login = make("sleeper");
  Session session(login);
  EXPECT_EQ(session.query("SELECT 1"), "1");
  admin.query("SELECT insula.suspend_tenant('sleeper')");
  EXPECT_NE(session.error("SELECT 1"), "none") << "the session has ended";
  EXPECT_FALSE(logs_in(login));
  EXPECT_EQ(admin.error("SELECT insula.submit('w', tenant => 'sleeper')"), "IS007");
  admin.query("SELECT insula.resume_tenant('sleeper')");
  EXPECT_TRUE(eventually([&] { return logs_in(login); }));
  admin.query("SELECT insula.drop_tenant('sleeper')");
}

// The tenant cannot make another role its member; if an administrator does so, no other tenant is harmed.
TEST_P(ManySessions, MembershipInATenantsRoleBlocksNoAdministrator) {
  Session attacker(conninfo("mallory_user", GetParam()));
  EXPECT_EQ(attacker.error("GRANT mallory_user TO victim_user"), "42501");
  admin.query("GRANT mallory_user TO victim_user");
  EXPECT_NE(admin.query("SELECT password FROM insula.rotate_password('victim')"), "");
  World::passwords["victim_user"] = admin.query("SELECT password FROM insula.rotate_password('victim')");
  admin.query("SELECT insula.suspend_tenant('victim'), insula.resume_tenant('victim')");
  admin.query("REVOKE mallory_user FROM victim_user");
  expect_unharmed();
}

TEST_P(ManySessions, LocksOfATenantStopNoAdministrator) {
  const std::string login = make("holder");
  std::vector<std::unique_ptr<Session>> sessions;
  for (const char* statement :
       {"SELECT * FROM tenant_holder.task_executions",
        "DECLARE c CURSOR FOR SELECT * FROM tenant_holder.execution_events", "SELECT pg_advisory_xact_lock_shared(1)",
        "SELECT pg_get_viewdef('tenant_holder.task_executions'::regclass)"}) {
    if (GetParam() && sessions.size() == 2) break;  // the pool has two server connections
    sessions.push_back(std::make_unique<Session>(login));
    sessions.back()->query("BEGIN");
    sessions.back()->error(statement);
  }
  EXPECT_EQ(admin.error("SELECT insula.set_tenant_limits('holder', max_running => 5)"), "none");
  EXPECT_EQ(admin.error("SELECT insula.rotate_password('holder')"), "none");
  EXPECT_EQ(admin.error("SELECT insula.suspend_tenant('holder')"), "none");
  EXPECT_EQ(admin.error("SELECT insula.resume_tenant('holder')"), "none");
  EXPECT_EQ(admin.error("SELECT insula.drop_tenant('holder', '100 ms')"), "none");
  EXPECT_EQ(admin.query("SELECT count(*) FROM pg_namespace WHERE nspname = 'tenant_holder'"), "0");
}

}  // namespace
}  // namespace attacks
