// P4: pick-up.  A worker that has nothing to do, one job every 20 ms: from the moment that
// its submitter knows of the commit to the first line of the handler.  Both read the same
// clock.  A handler that was quicker than the news of the commit counts as 0.
#include "bench.hpp"
#include "queue.hpp"
#include "support/cluster.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

namespace bench {

namespace {

constexpr std::chrono::milliseconds gap{20};
int jobs() { return quick() ? 100 : 300; }

struct Pickup {
  double p50, p99;  // seconds
};

Pickup pick_up(Workers& workers, Sql& submitter) {
  workers.go();
  std::this_thread::sleep_for(std::chrono::milliseconds{500});  // at rest before the first
  std::vector<Clock::time_point> committed;
  for (int n = 0; n < jobs(); ++n) {
    submitter.execute("submit", {job(n).c_str()});
    committed.push_back(Clock::now());
    std::this_thread::sleep_for(gap);
  }
  workers.listen(jobs());
  std::vector<double> waits;
  for (int n = 0; n < jobs(); ++n)
    waits.push_back(std::max(
        0.0, std::chrono::duration<double>(workers.starts().at(n) - committed[static_cast<std::size_t>(n)]).count()));
  workers.stop();
  return {median(waits), quantile(waits, 0.99)};
}

// The connection string of a tenant with a login, through PgBouncer.
std::string pooled(const std::string& tenant) {
  const std::string port = insula_test::output_of("\"$INSULA_POOLER_CTL\" start");
  return fmt::format("host=127.0.0.1 port={} user={}_user password=bench dbname=postgres", port, tenant);
}

Pickup of_insula(const std::string& tenant, bool through_pooler) {
  Sql sql;
  sql.value(fmt::format("SELECT insula.create_tenant('{0}', schema_name => '{0}', password => 'bench')", tenant));
  register_job(tenant);
  sql.prepare("submit", fmt::format("SELECT insula.submit('job', $1::jsonb, tenant => '{}')", tenant));
  Workers workers({worker_command({"pickup", tenant, through_pooler ? pooled(tenant) : ""})});
  const Pickup pickup = pick_up(workers, sql);
  if (through_pooler) (void)insula_test::output_of("\"$INSULA_POOLER_CTL\" stop");
  expect_completed(tenant, jobs(), jobs());
  return pickup;
}

Pickup of_graphile() {
  const auto queue = graphile_queue();
  queue->make();
  Pickup pickup = {};
  {
    Sql sql{queue->database()};
    sql.prepare("submit", "SELECT graphile_worker.add_job('job', $1::json)");
    Workers workers({peer_command("graphile", {queue->database(), "pickup"})});
    pickup = pick_up(workers, sql);
  }
  queue->drop();
  return pickup;
}

// The medians of the rounds, in milliseconds and in commits.
struct Rounds {
  std::vector<double> p50, p99;

  void add(Pickup pickup, const char* who) {
    p50.push_back(pickup.p50 * ms);
    p99.push_back(pickup.p99 * ms);
    tell(fmt::format("{:<22} {:.2f} ms, at worst of a hundred {:.2f} ms", who, p50.back(), p99.back()));
  }
};

Figure figure(const std::string& id, const std::string& what, const std::vector<double>& waits, double commit,
              double bar, const std::vector<double>& peer) {
  return {id,
          what,
          median(waits),
          "ms",
          median(waits) / commit,
          bar,
          true,
          fmt::format("a bare durable commit, {:.2f} ms", commit),
          lowest(waits),
          highest(waits),
          {{"graphile-worker", median(peer), lowest(peer), highest(peer)}}};
}

}  // namespace

std::vector<Figure> pick_up_time() {
  Rounds plain, through_pooler, graphile;
  std::vector<double> commits;
  for (int i = 0; i < rounds(); ++i) {
    commits.push_back(commit_seconds() * ms);
    plain.add(of_insula(fmt::format("bench_p4_{}", i), false), "Insula");
    through_pooler.add(of_insula(fmt::format("bench_p4_pooled_{}", i), true), "Insula, PgBouncer");
    graphile.add(of_graphile(), "graphile-worker");
  }
  const double commit = median(commits);
  return {figure("P4.p50", "pick-up", plain.p50, commit, 4, graphile.p50),
          figure("P4.p99", "pick-up, 99 of a hundred", plain.p99, commit, 15, graphile.p99),
          figure("P4.pooled_p50", "pick-up through PgBouncer", through_pooler.p50, commit, 4, graphile.p50),
          figure("P4.pooled_p99", "the same, 99 of a hundred", through_pooler.p99, commit, 15, graphile.p99)};
}

}  // namespace bench
