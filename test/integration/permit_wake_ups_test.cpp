// Waiters that permits which come back wake: each takes what it can, and passes the rest on.
#include "permits_fixture.hpp"

namespace insula_test {
namespace {

// Work of two kinds; a session that takes the one kind cannot take the other.
class PreloadedPermitsOfTwoKinds : public Permits {
 protected:
  void SetUp() override {
    Permits::SetUp();
    for (const char* kind : {"j", "k"})
      admin->query(std::string(R"(SELECT insula.register_workflow('{"name": ")") + kind + R"(", "tasks": [{"id": ")" +
                   kind + R"("}]}', tenant => 'narrow'))");
  }
  void submit_one(const std::string& kind) { admin->query("SELECT insula.submit('" + kind + "', tenant => 'narrow')"); }
  static std::string claim_of(const std::string& kind, int most) {
    return "SELECT task_id, lease FROM insula.claim('w', lease_for => '1 h', tasks => ARRAY['" + kind + "." + kind +
           "'], max_tasks => " + std::to_string(most) + ")";
  }
  void wait_for(Session& session, const std::string& kind) {
    session.send("CALL insula.wait_for_work('1 h', tasks => ARRAY['" + kind + "." + kind + "'])");
    ASSERT_TRUE(eventually([&] { return waits(*admin, session); }));
  }
};

// Two permits come back at once and wake one waiter, which may need but one of them.
TEST_F(PreloadedPermitsOfTwoKinds, AWokenWaiterPassesUnusedPermitsOn) {
  admin->query("SELECT insula.set_tenant_limits('narrow', max_running => 2)");
  const auto holder = new_worker(), first = new_worker(), second = new_worker();
  for (int round = 0; round < 4; ++round) {
    // Sessions are woken in turns.
    Session &of_j = round % 2 ? *first : *second, &of_k = round % 2 ? *second : *first;
    submit_one("k");
    submit_one("k");
    holder->query("INSERT INTO mine " + claim_of("k", 2));
    submit_one("j");
    wait_for(of_j, "j");
    wait_for(of_k, "k");
    holder->query("BEGIN");
    complete(*holder);
    holder->query("SELECT insula.submit('k')");
    holder->query("COMMIT");
    ASSERT_TRUE(of_k.finished()) << round;
    EXPECT_EQ(of_k.answer(), "t");
    of_k.query("INSERT INTO mine " + claim_of("k", 5));
    ASSERT_TRUE(of_j.finished()) << "slept over a permit in round " << round;
    EXPECT_EQ(of_j.answer(), "t");
    of_j.query("INSERT INTO mine " + claim_of("j", 1));
    complete(of_j);
    complete(of_k);
  }
}

// A task that goes back to the queue frees a permit also for waiters that cannot take that task.
TEST_F(PreloadedPermitsOfTwoKinds, ATaskGivenBackWakesAWaiterForAnother) {
  admin->query("SELECT insula.set_tenant_limits('narrow', max_running => 1)");
  const auto holder = new_worker(), waiter = new_worker();
  submit_one("k");
  holder->query(claim_of("k", 1));
  submit_one("j");
  wait_for(*waiter, "j");
  holder->query("SELECT insula.leave('w')");
  ASSERT_TRUE(waiter->finished()) << "slept over a permit";
  EXPECT_EQ(waiter->answer(), "t");
}

