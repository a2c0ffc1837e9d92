// Hands that play at random; see hand.hpp.
#include "hand.hpp"

#include <algorithm>
#include <thread>

namespace model {

Hand::Hand(Game& game, unsigned seed, int number) : game_(game), random_(seed), worker_("w" + std::to_string(number)) {
  connect();
}

void Hand::connect() {
  session_ = std::make_unique<Connection>("application_name=rough");
  session_->on_notice([](const std::string&) {});
  run("SET synchronous_commit = off; SET lock_timeout = '20 ms'; SET deadlock_timeout = '5 ms'");
  if (game_.tenants.size() == 1) run("SET insula.tenant = '" + game_.tenants[0] + "'");
}

Rows Hand::run(const std::string& sql) { return rows_of(session_->ask(sql)); }

void Hand::insist(const std::string& sql) {
  while (insula_test::sqlstate(session_->ask(sql)) == "57014") continue;
}

void Hand::play(std::chrono::milliseconds how_long) {
  const auto until = std::chrono::steady_clock::now() + how_long;
  do game_.calm ? play_calmly() : play_roughly();
  while (game_.calm && std::chrono::steady_clock::now() < until);
}

void Hand::play_calmly() {
  submit();
  // A claim loses a row in an instant, so most rounds are short.
  if (below(16) > 0) {
    run("SELECT insula.complete_many(array_agg(task_id ORDER BY task_id), array_agg(lease ORDER BY task_id), NULL) "
        "FROM insula.claim('" +
        worker_ + "', " + any_of(game_.filters) + ", " + std::to_string(1 + below(8)) + ") HAVING count(*) > 0");
    return;
  }
  claim(1 + below(8));
  while (!held_.empty() && below(16) > 0) report();
}

void Hand::play_roughly() {
  // Steering makes claims forget what they know, so only some rounds have it.
  steers_ = below(12) == 0;
  for (int i = 2 + below(5); i > 0; --i) {
    if (session_->lost()) connect();
    if (below(4) == 0)
      transaction();
    else
      act();
  }
}

void Hand::transaction() {
  run(below(8) == 0 ? "BEGIN ISOLATION LEVEL REPEATABLE READ" : "BEGIN");
  for (int i = 1 + below(4); i > 0; --i) {
    const bool saved = below(2) == 0;
    if (saved) run("SAVEPOINT a");
    act();
    if (saved) run(below(2) == 0 ? "ROLLBACK TO a" : "RELEASE a");
    if (below(4) == 0) std::this_thread::sleep_for(std::chrono::milliseconds(below(4)));
  }
  insist(below(3) == 0 ? "ROLLBACK" : "COMMIT");
}

void Hand::act() {
  const int what = below(100);
  if (what < 20)
    submit();
  else if (what < 50)
    claim(1 + below(below(2) ? 3 : 30));
  else if (what < 75)
    report();
  else if (what < 90)
    steers_ ? steer() : claim(1 + below(3));
  else if (what < 98)
    run("SELECT insula.leave('w" + std::to_string(below(game_.hands)) + "')");
  else if (steers_)
    disturb();
}

void Hand::submit() {
  const std::string& workflow = any_of(game_.workflows);
  const std::string options = ", priority => " + std::to_string(below(2)) +
                              (below(game_.calm ? 16 : 4) == 0 ? ", run_at => now() + '5 ms'" : "") + ", tenant => '" +
                              any_of(game_.tenants) + "')";
  const std::string context = "'{\"n\": " + std::to_string(below(3)) + "}'::jsonb";
  const Rows rows = below(3) == 0 ? run("SELECT insula.submit('" + workflow + "', " + context + options)
                                  : run("SELECT unnest(insula.submit_many('" + workflow + "', array_fill(" + context +
                                        ", ARRAY[" + std::to_string(1 + below(5)) + "])" + options + ")");
  const std::lock_guard lock(game_.mutex);
  for (const auto& row : rows) game_.executions.push_back(row[0]);
}

void Hand::claim(int most) {
  const bool cancelled = !game_.calm && below(4) == 0;
  if (cancelled) run("SET statement_timeout = '1 ms'");
  const std::string lease = !game_.calm && below(2) ? "1 s" : "1 h";
  const Rows rows = run("SELECT task_id, lease FROM insula.claim('" + worker_ + "', " + any_of(game_.filters) + ", " +
                        std::to_string(most) + ", '" + lease + "')");
  if (cancelled) insist("SET statement_timeout = 0");
  held_.insert(held_.end(), rows.begin(), rows.end());
}

void Hand::report() {
  if (held_.empty()) return;
  std::swap(held_[static_cast<std::size_t>(below(static_cast<int>(held_.size())))], held_.back());
  const std::string lease = held_.back()[0] + ", " + held_.back()[1];
  held_.pop_back();
  switch (below(game_.calm ? 40 : 5)) {
    case 0:
      run("SELECT insula.fail(" + lease + ", 'by chance')");
      break;
    case 1:
      run("SELECT insula.defer(" + lease + ", clock_timestamp() + '3 ms')");
      break;
    case 2:
      run("SELECT insula.wait_event(" + lease + ", 'go', '5 ms')");
      break;
    default:
      run("SELECT insula.complete(" + lease + ")");
  }
}

void Hand::steer() {
  static const char* const verbs[] = {"cancel(", "pause(", "resume(", "resume(", "retry(", "send_event("};
  const int verb = below(6);
  std::string execution;
  {
    const std::lock_guard lock(game_.mutex);
    const auto count = game_.executions.size();
    if (count == 0) return;
    // Mostly the latest, which are still in the queue.
    execution = game_.executions[count - 1 - random_() % std::min<std::size_t>(count, below(2) ? 20 : 1000)];
  }
  run(std::string("SELECT insula.") + verbs[verb] + execution + (verb == 5 ? ", 'go')" : ")"));
}

void Hand::disturb() {
  if (below(3) == 0) {
    // A count from the beginning while others go on must still come out right.
    run("SELECT insula.stat_reset()");
    run("SELECT sum(ready) FROM insula.tenant_activity");
  } else if (below(2) == 0) {
    run("SELECT count(*) FROM insula.cancel_executions('" + game_.workflows[0] +
        "', dry_run => false, max_executions => 20, tenant => '" + any_of(game_.tenants) + "')");
  } else {
    run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'rough' "
        "AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1");
  }
}

}  // namespace model
