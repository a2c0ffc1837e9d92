// P11: the first claim of a session.  T1: provisioning, beside a loop that makes what other schema-per-tenant queues
// make.  T3, T6, T8: a claim for all
// tenants, and a fleet, with ten tenants and with as many as there are, of which a hundredth has work.
#include "town.hpp"

#include "support/cluster.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

namespace bench {

namespace {

int many() { return quick() ? 500 : 10000; }
std::string many_tenants() { return fmt::format("{} tenants", many()); }

// A role, a schema, six tables and twelve indexes, in plain SQL.
void make_plainly(Sql& sql, int number) {
  std::string statements = fmt::format(
      "BEGIN; CREATE ROLE plain_{0} LOGIN PASSWORD 'secret'; CREATE SCHEMA plain_{0}; GRANT USAGE ON SCHEMA plain_{0} "
      "TO "
      "plain_{0};",
      number);
  for (int table = 0; table < 6; ++table)
    statements += fmt::format(
        "CREATE TABLE plain_{0}.t{1} (id bigserial PRIMARY KEY, state int, payload jsonb); CREATE INDEX ON "
        "plain_{0}.t{1} (state); GRANT SELECT ON plain_{0}.t{1} TO plain_{0};",
        number, table);
  sql.value(statements + "COMMIT");
}

// Tenants that are made before the loop takes its turns, and whose time is compared with that of the last ones.
constexpr int alone = 100;

}  // namespace

std::vector<Figure> provisioning() {
  const int all = many();
  const int plain = quick() ? 200 : 1000;
  Sql admin;
  admin.value("DROP DATABASE IF EXISTS t1_plain WITH (FORCE)");
  admin.value("CREATE DATABASE t1_plain");
  Town town("t1");
  double plain_seconds = 0;
  std::vector<double> seconds;
  {
    // In turns, and no database is dropped in between: some file systems make files slowly after others have gone.
    Sql sql("t1_plain");
    for (int i = 0; i < all; ++i) {
      const std::string tenant = fmt::format("p_{}", i);
      seconds.push_back(seconds_of(
          [&] { town.sql().value(fmt::format("SELECT insula.create_tenant('{0}', username => 't1_{0}')", tenant)); }));
      if (i >= alone && i < alone + plain) plain_seconds += seconds_of([&] { make_plainly(sql, i); });
    }
  }
  const auto sum = [&](int first, int count) {
    double total = 0;
    for (int i = first; i < first + count; ++i) total += seconds[static_cast<std::size_t>(i)];
    return total;
  };
  // Both rates are those of the turns: what a tenant costs later, when there are more, is growth.
  const double rate_plain = plain / plain_seconds;
  const double rate = plain / sum(alone, plain);
  tell(fmt::format("in turns {:.2f} ms a tenant and {:.2f} ms for the plain loop; {:.2f} ms over all {}", ms / rate,
                   ms / rate_plain, ms * sum(0, all) / all, all));
  const double growth = sum(all - alone, alone) / sum(0, alone);
  admin.value("DROP DATABASE t1_plain WITH (FORCE)");
  return {{"T1.rate", "tenants made, one by one", rate, "a second", rate / rate_plain, 2, false,
           fmt::format("the plain loop's {:.0f} a second", rate_plain), rate, rate},
          {"T1.growth", "the last hundred of them", sum(all - alone, alone) * ms / alone, "ms each", growth, 1.5, true,
           fmt::format("the first hundred of {}", all), growth, growth}};
}

namespace {

struct Seen {
  double claim_p50, claim_p99;  // milliseconds
  double empty;                 // a claim that finds nothing
  double pick_up_p50, pick_up_p99;
  double busy_buffers, idle_buffers;
  double idle_statements;  // transactions of the database in five seconds
};

void submit(Town& town, int tenant, long n) {
  town.sql().value(
      fmt::format("SELECT insula.submit('w', jsonb_build_object('n', {}), tenant => '{}')", n, Town::name_of(tenant)));
}

double claim_seconds(Sql& runner, int tasks) {
  return seconds_of([&] {
    runner.value(fmt::format("INSERT INTO mine SELECT task_id, lease FROM insula.claim('r', max_tasks => {})", tasks));
  });
}

double buffers_of_claim(Sql& runner) {
  const std::string plan = runner.value(
      "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT task_id, lease FROM insula.claim('r', max_tasks => 10)");
  double total = 0;
  for (const std::string name : {"\"Shared Hit Blocks\": ", "\"Shared Read Blocks\": "})
    total += std::strtod(plan.c_str() + plan.find(name) + name.size(), nullptr);
  return total;
}

void claims(Town& town, int active, Seen* seen) {
  Sql runner(town.database());
  runner.value("CREATE TEMP TABLE mine (task_id bigint, lease bigint)");
  std::vector<double> busy, idle, busy_buffers, idle_buffers;
  // The first round reads the catalogs of each tenant, which is no part of the figures.
  const int first_round = (active + 4) / 5;
  for (int i = 0; i < first_round + 1000; ++i) {
    for (int job = 0; job < 5; ++job) submit(town, (5 * i + job) % active, 0);
    const double claim = claim_seconds(runner, 5) * ms;
    runner.value("SELECT count(insula.complete(task_id, lease)) FROM mine; TRUNCATE mine");
    if (i < first_round) continue;
    busy.push_back(claim);
    while (runner.value("SELECT count(*) FROM insula.claim('r')") != "0") {
    }
    idle.push_back(claim_seconds(runner, 5) * ms);
  }
  for (int i = 0; i < 10; ++i) {
    for (int job = 0; job < 10; ++job) submit(town, job, 0);
    busy_buffers.push_back(buffers_of_claim(runner));
    while (runner.value("SELECT count(*) FROM insula.claim('r')") != "0") {
    }
    idle_buffers.push_back(buffers_of_claim(runner));
  }
  seen->claim_p50 = median(busy);
  seen->claim_p99 = quantile(busy, 0.99);
  seen->empty = median(idle);
  seen->busy_buffers = median(busy_buffers);
  seen->idle_buffers = median(idle_buffers);
  // What was claimed and not ended lapses no more.
  town.sql().value(
      fmt::format("SELECT count(*) FROM insula.tenant t, insula.cancel_executions(dry_run => false, tenant => "
                  "t.tenant) WHERE t.tenant_no <= {}",
                  active));
}

void pick_ups(Town& town, TownFleet& fleet, int active, Seen* seen) {
  std::vector<Clock::time_point> committed;
  (void)fleet.starts();
  // The first round is no part of the figures, as in claims().
  const int jobs = active + (quick() ? 200 : 500);
  for (int n = 0; n < jobs; ++n) {
    submit(town, n % active, n);
    committed.push_back(Clock::now());
    std::this_thread::sleep_for(std::chrono::milliseconds{10});
  }
  std::vector<double> waits;
  int seen_starts = 0;
  const bool all = insula_test::eventually([&] {
    for (const TownFleet::Start& start : fleet.starts()) {
      ++seen_starts;
      if (start.n < active) continue;
      waits.push_back(std::max(
          0.0, std::chrono::duration<double>(start.at - committed.at(static_cast<std::size_t>(start.n))).count() * ms));
    }
    return seen_starts >= jobs;
  });
  if (!all) give_up(fmt::format("{} of {} jobs were run", seen_starts, jobs));
  seen->pick_up_p50 = median(waits);
  seen->pick_up_p99 = quantile(waits, 0.99);
}

double transactions(Sql& watcher, const std::string& database) {
  return std::stod(watcher.value(
      fmt::format("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = '{}'", database)));
}

// The database's transactions, while nothing is to be done.
double idle_statements(Town& town) {
  Sql watcher;
  town.sql().value("SELECT pg_stat_force_next_flush()");
  double before = -1;
  for (int tries = 0; tries < 30 && before != transactions(watcher, town.database()); ++tries) {
    before = transactions(watcher, town.database());
    std::this_thread::sleep_for(std::chrono::seconds{2});
  }
  before = transactions(watcher, town.database());
  std::this_thread::sleep_for(std::chrono::seconds{5});
  return transactions(watcher, town.database()) - before;
}

Seen look_at(Town& town, int active) {
  Seen seen = {};
  claims(town, active, &seen);
  TownFleet fleet(town, 8, std::chrono::microseconds{0});
  pick_ups(town, fleet, active, &seen);
  seen.idle_statements = idle_statements(town);
  tell(
      fmt::format("{} tenants: claim {:.2f} ms, at worst {:.2f}, empty {:.2f}; pick-up {:.2f} ms, at worst {:.2f}; "
                  "{:.0f} and {:.0f} buffers; {:.0f} idle transactions",
                  town.tenants(), seen.claim_p50, seen.claim_p99, seen.empty, seen.pick_up_p50, seen.pick_up_p99,
                  seen.busy_buffers, seen.idle_buffers, seen.idle_statements));
  return seen;
}

// One job in each tenant, through the fleet: the most memory of a backend, in megabytes.
double memory_of_visits(Town& town) {
  TownFleet fleet(town, 8, std::chrono::microseconds{0});
  // A hundred at a time, since a transaction holds the locks of all that it submits for.
  for (int first = 0; first < town.tenants(); first += 100)
    town.sql().value(
        fmt::format("SELECT count(insula.submit('w', tenant => t.tenant)) FROM (SELECT tenant FROM insula.tenant ORDER "
                    "BY tenant_no OFFSET {} LIMIT 100) t",
                    first));
  const auto done = [&] { return fleet.count() >= town.tenants(); };
  for (int tries = 0; tries < 10 && !done(); ++tries) (void)insula_test::eventually(done);
  if (!done()) give_up(fmt::format("{} of {} jobs were run", fleet.count(), town.tenants()));
  double most = 0;
  for (const std::string& pid : fleet.pids(town.sql())) most = std::max(most, memory_of(pid));
  return most;
}

// The three bars look at one town, once.
struct Looks {
  Seen few, all;
  double memory;
};

const Looks& looks() {
  static const Looks seen = [] {
    Town town("town");
    town.grow(10);
    Looks looks = {};
    looks.few = look_at(town, 10);
    town.grow(many());
    looks.all = look_at(town, std::max(10, many() / 100));
    looks.memory = memory_of_visits(town);
    return looks;
  }();
  return seen;
}

Figure ratio(const std::string& id, const std::string& what, double few, double all, const std::string& unit,
             double bar) {
  return {id,  what, all, unit, all / std::max(few, 1e-9), bar, true, fmt::format("{:.2f} with ten tenants", few),
          all, all};
}

}  // namespace

std::vector<Figure> first_claims() {
  Town town("p11");
  town.grow(500);
  const std::string tenant_login = town.sql().value("SELECT username FROM insula.tenant WHERE tenant = 't_0'");
  const auto first_claim = [&](const std::string& role) {
    const insula_test::Connection session(fmt::format("dbname={} user={}", town.database(), role));
    return seconds_of([&] { run(session, "SELECT task_id FROM insula.claim('p11', max_tasks => 10)"); }) * ms;
  };
  std::vector<double> of_all, of_one;
  for (int i = 0; i < 20; ++i) {
    for (int tenant = 0; tenant < 10; ++tenant) submit(town, tenant, 0);
    of_all.push_back(first_claim("bench_fleet"));
    submit(town, 0, 0);
    of_one.push_back(first_claim(tenant_login));
  }
  const auto figure = [](const std::string& id, const std::string& what, const std::vector<double>& values,
                         double bar) -> Figure {
    return {id,   what, median(values), "ms", median(values), bar, true, "milliseconds", lowest(values),
            highest(values)};
  };
  return {figure("P11", "the first claim of a session", of_all, 30),
          figure("P11.tenant", "of a tenant's own session", of_one, 15)};
}

std::vector<Figure> claims_of_many() {
  const auto& [few, all, memory] = looks();
  return {ratio("T3.claim", "a claim that finds work", few.claim_p50, all.claim_p50, "ms", 1.5),
          ratio("T3.claim_p99", "the same, 99 of a hundred", few.claim_p99, all.claim_p99, "ms", 1.5),
          ratio("T3.empty", "a claim that finds nothing", few.empty, all.empty, "ms", 1.5),
          ratio("T3.pick_up", "pick-up by a fleet", few.pick_up_p50, all.pick_up_p50, "ms", 1.5),
          ratio("T3.pick_up_p99", "the same, 99 of a hundred", few.pick_up_p99, all.pick_up_p99, "ms", 1.5),
          {"T3.idle", "transactions of an idle fleet", all.idle_statements, "in 5 s", all.idle_statements, 0, true,
           many_tenants(), all.idle_statements, all.idle_statements}};
}

std::vector<Figure> memory_of_many() {
  const double memory = looks().memory;
  return {{"T6", "a backend that has served all", memory, "MB", memory, 200, true, many_tenants(), memory, memory}};
}

std::vector<Figure> buffers_of_many() {
  const auto& [few, all, memory] = looks();
  return {ratio("T8", "buffers of a claim of ten", few.busy_buffers, all.busy_buffers, "buffers", 1.1),
          ratio("T8.empty", "of one that finds nothing", few.idle_buffers, all.idle_buffers, "buffers", 1.1)};
}

}  // namespace bench
