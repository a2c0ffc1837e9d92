// Two tenants for attacks on time, one that takes more than its part and one that pays for it.
#pragma once

#include <fstream>
#include <memory>
#include <string>

#include "support/cluster.hpp"
#include "support/session.hpp"

namespace attacks {

using namespace insula_test;

class GreedyAndBystander : public ::testing::Test {
 protected:
  void SetUp() override {
    admin.query("SET client_min_messages = error");
    for (const char* tenant : {"greedy", "bystander"}) {
      admin.query(std::string("SELECT tenant FROM insula.create_tenant('") + tenant + "', password => 'x')");
      admin.query(std::string("SELECT insula.register_workflow('{\"name\": \"w\", \"tasks\": [{\"id\": \"a\"}]}', "
                              "tenant => '") +
                  tenant + "')");
    }
    greedy = std::make_unique<Session>("user=greedy_user");
    bystander = std::make_unique<Session>("user=bystander_user");
    for (Session* session : {greedy.get(), bystander.get()}) session->query("SET client_min_messages = error");
  }
  void TearDown() override {
    greedy.reset();
    bystander.reset();
    admin.query("ALTER SYSTEM RESET ALL");
    admin.query("SELECT pg_reload_conf()");
    admin.query("SELECT insula.drop_tenant(tenant, '0 s') FROM insula.tenants WHERE tenant IN ('greedy', 'bystander')");
  }

  void set_for_all(const std::string& setting, const std::string& value) {
    admin.query("ALTER SYSTEM SET " + setting + " = '" + value + "'");
    admin.query("SELECT pg_reload_conf()");
    EXPECT_TRUE(eventually([&] { return Session().query("SHOW " + setting) == value; }));
  }

  // How long the session's process has run, in nanoseconds: what other processes do to it does not count.
  static long ran(const Session& session) {
    std::ifstream file("/proc/" + std::to_string(session.pid()) + "/schedstat");
    long nanoseconds = 0;
    EXPECT_TRUE(file >> nanoseconds);
    return nanoseconds;
  }

  Session admin;
  std::unique_ptr<Session> greedy, bystander;
};

}  // namespace attacks
