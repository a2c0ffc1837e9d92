// Runs the suite of attack.hpp, and the attacks that need more than one session.
#include <fstream>
#include <map>

#include "../integration/session.hpp"
#include "attack.hpp"

namespace attacks {
namespace {

using insula_test::Session;
using namespace std::chrono_literals;

std::string environment(const char* name) {
  const char* value = getenv(name);
  return value ? value : "";
}

// The standard output of a shell command, without its line break.
std::string output_of(const std::string& command) {
  std::string text;
  FILE* pipe = popen(command.c_str(), "r");
  for (int c; (c = fgetc(pipe)) != EOF;) text += static_cast<char>(c);
  EXPECT_EQ(pclose(pipe), 0) << command;
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

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
  }
  void TearDown() override {
    Session admin;
    admin.query("SELECT insula.drop_tenant(tenant, '0 s') FROM insula.tenants");
    EXPECT_EQ(admin.query("SELECT count(*) FROM pg_roles WHERE rolname ~ '^(mallory|victim|insula_dropped)'"), "0");
    (void)output_of("\"$INSULA_POOLER_CTL\" stop");
    // Nothing that anybody sent is an internal error, and nothing crashed.
    std::ifstream log(environment("INSULA_SERVER_LOG"));
    for (std::string line; std::getline(log, line);)
      EXPECT_TRUE(line.find("XX000") == std::string::npos && line.find("PANIC") == std::string::npos &&
                  line.find("was terminated by signal") == std::string::npos)
          << line;
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
    // What the attacker still holds ends with his session.
    admin.query("DELETE FROM tenant_mallory.work; DELETE FROM tenant_mallory.record WHERE kind IN ('k', 'h')");
    admin.query("DELETE FROM tenant_victim.work");
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

  // What must hold whatever anybody did.
  void expect_unharmed() {
    EXPECT_EQ(fingerprint(), fingerprint_before) << "the victim's rows have changed";
    EXPECT_EQ(admin.query("SELECT string_agg(a::text, ' ') FROM insula.audit() a WHERE level <> 'advice'"), "");
    admin.query("SET statement_timeout = '5 s'");
    EXPECT_EQ(admin.query("SELECT insula.complete(" + task + ", " + lease + ")"), "t");
    EXPECT_NE(admin.query("SELECT insula.submit('w', tenant => 'victim')"), "");
    EXPECT_EQ(admin.query("SELECT count(insula.complete(task_id, lease)) FROM insula.claim('v', tenant => 'victim')"),
              "1");
    admin.query("RESET statement_timeout");
  }

  Session admin;
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
  // Whatever he still holds open, he holds while the others go on.
  if (attack.sqlstate.empty()) {
    EXPECT_EQ(admin.query(filled(attack.proof, failed)), "t") << "bounded by " << attack.bound;
  }
  expect_unharmed();
}

std::vector<Case> cases() {
  std::vector<Case> list;
  for (const auto& part :
       {attacks_on_data(), attacks_on_calls(), attacks_on_rights(), attacks_on_objects(), attacks_on_resources()})
    for (const Attack& attack : part)
      for (bool pooled : {false, true}) list.push_back({attack, pooled});
  return list;
}

INSTANTIATE_TEST_SUITE_P(All, Attacks, ::testing::ValuesIn(cases()), [](const auto& info) {
  return std::string(info.param.attack.name) + (info.param.pooled ? "Pooled" : "");
});

}  // namespace
}  // namespace attacks