// Two limits; a waiter that cannot take from the limit it was woken for passes the wake-up on.
TEST_F(PreloadedPermits, AWakeUpForAnotherLimitIsPassedOn) {
  admin->query("SELECT insula.set_tenant_limits('narrow', max_running => -1)");
  for (const std::string kind : {"j", "k"}) {
    admin->query(R"(SELECT insula.register_workflow('{"name": ")" + kind +
                 R"(", "limit": {"max": 1}, "tasks": [{"id": "a"}]}', tenant => 'narrow'))");
    admin->query("SELECT insula.submit_many('" + kind + "', array_fill('{}'::jsonb, ARRAY[9]), tenant => 'narrow')");
  }
  const auto claim_of = [](const std::string& kind) {
    return "INSERT INTO mine SELECT task_id, lease FROM insula.claim('w', lease_for => '1 h', tasks => ARRAY['" + kind +
           ".a'])";
  };
  const auto holder_j = new_worker(), holder_k = new_worker(), waiter_j = new_worker(), waiter_k = new_worker();
  holder_j->query(claim_of("j"));
  holder_k->query(claim_of("k"));
  for (int round = 0; round < 6; ++round) {
    const bool j = round % 3 == 0;
    waiter_j->send("CALL insula.wait_for_work('1 h', tasks => ARRAY['j.a'])");
    ASSERT_TRUE(eventually([&] { return waits(*admin, *waiter_j); }));
    waiter_k->send("CALL insula.wait_for_work('1 h', tasks => ARRAY['k.a'])");
    ASSERT_TRUE(eventually([&] { return waits(*admin, *waiter_k); }));
    for (const bool of_j : {j, !j}) {
      Session &waiter = of_j ? *waiter_j : *waiter_k, &holder = of_j ? *holder_j : *holder_k;
      complete(holder);
      ASSERT_TRUE(waiter.finished()) << "slept over a permit in round " << round;
      EXPECT_EQ(waiter.answer(), "t");
      holder.query(claim_of(of_j ? "j" : "k"));
    }
  }
}

// One commit brings two permits back and wakes one waiter, which has use for one of them; or a
// waiter that is woken for a permit finds other work first.
TEST_F(PreloadedPermits, AWokenWaiterPassesOnTheLimitsOtherPermit) {
  admin->query("SELECT insula.set_tenant_limits('narrow', max_running => -1)");
  admin->query(
      R"(SELECT insula.register_workflow('{"name": "p", "limit": {"max": 2}, "tasks": [{"id": "j"}, {"id": "k"}]}', tenant => 'narrow'))");
  const auto claim_of = [](const std::string& task, int most) {
    return "INSERT INTO mine SELECT task_id, lease FROM insula.claim('w', lease_for => '1 h', tasks => ARRAY['p." +
           task + "'], max_tasks => " + std::to_string(most) + ")";
  };
  const auto holder = new_worker(), first = new_worker(), second = new_worker();
  for (int round = 0; round < 4; ++round) {
    // Sessions are woken in turns.
    Session &of_j = round % 2 ? *first : *second, &of_k = round % 2 ? *second : *first;
    admin->query("SELECT insula.submit_many('p', array_fill('{}'::jsonb, ARRAY[2]), tenant => 'narrow')");
    holder->query(claim_of("j", 2));
    admin->query("SELECT insula.submit('p', tenant => 'narrow')");
    for (Session* waiter : {&of_j, &of_k}) {
      waiter->send(std::string("CALL insula.wait_for_work('1 h', tasks => ARRAY['p.") + (waiter == &of_j ? "j" : "k") +
                   "'])");
      ASSERT_TRUE(eventually([&] { return waits(*admin, *waiter); }));
    }
    complete(*holder);
    ASSERT_TRUE(eventually([&] { return of_j.finished(0ms) || of_k.finished(0ms); }));
    // The waiter that is woken first takes what it can have, and leaves the other one something.
    if (of_j.finished(0ms)) {
      EXPECT_EQ(of_j.answer(), "t");
      of_j.query(claim_of("j", 5));
      ASSERT_TRUE(of_k.finished()) << "slept over a permit in round " << round;
      EXPECT_EQ(of_k.answer(), "t");
    } else {
      EXPECT_EQ(of_k.answer(), "t");
      of_k.query(claim_of("k", 1));
      ASSERT_TRUE(of_j.finished()) << "slept over a permit in round " << round;
      EXPECT_EQ(of_j.answer(), "t");
      of_j.query(claim_of("j", 5));
    }
    complete(of_j);
    complete(of_k);
    holder->query(
        "SELECT insula.cancel(execution_id) FROM tenant_narrow.workflow_executions WHERE finished_at IS NULL");
  }
}

}  // namespace
}  // namespace insula_test
